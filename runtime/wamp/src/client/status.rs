//! Where a registration or subscription stands.

use tokio::sync::watch;

use super::error::{CallError, CloseReason};
use crate::id::SessionId;

/// Where a registration or subscription stands.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Status {
    /// The router does not have it: there is no session yet or any more, or
    /// the router refused it for now, which is tried again.
    Waiting {
        /// The refusal, if that is the cause.
        refusal: Option<CallError>,
    },
    /// The router has it, in this session.
    Active(SessionId),
    /// It is over for good.
    Ended(EndReason),
}

/// Why a registration or subscription is over.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EndReason {
    /// The session that it belonged to has ended.
    #[error(transparent)]
    Session(#[from] CloseReason),
    /// The router took it away, for example because somebody else wanted the procedure.
    #[error("the router took it away: {}", .0.as_deref().unwrap_or("it gives no reason"))]
    Revoked(
        /// The reason, a URI for programs, if the router gave one.
        Option<String>,
    ),
    /// The router refused it, and asking again would not help.
    #[error(transparent)]
    Refused(CallError),
}

/// How long a registration or subscription lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// As long as its session.
    Session,
    /// As long as a link, over many sessions.
    Link,
}

/// A status that can be watched. What has ended stays so.
#[derive(Debug)]
pub(crate) struct StatusCell {
    status: watch::Sender<Status>,
    lifetime: Lifetime,
}

impl StatusCell {
    pub(super) fn new(lifetime: Lifetime) -> Self {
        Self { status: watch::Sender::new(Status::Waiting { refusal: None }), lifetime }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(super) fn now(&self) -> Status {
        self.status.borrow().clone()
    }

    fn set(&self, status: Status) {
        self.status.send_if_modified(|now| {
            let changes = !matches!(now, Status::Ended(_)) && *now != status;
            if changes {
                *now = status;
            }
            changes
        });
    }

    pub(super) fn active(&self, session: SessionId) {
        self.set(Status::Active(session));
    }

    pub(crate) fn waiting(&self, refusal: Option<CallError>) {
        self.set(Status::Waiting { refusal });
    }

    pub(crate) fn end(&self, reason: EndReason) {
        self.set(Status::Ended(reason));
    }

    /// Its session has ended; true if that is the end of it as well.
    pub(super) fn session_ended(&self, reason: &CloseReason) -> bool {
        match self.lifetime {
            Lifetime::Session => self.end(EndReason::Session(reason.clone())),
            Lifetime::Link => self.waiting(None),
        }
        self.lifetime == Lifetime::Session
    }

    /// Resolves when it is over.
    pub(crate) async fn ended(&self) -> EndReason {
        let mut status = self.watch();
        match status.wait_for(|status| matches!(status, Status::Ended(_))).await.as_deref() {
            Ok(Status::Ended(reason)) => reason.clone(),
            // The sender is ours, and lives.
            _ => EndReason::Session(CloseReason::Local),
        }
    }

    /// Resolves when the router has it, with the session; or when it never will.
    pub(super) async fn settled(&self) -> Result<SessionId, EndReason> {
        let mut status = self.watch();
        let is_settled = |status: &Status| !matches!(status, Status::Waiting { .. });
        match status.wait_for(is_settled).await.as_deref() {
            Ok(Status::Active(session)) => Ok(*session),
            Ok(Status::Ended(reason)) => Err(reason.clone()),
            // The sender is ours, and lives.
            _ => Err(EndReason::Session(CloseReason::Local)),
        }
    }
}
