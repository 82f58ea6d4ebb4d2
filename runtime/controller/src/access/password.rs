//! Passwords, of which only argon2id hashes are kept.

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64;
use drover_wamp::Secret;
use serde::{Deserialize, Serialize};

/// The shortest password.
const MIN_LENGTH: usize = 8;

/// The longest, so that nobody has megabytes hashed.
const MAX_LENGTH: usize = 1024;

/// Memory in KiB and rounds: what OWASP advises, about 50 ms.
const MEMORY_KIB: u32 = 19 * 1024;
const ROUNDS: u32 = 2;

const HASH_LENGTH: usize = 32;

/// What is kept of a password, with all that it takes to check one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PasswordHash {
    memory_kib: u32,
    rounds: u32,
    /// Both in base64.
    salt: String,
    hash: String,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(hidden)")
    }
}

impl PasswordHash {
    /// Hashes a new password; takes its time.
    pub(super) fn of(password: &Secret) -> Result<Self, String> {
        let length = password.reveal().len();
        if !(MIN_LENGTH..=MAX_LENGTH).contains(&length) {
            return Err(format!("a password has {MIN_LENGTH} to {MAX_LENGTH} bytes"));
        }
        let salt = rand::random::<[u8; 16]>();
        let hash = compute(password.reveal(), &salt, MEMORY_KIB, ROUNDS)
            .ok_or("the password cannot be hashed")?;
        Ok(Self {
            memory_kib: MEMORY_KIB,
            rounds: ROUNDS,
            salt: BASE64.encode(&salt),
            hash: BASE64.encode(&hash),
        })
    }

    /// One that no password has, for users that there are not: checking it takes
    /// as long as checking another.
    pub(super) fn of_nobody() -> Self {
        Self {
            memory_kib: MEMORY_KIB,
            rounds: ROUNDS,
            salt: BASE64.encode(&[0; 16]),
            hash: String::new(),
        }
    }

    /// Whether this is the password; takes its time.
    pub(super) fn is(&self, password: &Secret) -> bool {
        let text = password.reveal();
        let salt = BASE64.decode(self.salt.as_bytes()).unwrap_or_default();
        let known = BASE64.decode(self.hash.as_bytes()).unwrap_or_default();
        text.len() <= MAX_LENGTH
            && compute(text, &salt, self.memory_kib, self.rounds)
                .is_some_and(|hash| hash.as_slice() == known)
    }
}

fn compute(password: &str, salt: &[u8], memory_kib: u32, rounds: u32) -> Option<[u8; HASH_LENGTH]> {
    let params = Params::new(memory_kib, rounds, 1, Some(HASH_LENGTH)).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = [0; HASH_LENGTH];
    argon2.hash_password_into(password.as_bytes(), salt, &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_never_shown() {
        let password = Secret::new("correct horse");
        let hash = PasswordHash::of(&password).unwrap();
        assert!(hash.is(&password));
        assert!(!hash.is(&Secret::new("correct hors")));
        assert!(!PasswordHash::of_nobody().is(&password));
        assert!(!PasswordHash::of_nobody().is(&Secret::new("")));
        let kept = serde_json::to_string(&hash).unwrap();
        assert!(serde_json::from_str::<PasswordHash>(&kept).unwrap().is(&password));
        assert!(!kept.contains("horse") && !format!("{hash:?}").contains("hash:"));
        assert_ne!(PasswordHash::of(&password).unwrap(), hash, "the salt is new");
    }

    #[test]
    fn a_short_password_and_an_endless_one_are_refused() {
        for text in ["", "1234567", &"x".repeat(2000)] {
            assert!(PasswordHash::of(&Secret::new(text)).is_err());
        }
    }
}
