//! What a client's handles and its task share.

mod task;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::callee::CalleePort;
use super::error::{CallError, CloseReason, Closed};
use super::subscriber::Inbox;
use crate::Serializer;
use crate::id::SessionId;
use crate::message::Message;
use crate::outbox::{Outbox, Outgoing};
use crate::payload::Payload;
use crate::queue::Queue;
use crate::router::{Seat, Standing};
use crate::session::{Acknowledgement, Ports, Refusal, Session};
pub(super) use task::Source;

/// What the session's core keeps for those who wait.
#[derive(Debug)]
pub(crate) enum ClientPorts {}

impl Ports for ClientPorts {
    type Call = Arc<Queue<Update>>;
    type Reply = oneshot::Sender<Acknowledgement>;
    type Registration = CalleePort;
    type Subscription = Arc<Inbox>;
    type Invocation = CancellationToken;
}

/// What a caller hears of its call.
#[derive(Debug)]
pub(crate) enum Update {
    /// A partial result.
    Progress(Payload),
    /// The answer; nothing follows.
    Answer(Result<Payload, Refusal>),
    /// More partial results waited than may; nothing follows.
    Overflow,
}

/// The way to the router.
#[derive(Debug)]
pub(super) enum Line {
    /// Through a socket, which the task drives.
    Socket { outbox: Arc<Outbox>, serializer: Serializer },
    /// Into the realm, in this process.
    Local(Seat),
}

/// What handles and task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: SessionId,
    pub(super) realm: String,
    pub(super) max_message_bytes: usize,
    line: Line,
    state: Mutex<State>,
    /// Someone asked for the end; it comes within a few seconds.
    closing: CancellationToken,
    /// The session has ended, and the reason is in the state.
    ended: CancellationToken,
    /// The connection is closed as well.
    gone: CancellationToken,
}

#[derive(Debug)]
struct State {
    session: Session<ClientPorts>,
    ended: Option<CloseReason>,
}

impl Shared {
    pub(super) fn new(id: SessionId, realm: &str, max_message_bytes: usize, line: Line) -> Self {
        Self {
            id,
            realm: realm.to_owned(),
            max_message_bytes,
            line,
            state: Mutex::new(State { session: Session::new(), ended: None }),
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
            gone: CancellationToken::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, so the state is whole in any case.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the session's core for something, unless the session has ended.
    pub(super) fn with_session<T>(
        &self,
        ask: impl FnOnce(&mut Session<ClientPorts>) -> T,
    ) -> Result<T, Closed> {
        let mut state = self.lock();
        match &state.ended {
            Some(reason) => Err(Closed(reason.clone())),
            None => Ok(ask(&mut state.session)),
        }
    }

    /// Arguments as this session sends them.
    pub(super) fn prepare(&self, name: &str, payload: &Payload) -> Result<Payload, CallError> {
        let payload = match self.line {
            Line::Socket { serializer, .. } => payload.in_form(serializer.form())?,
            Line::Local(_) => payload.clone(),
        };
        let bytes = payload.encoded_len() + name.len();
        let limit = self.max_message_bytes;
        if bytes > limit { Err(CallError::TooLarge { bytes, limit }) } else { Ok(payload) }
    }

    /// Sends a message when there is room for it. Cancel-safe.
    pub(super) async fn send(&self, message: Message) -> Result<(), Closed> {
        match &self.line {
            Line::Socket { outbox, .. } => {
                let outgoing = Outgoing::Own(message);
                let weight = outgoing.weight();
                let sent = outbox.queue().push_when_room(outgoing, weight).await;
                sent.map_err(|_| self.close_reason())
            }
            Line::Local(seat) => self.hand_over(seat, message),
        }
    }

    /// Sends a message at once: what is small, or must not wait.
    pub(super) fn send_now(&self, message: Message) {
        match &self.line {
            Line::Socket { outbox, .. } => {
                outbox.send_anyway(message);
            }
            Line::Local(seat) => {
                // If it fails the session has ended, and so has the interest in it.
                let _ = self.hand_over(seat, message);
            }
        }
    }

    /// Sends a message before all that wait.
    pub(super) fn send_urgent(&self, message: Message) -> Result<(), Closed> {
        match &self.line {
            Line::Socket { outbox, .. } => {
                let outgoing = Outgoing::Own(message);
                let weight = outgoing.weight();
                let is_sent = outbox.queue().push_urgent(outgoing, weight);
                if is_sent { Ok(()) } else { Err(self.close_reason()) }
            }
            Line::Local(seat) => self.hand_over(seat, message),
        }
    }

    fn hand_over(&self, seat: &Seat, message: Message) -> Result<(), Closed> {
        let is_goodbye = matches!(message, Message::Goodbye { .. });
        match seat.receive(message) {
            Ok(Standing::Joined) => Ok(()),
            Ok(Standing::Left) if is_goodbye => Ok(()),
            Ok(Standing::Left) => Err(self.close_reason()),
            Err(violation) => {
                self.end(&CloseReason::Connection(violation.to_string()));
                Err(self.close_reason())
            }
        }
    }

    /// Why the session has ended.
    pub(super) fn close_reason(&self) -> Closed {
        Closed(self.lock().ended.clone().unwrap_or(CloseReason::Local))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Resolves when the session has ended.
    pub(super) async fn closed(&self) -> CloseReason {
        self.ended.cancelled().await;
        self.close_reason().0
    }

    /// Begins the end of the session; the task does the rest.
    pub(super) fn begin_close(&self) {
        let goodbye = self.with_session(Session::leave).ok().flatten();
        if let Some(goodbye) = goodbye {
            self.send_now(goodbye);
        }
        self.closing.cancel();
    }

    /// Resolves when the connection is closed.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Forgets a call and tells the router.
    pub(super) fn cancel(&self, request: u64) {
        let cancel = self.with_session(|session| session.cancel(request));
        if let Ok(Some(message)) = cancel {
            self.send_now(message);
        }
    }

    /// Marks the session as ended, and tells everyone who waits.
    fn end(&self, reason: &CloseReason) {
        let bereaved = {
            let mut state = self.lock();
            if state.ended.is_some() {
                return;
            }
            state.ended = Some(reason.clone());
            state.session.end()
        };
        for call in bereaved.calls {
            call.close();
        }
        for port in bereaved.registrations {
            port.intake.session_ended(reason);
        }
        for inbox in bereaved.subscriptions {
            inbox.session_ended(reason);
        }
        for invocation in bereaved.invocations {
            invocation.cancel();
        }
        // Last, for whoever hears of it may make another session, and what the
        // owners of registrations are told of this one must not come after that.
        self.ended.cancel();
        // Replies are told by being dropped.
    }
}
