//! The core of a client's session: what was asked, what came, what to do.
//!
//! A function of its inputs: no I/O, no clock. Who waits for what is kept here
//! as values of the shell's own types ([`Ports`]), which the core hands back
//! when the time has come, and never looks into.

use std::collections::HashMap;
use std::fmt::Debug;

use crate::message::{
    CallDetails, Message, ProgressDetails, PublishDetails, RegisterDetails, RequestId, RequestKind,
    SubscribeDetails,
};
use crate::payload::Payload;
use crate::uri::{self, MatchPolicy};

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

/// One subscription of the router's, which all of ours of one pattern share.
#[derive(Debug)]
struct Topic<P: Ports> {
    pattern: Pattern,
    subscribers: HashMap<RequestId, P::Subscription>,
}

type Pattern = (String, MatchPolicy);

/// An answer that is an error: its URI and arguments.
pub(crate) type Refusal = (String, Payload);

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
    Acknowledged(P::Reply, Result<(), Refusal>),
    /// Run a procedure: [`Session::accept`] or [`Session::decline`] it.
    Invoked(P::Registration, Invoked),
    /// Stop an invocation.
    Interrupted(P::Invocation),
    /// Hand an event to subscribers.
    Event { subscribers: Vec<P::Subscription>, topic: String, payload: Payload },
    /// The session is over; answer with the message, if there is one.
    Left { answer: Option<Message>, reason: String, message: Option<String>, is_abort: bool },
}

