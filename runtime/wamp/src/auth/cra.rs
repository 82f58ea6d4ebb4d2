//! WAMP-CRA: the client signs the router's challenge with a shared secret.
//!
//! The key is the secret itself or, where the router sends a salt, what PBKDF2
//! makes of it, in base64. A router may store only the latter.

use std::num::NonZeroU32;

use data_encoding::BASE64;
use ring::{hmac, pbkdf2};

use super::{KeyError, Secret};

/// The most rounds of a derivation that anybody here computes: about a second.
/// More would let a router keep its clients busy.
pub(crate) const MAX_ITERATIONS: u32 = 5_000_000;

/// The lengths that a derived key may have, in bytes.
pub(crate) const KEY_LENGTHS: std::ops::RangeInclusive<u32> = 16..=64;

/// Derives the key of a salted secret.
///
/// # Errors
/// When the rounds or the length are outside of what is safe to compute.
pub(crate) fn derive_key(
    secret: &Secret,
    salt: &str,
    iterations: u32,
    key_length: u32,
) -> Result<Secret, KeyError> {
    let rounds = NonZeroU32::new(iterations).filter(|rounds| rounds.get() <= MAX_ITERATIONS);
    let rounds = rounds.ok_or(KeyError("the iterations must be from 1 to 5000000"))?;
    if !KEY_LENGTHS.contains(&key_length) {
        return Err(KeyError("the key length must be from 16 to 64 bytes"));
    }
    let mut key = [0; *KEY_LENGTHS.end() as usize];
    let key = &mut key[..key_length as usize];
    let secret = secret.reveal().as_bytes();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt.as_bytes(), secret, key);
    Ok(Secret::new(BASE64.encode(key)))
}

/// Signs a challenge; the AUTHENTICATE that answers it carries the result.
pub(crate) fn sign(key: &Secret, challenge: &str) -> String {
    BASE64.encode(hmac::sign(&hmac_key(key), challenge.as_bytes()).as_ref())
}

/// Whether a signature is that of the challenge under the key.
pub(crate) fn is_signature(key: &Secret, challenge: &str, signature: &str) -> bool {
    let tag = BASE64.decode(signature.as_bytes()).unwrap_or_default();
    hmac::verify(&hmac_key(key), challenge.as_bytes(), &tag).is_ok()
}

fn hmac_key(key: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.reveal().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with autobahn-python 26: `derive_key`, `compute_wcs`.
    #[test]
    fn keys_and_signatures_are_those_of_autobahn() {
        let key = derive_key(&Secret::new("sécret123"), "salt123", 100, 16).unwrap();
        assert_eq!(key.reveal(), "KkFNnGaT7FUc7qeBUnVDSA==");
        let key = derive_key(&Secret::new("sécret123"), "salt123", 1000, 32).unwrap();
        assert_eq!(key.reveal(), "/X6+1pVI5WYZ2nCaXHl+RiCl1XQwjReIOs3fleXsJQI=");
        let challenge = r#"{"authid": "é", "nonce": "1"}"#;
        assert_eq!(sign(&key, challenge), "3wo595cqKvp50Nj1/Kqm1Osp+A5YIZf+d/RByz7v/WY=");
        assert!(is_signature(&key, challenge, "3wo595cqKvp50Nj1/Kqm1Osp+A5YIZf+d/RByz7v/WY="));
    }

    #[test]
    fn only_the_right_key_signs_the_right_challenge() {
        let key = Secret::new("key");
        let signature = sign(&key, "challenge");
        assert!(is_signature(&key, "challenge", &signature));
        assert!(!is_signature(&key, "challenge2", &signature));
        assert!(!is_signature(&Secret::new("kez"), "challenge", &signature));
        for wrong in ["", "AAAA", "no base64!", &signature[1..]] {
            assert!(!is_signature(&key, "challenge", wrong), "{wrong}");
        }
    }

    #[test]
    fn a_derivation_that_takes_for_ever_is_refused() {
        let secret = Secret::new("s");
        for (iterations, length) in [(0, 32), (MAX_ITERATIONS + 1, 32), (1, 0), (1, 15), (1, 65)] {
            assert!(derive_key(&secret, "salt", iterations, length).is_err());
        }
    }
}
