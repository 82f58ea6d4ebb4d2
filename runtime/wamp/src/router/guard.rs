//! Whoever watches over a realm beside its configuration: decides who else may
//! join, and hears of every call.
//!
//! ```text
//!   HELLO, AUTHENTICATE ──> the proof is one ──> admit ──> the session, or a refusal
//!   CALL ──> call ──> its role's rules ──> callee ──> ended
//! ```
//!
//! Who is in the configuration needs no guard to join, but it hears of those who
//! fail at that, and may have them wait. That a client has the key that it names is
//! checked before a guard is asked; what a ticket is worth is the guard's own affair.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::config::Permission;
use crate::auth::{PublicKey, Secret};
use crate::id::SessionId;
use crate::payload::Payload;

/// A realm and who watches over it.
#[derive(Debug, Clone)]
pub struct Guarded {
    /// The realm's name.
    pub realm: String,
    /// Its guard.
    pub guard: Arc<dyn Guard>,
}

/// A guard's decision on its way.
pub type Admitting<'a> = Pin<Box<dyn Future<Output = Result<Guest, Refused>> + Send + 'a>>;

/// Watches over a realm.
pub trait Guard: fmt::Debug + Send + Sync {
    /// Decides whether somebody may join. The handshake's time bounds it.
    fn admit(&self, applicant: Applicant) -> Admitting<'_>;

    /// Hears of a call before the caller's role is asked, and may refuse it.
    /// Called from the sessions' tasks, so it must not block.
    fn call(&self, caller: &Caller, procedure: &str, payload: &Payload) -> Verdict;

    /// Says no to somebody who is about to prove something to the router itself, if
    /// too much from there has failed. Must not block.
    ///
    /// # Errors
    ///
    /// When to come back.
    fn may_try(&self, peer: SocketAddr) -> Result<(), Refused> {
        let _ = peer;
        Ok(())
    }

    /// Hears that a proof was wrong that the router has checked itself: of somebody
    /// with this name, or who says so. Must not block.
    fn failed(&self, peer: SocketAddr, authid: &str, method: &str) {
        let _ = (peer, authid, method);
    }

    /// Whether a ticket is for reading files that are handed out over HTTP, and for
    /// nothing else. Must not block.
    fn opens_files(&self, ticket: &Secret) -> bool {
        let _ = ticket;
        false
    }

    /// Hears how a call ended of which it said [`Verdict::Watch`]; once each.
    /// Must not block, nor call the router.
    fn ended(&self, call: u64, ending: Ending<'_>);
}

/// Somebody who wants to join and whom the configuration does not know.
#[derive(Debug, Clone)]
pub struct Applicant {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Who it says it is; HTTP requests do not say.
    pub authid: Option<String>,
    /// The role that it insists on, if it does.
    pub role: Option<String>,
    /// What it proves that with.
    pub proof: Proof,
}

/// What an applicant brings.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A text that it knows.
    Ticket(Secret),
    /// A key that it has, which is certain.
    Key(PublicKey),
}

/// An applicant who may join.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Who it is.
    pub authid: String,
    /// The name of its role, which need not be one of the realm's.
    pub role: String,
    /// What it may do.
    pub permissions: Vec<Permission>,
    /// What its guard wants to know it by; told nobody else.
    pub badge: String,
}

/// An applicant who may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The reason, for programs: one of [`uri::error`](crate::uri::error).
    pub uri: &'static str,
    /// The reason, for people.
    pub text: String,
    /// How long another attempt is in vain, whatever it brings.
    pub retry_in: Option<Duration>,
}

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its session.
    pub session: SessionId,
    /// Who it is.
    pub authid: String,
    /// Its role.
    pub authrole: String,
    /// How it has proved that.
    pub authmethod: String,
    /// Where it comes from; none is the router's own bridge.
    pub peer: Option<SocketAddr>,
    /// What its guard knows it by.
    pub badge: Option<String>,
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The role's rules decide.
    Pass,
    /// The same, and the guard wants to hear how it ends, under this number.
    Watch(u64),
    /// It is refused with these words.
    Deny(String),
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending<'a> {
    /// With an answer.
    Answered,
    /// With an error of this URI.
    Failed(&'a str),
    /// The caller's session ended before.
    Left,
}
