//! The core of a client's session: what was asked, what came, what to do.
//!
//! A function of its inputs: no I/O, no clock. Who waits for what is kept here
//! as values of the shell's own types ([`Ports`]), which the core hands back
//! when the time has come, and never looks into.

mod callee;
mod subscriber;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Debug;

pub(crate) use callee::Invoked;
pub(crate) use subscriber::Published;

use crate::message::{CallDetails, CancelMode, Message, PublishDetails, RequestId, RequestKind};
use crate::payload::Payload;
use crate::uri;
use subscriber::{Pattern, Topic};

/// What the shell keeps here for those who wait.
pub(crate) trait Ports: Debug {
    /// The caller of a procedure.
    type Call: Clone + Debug;
    /// Who waits for an acknowledgement.
    type Reply: Debug;
    /// Where invocations go.
    type Registration: Clone + Debug;
    /// Where events go.
    type Subscription: Clone + Debug;
    /// A running invocation.
    type Invocation: Clone + Debug;
}

/// A session that has joined.
#[derive(Debug)]
pub(crate) struct Session<P: Ports> {
    last_request: RequestId,
    is_leaving: bool,
    calls: HashMap<RequestId, P::Call>,
    requests: HashMap<RequestId, Request<P>>,
    /// By the id of the REGISTER that made them; the router's id beside it.
    registered: HashMap<RequestId, u64>,
    registrations: HashMap<u64, P::Registration>,
    /// By the id of the SUBSCRIBE that made them; the router's id beside it.
    subscribed: HashMap<RequestId, u64>,
    subscriptions: HashMap<u64, Topic<P>>,
    invocations: HashMap<RequestId, P::Invocation>,
}

/// A request that waits for its acknowledgement.
#[derive(Debug)]
enum Request<P: Ports> {
    Publish {
        reply: P::Reply,
    },
    Register {
        reply: P::Reply,
        registration: P::Registration,
        is_abandoned: bool,
    },
    Unregister {
        reply: Option<P::Reply>,
    },
    Subscribe {
        reply: P::Reply,
        pattern: Pattern,
        subscription: P::Subscription,
        is_abandoned: bool,
    },
    Unsubscribe {
        reply: Option<P::Reply>,
    },
}

/// An answer that is an error: its URI and arguments.
pub(crate) type Refusal = (String, Payload);

/// What comes of a request that is no call; a publication has its id.
pub(crate) type Acknowledgement = Result<Option<u64>, Refusal>;

/// What the shell has to do about a message.
#[derive(Debug)]
pub(crate) enum Effect<P: Ports> {
    /// Nothing.
    None,
    /// Send a message.
    Send(Message),
    /// Hand a caller a partial result of the request.
    Progress(RequestId, P::Call, Payload),
    /// Hand a caller the answer.
    Answered(P::Call, Result<Payload, Refusal>),
    /// Acknowledge a request.
    Acknowledged(P::Reply, Acknowledgement),
    /// The same for one that is refused, and send what was held back for it.
    Refused(P::Reply, Refusal, Message),
    /// Run a procedure, which begins with [`Session::accept`].
    Invoked(P::Registration, Invoked),
    /// Stop an invocation.
    Interrupted(P::Invocation),
    /// Hand an event to subscribers.
    Event(Vec<P::Subscription>, Published),
    /// Tell the owner of a registration that the router has taken it away, and why.
    RegistrationRevoked(P::Registration, Option<String>),
    /// Tell the owners of subscriptions that the router has taken them away, and why.
    SubscriptionRevoked(Vec<P::Subscription>, Option<String>),
    /// The session is over; answer with the message, if there is one.
    Left { answer: Option<Message>, reason: String, message: Option<String>, is_abort: bool },
}

/// All who waited when a session ended.
#[derive(Debug)]
pub(crate) struct Bereaved<P: Ports> {
    pub(crate) calls: Vec<P::Call>,
    pub(crate) replies: Vec<P::Reply>,
    pub(crate) registrations: Vec<P::Registration>,
    pub(crate) subscriptions: Vec<P::Subscription>,
    pub(crate) invocations: Vec<P::Invocation>,
}

impl<P: Ports> Session<P> {
    pub(crate) fn new() -> Self {
        Self {
            last_request: 0,
            is_leaving: false,
            calls: HashMap::new(),
            requests: HashMap::new(),
            registered: HashMap::new(),
            registrations: HashMap::new(),
            subscribed: HashMap::new(),
            subscriptions: HashMap::new(),
            invocations: HashMap::new(),
        }
    }

    fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        self.last_request
    }

    /// Begins a call; send the message.
    pub(crate) fn call(
        &mut self,
        procedure: &str,
        payload: Payload,
        options: CallDetails,
        call: P::Call,
    ) -> (RequestId, Message) {
        let request = self.next_request();
        self.calls.insert(request, call);
        (request, Message::Call { request, options, procedure: procedure.to_owned(), payload })
    }

    /// Whether a call is not answered yet.
    pub(crate) fn is_pending(&self, request: RequestId) -> bool {
        self.calls.contains_key(&request)
    }

    /// Forgets a call; send the message if the call has been sent. None if it is answered.
    pub(crate) fn cancel(&mut self, request: RequestId) -> Option<Message> {
        self.calls.remove(&request)?;
        // Nobody waits for the answer, so the router need not keep the call for it.
        Some(Message::cancel(request, CancelMode::KillNoWait))
    }

    /// Begins a publication; with somebody to reply to it is acknowledged.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        payload: Payload,
        options: PublishDetails,
        reply: Option<P::Reply>,
    ) -> Message {
        let request = self.next_request();
        let options = PublishDetails { acknowledge: reply.is_some(), ..options };
        if let Some(reply) = reply {
            self.requests.insert(request, Request::Publish { reply });
        }
        Message::Publish { request, options, topic: topic.to_owned(), payload }
    }

    /// Begins to leave; None if that has begun already.
    pub(crate) fn leave(&mut self) -> Option<Message> {
        let begins = !std::mem::replace(&mut self.is_leaving, true);
        begins.then(|| Message::goodbye(uri::close::NORMAL))
    }

    /// Ends the session, and tells who waited.
    pub(crate) fn end(&mut self) -> Bereaved<P> {
        self.registered.clear();
        self.subscribed.clear();
        let mut bereaved = Bereaved {
            calls: self.calls.drain().map(|(_, call)| call).collect(),
            replies: Vec::new(),
            registrations: self.registrations.drain().map(|(_, port)| port).collect(),
            subscriptions: Vec::new(),
            invocations: self.invocations.drain().map(|(_, port)| port).collect(),
        };
        for (_, topic) in self.subscriptions.drain() {
            bereaved.subscriptions.extend(topic.subscribers.into_values());
        }
        for (_, request) in self.requests.drain() {
            bereaved.replies.extend(request.into_reply());
        }
        bereaved
    }

    /// Handles a message of the router.
    ///
    /// Answers to what nobody asked, or no longer, are ignored: they cross
    /// with cancelling.
    ///
    /// # Errors
    /// When the message is none that a router may send now.
    pub(crate) fn receive(&mut self, message: Message) -> Result<Effect<P>, String> {
        Ok(match message {
            Message::Result { request, details, payload } if details.progress => {
                let call = self.calls.get(&request).cloned();
                call.map_or(Effect::None, |call| Effect::Progress(request, call, payload))
            }
            Message::Result { request, payload, .. } => {
                let call = self.calls.remove(&request);
                call.map_or(Effect::None, |call| Effect::Answered(call, Ok(payload)))
            }
            Message::Error { kind: RequestKind::Call, request, error, payload } => {
                let call = self.calls.remove(&request);
                call.map_or(Effect::None, |call| Effect::Answered(call, Err((error, payload))))
            }
            Message::Error { kind: RequestKind::Subscribe, request, error, payload } => {
                self.subscribe_refused(request, (error, payload))
            }
            Message::Error { kind, request, error, payload } => {
                let reply = self.take(request, kind).and_then(Request::into_reply);
                reply.map_or(Effect::None, |reply| {
                    Effect::Acknowledged(reply, Err((error, payload)))
                })
            }
            Message::Unregistered { request: 0, revocation } => {
                revocation.map_or(Effect::None, |revocation| self.registration_revoked(*revocation))
            }
            Message::Unsubscribed { request: 0, revocation } => {
                revocation.map_or(Effect::None, |revocation| self.subscription_revoked(*revocation))
            }
            Message::Published { request, publication } => {
                self.acknowledged(request, RequestKind::Publish, Some(publication))
            }
            Message::Unregistered { request, .. } => {
                self.acknowledged(request, RequestKind::Unregister, None)
            }
            Message::Unsubscribed { request, .. } => {
                self.acknowledged(request, RequestKind::Unsubscribe, None)
            }
            Message::Registered { request, registration } => {
                self.registered(request, registration)?
            }
            Message::Subscribed { request, subscription } => self.subscribed(request, subscription),
            Message::Invocation { request, registration, details, payload } => {
                self.invoked(request, registration, details, payload)?
            }
            Message::Interrupt { request, .. } => {
                self.invocations.get(&request).cloned().map_or(Effect::None, Effect::Interrupted)
            }
            Message::Event { subscription, publication, details, payload } => {
                self.published(subscription, publication, details, payload)
            }
            Message::Goodbye { details, reason } => {
                let answer = Message::goodbye(uri::close::GOODBYE_AND_OUT);
                let answer = self.leave().map(|_| answer);
                Effect::Left { answer, reason, message: details.message, is_abort: false }
            }
            Message::Abort { details, reason } => {
                Effect::Left { answer: None, reason, message: details.message, is_abort: true }
            }
            other => return Err(format!("{} is no message for a client", other.name())),
        })
    }

    /// The request that an answer of that kind is for. One of another kind answers nothing.
    fn take(&mut self, request: RequestId, kind: RequestKind) -> Option<Request<P>> {
        match self.requests.entry(request) {
            Entry::Occupied(pending) if pending.get().kind() == kind => Some(pending.remove()),
            _ => None,
        }
    }

    fn acknowledged(
        &mut self,
        request: RequestId,
        kind: RequestKind,
        publication: Option<u64>,
    ) -> Effect<P> {
        let reply = self.take(request, kind).and_then(Request::into_reply);
        reply.map_or(Effect::None, |reply| Effect::Acknowledged(reply, Ok(publication)))
    }
}

impl<P: Ports> Request<P> {
    fn kind(&self) -> RequestKind {
        match self {
            Self::Publish { .. } => RequestKind::Publish,
            Self::Register { .. } => RequestKind::Register,
            Self::Unregister { .. } => RequestKind::Unregister,
            Self::Subscribe { .. } => RequestKind::Subscribe,
            Self::Unsubscribe { .. } => RequestKind::Unsubscribe,
        }
    }

    fn into_reply(self) -> Option<P::Reply> {
        match self {
            Self::Publish { reply }
            | Self::Register { reply, .. }
            | Self::Subscribe { reply, .. } => Some(reply),
            Self::Unregister { reply } | Self::Unsubscribe { reply } => reply,
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(any(test, fuzzing))]
pub(crate) mod trial;
