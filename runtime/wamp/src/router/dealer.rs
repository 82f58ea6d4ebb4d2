//! The dealer of a realm: who registered what, and which calls are pending.
//!
//! ```text
//!              CALL                 final YIELD or ERROR, callee lost
//! (nothing) ----------> running ------------------------------------> (nothing)
//!                          |                                              ^
//!                          | CANCEL kill, callee can be interrupted       |
//!                          +------------> cancelling ---------------------+
//!                          | CANCEL skip or killnowait, caller lost       |
//!                          +----------------------------------------------+
//! ```
//!
//! Whatever leads to nothing answers the caller, once, unless it is gone. An
//! answer that comes for a forgotten call is late, not wrong, and is ignored.

use std::collections::{HashMap, HashSet};

use super::patterns::Patterns;
use super::realm::{Output, Violation};
use crate::id::{Ids, SessionId};
use crate::message::{
    CallDetails, CancelDetails, CancelMode, InvocationDetails, Message, ProgressDetails, RequestId,
    RequestKind,
};
use crate::payload::Payload;
use crate::uri::{self, MatchPolicy};

/// Registrations by pattern, calls by id, both by session.
#[derive(Debug)]
pub(super) struct Dealer {
    procedures: Patterns<u64>,
    registrations: HashMap<u64, Registration>,
    calls: HashMap<CallId, Call>,
    last_call: CallId,
    peers: HashMap<SessionId, Peer>,
    max_entries: usize,
}

/// Ours alone; never on the wire.
type CallId = u64;

#[derive(Debug)]
struct Registration {
    procedure: String,
    policy: MatchPolicy,
    callee: SessionId,
}

#[derive(Debug)]
struct Call {
    caller: SessionId,
    request: RequestId,
    callee: SessionId,
    invocation: RequestId,
    wants_progress: bool,
    is_cancelling: bool,
}

/// A session as caller and callee.
#[derive(Debug, Default)]
struct Peer {
    /// Whether it understands INTERRUPT.
    can_be_interrupted: bool,
    registrations: HashSet<u64>,
    made: HashMap<RequestId, CallId>,
    taken: HashMap<RequestId, CallId>,
    last_invocation: RequestId,
}

impl Dealer {
    pub(super) fn new(max_entries: usize) -> Self {
        Self {
            procedures: Patterns::default(),
            registrations: HashMap::new(),
            calls: HashMap::new(),
            last_call: 0,
            peers: HashMap::new(),
            max_entries,
        }
    }

    pub(super) fn join(&mut self, session: SessionId, can_be_interrupted: bool) {
        self.peers.insert(session, Peer { can_be_interrupted, ..Peer::default() });
    }

    pub(super) fn leave(&mut self, session: SessionId, outputs: &mut Vec<Output>) {
        let Some(peer) = self.peers.remove(&session) else { return };
        for id in peer.registrations {
            self.forget_registration(id);
        }
        for id in peer.taken.into_values() {
            let Some(call) = self.forget_call(id) else { continue };
            if call.caller != session {
                outputs.push(call.cancelled("the callee has left"));
            }
        }
        for id in peer.made.into_values() {
            let Some(call) = self.forget_call(id) else { continue };
            outputs.extend(self.interrupt(&call, CancelMode::KillNoWait));
        }
    }

