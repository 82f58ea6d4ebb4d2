//! The task of a session: what it does about the messages of the router, and
//! how the session ends.

use std::sync::Arc;
use std::time::Duration;

use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;

use super::{Line, Shared, Update};
use crate::client::callee::CalleePort;
use crate::client::error::{CloseReason, Closed};
use crate::client::invocation::{Delivery, PendingInvocation};
use crate::client::status::EndReason;
use crate::message::{Message, RequestKind};
use crate::outbox::Outbox;
use crate::queue::Refused;
use crate::session::{Effect, Invoked};
use crate::uri;
use crate::wire::{Incoming, Wire};

/// How long the router has to answer a GOODBYE, and then to close the connection.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where messages of the router come from.
#[derive(Debug)]
pub(in crate::client) enum Source {
    /// The socket.
    Wire(Box<Wire>),
    /// The outbox that the realm puts them into.
    Local(Arc<Outbox>),
}

impl Shared {
    /// The task: handles what comes until the session has ended, then closes the connection.
    pub(in crate::client) async fn run(self: Arc<Self>, mut source: Source) {
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
            Effect::Refused(reply, refusal, message) => {
                let _ = reply.send(Err(refusal));
                self.send_now(message);
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
}
