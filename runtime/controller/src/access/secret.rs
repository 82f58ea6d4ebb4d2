//! Secrets that the controller hands out once and knows only by their hash.

use drover_api::Timestamp;
use drover_wamp::Secret;
use ring::digest::{SHA256, digest};
use ring::hmac;

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

/// What tickets begin with.
const TICKET: &str = "drf_";

/// How long a ticket is good.
const TICKET_LIFE_MS: u64 = 3600 * 1000;

/// Makes tickets for files, which nobody keeps: they say until when they count, and
/// are signed with a key that ends with the program.
#[derive(Debug)]
pub(super) struct Tickets(hmac::Key);

impl Default for Tickets {
    fn default() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()))
    }
}

impl Tickets {
    pub(super) fn make(&self, now: Timestamp) -> (Secret, Timestamp) {
        let expires = Timestamp(now.0.saturating_add(TICKET_LIFE_MS));
        let signed = hmac::sign(&self.0, expires.0.to_string().as_bytes());
        (Secret::new(format!("{TICKET}{}_{}", expires.0, hex(signed.as_ref()))), expires)
    }

    pub(super) fn is(&self, text: &Secret, now: Timestamp) -> bool {
        let parts = text.reveal().strip_prefix(TICKET).and_then(|rest| rest.split_once('_'));
        let Some((expires, signed)) = parts else { return false };
        let Ok(signed) = data_encoding::HEXLOWER.decode(signed.as_bytes()) else { return false };
        hmac::verify(&self.0, expires.as_bytes(), &signed).is_ok()
            && expires.parse::<u64>().is_ok_and(|expires| now.0 < expires)
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

    #[test]
    fn a_ticket_counts_for_an_hour_and_only_where_it_was_made() {
        let (tickets, now) = (Tickets::default(), Timestamp(1_000_000));
        let (ticket, expires) = tickets.make(now);
        assert!(tickets.is(&ticket, now) && tickets.is(&ticket, Timestamp(expires.0 - 1)));
        assert!(!tickets.is(&ticket, expires) && !Tickets::default().is(&ticket, now));
        let longer = ticket.reveal().replace(&expires.0.to_string(), "9999999999999");
        for forged in [longer.as_str(), "", "drf_", "drf_1_", "drf__00", "drt_1_2"] {
            assert!(!tickets.is(&Secret::new(forged), now), "{forged}");
        }
    }
}