    pub(super) fn register(
        &mut self,
        session: SessionId,
        request: RequestId,
        procedure: String,
        policy: MatchPolicy,
        ids: &mut Ids,
        outputs: &mut Vec<Output>,
    ) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        let refusal = if let Err(error) = uri::check_pattern(&procedure, policy) {
            Some((uri::error::INVALID_URI, error.to_string()))
        } else if uri::is_reserved(&procedure) {
            let text = format!("only the router registers `{procedure}`");
            Some((uri::error::INVALID_URI, text))
        } else if self.procedures.get(&procedure, policy).is_some() {
            let text = format!("`{procedure}` is registered already");
            Some((uri::error::PROCEDURE_ALREADY_EXISTS, text))
        } else if peer.registrations.len() >= self.max_entries {
            let text = format!("a session may have {} registrations", self.max_entries);
            Some((uri::error::LIMIT_REACHED, text))
        } else {
            None
        };
        let message = if let Some((error, text)) = refusal {
            Message::error(RequestKind::Register, request, error, &text)
        } else {
            let id = ids.draw_unless(|id| self.registrations.contains_key(&id));
            peer.registrations.insert(id);
            self.procedures.insert(&procedure, policy, id);
            self.registrations.insert(id, Registration { procedure, policy, callee: session });
            Message::Registered { request, registration: id }
        };
        outputs.push(Output::Send { to: session, message });
    }

    pub(super) fn unregister(
        &mut self,
        session: SessionId,
        request: RequestId,
        registration: u64,
        outputs: &mut Vec<Output>,
    ) {
        let peer = self.peers.get_mut(&session);
        let message = if peer.is_some_and(|peer| peer.registrations.remove(&registration)) {
            self.forget_registration(registration);
            Message::Unregistered { request, revocation: None }
        } else {
            let text = format!("this session has no registration {registration}");
            let error = uri::error::NO_SUCH_REGISTRATION;
            Message::error(RequestKind::Unregister, request, error, &text)
        };
        outputs.push(Output::Send { to: session, message });
    }

    pub(super) fn call(
        &mut self,
        caller: SessionId,
        request: RequestId,
        options: CallDetails,
        procedure: String,
        payload: Payload,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Violation> {
        let Some(peer) = self.peers.get(&caller) else { return Ok(()) };
        if peer.made.contains_key(&request) {
            return Err(Violation(format!("the request id {request} belongs to a pending call")));
        }
        let pending = peer.made.len();
        let mut refuse = |error, text: String| {
            let message = Message::error(RequestKind::Call, request, error, &text);
            outputs.push(Output::Send { to: caller, message });
            Ok(())
        };
        if let Err(error) = uri::check(&procedure) {
            return refuse(uri::error::INVALID_URI, error.to_string());
        }
        if pending >= self.max_entries {
            let text = format!("a session may have {} pending calls", self.max_entries);
            return refuse(uri::error::LIMIT_REACHED, text);
        }
        let best = self.procedures.best(&procedure);
        let Some((id, found)) = best.and_then(|id| Some((id, self.registrations.get(&id)?))) else {
            let text = format!("nobody has registered the procedure {procedure}");
            return refuse(uri::error::NO_SUCH_PROCEDURE, text);
        };
        let (callee, is_pattern) = (found.callee, found.policy != MatchPolicy::Exact);
        self.last_call += 1;
        let call = self.last_call;
        let Some(peer) = self.peers.get_mut(&callee) else { return Ok(()) };
        peer.last_invocation += 1;
        let invocation = peer.last_invocation;
        peer.taken.insert(invocation, call);
        if let Some(peer) = self.peers.get_mut(&caller) {
            peer.made.insert(request, call);
        }
        let wants_progress = options.receive_progress;
        self.calls.insert(
            call,
            Call { caller, request, callee, invocation, wants_progress, is_cancelling: false },
        );
        let details = InvocationDetails {
            procedure: is_pattern.then_some(procedure),
            receive_progress: wants_progress,
            ..InvocationDetails::default()
        };
        let message =
            Message::Invocation { request: invocation, registration: id, details, payload };
        outputs.push(Output::Send { to: callee, message });
        Ok(())
    }

    pub(super) fn cancel(
        &mut self,
        caller: SessionId,
        request: RequestId,
        mode: Option<CancelMode>,
        outputs: &mut Vec<Output>,
    ) {
        let made = self.peers.get(&caller).and_then(|peer| peer.made.get(&request).copied());
        // A CANCEL that crosses the answer finds nothing.
        let Some((id, call)) = made.and_then(|id| Some((id, self.calls.get_mut(&id)?))) else {
            return;
        };
        let callee = self.peers.get(&call.callee);
        let can_wait = callee.is_some_and(|peer| peer.can_be_interrupted);
        match mode.unwrap_or(CancelMode::KillNoWait) {
            CancelMode::Kill if can_wait => {
                if !call.is_cancelling {
                    call.is_cancelling = true;
                    outputs.push(call.interrupt(CancelMode::Kill));
                }
            }
            CancelMode::Kill | CancelMode::Skip => {
                let call = self.forget_call(id);
                outputs
                    .extend(call.map(|call| call.cancelled("the caller has cancelled the call")));
            }
            CancelMode::KillNoWait => {
                let Some(call) = self.forget_call(id) else { return };
                outputs.push(call.cancelled("the caller has cancelled the call"));
                outputs.extend(self.interrupt(&call, CancelMode::KillNoWait));
            }
        }
    }

    /// Handles a YIELD.
    pub(super) fn answer(
        &mut self,
        callee: SessionId,
        invocation: RequestId,
        is_progress: bool,
        payload: Payload,
        outputs: &mut Vec<Output>,
    ) {
        let Some(id) = self.taken(callee, invocation) else { return };
        let call = if is_progress {
            // Progress that nobody asked for has nowhere to go.
            let call = self.calls.get(&id).filter(|call| call.wants_progress);
            call.map(|call| (call.caller, call.request))
        } else {
            self.forget_call(id).map(|call| (call.caller, call.request))
        };
        outputs.extend(call.map(|(to, request)| {
            let details = ProgressDetails { progress: is_progress };
            Output::Send { to, message: Message::Result { request, details, payload } }
        }));
    }

    /// Handles an ERROR for an invocation.
    pub(super) fn refuse(
        &mut self,
        callee: SessionId,
        invocation: RequestId,
        error: String,
        payload: Payload,
        outputs: &mut Vec<Output>,
    ) {
        let call = self.taken(callee, invocation).and_then(|id| self.forget_call(id));
        outputs.extend(call.map(|call| {
            let kind = RequestKind::Call;
            let message = Message::Error { kind, request: call.request, error, payload };
            Output::Send { to: call.caller, message }
        }));
    }

    /// Forgets a call that its caller cannot hear the answer of.
    pub(super) fn abandon(
        &mut self,
        caller: SessionId,
        request: RequestId,
        outputs: &mut Vec<Output>,
    ) {
        let made = self.peers.get(&caller).and_then(|peer| peer.made.get(&request).copied());
        let Some(call) = made.and_then(|id| self.forget_call(id)) else { return };
        outputs.extend(self.interrupt(&call, CancelMode::KillNoWait));
    }

    fn taken(&self, callee: SessionId, invocation: RequestId) -> Option<CallId> {
        self.peers.get(&callee)?.taken.get(&invocation).copied()
    }

    fn forget_registration(&mut self, id: u64) {
        if let Some(registration) = self.registrations.remove(&id) {
            self.procedures.remove(&registration.procedure, registration.policy);
        }
    }

    fn forget_call(&mut self, id: CallId) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        if let Some(caller) = self.peers.get_mut(&call.caller) {
            caller.made.remove(&call.request);
        }
        if let Some(callee) = self.peers.get_mut(&call.callee) {
            callee.taken.remove(&call.invocation);
        }
        Some(call)
    }

    /// Tells the callee, if it is there and understands.
    fn interrupt(&self, call: &Call, mode: CancelMode) -> Option<Output> {
        let callee = self.peers.get(&call.callee)?;
        callee.can_be_interrupted.then(|| call.interrupt(mode))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.procedures.is_empty()
            && self.registrations.is_empty()
            && self.calls.is_empty()
            && self.peers.is_empty()
    }
}

impl Call {
    fn cancelled(&self, text: &str) -> Output {
        let error = uri::error::CANCELED;
        let message = Message::error(RequestKind::Call, self.request, error, text);
        Output::Send { to: self.caller, message }
    }

    fn interrupt(&self, mode: CancelMode) -> Output {
        let options = CancelDetails { mode: Some(mode) };
        let message = Message::Interrupt { request: self.invocation, options };
        Output::Send { to: self.callee, message }
    }
}
