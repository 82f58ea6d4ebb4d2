//! Secret keys: made, kept with or without a password, and used to sign.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use data_encoding::BASE64;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::key::{ALGORITHM, KeyId, PublicKey};
use crate::password::{self, Cost};
use crate::signature::Signature;

/// Algorithms, salt and cost, and what the password hides.
pub(crate) const SECRET_BYTES: usize = HEAD_BYTES + HIDDEN_BYTES;
const HEAD_BYTES: usize = 6 + 32 + 8 + 8;
/// Key id, both halves of the key, checksum.
const HIDDEN_BYTES: usize = 8 + 32 + 32 + 32;

/// Algorithms of passwords: scrypt, and none.
const SCRYPT: &[u8; 2] = b"Sc";
const OPEN: &[u8; 2] = b"\0\0";
/// The algorithm of the checksum: BLAKE2b.
const CHECKSUM: &[u8; 2] = b"B2";

/// Why a secret key cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum SecretKeyError {
    /// It is something else.
    #[error("it is no minisign secret key: `drover key new` makes one, and so does `minisign -G`")]
    NotAKey,
    /// The password does not open it.
    #[error("the password is not that of this key")]
    WrongPassword,
    /// Its password costs more memory or time than any should.
    #[error("its password would cost more than minisign's own do: make another key")]
    TooCostly,
    /// It is damaged.
    #[error("the key is damaged: its checksum is wrong")]
    Damaged,
    /// The system has no randomness.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// A key that signs.
pub struct SecretKey {
    id: KeyId,
    pair: Ed25519KeyPair,
}

/// A secret key as its file has it.
#[derive(Debug)]
pub enum StoredKey {
    /// Without a password.
    Open(SecretKey),
    /// Behind one.
    Locked(LockedKey),
}

/// A secret key that a password opens.
pub struct LockedKey {
    salt: [u8; 32],
    cost: Cost,
    hidden: [u8; HIDDEN_BYTES],
}

/// Makes a key: the public half, and the text of the secret half's file, which
/// only `password` opens, if there is one.
///
/// # Errors
///
/// If the system has no randomness.
pub fn generate(password: Option<&str>) -> Result<(PublicKey, String), SecretKeyError> {
    let (mut id, mut seed, mut salt) = ([0; 8], [0; 32], [0; 32]);
    let system = SystemRandom::new();
    let filled = system.fill(&mut id).and(system.fill(&mut seed)).and(system.fill(&mut salt));
    filled.map_err(|_| SecretKeyError::NoRandomness)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| SecretKeyError::Damaged)?;
    let key = SecretKey { id: KeyId::from_bytes(id), pair };
    let public = key.public_key();

    let mut hidden = [&id[..], &seed, key.pair.public_key().as_ref()].concat();
    hidden.extend(checksum(&hidden));
    let Some(password) = password else {
        let head = [&ALGORITHM[..], OPEN, CHECKSUM, &[0; 48]].concat();
        return Ok((public, text("minisign unencrypted secret key", &[head, hidden].concat())));
    };
    hide(&mut hidden, password, &salt, password::OURS)?;
    let Cost { operations, bytes } = password::OURS;
    let (operations, bytes) = (operations.to_le_bytes(), bytes.to_le_bytes());
    let head = [&ALGORITHM[..], SCRYPT, CHECKSUM, &salt, &operations, &bytes].concat();
    Ok((public, text("minisign encrypted secret key", &[head, hidden].concat())))
}

fn text(comment: &str, bytes: &[u8]) -> String {
    format!("untrusted comment: {comment}\n{}\n", BASE64.encode(bytes))
}

/// The checksum of key id and key.
fn checksum(key: &[u8]) -> [u8; 32] {
    Blake2b::<U32>::new().chain_update(ALGORITHM).chain_update(key).finalize().into()
}

/// Hides what is open, and opens what is hidden.
fn hide(bytes: &mut [u8], password: &str, salt: &[u8], cost: Cost) -> Result<(), SecretKeyError> {
    let mut stream = [0; HIDDEN_BYTES];
    password::derive(password, salt, cost, &mut stream).ok_or(SecretKeyError::TooCostly)?;
    bytes.iter_mut().zip(stream).for_each(|(byte, hiding)| *byte ^= hiding);
    Ok(())
}

impl FromStr for StoredKey {
    type Err = SecretKeyError;