/// A call of one of our procedures.
#[derive(Debug, PartialEq)]
pub(crate) struct Invoked {
    pub(crate) request: RequestId,
    /// The called name where the registration is a pattern.
    pub(crate) procedure: Option<String>,
    pub(crate) payload: Payload,
    pub(crate) wants_progress: bool,
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
        receive_progress: bool,
        call: P::Call,
    ) -> (RequestId, Message) {
        let request = self.next_request();
        self.calls.insert(request, call);
        let options = CallDetails { receive_progress, ..CallDetails::default() };
        (request, Message::Call { request, options, procedure: procedure.to_owned(), payload })
    }

    /// Forgets a call; send the message if the call has been sent. None if it is answered.
    pub(crate) fn cancel(&mut self, request: RequestId) -> Option<Message> {
        self.calls.remove(&request)?;
        Some(Message::cancel(request))
    }

    /// Begins a publication; with somebody to reply to it is acknowledged.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        payload: Payload,
        exclude_me: bool,
        reply: Option<P::Reply>,
    ) -> Message {
        let request = self.next_request();
        let options = PublishDetails {
            acknowledge: reply.is_some(),
            exclude_me,
            ..PublishDetails::default()
        };
        if let Some(reply) = reply {
            self.requests.insert(request, Request::Publish { reply });
        }
        Message::Publish { request, options, topic: topic.to_owned(), payload }
    }

    /// Begins a registration, which is known by the request's id from now on.
    pub(crate) fn register(
        &mut self,
        procedure: &str,
        policy: MatchPolicy,
        reply: P::Reply,
        registration: P::Registration,
    ) -> (RequestId, Message) {
        let request = self.next_request();
        let pending = Request::Register { reply, registration, is_abandoned: false };
        self.requests.insert(request, pending);
        let options = RegisterDetails { policy, ..RegisterDetails::default() };
        (request, Message::Register { request, options, procedure: procedure.to_owned() })
    }

    /// Gives a registration up, acknowledged or not yet. None if there is nothing to send now.
    pub(crate) fn unregister(
        &mut self,
        key: RequestId,
        new_reply: Option<P::Reply>,
    ) -> Option<Message> {
        if let Some(Request::Register { is_abandoned, .. }) = self.requests.get_mut(&key) {
            *is_abandoned = true;
            return None;
        }
        let registration = self.registered.remove(&key)?;
        self.registrations.remove(&registration);
        let request = self.next_request();
        self.requests.insert(request, Request::Unregister { reply: new_reply });
        Some(Message::Unregister { request, registration })
    }

    /// Begins a subscription, which is known by the request's id from now on.
    pub(crate) fn subscribe(
        &mut self,
        topic: &str,
        policy: MatchPolicy,
        reply: P::Reply,
        subscription: P::Subscription,
    ) -> (RequestId, Message) {
        let request = self.next_request();
        let pattern = (topic.to_owned(), policy);
        let pending = Request::Subscribe { reply, pattern, subscription, is_abandoned: false };
        self.requests.insert(request, pending);
        let options = SubscribeDetails { policy, ..SubscribeDetails::default() };
        (request, Message::Subscribe { request, options, topic: topic.to_owned() })
    }

    /// Gives a subscription up, acknowledged or not yet. None if there is
    /// nothing to send now, as when another one shares the router's.
    pub(crate) fn unsubscribe(
        &mut self,
        key: RequestId,
        new_reply: Option<P::Reply>,
    ) -> Option<Message> {
        if let Some(Request::Subscribe { is_abandoned, .. }) = self.requests.get_mut(&key) {
            *is_abandoned = true;
            return None;
        }
        let subscription = self.subscribed.remove(&key)?;
        let topic = self.subscriptions.get_mut(&subscription)?;
        topic.subscribers.remove(&key);
        // A SUBSCRIBE of the same pattern that is on its way will get this very
        // subscription, and an UNSUBSCRIBE behind it would take it away again.
        let is_awaited = self.requests.values().any(|request| {
            matches!(request, Request::Subscribe { pattern, .. } if *pattern == topic.pattern)
        });
        if !topic.subscribers.is_empty() || is_awaited {
            return None;
        }
        self.subscriptions.remove(&subscription);
        let request = self.next_request();
        self.requests.insert(request, Request::Unsubscribe { reply: new_reply });
        Some(Message::Unsubscribe { request, subscription })
    }

    /// Takes an invocation on, so that it can be interrupted.
    pub(crate) fn accept(&mut self, request: RequestId, invocation: P::Invocation) {
        self.invocations.insert(request, invocation);
    }

    /// Turns an invocation down.
    pub(crate) fn decline(request: RequestId, error: &str, text: &str) -> Message {
        Message::error(RequestKind::Invocation, request, error, text)
    }

    /// A partial result; None if the invocation is over.
    pub(crate) fn progress(&self, request: RequestId, payload: Payload) -> Option<Message> {
        self.invocations.get(&request)?;
        let options = ProgressDetails { progress: true };
        Some(Message::Yield { request, options, payload })
    }

    /// The answer to an invocation; None if it is over.
    pub(crate) fn answer(
        &mut self,
        request: RequestId,
        answer: Result<Payload, Refusal>,
    ) -> Option<Message> {
        self.invocations.remove(&request)?;
        Some(match answer {
            Ok(payload) => Message::Yield { request, options: ProgressDetails::default(), payload },
            Err((error, payload)) => {
                Message::Error { kind: RequestKind::Invocation, request, error, payload }
            }
        })
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
            Message::Error { request, error, payload, .. } => {
                let request = self.requests.remove(&request);
                let reply = request.and_then(Request::into_reply);
                reply.map_or(Effect::None, |reply| {
                    Effect::Acknowledged(reply, Err((error, payload)))
                })
            }
            Message::Published { request, .. }
            | Message::Unregistered { request, .. }
            | Message::Unsubscribed { request, .. } => {
                let request = self.requests.remove(&request);
                let reply = request.and_then(Request::into_reply);
                reply.map_or(Effect::None, |reply| Effect::Acknowledged(reply, Ok(())))
            }
            Message::Registered { request, registration } => self.registered(request, registration),
            Message::Subscribed { request, subscription } => self.subscribed(request, subscription),
            Message::Invocation { request, registration, details, payload } => {
                let Some(port) = self.registrations.get(&registration) else {
                    // It crossed with our UNREGISTER.
                    let error = uri::error::NO_SUCH_PROCEDURE;
                    let text = "the procedure has just been unregistered";
                    return Ok(Effect::Send(Self::decline(request, error, text)));
                };
                Effect::Invoked(
                    port.clone(),
                    Invoked {
                        request,
                        procedure: details.procedure,
                        payload,
                        wants_progress: details.receive_progress,
                    },
                )
            }
            Message::Interrupt { request, .. } => {
                self.invocations.get(&request).cloned().map_or(Effect::None, Effect::Interrupted)
            }
            Message::Event { subscription, details, payload, .. } => {
                let Some(topic) = self.subscriptions.get(&subscription) else {
                    return Ok(Effect::None);
                };
                Effect::Event {
                    subscribers: topic.subscribers.values().cloned().collect(),
                    topic: details.topic.unwrap_or_else(|| topic.pattern.0.clone()),
                    payload,
                }
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

    fn registered(&mut self, request: RequestId, id: u64) -> Effect<P> {
        match self.requests.remove(&request) {
            Some(Request::Register { reply, registration, is_abandoned: false }) => {
                self.registered.insert(request, id);
                self.registrations.insert(id, registration);
                Effect::Acknowledged(reply, Ok(()))
            }
            Some(Request::Register { .. }) => {
                let request = self.next_request();
                self.requests.insert(request, Request::Unregister { reply: None });
                Effect::Send(Message::Unregister { request, registration: id })
            }
            _ => Effect::None,
        }
    }

    fn subscribed(&mut self, request: RequestId, id: u64) -> Effect<P> {
        let Some(Request::Subscribe { reply, pattern, subscription, is_abandoned }) =
            self.requests.remove(&request)
        else {
            return Effect::None;
        };
        let topic = self.subscriptions.entry(id);
        let topic = topic.or_insert_with(|| Topic { pattern, subscribers: HashMap::new() });
        topic.subscribers.insert(request, subscription);
        self.subscribed.insert(request, id);
        if is_abandoned {
            return self.unsubscribe(request, None).map_or(Effect::None, Effect::Send);
        }
        Effect::Acknowledged(reply, Ok(()))
    }
}

impl<P: Ports> Request<P> {
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
