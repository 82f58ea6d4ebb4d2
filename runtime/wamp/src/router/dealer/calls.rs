//! The pending calls of a realm: by id, by caller, by callee and by deadline.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::id::{IdMap, SessionId};
use crate::message::{CancelDetails, CancelMode, Message, RequestId, RequestKind};
use crate::router::realm::Output;

/// Ours alone; never on the wire.
pub(super) type CallId = u64;

/// Every pending call, with what a session made and took found by the session.
#[derive(Debug, Default)]
pub(super) struct Calls {
    by_id: IdMap<CallId, Call>,
    last_id: CallId,
    parties: IdMap<SessionId, Party>,
    /// Of the calls that have one; the next is the first.
    deadlines: BTreeSet<(Duration, CallId)>,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) caller: SessionId,
    pub(super) request: RequestId,
    pub(super) callee: SessionId,
    pub(super) invocation: RequestId,
    pub(super) wants_progress: bool,
    pub(super) is_cancelling: bool,
    deadline: Option<Duration>,
}

/// A call that begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewCall {
    pub(super) caller: SessionId,
    pub(super) request: RequestId,
    pub(super) callee: SessionId,
    pub(super) wants_progress: bool,
    /// Since the realm began.
    pub(super) deadline: Option<Duration>,
}

/// The calls of one session.
#[derive(Debug, Default)]
struct Party {
    made: IdMap<RequestId, CallId>,
    taken: IdMap<RequestId, CallId>,
    last_invocation: RequestId,
}

impl Calls {
    pub(super) fn join(&mut self, session: SessionId) {
        self.parties.insert(session, Party::default());
    }

    /// Forgets a session with its calls: those it took, and those it made.
    /// What it made to itself is among the former.
    pub(super) fn leave(&mut self, session: SessionId) -> (Vec<Call>, Vec<Call>) {
        let Some(party) = self.parties.remove(&session) else { return Default::default() };
        let taken = party.taken.into_values().filter_map(|id| self.forget(id)).collect();
        let made = party.made.into_values().filter_map(|id| self.forget(id)).collect();
        (taken, made)
    }

    /// How many calls of a session are pending.
    pub(super) fn made_by(&self, caller: SessionId) -> usize {
        self.parties.get(&caller).map_or(0, |party| party.made.len())
    }

    pub(super) fn made(&self, caller: SessionId, request: RequestId) -> Option<CallId> {
        self.parties.get(&caller)?.made.get(&request).copied()
    }

    pub(super) fn taken(&self, callee: SessionId, invocation: RequestId) -> Option<CallId> {
        self.parties.get(&callee)?.taken.get(&invocation).copied()
    }

    pub(super) fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.by_id.get_mut(&id)
    }

    /// Begins a call; the id of its invocation, none if a party is not there.
    pub(super) fn begin(&mut self, new: NewCall) -> Option<RequestId> {
        if !self.parties.contains_key(&new.caller) {
            return None;
        }
        let id = self.last_id + 1;
        let callee = self.parties.get_mut(&new.callee)?;
        callee.last_invocation += 1;
        let invocation = callee.last_invocation;
        callee.taken.insert(invocation, id);
        self.parties.get_mut(&new.caller)?.made.insert(new.request, id);
        self.last_id = id;
        self.deadlines.extend(new.deadline.map(|deadline| (deadline, id)));
        let NewCall { caller, request, callee, wants_progress, deadline } = new;
        let call = Call {
            caller,
            request,
            callee,
            invocation,
            wants_progress,
            is_cancelling: false,
            deadline,
        };
        self.by_id.insert(id, call);
        Some(invocation)
    }

    pub(super) fn forget(&mut self, id: CallId) -> Option<Call> {
        let call = self.by_id.remove(&id)?;
        if let Some(caller) = self.parties.get_mut(&call.caller) {
            caller.made.remove(&call.request);
        }
        if let Some(callee) = self.parties.get_mut(&call.callee) {
            callee.taken.remove(&call.invocation);
        }
        if let Some(deadline) = call.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        Some(call)
    }

    /// When the next call has to end.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// A call whose time is over.
    pub(super) fn overdue(&self, now: Duration) -> Option<CallId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, id)| *id)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty() && self.parties.is_empty() && self.deadlines.is_empty()
    }
}

impl Call {
    /// The ERROR that ends it for its caller.
    pub(super) fn failed(&self, error: &str, text: &str) -> Output {
        let message = Message::error(RequestKind::Call, self.request, error, text);
        Output::Send { to: self.caller, message }
    }

    /// The INTERRUPT for its callee.
    pub(super) fn interrupt(&self, mode: CancelMode) -> Output {
        let options = CancelDetails { mode: Some(mode) };
        let message = Message::Interrupt { request: self.invocation, options };
        Output::Send { to: self.callee, message }
    }
}
