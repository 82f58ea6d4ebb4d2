//! The part of a session that answers: registrations and invocations.

use std::sync::Arc;

use super::{Effect, Ports, Refusal, Request, Session};
use crate::message::{
    InvocationDetails, Message, Principal, ProgressDetails, RegisterDetails, RequestId,
    RequestKind, Revocation,
};
use crate::payload::Payload;
use crate::uri;

/// A call of one of our procedures.
#[derive(Debug, PartialEq)]
pub(crate) struct Invoked {
    pub(crate) request: RequestId,
    /// The called name where the registration is a pattern.
    pub(crate) procedure: Option<String>,
    pub(crate) payload: Payload,
    pub(crate) wants_progress: bool,
    /// Milliseconds that the caller waits; none is for ever, or unknown.
    pub(crate) timeout: Option<u64>,
    pub(crate) caller: Option<Arc<Principal>>,
}

impl<P: Ports> Session<P> {
    /// Begins a registration, which is known by the request's id from now on.
    pub(crate) fn register(
        &mut self,
        procedure: &str,
        options: RegisterDetails,
        reply: P::Reply,
        registration: P::Registration,
    ) -> (RequestId, Message) {
        let request = self.next_request();
        let pending = Request::Register { reply, registration, is_abandoned: false };
        self.requests.insert(request, pending);
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

    /// Takes an invocation on, so that it can be interrupted.
    pub(crate) fn accept(&mut self, request: RequestId, invocation: P::Invocation) {
        self.invocations.insert(request, invocation);
    }

    /// Turns an invocation down.
    fn decline(request: RequestId, error: &str, text: &str) -> Message {
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

    pub(super) fn registered(&mut self, request: RequestId, id: u64) -> Result<Effect<P>, String> {
        let pending = self.requests.get(&request);
        let is_awaited = pending.is_some_and(|pending| pending.kind() == RequestKind::Register);
        if is_awaited && self.registrations.contains_key(&id) {
            // Who waits for this answer is told when the session ends, like all who wait then.
            return Err(format!("REGISTERED gives the id {id} to a second registration"));
        }
        let Some(Request::Register { reply, registration, is_abandoned }) =
            self.take(request, RequestKind::Register)
        else {
            return Ok(Effect::None);
        };
        if is_abandoned {
            let request = self.next_request();
            self.requests.insert(request, Request::Unregister { reply: None });
            return Ok(Effect::Send(Message::Unregister { request, registration: id }));
        }
        self.registered.insert(request, id);
        self.registrations.insert(id, registration);
        Ok(Effect::Acknowledged(reply, Ok(None)))
    }

    pub(super) fn registration_revoked(&mut self, revocation: Revocation) -> Effect<P> {
        let gone = revocation.registration.and_then(|id| self.registrations.remove_entry(&id));
        gone.map_or(Effect::None, |(id, registration)| {
            self.registered.retain(|_, registered| *registered != id);
            Effect::RegistrationRevoked(registration, revocation.reason)
        })
    }

    pub(super) fn invoked(
        &self,
        request: RequestId,
        registration: u64,
        details: InvocationDetails,
        payload: Payload,
    ) -> Result<Effect<P>, String> {
        if self.invocations.contains_key(&request) {
            return Err(format!("INVOCATION has the id {request} of one that is still running"));
        }
        let Some(port) = self.registrations.get(&registration) else {
            // It crossed with our UNREGISTER.
            let error = uri::error::NO_SUCH_PROCEDURE;
            let text = "the procedure has just been unregistered";
            return Ok(Effect::Send(Self::decline(request, error, text)));
        };
        let invoked = Invoked {
            request,
            procedure: details.procedure,
            payload,
            wants_progress: details.receive_progress,
            timeout: details.timeout,
            caller: details.caller,
        };
        Ok(Effect::Invoked(port.clone(), invoked))
    }
}
