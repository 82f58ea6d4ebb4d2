//! The messages from HELLO to WELCOME, without the socket they travel on.
//!
//! ```text
//!   HELLO wanted ── HELLO, anonymous ───────────────> joins
//!        │                                              ^
//!        └── HELLO, challenged ──> AUTHENTICATE wanted ─┘ right
//! ```
//!
//! Everything else ends it, so it takes two messages at most.

use super::auth::{Fresh, Greeting, Pending, Refusal};
use super::entrance::{Admission, Entrance, Entrances};
use crate::id::SessionId;
use crate::message::{ClientRoles, Message};
use crate::uri::error;

/// A session that has not joined yet.
#[derive(Debug)]
pub(super) struct Handshake<'a> {
    entrances: &'a Entrances,
    asked: Option<Asked<'a>>,
}

/// A client that has been asked who it is.
#[derive(Debug)]
struct Asked<'a> {
    entrance: &'a Entrance,
    roles: ClientRoles,
    pending: Pending,
    /// The id that it was told it would have.
    session: SessionId,
}

/// What comes of a message.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// Send a message, and wait for another.
    Ask(Message),
    /// Let the client into the realm.
    Join { entrance: &'a Entrance, roles: ClientRoles, admission: Admission },
    /// Tell the client why it cannot join.
    Abort { uri: &'static str, text: String },
    /// The same, for somebody who has not proved to be who they say they are.
    Deny { authid: String, method: &'static str, uri: &'static str, text: String },
    /// The client gave up.
    Left,
}

impl<'a> Handshake<'a> {
    pub(super) fn new(entrances: &'a Entrances) -> Self {
        Self { entrances, asked: None }
    }

    /// What is waited for, for people.
    pub(super) fn wants(&self) -> &'static str {
        if self.asked.is_some() { "AUTHENTICATE" } else { "HELLO" }
    }

    /// Takes a message. After anything but [`Step::Ask`] the handshake is over.
    pub(super) fn receive(&mut self, message: Message, fresh: &Fresh) -> Step<'a> {
        match (self.asked.take(), message) {
            (None, Message::Hello { realm, details }) => {
                if details.roles.is_empty() {
                    return violation("the HELLO announces no role".to_owned());
                }
                let Some(entrance) = self.entrances.get(&realm) else {
                    return Step::Abort {
                        uri: error::NO_SUCH_REALM,
                        text: no_such_realm(&realm, self.entrances),
                    };
                };
                match entrance.authenticator.greet(&details, fresh) {
                    Greeting::Welcome(identity) => {
                        join(entrance, details.roles, entrance.admit(identity))
                    }
                    Greeting::Challenge(pending) => {
                        let challenge = pending.challenge();
                        let (roles, session) = (details.roles, fresh.session);
                        self.asked = Some(Asked { entrance, roles, pending, session });
                        Step::Ask(challenge)
                    }
                    Greeting::Abort(refusal) => refusal.into(),
                }
            }
            (
                Some(Asked { entrance, roles, pending, session }),
                Message::Authenticate { signature, .. },
            ) => {
                let (authid, method) = (pending.authid(), pending.method());
                match pending.answer(&signature) {
                    Ok(identity) => {
                        let admission = entrance.admit(identity);
                        join(entrance, roles, admission.map(|one| one.with_session(session)))
                    }
                    Err(Refusal { uri, text }) => Step::Deny { authid, method, uri, text },
                }
            }
            (_, Message::Abort { .. } | Message::Goodbye { .. }) => Step::Left,
            (None, other) => {
                violation(format!("a session begins with HELLO, not with {}", other.name()))
            }
            (Some(_), other) => {
                violation(format!("{} came where AUTHENTICATE was due", other.name()))
            }
        }
    }
}

impl From<Refusal> for Step<'_> {
    fn from(refusal: Refusal) -> Self {
        Self::Abort { uri: refusal.uri, text: refusal.text }
    }
}

fn join(
    entrance: &Entrance,
    roles: ClientRoles,
    admission: Result<Admission, Refusal>,
) -> Step<'_> {
    match admission {
        Ok(admission) => Step::Join { entrance, roles, admission },
        Err(refusal) => refusal.into(),
    }
}

fn violation<'a>(text: String) -> Step<'a> {
    Step::Abort { uri: error::PROTOCOL_VIOLATION, text }
}

/// What somebody is told who asks for a realm that there is not.
pub(super) fn no_such_realm(realm: &str, entrances: &Entrances) -> String {
    let mut known: Vec<_> = entrances.keys().map(String::as_str).collect();
    known.sort_unstable();
    // The start is enough to recognise it, whatever was sent.
    let realm: String = realm.chars().take(100).collect();
    format!("no realm `{realm}` exists on this router, only {}", known.join(", "))
}
