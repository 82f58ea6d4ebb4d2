//! Public keys.

use std::fmt;
use std::io::Read;
use std::str::FromStr;

use data_encoding::BASE64;
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::secret::SECRET_BYTES;
use crate::signature::{Signature, SignatureError};

/// What keys of either half begin with: Ed25519.
pub(crate) const ALGORITHM: &[u8; 2] = b"Ed";

/// The number by which signatures name their key; 16 hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u64);

impl KeyId {
    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is something else.
    #[error(
        "it is no minisign public key: that is 56 letters and digits that begin with `RW`, the \
         second line of a `.pub` file"
    )]
    NotAKey,
    /// It is the secret one.
    #[error("it is a secret key: keep it to yourself, and give its public half, the `.pub` file")]
    Secret,
}

/// A key that checks signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    ed25519: [u8; 32],
}

impl PublicKey {
    pub(crate) fn new(id: KeyId, ed25519: [u8; 32]) -> Self {
        Self { id, ed25519 }
    }

    /// The number that it shares with its secret half.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The file of the key, as minisign writes it: a comment and the key.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("untrusted comment: minisign public key {}\n{self}\n", self.id)
    }

    /// Checks that this key signed `content`, and the signature's comment.
    ///
    /// # Errors
    ///
    /// If the signature is another key's, or content or comment are not what
    /// was signed, or the content cannot be read.
    pub fn verify(&self, content: impl Read, signature: &Signature) -> Result<(), SignatureError> {
        signature.check(self, content)
    }

    /// Checks the signature's comment alone, without the content: for whoever
    /// goes by a [`Claim`](crate::Claim) in it.
    ///
    /// # Errors
    ///
    /// If the signature is another key's, or the comment is not what was signed.
    pub fn verify_comment(&self, signature: &Signature) -> Result<(), SignatureError> {
        signature.check_comment(self)
    }

    /// Whether this key made `signature` of exactly `message`.
    pub(crate) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.ed25519).verify(message, signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// Reads the text of a `.pub` file, or its second line alone.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let is_comment = |line: &&str| line.is_empty() || line.starts_with("untrusted comment:");
        let mut lines = text.lines().map(str::trim).skip_while(is_comment);
        let line = lines.next().ok_or(KeyError::NotAKey)?;
        let bytes = BASE64.decode(line.as_bytes()).map_err(|_| KeyError::NotAKey)?;
        if !bytes.starts_with(ALGORITHM) {
            return Err(KeyError::NotAKey);
        }
        if bytes.len() == SECRET_BYTES {
            return Err(KeyError::Secret);
        }
        let Some((id, ed25519)) = bytes[ALGORITHM.len()..].split_first_chunk() else {
            return Err(KeyError::NotAKey);
        };
        let ed25519 = ed25519.try_into().map_err(|_| KeyError::NotAKey)?;
        Ok(Self::new(KeyId::from_bytes(*id), ed25519))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&ALGORITHM[..], &self.id.to_bytes(), &self.ed25519].concat();
        f.write_str(&BASE64.encode(&bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn a_key_is_read_from_its_line_and_from_its_file() {
        let key: PublicKey = KEY.parse().unwrap();
        assert_eq!(key.id().to_string(), "E7620F1842B4E81F");
        assert_eq!(key.to_text().parse::<PublicKey>().unwrap(), key);
        assert_eq!(format!(" {KEY}\r\n").parse::<PublicKey>().unwrap(), key);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "untrusted comment: x\n", "RWQf", &KEY[4..], &KEY.to_lowercase()] {
            assert_eq!(text.parse::<PublicKey>(), Err(KeyError::NotAKey), "{text}");
        }
    }

    #[test]
    fn a_secret_key_in_its_place_is_told_apart() {
        let (_, secret) = crate::generate(None).unwrap();
        assert_eq!(secret.parse::<PublicKey>(), Err(KeyError::Secret));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(untrusted comment: x\n)?[RWQa-zA-Z0-9+/=\n]{0,60}") {
            let _ = text.parse::<PublicKey>();
        }
    }
}
