//! What a client's handles and its task share, and the task.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;

use super::callee::CalleePort;
use super::error::{CallError, CloseReason, Closed};
use super::invocation::{Delivery, PendingInvocation};
use super::status::EndReason;
use super::subscriber::Inbox;
use crate::Serializer;
use crate::id::SessionId;
use crate::message::{Message, RequestKind};
use crate::outbox::{Outbox, Outgoing};
use crate::payload::Payload;
use crate::queue::{Queue, Refused};
use crate::router::{Seat, Standing};
use crate::session::{Acknowledgement, Effect, Invoked, Ports, Refusal, Session};
use crate::uri;
use crate::wire::{Incoming, Wire};

/// How long the router has to answer a GOODBYE, and then to close the connection.
const FAREWELL: Duration = Duration::from_secs(2);

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

/// Where messages of the router come from.
#[derive(Debug)]
pub(super) enum Source {
    /// The socket.
    Wire(Box<Wire>),
    /// The outbox that the realm puts them into.
    Local(Arc<Outbox>),
}

/// What handles and task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: SessionId,
    pub(super) realm: String,
    pub(super) max_message_bytes: usize,
    line: Line,
    state: Mutex<State>,
    /// Someone asked for the end; it comes within [`FAREWELL`].
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

    /// The task: handles what comes until the session has ended, then closes the connection.
    pub(super) async fn run(self: Arc<Self>, mut source: Source) {
        let _gone = self.gone.clone().drop_guard();
        let reason = tokio::select! {
            reason = self.pump(&mut source) => reason,
            () = self.give_up() => CloseReason::Local,
        };
        tracing::debug!(session = %self.id, %reason, "session ended");
        let text = reason.to_string();
        let code = match &reason {
            CloseReason::Connection(_) => CloseCode::Protocol,
            _ => CloseCode::Normal,
        };
        self.end(&reason);
        match source {
            Source::Wire(wire) => wire.finish(code, &text, FAREWELL).await,
            Source::Local(_) => {
                if let Line::Local(seat) = &self.line {
                    seat.leave();
                }
            }
        }
    }

    async fn give_up(&self) {
        self.closing.cancelled().await;
        tokio::time::sleep(FAREWELL).await;
    }

    async fn pump(self: &Arc<Self>, source: &mut Source) -> CloseReason {
        loop {
            let message = match source {
                Source::Wire(wire) => match wire.next().await {
                    Ok(Incoming::Message(message)) => message,
                    Ok(Incoming::BadRequest { answer, why }) => {
                        tracing::warn!(why, "the router sent a request that makes no sense");
                        if let Some(answer) = answer {
                            self.send_now(*answer);
                        }
                        continue;
                    }
                    Ok(Incoming::Undeliverable { message, why }) => {
                        self.undeliverable(message, &why);
                        continue;
                    }
                    Err(end) => return end.into(),
                },
                Source::Local(outbox) => match outbox.queue().pop().await {
                    Some(outgoing) => outgoing.into_message(),
                    None => return CloseReason::Connection("it reads too slowly".into()),
                },
            };
            if let Some(reason) = self.handle(message) {
                return reason;
            }
        }
    }

    /// Does what a message asks for; the reason if it ends the session.
    fn handle(self: &Arc<Self>, message: Message) -> Option<CloseReason> {
        // What follows happens without the lock: it may drop handles, which take it.
        let effect = match self.with_session(|session| session.receive(message)) {
            Ok(Ok(effect)) => effect,
            Ok(Err(violation)) => {
                self.send_now(Message::abort(uri::error::PROTOCOL_VIOLATION, &violation));
                return Some(CloseReason::Connection(violation));
            }
            Err(Closed(reason)) => return Some(reason),
        };
        match effect {
            Effect::None => {}
            Effect::Send(message) => self.send_now(message),
            Effect::Progress(request, call, payload) => {
                let size = payload.encoded_len() + size_of::<Update>();
                if let Err(Refused::Full(_)) = call.push(Update::Progress(payload), size) {
                    call.push_anyway(Update::Overflow, 0);
                    self.cancel(request);
                }
            }
            Effect::Answered(call, answer) => {
                call.push_anyway(Update::Answer(answer), 0);
            }
            Effect::Acknowledged(reply, result) => {
                // Whoever asked may have gone; its handle has seen to the rest.
                let _ = reply.send(result);
            }
            Effect::Invoked(port, invoked) => self.invoked(&port, invoked),
            Effect::Interrupted(token) => token.cancel(),
            Effect::Event(subscribers, published) => {
                for inbox in subscribers {
                    inbox.put(&published);
                }
            }
            Effect::RegistrationRevoked(port, reason) => {
                port.intake.end(EndReason::Revoked(reason));
            }
            Effect::SubscriptionRevoked(subscribers, reason) => {
                for inbox in subscribers {
                    inbox.end(EndReason::Revoked(reason.clone()));
                }
            }
            Effect::Left { answer, reason: uri, message, is_abort } => {
                let is_ours = answer.is_none() && !is_abort;
                if let Some(answer) = answer {
                    self.send_now(answer);
                }
                return Some(match (is_ours, is_abort) {
                    (true, _) => CloseReason::Local,
                    (false, true) => CloseReason::Aborted { uri, message },
                    (false, false) => CloseReason::Goodbye { uri, message },
                });
            }
        }
        None
    }

    /// Puts a call where its registration's owner takes it.
    fn invoked(self: &Arc<Self>, port: &CalleePort, invoked: Invoked) {
        // Without a handle the session is about to end.
        let Some(handle) = port.handle.upgrade() else { return };
        let request = invoked.request;
        let token = CancellationToken::new();
        let size = invoked.payload.encoded_len() + size_of::<Delivery>();
        // Accepted first, so that whatever becomes of it answers the call.
        let accepted = token.clone();
        if self.with_session(|session| session.accept(request, accepted)).is_err() {
            return;
        }
        let pending = PendingInvocation::new(Arc::clone(self), request, token);
        let delivery = Delivery { invoked, pending, handle };
        if let Err(Refused::Full(delivery) | Refused::Closed(delivery)) =
            port.intake.queue().push(delivery, size)
        {
            delivery.pending.refuse(
                uri::error::UNAVAILABLE,
                "the callee has no room for another call at the moment, try again later",
            );
        }
    }

    /// Forgets a call and tells the router.
    pub(super) fn cancel(&self, request: u64) {
        let cancel = self.with_session(|session| session.cancel(request));
        if let Ok(Some(message)) = cancel {
            self.send_now(message);
        }
    }

    /// Answers for a message that could not be written.
    fn undeliverable(self: &Arc<Self>, message: Message, why: &str) {
        let error = uri::error::PAYLOAD_SIZE_EXCEEDED;
        match message {
            Message::Call { request, .. } => {
                self.handle(Message::error(RequestKind::Call, request, error, why));
            }
            Message::Publish { request, .. } => {
                self.handle(Message::error(RequestKind::Publish, request, error, why));
            }
            Message::Yield { request, options, .. } if !options.progress => {
                self.send_now(Message::error(RequestKind::Invocation, request, error, why));
            }
            Message::Error { request, error, .. } => {
                self.send_now(Message::error(RequestKind::Invocation, request, &error, why));
            }
            other => {
                tracing::warn!(session = %self.id, kind = other.name(), why, "message not sent");
            }
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
        self.ended.cancel();
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
        // Replies are told by being dropped.
    }
}
