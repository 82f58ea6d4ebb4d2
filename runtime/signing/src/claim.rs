//! What a signature of a plugin says that its content is.

use std::fmt;

use crate::hash::ContentHash;

/// What the comment begins with.
const PREFIX: &str = "drover-plugin ";

/// A plugin's name and version, bound to its content: the trusted comment of
/// its signature.
///
/// `drover-plugin name=hello version=1.2.0 sha256=… length=123456`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The content's hash.
    pub hash: ContentHash,
    /// The content's length in bytes.
    pub length: u64,
}

/// Why a claim does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The comment begins like a claim and goes on differently.
    #[error("the signature's comment is no claim: `{0}`")]
    Malformed(String),
    /// It is one for something else.
    #[error("the signature is for {signed}, not for {wanted}")]
    Other {
        /// What was signed.
        signed: String,
        /// What it should be.
        wanted: String,
    },
    /// It is one for other content.
    #[error("the signature is for other content than {0}")]
    OtherContent(ContentHash),
}

impl Claim {
    /// Reads a trusted comment; none if it is somebody's own words.
    ///
    /// # Errors
    ///
    /// If it begins like a claim and is none.
    pub fn parse(comment: &str) -> Result<Option<Self>, ClaimError> {
        let Some(rest) = comment.strip_prefix(PREFIX) else { return Ok(None) };
        let malformed = || ClaimError::Malformed(comment.chars().take(200).collect());
        let fields: Vec<_> = rest.split(' ').collect();
        let [name, version, hash, length] = fields[..] else { return Err(malformed()) };
        let value = |field: &str, key: &str| {
            let value = field.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
            value.filter(|value| !value.is_empty()).map(str::to_owned).ok_or_else(malformed)
        };
        Ok(Some(Self {
            name: value(name, "name")?,
            version: value(version, "version")?,
            hash: value(hash, "sha256")?.parse().map_err(|_| malformed())?,
            length: value(length, "length")?.parse().map_err(|_| malformed())?,
        }))
    }

    /// Compares it with what the content should be.
    ///
    /// # Errors
    ///
    /// If it is for something else.
    pub fn check(
        &self,
        name: &str,
        version: &str,
        content: (ContentHash, u64),
    ) -> Result<(), ClaimError> {
        if (self.name.as_str(), self.version.as_str()) != (name, version) {
            let signed = format!("{}@{}", self.name, self.version);
            return Err(ClaimError::Other { signed, wanted: format!("{name}@{version}") });
        }
        if (self.hash, self.length) != content {
            return Err(ClaimError::OtherContent(content.0));
        }
        Ok(())
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, hash, length } = self;
        write!(f, "{PREFIX}name={name} version={version} sha256={hash} length={length}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        let hash = ContentHash::of(b"x");
        Claim { name: "hello".to_owned(), version: "1.2.0".to_owned(), hash, length: 1 }
    }

    #[test]
    fn a_claim_reads_back_as_it_is_written() {
        assert_eq!(Claim::parse(&claim().to_string()), Ok(Some(claim())));
    }

    #[test]
    fn somebodys_own_words_are_no_claim_and_a_broken_one_is_an_error() {
        assert_eq!(Claim::parse("timestamp:1\tfile:hello.wasm"), Ok(None));
        let text = claim().to_string();
        for broken in [
            text.replace("name=", "name:"),
            text.replace("1.2.0", ""),
            text.replace("length=1", "length=-1"),
            text.clone() + " more=1",
        ] {
            assert!(Claim::parse(&broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_claim_is_for_one_name_version_and_content() {
        let content = (ContentHash::of(b"x"), 1);
        assert_eq!(claim().check("hello", "1.2.0", content), Ok(()));
        let error = claim().check("hello", "1.3.0", content).unwrap_err().to_string();
        assert_eq!(error, "the signature is for hello@1.2.0, not for hello@1.3.0");
        assert!(claim().check("hello", "1.2.0", (ContentHash::of(b"y"), 1)).is_err());
    }
}
