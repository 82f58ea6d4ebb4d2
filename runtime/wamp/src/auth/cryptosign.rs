//! Cryptosign: the client signs 32 random bytes with its Ed25519 key.
//!
//! On the wire the challenge is 64 hexadecimal digits, and the signature 192:
//! 64 bytes of signature and then the 32 bytes that were signed. Nothing of the
//! connection is mixed in ("channel binding"): with TLS 1.3 there is no
//! `tls-unique`.

use std::fmt;
use std::str::FromStr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use data_encoding::HEXLOWER_PERMISSIVE;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::{KeyError, from_hex, to_hex};

/// What a router sends to be signed.
pub(crate) type Challenge = [u8; 32];

/// The secret half of a client's key. Never shown; read from 64 hexadecimal
/// digits, which is how autobahn and Crossbar keep keys.
pub struct SigningKey(RwLock<Ed25519KeyPair>);

impl SigningKey {
    /// The key of 32 secret random bytes.
    ///
    /// # Errors
    /// When the bytes make no key.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed);
        key.map(|key| Self(RwLock::new(key))).map_err(|_| KeyError("the bytes are no Ed25519 key"))
    }

    /// The half that routers know the client by.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair().public_key().as_ref());
        PublicKey(bytes)
    }

    /// Signs the challenge of a CHALLENGE; the AUTHENTICATE that answers it
    /// carries the result.
    ///
    /// # Errors
    /// When the challenge is not 32 bytes in hexadecimal digits. Only such are
    /// signed, so that a router cannot have anything else signed.
    pub(crate) fn sign(&self, challenge: &str) -> Result<String, KeyError> {
        let challenge: Challenge =
            from_hex(challenge).ok_or(KeyError("the challenge is not 64 hexadecimal digits"))?;
        Ok(to_hex(self.pair().sign(&challenge).as_ref()) + &to_hex(&challenge))
    }

    /// Is `other` from now on, for all that have this one. Sessions that there are
    /// go on; whoever joins then is who has `other`.
    pub fn replace(&self, other: Self) {
        let other = other.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = other;
    }

    fn pair(&self) -> RwLockReadGuard<'_, Ed25519KeyPair> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public_key())
    }
}

impl FromStr for SigningKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let seed = from_hex(text.trim());
        Self::from_seed(&seed.ok_or(KeyError("a private key is 64 hexadecimal digits"))?)
    }
}

/// What a router knows a client by; written as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Whether `signature` is that of the challenge by this key, with the
    /// challenge behind it.
    pub(crate) fn has_signed(&self, challenge: &Challenge, signature: &str) -> bool {
        let bytes = HEXLOWER_PERMISSIVE.decode(signature.as_bytes()).unwrap_or_default();
        let Some((signature, signed)) = bytes.split_first_chunk::<64>() else { return false };
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        signed == challenge && key.verify(challenge, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        from_hex(text.trim()).map(Self).ok_or(KeyError("a public key is 64 hexadecimal digits"))
    }
}

/// A challenge as a CHALLENGE carries it.
pub(crate) fn challenge_text(challenge: &Challenge) -> String {
    to_hex(challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own, those without channel binding.
    const VECTORS: [(&str, &str, &str); 3] = [
        (
            "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510",
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "b32675b221f08593213737bef8240e7c15228b07028e19595294678c90d11c0c\
             ae80a357331bfc5cc9fb71081464e6e75013517c2cf067ad566a6b7b728e5d03",
        ),
        (
            "d511fe78e23934b3dadb52fcd022974b80bd92bccc7c5cf404e46cc0a8a2f5cd",
            "b26c1f87c13fc1da14997f1b5a71995dff8fbe0a62fae8473c7bdbd05bfb607d",
            "d4209ad10d5aff6bfbc009d7e924795de138a63515efc7afc6b01b7fe5201372\
             190374886a70207b042294af5bd64ce725cd8dceb344e6d11c09d1aaaf4d660f",
        ),
        (
            "6e1fde9cf9e2359a87420b65a87dc0c66136e66945196ba2475990d8a0c3a25b",
            "b05e6b8ad4d69abf74aa3be3c0ee40ae07d66e1895b9ab09285a2f1192d562d2",
            "7beb282184baadd08f166f16dd683b39cab53816ed81e6955def951cb2ddad1e\
             c184e206746fd82bda075af03711d3d5658fc84a76196b0fa8d1ebc92ef9f30b",
        ),
    ];

    #[test]
    fn signatures_are_those_of_the_specification() {
        for (key, challenge, signature) in VECTORS {
            let key: SigningKey = key.parse().unwrap();
            let expected = format!("{signature}{challenge}");
            assert_eq!(key.sign(challenge).unwrap(), expected);
            let challenge = from_hex(challenge).unwrap();
            assert!(key.public_key().has_signed(&challenge, &expected));
            assert!(key.public_key().has_signed(&challenge, &expected.to_uppercase()));
        }
    }

    #[test]
    fn a_signature_of_something_else_or_by_somebody_else_is_none() {
        let [ours, theirs] = [[1; 32], [2; 32]].map(|seed| SigningKey::from_seed(&seed).unwrap());
        let challenge = [7; 32];
        let signature = ours.sign(&challenge_text(&challenge)).unwrap();
        assert!(ours.public_key().has_signed(&challenge, &signature));
        assert!(!theirs.public_key().has_signed(&challenge, &signature));
        // A replay: well signed, but not what was asked for.
        assert!(!ours.public_key().has_signed(&[8; 32], &signature));
        for wrong in ["", "zz", &signature[..128], &signature[2..], &format!("{signature}00")] {
            assert!(!ours.public_key().has_signed(&challenge, wrong), "{wrong}");
        }
    }

    #[test]
    fn keys_are_read_as_they_are_written_and_secrets_never_shown() {
        let key: SigningKey = VECTORS[0].0.to_uppercase().parse().unwrap();
        let public = key.public_key();
        assert_eq!(public.to_string().parse(), Ok(public));
        assert!(!format!("{key:?}").to_lowercase().contains(VECTORS[0].0));
        for wrong in ["", "ab", "no hexadecimal", &"a".repeat(63), &"a".repeat(65)] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
            assert!(wrong.parse::<SigningKey>().is_err(), "{wrong}");
        }
        assert!(key.sign("abcd").is_err(), "only challenges are signed");
    }
}
