//! Detached signatures, as text.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use blake2::{Blake2b512, Digest};
use data_encoding::BASE64;

use crate::key::{KeyId, PublicKey};

/// The longest text of a signature.
pub const MOST_SIGNATURE_BYTES: usize = 8 << 10;

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is something else.
    #[error("it is no minisign signature: {0}")]
    NotASignature(&'static str),
    /// It was made the old way, over the whole content.
    #[error("it has the form of old minisigns: sign again with `drover sign` or `minisign -SH`")]
    Legacy,
    /// It names another key.
    #[error("it was made with the key {made_with}, not with {key}")]
    OtherKey {
        /// The key that was asked for.
        key: KeyId,
        /// The key that it names.
        made_with: KeyId,
    },
    /// Content, comment or signature were changed after signing.
    #[error("the content is not what was signed, or the signature was changed")]
    Broken,
    /// The content cannot be read.
    #[error("cannot read the content: {0}")]
    Read(String),
}

/// A signature that is well formed; whether it is right is another matter.
#[derive(Debug, Clone)]
pub struct Signature {
    key_id: KeyId,
    /// Of the content's hash.
    of_content: [u8; 64],
    trusted_comment: String,
    /// Of the one before with the trusted comment.
    of_comment: [u8; 64],
}

impl Signature {
    /// Puts a signature together, by `sign`, which signs exact bytes.
    pub(crate) fn new(
        key_id: KeyId,
        content: impl Read,
        trusted_comment: &str,
        sign: impl Fn(&[u8]) -> [u8; 64],
    ) -> io::Result<Self> {
        let of_content = sign(&prehash(content)?);
        let trusted_comment = trusted_comment.replace(['\n', '\r'], " ");
        let of_comment = sign(&with_comment(&of_content, &trusted_comment));
        Ok(Self { key_id, of_content, trusted_comment, of_comment })
    }

    /// The key that it names.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The comment that is signed too. Only a check makes it worth its name.
    #[must_use]
    pub fn trusted_comment(&self) -> &str {
        &self.trusted_comment
    }

    pub(crate) fn check(&self, key: &PublicKey, content: impl Read) -> Result<(), SignatureError> {
        self.check_comment(key)?;
        let hash = prehash(content).map_err(|error| SignatureError::Read(error.to_string()))?;
        if key.signed(&hash, &self.of_content) { Ok(()) } else { Err(SignatureError::Broken) }
    }

    pub(crate) fn check_comment(&self, key: &PublicKey) -> Result<(), SignatureError> {
        if self.key_id != key.id() {
            return Err(SignatureError::OtherKey { key: key.id(), made_with: self.key_id });
        }
        let commented = with_comment(&self.of_content, &self.trusted_comment);
        if key.signed(&commented, &self.of_comment) { Ok(()) } else { Err(SignatureError::Broken) }
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    /// Reads the text of a `.minisig` file: four lines.
    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let no = SignatureError::NotASignature;
        if text.len() > MOST_SIGNATURE_BYTES {
            return Err(no("it is longer than 8 KiB"));
        }
        let lines: Vec<_> = text.lines().collect();
        let [untrusted, first, trusted, second] = lines[..] else {
            return Err(no("it has four lines"));
        };
        if !untrusted.starts_with("untrusted comment: ") {
            return Err(no("its first line begins with `untrusted comment: `"));
        }
        let Some(trusted_comment) = trusted.strip_prefix("trusted comment: ") else {
            return Err(no("its third line begins with `trusted comment: `"));
        };
        let first: [u8; 74] = decode(first, "its second line is 100 letters and digits")?;
        let of_comment = decode(second, "its fourth line is 88 letters and digits")?;
        let (key_id, of_content) = match first.split_at(2) {
            (b"ED", rest) => rest.split_at(8),
            (b"Ed", _) => return Err(SignatureError::Legacy),
            _ => return Err(no("its algorithm is unknown")),
        };
        Ok(Self {
            key_id: KeyId::from_bytes(key_id.try_into().expect("it was split after eight")),
            of_content: of_content.try_into().expect("74 bytes without ten are 64"),
            trusted_comment: trusted_comment.to_owned(),
            of_comment,
        })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = [&b"ED"[..], &self.key_id.to_bytes(), &self.of_content].concat();
        writeln!(f, "untrusted comment: signature from minisign secret key {}", self.key_id)?;
        writeln!(f, "{}", BASE64.encode(&first))?;
        writeln!(f, "trusted comment: {}", self.trusted_comment)?;
        writeln!(f, "{}", BASE64.encode(&self.of_comment))
    }
}

/// What is signed in place of the content, so that it need not be in memory.
fn prehash(mut content: impl Read) -> io::Result<[u8; 64]> {
    let mut hasher = Blake2b512::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match content.read(&mut piece) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(length) => hasher.update(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn with_comment(of_content: &[u8], comment: &str) -> Vec<u8> {
    [of_content, comment.as_bytes()].concat()
}

fn decode<const N: usize>(line: &str, rule: &'static str) -> Result<[u8; N], SignatureError> {
    let bytes = BASE64.decode(line.trim().as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(SignatureError::NotASignature(rule))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by the C program, over `test`.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1556193335\tfile:test
y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==
";
    const LEGACY: &str = "untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==
";

    fn verify(content: &[u8], signature: &str) -> Result<(), SignatureError> {
        let key: PublicKey = KEY.parse().unwrap();
        key.verify(content, &signature.parse()?)
    }

    #[test]
    fn a_signature_of_the_c_program_is_right() {
        assert_eq!(verify(b"test", SIGNATURE), Ok(()));
        assert_eq!(verify(b"Test", SIGNATURE), Err(SignatureError::Broken));
    }

    #[test]
    fn the_trusted_comment_is_signed_and_the_untrusted_is_not() {
        let changed = SIGNATURE.replace("timestamp:1556193335", "timestamp:1556193336");
        assert_eq!(verify(b"test", &changed), Err(SignatureError::Broken));
        let changed = SIGNATURE.replace("from minisign", "of somebody's");
        assert_eq!(verify(b"test", &changed), Ok(()));
    }

    #[test]
    fn the_legacy_form_is_refused_with_the_cure() {
        assert_eq!(verify(b"test", LEGACY), Err(SignatureError::Legacy));
    }

    #[test]
    fn another_key_is_named() {
        let (other, _) = crate::generate(None).unwrap();
        let refused = other.verify(&b"test"[..], &SIGNATURE.parse().unwrap());
        assert!(matches!(refused, Err(SignatureError::OtherKey { .. })), "{refused:?}");
    }

    #[test]
    fn a_text_cut_anywhere_is_refused_and_no_crash() {
        for length in 0..SIGNATURE.len() - 1 {
            assert!(SIGNATURE[..length].parse::<Signature>().is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = verify(b"test", &text);
        }

        #[test]
        fn no_changed_byte_passes(at in 0..SIGNATURE.len(), byte in 32u8..127) {
            let mut bytes = SIGNATURE.as_bytes().to_vec();
            let is_untrusted = at < SIGNATURE.find('\n').unwrap();
            prop_assume!(bytes[at] != byte && !is_untrusted);
            bytes[at] = byte;
            let text = String::from_utf8(bytes).unwrap();
            prop_assert!(verify(b"test", &text).is_err());
        }
    }
}