    /// Reads the text of a secret key's file.
    fn from_str(text: &str) -> Result<Self, SecretKeyError> {
        let line = text.lines().nth(1).ok_or(SecretKeyError::NotAKey)?;
        let bytes = BASE64.decode(line.trim().as_bytes()).map_err(|_| SecretKeyError::NotAKey)?;
        let bytes: [u8; SECRET_BYTES] = bytes.try_into().map_err(|_| SecretKeyError::NotAKey)?;
        let (algorithms, salt, cost) = (&bytes[..6], &bytes[6..38], &bytes[38..HEAD_BYTES]);
        let mut hidden = [0; HIDDEN_BYTES];
        hidden.copy_from_slice(&bytes[HEAD_BYTES..]);
        if algorithms == [&ALGORITHM[..], OPEN, CHECKSUM].concat() {
            return SecretKey::read(&hidden).map(Self::Open).ok_or(SecretKeyError::Damaged);
        }
        if algorithms != [&ALGORITHM[..], SCRYPT, CHECKSUM].concat() {
            return Err(SecretKeyError::NotAKey);
        }
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, b| sum << 8 | u64::from(*b));
        let cost = Cost { operations: number(&cost[..8]), bytes: number(&cost[8..]) };
        let salt = salt.try_into().map_err(|_| SecretKeyError::NotAKey)?;
        Ok(Self::Locked(LockedKey { salt, cost, hidden }))
    }
}

impl LockedKey {
    /// Opens the key. That takes a second or two of work and up to a gigabyte
    /// of memory, as whoever made the key decided.
    ///
    /// # Errors
    ///
    /// If the password is another.
    pub fn unlock(&self, password: &str) -> Result<SecretKey, SecretKeyError> {
        let mut key = self.hidden;
        hide(&mut key, password, &self.salt, self.cost)?;
        SecretKey::read(&key).ok_or(SecretKeyError::WrongPassword)
    }
}

impl SecretKey {
    /// The key of what was hidden; none if the checksum is wrong.
    fn read(bytes: &[u8; HIDDEN_BYTES]) -> Option<Self> {
        let (key, sum) = bytes.split_at(HIDDEN_BYTES - 32);
        if checksum(key) != sum {
            return None;
        }
        let (id, halves) = key.split_first_chunk()?;
        let (seed, public) = halves.split_at(32);
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public).ok()?;
        Some(Self { id: KeyId::from_bytes(*id), pair })
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let mut ed25519 = [0; 32];
        ed25519.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey::new(self.id, ed25519)
    }

    /// Signs `content`, and `trusted_comment` with it, which is one line. The
    /// text of the answer is a `.minisig` file.
    ///
    /// # Errors
    ///
    /// If the content cannot be read.
    pub fn sign(&self, content: impl Read, trusted_comment: &str) -> io::Result<Signature> {
        Signature::new(self.id, content, trusted_comment, |message| {
            let mut signature = [0; 64];
            signature.copy_from_slice(self.pair.sign(message).as_ref());
            signature
        })
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl fmt::Debug for LockedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(locked)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_without_a_password_is_read_as_it_was_made() {
        let (public, text) = generate(None).unwrap();
        let StoredKey::Open(secret) = text.parse().unwrap() else { panic!("it is locked") };
        assert_eq!(secret.public_key(), public);
        assert_eq!(format!("{secret:?}"), "(hidden)");
    }

    #[test]
    fn only_its_password_opens_a_locked_key() {
        let (public, text) = generate(Some("correct horse")).unwrap();
        let StoredKey::Locked(locked) = text.parse().unwrap() else { panic!("it is open") };
        assert!(matches!(locked.unlock("battery"), Err(SecretKeyError::WrongPassword)));
        assert_eq!(locked.unlock("correct horse").unwrap().public_key(), public);
    }

    #[test]
    fn a_damaged_key_and_what_is_none_are_refused() {
        let (public, text) = generate(None).unwrap();
        let mut damaged = text.lines().nth(1).unwrap().as_bytes().to_vec();
        damaged[150] = if damaged[150] == b'A' { b'B' } else { b'A' };
        let damaged = format!("untrusted comment: x\n{}\n", String::from_utf8(damaged).unwrap());
        assert!(matches!(damaged.parse::<StoredKey>(), Err(SecretKeyError::Damaged)));
        for text in ["", "untrusted comment: x\nRWRTY0Iy\n", &public.to_text()] {
            assert!(matches!(text.parse::<StoredKey>(), Err(SecretKeyError::NotAKey)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "untrusted comment: x\n[RWQa-zA-Z0-9+/=\n]{0,220}") {
            let _ = text.parse::<StoredKey>();
        }
    }
}
