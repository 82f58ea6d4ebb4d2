//! What a session holds at the router for a registration or subscription.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Handle;
use super::error::CallError;
use super::shared::ClientPorts;
use crate::message::{Message, RequestId};
use crate::session::{Acknowledgement, Session};

type Reply = oneshot::Sender<Acknowledgement>;
type Undo = fn(&mut Session<ClientPorts>, RequestId, Option<Reply>) -> Option<Message>;

/// A registration or subscription in one session; dropping it undoes it.
#[derive(Debug)]
pub(crate) struct Held {
    handle: Arc<Handle>,
    key: RequestId,
    undo: Undo,
}

impl Held {
    pub(super) fn registration(handle: &Arc<Handle>, key: RequestId) -> Self {
        Self { handle: Arc::clone(handle), key, undo: Session::unregister }
    }

    pub(super) fn subscription(handle: &Arc<Handle>, key: RequestId) -> Self {
        Self { handle: Arc::clone(handle), key, undo: Session::unsubscribe }
    }

    /// Undoes it, and waits until the router has acknowledged that.
    pub(crate) async fn undo(self) -> Result<(), CallError> {
        let (reply, answer) = oneshot::channel();
        let shared = &self.handle.shared;
        let message = shared.with_session(|session| (self.undo)(session, self.key, Some(reply)))?;
        if let Some(message) = message {
            // Without waiting for room: a new subscription of the same topic must
            // not overtake it.
            shared.send_now(message);
            self.handle.acknowledged(answer).await?;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        let message = shared.with_session(|session| (self.undo)(session, self.key, None));
        if let Ok(Some(message)) = message {
            shared.send_now(message);
        }
    }
}

/// Who holds it.
#[derive(Debug)]
pub(crate) enum Hold {
    /// One session.
    Session(Held),
    /// A link, in one session after the other.
    Link(Keeper),
}

/// The task that holds something in one session after the other; it ends when
/// this is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) task: JoinSet<Result<(), CallError>>,
    pub(crate) stop: CancellationToken,
}

impl Hold {
    /// Undoes it, and waits until the router has acknowledged that.
    pub(super) async fn undo(self) -> Result<(), CallError> {
        match self {
            Self::Session(held) => held.undo().await,
            Self::Link(Keeper { mut task, stop }) => {
                stop.cancel();
                task.join_next().await.and_then(Result::ok).unwrap_or(Ok(()))
            }
        }
    }
}
