//! Proofs of who a client is: how a client makes them, and how a router checks them.
//!
//! Pure functions of keys and challenges; who may join with which of them is
//! the router's business (`router/auth`).
//!
//! | method | the client knows | it sends |
//! |---|---|---|
//! | `ticket` | a secret | the secret itself |
//! | `wampcra` | a secret | an HMAC of the router's challenge: [`cra`] |
//! | `cryptosign` | an Ed25519 key | a signature of the router's challenge: [`cryptosign`] |

pub(crate) mod cra;
pub(crate) mod cryptosign;

use std::fmt;

use ring::hmac;

pub use cryptosign::{PublicKey, SigningKey};

/// The names of the methods on the wire.
pub(crate) mod method {
    pub(crate) const ANONYMOUS: &str = "anonymous";
    pub(crate) const TICKET: &str = "ticket";
    pub(crate) const WAMPCRA: &str = "wampcra";
    pub(crate) const CRYPTOSIGN: &str = "cryptosign";
}

/// A text that must not be seen: no output of this type shows it.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes a text out of sight.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into_boxed_str())
    }

    /// The text, for whoever has to send it or derive a key of it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same text. How long that takes tells nothing
    /// about where the two differ.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        // Tags under a key that nobody can know: neither their bytes nor the
        // lengths of the texts can be guessed from the time of the comparison.
        let key = hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>());
        let tag = hmac::sign(&key, self.0.as_bytes());
        hmac::verify(&key, other.as_bytes(), tag.as_ref()).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.reveal())
    }
}

impl Eq for Secret {}

/// A key or a challenge that cannot be used. Says nothing of what was given,
/// which may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub(crate) &'static str);

/// Reads 32 bytes of hexadecimal digits in either case.
pub(crate) fn from_hex(text: &str) -> Option<[u8; 32]> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_and_never_shown() {
        let secret = Secret::new("hunter2");
        assert!(secret.is("hunter2"));
        for wrong in ["", "hunter", "hunter22", "Hunter2"] {
            assert!(!secret.is(wrong), "{wrong}");
        }
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
