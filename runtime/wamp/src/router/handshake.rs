//! The messages from HELLO to WELCOME, without the socket they travel on.
//!
//! ```text
//!   HELLO wanted ── HELLO, anonymous ───────────────> joins
//!        │                                              ^
//!        └── HELLO, challenged ──> AUTHENTICATE wanted ─┘ right
//! ```
//!
//! Everything else ends it, so it takes two messages at most. Where the realm has
//! a guard, it decides on what whoever is no principal has answered.

use std::net::SocketAddr;

use super::auth::{Fresh, Greeting, Introduction, Pending, Refusal, Stranger};
use super::entrance::{Admission, Entrance, Entrances};
use super::guard::{Applicant, Refused};
use crate::id::SessionId;
use crate::message::{ClientRoles, Message};
use crate::uri::error;

/// A session that has not joined yet.
#[derive(Debug)]
pub(super) struct Handshake<'a> {
    entrances: &'a Entrances,
    peer: SocketAddr,
    asked: Option<Asked<'a>>,
}

/// A client that has been asked who it is.
#[derive(Debug)]
struct Asked<'a> {
    entrance: &'a Entrance,
    roles: ClientRoles,
    question: Question,
    /// The id that it was told it would have.
    session: SessionId,
}

/// What it was asked.
#[derive(Debug)]
enum Question {
    Known(Pending),
    Stranger(Stranger),
}

/// A client on whom the realm's guard has to decide.
#[derive(Debug)]
pub(super) struct Application<'a> {
    pub(super) entrance: &'a Entrance,
    pub(super) roles: ClientRoles,
    /// Who it says it is, for the log.
    pub(super) authid: String,
    pub(super) method: &'static str,
    introduction: Introduction,
    session: SessionId,
}

/// What comes of a message.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// Send a message, and wait for another.
    Ask(Message),
    /// Let the client into the realm.
    Join { entrance: &'a Entrance, roles: ClientRoles, admission: Admission },
    /// Ask the realm's guard.
    Apply(Box<Application<'a>>),
    /// Tell the client why it cannot join.
    Abort { uri: &'static str, text: String },
    /// The same, for somebody who has not proved to be who they say they are.
    Deny {
        entrance: &'a Entrance,
        authid: String,
        method: &'static str,
        uri: &'static str,
        text: String,
    },
    /// The client gave up.
    Left,
}

impl<'a> Handshake<'a> {
    pub(super) fn new(entrances: &'a Entrances, peer: SocketAddr) -> Self {
        Self { entrances, peer, asked: None }
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
                        let question = Question::Known(pending);
                        self.asked = Some(Asked { entrance, roles, question, session });
                        Step::Ask(challenge)
                    }
                    Greeting::Ask(stranger) => {
                        let challenge = stranger.challenge();
                        let (roles, session) = (details.roles, fresh.session);
                        let question = Question::Stranger(stranger);
                        self.asked = Some(Asked { entrance, roles, question, session });
                        Step::Ask(challenge)
                    }
                    Greeting::Abort(refusal) => refusal.into(),
                }
            }
            (
                Some(Asked { entrance, roles, question: Question::Known(pending), session }),
                Message::Authenticate { signature, .. },
            ) => {
                let (authid, method) = (pending.authid(), pending.method());
                if let Err(Refused { uri, text, .. }) = entrance.may_try(self.peer) {
                    return Step::Abort { uri, text };
                }
                match pending.answer(&signature) {
                    Ok(identity) => {
                        let admission = entrance.admit(identity);
                        join(entrance, roles, admission.map(|one| one.with_session(session)))
                    }
                    Err(Refusal { uri, text }) => {
                        Step::Deny { entrance, authid, method, uri, text }
                    }
                }
            }
            (
                Some(Asked { entrance, roles, question: Question::Stranger(stranger), session }),
                Message::Authenticate { signature, .. },
            ) => {
                let (authid, method) = (stranger.authid(), stranger.method());
                match stranger.answer(&signature) {
                    Ok(introduction) => Step::Apply(Box::new(Application {
                        entrance,
                        roles,
                        authid,
                        method,
                        introduction,
                        session,
                    })),
                    Err(Refusal { uri, text }) => {
                        Step::Deny { entrance, authid, method, uri, text }
                    }
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

impl Application<'_> {
    /// Has the guard decide. It takes as long as the guard does.
    pub(super) async fn decide(&self, peer: SocketAddr) -> Result<Admission, Refused> {
        let Introduction { authid, wish, proof } = &self.introduction;
        let applicant =
            Applicant { peer, authid: authid.clone(), role: wish.clone(), proof: proof.clone() };
        let admission = self.entrance.ask_guard(applicant, self.method).await?;
        Ok(admission.with_session(self.session))
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
