//! Content that is compared with what was stated of it, as it arrives.

use sha2::{Digest, Sha256};

use crate::hash::ContentHash;

/// Why content is not what was stated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// There is more than was stated.
    #[error("there is more of it than the {length} bytes that were stated")]
    TooLong {
        /// What was stated.
        length: u64,
    },
    /// There is less than was stated.
    #[error("it ends after {taken} of {length} bytes")]
    TooShort {
        /// What there is.
        taken: u64,
        /// What was stated.
        length: u64,
    },
    /// It is something else.
    #[error("its hash is {hash}, and {stated} was stated")]
    WrongHash {
        /// What it is.
        hash: ContentHash,
        /// What was stated.
        stated: ContentHash,
    },
}

/// Takes content piece by piece and says in the end whether it is the stated
/// one. It never takes more than was stated.
#[derive(Debug, Clone)]
pub struct ContentCheck {
    stated: ContentHash,
    length: u64,
    taken: u64,
    hasher: Sha256,
}

impl ContentCheck {
    /// Begins, with what is stated.
    #[must_use]
    pub fn new(stated: ContentHash, length: u64) -> Self {
        Self { stated, length, taken: 0, hasher: Sha256::new() }
    }

    /// How many bytes are missing.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.length - self.taken
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// If they are more than are missing; they are not taken then, and must
    /// not be kept.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        if bytes.len() as u64 > self.missing() {
            return Err(ContentError::TooLong { length: self.length });
        }
        self.taken += bytes.len() as u64;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Ends.
    ///
    /// # Errors
    ///
    /// If bytes are missing, or it is something else.
    pub fn finish(self) -> Result<(), ContentError> {
        if self.missing() > 0 {
            return Err(ContentError::TooShort { taken: self.taken, length: self.length });
        }
        let hash = ContentHash::from_bytes(self.hasher.finalize().into());
        if hash != self.stated {
            return Err(ContentError::WrongHash { hash, stated: self.stated });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stated: &[u8], pieces: &[&[u8]]) -> Result<(), ContentError> {
        let mut check = ContentCheck::new(ContentHash::of(stated), stated.len() as u64);
        pieces.iter().try_for_each(|piece| check.take(piece))?;
        check.finish()
    }

    #[test]
    fn content_is_the_stated_one_in_whatever_pieces_it_comes() {
        assert_eq!(check(b"", &[]), Ok(()));
        assert_eq!(check(b"content", &[b"con", b"", b"tent"]), Ok(()));
    }

    #[test]
    fn other_content_is_refused() {
        assert_eq!(
            check(b"content", &[b"con"]).unwrap_err().to_string(),
            "it ends after 3 of 7 bytes"
        );
        assert!(matches!(check(b"content", &[b"c0ntent"]), Err(ContentError::WrongHash { .. })));
        assert!(matches!(check(b"content", &[b"contents"]), Err(ContentError::TooLong { .. })));
    }
}
