//! Secrets that the controller hands out once and knows only by their hash.

use drover_wamp::Secret;
use ring::digest::{SHA256, digest};

/// What the tokens of programs begin with, so that people and scanners know one.
const PREFIX: &str = "drt_";

/// A secret that was just made.
pub(super) struct NewSecret {
    /// What it is called. No secret.
    pub(super) id: String,
    /// What is handed out: the id and the secret.
    pub(super) text: Secret,
    /// What is kept.
    pub(super) hash: String,
}

/// What somebody says that may be such a secret.
pub(super) struct Shown<'a> {
    pub(super) id: &'a str,
    hash: String,
}

impl NewSecret {
    /// Draws one. 256 random bits need no slow hash.
    pub(super) fn draw() -> Self {
        let id = hex(&rand::random::<[u8; 5]>());
        let secret = data_encoding::BASE64URL_NOPAD.encode(&rand::random::<[u8; 32]>());
        let text = Secret::new(format!("{PREFIX}{id}_{secret}"));
        let hash = hash_of(text.reveal());
        Self { id, text, hash }
    }
}

impl<'a> Shown<'a> {
    /// The parts of a text that has the form of one.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let (id, _) = text.strip_prefix(PREFIX)?.split_once('_')?;
        Some(Self { id, hash: hash_of(text) })
    }

    /// Whether it is the one that is kept by this hash. What is compared are
    /// hashes, whose bytes nobody can choose, so the time tells nothing.
    pub(super) fn is(&self, hash: &str) -> bool {
        self.hash == hash
    }
}

fn hash_of(text: &str) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_hash_and_no_other_is() {
        let (one, other) = (NewSecret::draw(), NewSecret::draw());
        let shown = Shown::read(one.text.reveal()).unwrap();
        assert!(shown.id == one.id && shown.is(&one.hash) && !shown.is(&other.hash));
        let mixed = one.text.reveal().replace(&one.id, &other.id);
        assert!(!Shown::read(&mixed).unwrap().is(&one.hash));
        for wrong in ["", "drt_", "hunter2", "drt_ab"] {
            assert!(Shown::read(wrong).is_none(), "{wrong}");
        }
    }
}
