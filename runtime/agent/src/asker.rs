//! Who a job is done for.

use drover_wamp::{Closed, Invocation, Payload, Principal};
use tokio_util::sync::CancellationToken;

use crate::vitals::Way;

/// Whoever asked for a job: a call that waits for its answer, or nobody who waits, as
/// with durable jobs.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// Whether anybody listens to what is told before the answer.
    pub(crate) wants_progress: bool,
    /// Who it is, where that is known.
    pub(crate) caller: Option<&'a Principal>,
    cancelled: &'a CancellationToken,
    call: Option<&'a Invocation>,
}

impl<'a> Asker<'a> {
    /// The caller of a procedure.
    pub(crate) fn of(call: &'a Invocation) -> Self {
        Self {
            wants_progress: call.wants_progress,
            caller: call.caller.as_deref(),
            cancelled: call.cancelled(),
            call: Some(call),
        }
    }

    /// Somebody who does not wait; `cancelled` says that the job is to end.
    pub(crate) fn absent(caller: Option<&'a Principal>, cancelled: &'a CancellationToken) -> Self {
        Self { wants_progress: false, caller, cancelled, call: None }
    }

    /// Is cancelled when the job is to end.
    pub(crate) fn cancelled(&self) -> &'a CancellationToken {
        self.cancelled
    }

    /// Which way the command came.
    pub(crate) fn way(&self) -> Way {
        if self.call.is_some() { Way::Live } else { Way::Durable }
    }

    /// Tells something before the answer; nothing if nobody listens.
    ///
    /// # Errors
    ///
    /// If the session has ended.
    pub(crate) async fn progress(&self, payload: Payload) -> Result<(), Closed> {
        match self.call {
            Some(call) => call.progress(payload).await,
            None => Ok(()),
        }
    }
}
