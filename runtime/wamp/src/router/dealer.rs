//! The dealer of a realm: who registered what, and which calls are pending.
//!
//! ```text
//!              CALL                 final YIELD or ERROR, callee lost
//! (nothing) ----------> running ------------------------------------> (nothing)
//!                          |                                              ^
//!                          | CANCEL kill, callee can be interrupted       |
//!                          +------------> cancelling ---------------------+
//!                          | CANCEL skip or killnowait, caller lost,      |
//!                          | or the time is over                          |
//!                          +----------------------------------------------+
//! ```
//!
//! Whatever leads to nothing answers the caller, once, unless it is gone. An
//! answer that comes for a forgotten call is late, not wrong, and is ignored.
//!
//! A registration that a callee gives up, or loses to another one by force,
//! takes no more calls; those that the callee has taken are still its to answer.

mod callees;
mod calls;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::entries::{Entries, Entry, Holders};
use super::realm::{Output, Violation};
use super::turn::{Change, EntryKind, Turn};
use crate::id::{IdMap, SessionId};
use crate::message::{
    CallDetails, CancelMode, Features, InvocationDetails, InvocationPolicy, Message, Principal,
    ProgressDetails, RegisterDetails, RequestId, RequestKind, Revocation,
};
use crate::payload::Payload;
use crate::uri::{self, MatchPolicy};

pub(super) use callees::Callees;
use calls::{Call, Calls, NewCall};

/// Registrations by pattern, and pending calls.
#[derive(Debug)]
pub(super) struct Dealer {
    registrations: Entries<Callees>,
    peers: IdMap<SessionId, Peer>,
    calls: Calls,
    max_entries: usize,
}

/// A session as callee.
#[derive(Debug)]
struct Peer {
    /// What it understands.
    features: Features,
    registrations: HashSet<u64>,
}

/// A CALL, and who made it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) caller: SessionId,
    pub(super) request: RequestId,
    pub(super) options: CallDetails,
    pub(super) procedure: String,
    pub(super) payload: Payload,
    /// The caller, if the callee may learn who it is.
    pub(super) disclosed: Option<Arc<Principal>>,
}

impl Dealer {
    pub(super) fn new(max_entries: usize) -> Self {
        Self {
            registrations: Entries::default(),
            peers: IdMap::default(),
            calls: Calls::default(),
            max_entries,
        }
    }

    /// All registrations, to be asked about.
    /// Calls that have not ended.
    pub(super) fn pending(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn registrations(&self) -> &Entries<Callees> {
        &self.registrations
    }

    /// `features` are those that the session announces as a callee.
    pub(super) fn join(&mut self, session: SessionId, features: Features) {
        self.calls.join(session);
        self.peers.insert(session, Peer { features, registrations: HashSet::new() });
    }

    pub(super) fn leave(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        let Some(peer) = self.peers.remove(&session) else { return };
        for id in peer.registrations {
            self.release(session, id, turn);
        }
        let (taken, made) = self.calls.leave(session);
        for call in taken.into_iter().filter(|call| call.caller != session) {
            turn.outputs.push(call.failed(uri::error::CANCELED, "the callee has left"));
        }
        for call in made {
            turn.outputs.extend(self.interrupt(&call));
        }
    }

    pub(super) fn register(
        &mut self,
        session: SessionId,
        request: RequestId,
        options: RegisterDetails,
        procedure: String,
        turn: &mut Turn<'_>,
    ) {
        let Some(peer) = self.peers.get(&session) else { return };
        let has_room = peer.registrations.len() < self.max_entries;
        let known = self.registrations.lookup(&procedure, options.policy);
        let sharable = known.filter(|_| !options.force_reregister);
        let refusal = if let Err(error) = uri::check_pattern(&procedure, options.policy) {
            Some((uri::error::INVALID_URI, error.to_string()))
        } else if uri::is_reserved(&procedure) {
            Some((uri::error::INVALID_URI, format!("only the router registers `{procedure}`")))
        } else if !has_room {
            let text = format!("a session may have {} registrations", self.max_entries);
            Some((uri::error::LIMIT_REACHED, text))
        } else if let Err(error) = self.registrations.check_room(&procedure, options.policy) {
            Some((uri::error::LIMIT_REACHED, error.to_string()))
        } else {
            let entry = sharable.and_then(|id| self.registrations.get(id));
            entry.and_then(|entry| cannot_share(entry, session, options.invoke))
        };
        if let Some((error, text)) = refusal {
            return turn.refuse(session, (RequestKind::Register, request), error, &text);
        }
        let id = match (sharable, known) {
            (Some(id), _) => {
                if let Some(entry) = self.registrations.get_mut(id) {
                    entry.holders.join(session);
                }
                id
            }
            (None, taken) => {
                if let Some(taken) = taken {
                    self.revoke(taken, turn);
                }
                let entry = Entry {
                    uri: procedure,
                    policy: options.policy,
                    created: turn.now,
                    holders: Callees::new(options.invoke, session),
                };
                let id = self.registrations.insert(entry, turn.ids);
                turn.tell(EntryKind::Registration, Change::Created, session, id);
                id
            }
        };
        if let Some(peer) = self.peers.get_mut(&session) {
            peer.registrations.insert(id);
        }
        turn.tell(EntryKind::Registration, Change::Held, session, id);
        turn.send(session, Message::Registered { request, registration: id });
    }

    pub(super) fn unregister(
        &mut self,
        session: SessionId,
        request: RequestId,
        registration: u64,
        turn: &mut Turn<'_>,
    ) {
        let peer = self.peers.get_mut(&session);
        if peer.is_some_and(|peer| peer.registrations.remove(&registration)) {
            self.release(session, registration, turn);
            turn.send(session, Message::Unregistered { request, revocation: None });
        } else {
            let text = format!("this session has no registration {registration}");
            let error = uri::error::NO_SUCH_REGISTRATION;
            turn.refuse(session, (RequestKind::Unregister, request), error, &text);
        }
    }

    /// Makes sure that a session has no pending call of this id.
    pub(super) fn check_request(
        &self,
        caller: SessionId,
        request: RequestId,
    ) -> Result<(), Violation> {
        match self.calls.made(caller, request) {
            Some(_) => {
                Err(Violation(format!("the request id {request} belongs to a pending call")))
            }
            None => Ok(()),
        }
    }

    /// Passes a call on to a callee; its request id has been checked.
    pub(super) fn call(&mut self, call: Request, turn: &mut Turn<'_>) {
        let Request { caller, request, options, procedure, payload, disclosed } = call;
        let mut refuse = |error, text: &str| {
            turn.refuse(caller, (RequestKind::Call, request), error, text);
        };
        if let Err(error) = uri::check(&procedure) {
            return refuse(uri::error::INVALID_URI, &error.to_string());
        }
        if self.calls.made_by(caller) >= self.max_entries {
            let text = format!("a session may have {} pending calls", self.max_entries);
            return refuse(uri::error::LIMIT_REACHED, &text);
        }
        let best = self.registrations.best(&procedure);
        let found = best.and_then(|id| Some((id, self.registrations.get_mut(id)?)));
        let Some((registration, entry)) = found else {
            let text = format!("nobody has registered the procedure {procedure}");
            return refuse(uri::error::NO_SUCH_PROCEDURE, &text);
        };
        let is_pattern = entry.policy != MatchPolicy::Exact;
        let Some(callee) = entry.holders.next(turn.ids) else { return };
        let wants_progress = options.receive_progress;
        let timeout = options.timeout.filter(|timeout| *timeout > 0).map(Duration::from_millis);
        // A time that no clock reaches is none.
        let deadline = timeout.and_then(|timeout| turn.now.checked_add(timeout));
        let new = NewCall { caller, request, callee, wants_progress, deadline };
        let Some(invocation) = self.calls.begin(new) else { return };
        let details = InvocationDetails {
            procedure: is_pattern.then_some(procedure),
            receive_progress: wants_progress,
            // We see to it ourselves, whatever the callee can do.
            timeout: None,
            caller: disclosed,
        };
        let message = Message::Invocation { request: invocation, registration, details, payload };
        turn.send(callee, message);
    }

    pub(super) fn cancel(
        &mut self,
        caller: SessionId,
        request: RequestId,
        mode: Option<CancelMode>,
        turn: &mut Turn<'_>,
    ) {
        let made = self.calls.made(caller, request);
        // A CANCEL that crosses the answer finds nothing.
        let Some((id, call)) = made.and_then(|id| Some((id, self.calls.get_mut(id)?))) else {
            return;
        };
        let callee = self.peers.get(&call.callee);
        let can_wait = callee.is_some_and(|peer| peer.features.call_canceling);
        let mode = mode.unwrap_or(CancelMode::KillNoWait);
        if mode == CancelMode::Kill && can_wait {
            if !call.is_cancelling {
                call.is_cancelling = true;
                turn.outputs.push(call.interrupt(CancelMode::Kill));
            }
            return;
        }
        let Some(call) = self.calls.forget(id) else { return };
        turn.outputs.push(call.failed(uri::error::CANCELED, "the caller has cancelled the call"));
        if mode == CancelMode::KillNoWait {
            turn.outputs.extend(self.interrupt(&call));
        }
    }

    /// When [`expire`](Self::expire) has something to do, since the realm began.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.calls.next_deadline()
    }

    /// Ends the calls whose time is over.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        while let Some(call) = self.calls.overdue(turn.now).and_then(|id| self.calls.forget(id)) {
            let text = "the call took longer than its caller allows";
            turn.outputs.push(call.failed(uri::error::TIMEOUT, text));
            turn.outputs.extend(self.interrupt(&call));
        }
    }

    /// Handles a YIELD.
    pub(super) fn answer(
        &mut self,
        callee: SessionId,
        invocation: RequestId,
        is_progress: bool,
        payload: Payload,
        turn: &mut Turn<'_>,
    ) {
        let Some(id) = self.calls.taken(callee, invocation) else { return };
        let call = if is_progress {
            // Progress that nobody asked for has nowhere to go.
            let call = self.calls.get_mut(id).filter(|call| call.wants_progress);
            call.map(|call| (call.caller, call.request))
        } else {
            self.calls.forget(id).map(|call| (call.caller, call.request))
        };
        if let Some((to, request)) = call {
            let details = ProgressDetails { progress: is_progress };
            turn.send(to, Message::Result { request, details, payload });
        }
    }

    /// Handles an ERROR for an invocation.
    pub(super) fn refuse(
        &mut self,
        callee: SessionId,
        invocation: RequestId,
        error: String,
        payload: Payload,
        turn: &mut Turn<'_>,
    ) {
        let call = self.calls.taken(callee, invocation).and_then(|id| self.calls.forget(id));
        if let Some(call) = call {
            let kind = RequestKind::Call;
            let message = Message::Error { kind, request: call.request, error, payload };
            turn.send(call.caller, message);
        }
    }

    /// Forgets a call that its caller cannot hear the answer of; true if it was pending.
    pub(super) fn abandon(
        &mut self,
        caller: SessionId,
        request: RequestId,
        turn: &mut Turn<'_>,
    ) -> bool {
        let made = self.calls.made(caller, request);
        let Some(call) = made.and_then(|id| self.calls.forget(id)) else { return false };
        turn.outputs.extend(self.interrupt(&call));
        true
    }

    /// Takes a callee out of a registration that it has forgotten already.
    fn release(&mut self, session: SessionId, id: u64, turn: &mut Turn<'_>) {
        let Some(entry) = self.registrations.get_mut(id) else { return };
        turn.tell(EntryKind::Registration, Change::Released, session, id);
        if entry.holders.leave(session) {
            self.registrations.remove(id);
            turn.tell(EntryKind::Registration, Change::Deleted, session, id);
        }
    }

    /// Takes a registration away from all its callees, and tells those who understand.
    fn revoke(&mut self, id: u64, turn: &mut Turn<'_>) {
        let Some(entry) = self.registrations.get(id) else { return };
        for callee in entry.holders.sessions() {
            if let Some(peer) = self.peers.get_mut(&callee) {
                peer.registrations.remove(&id);
                if peer.features.registration_revocation {
                    let revocation = Revocation {
                        registration: Some(id),
                        reason: Some(uri::error::UNREGISTERED.to_owned()),
                        ..Revocation::default()
                    };
                    let revocation = Some(Box::new(revocation));
                    turn.send(callee, Message::Unregistered { request: 0, revocation });
                }
            }
            self.release(callee, id, turn);
        }
    }

    /// Tells the callee that nobody waits any more, if it is there and understands.
    fn interrupt(&self, call: &Call) -> Option<Output> {
        let callee = self.peers.get(&call.callee)?;
        callee.features.call_canceling.then(|| call.interrupt(CancelMode::KillNoWait))
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.registrations.is_empty() && self.calls.is_empty() && self.peers.is_empty()
    }
}

/// Why a session cannot join the callees of a registration, if it cannot.
fn cannot_share(
    entry: &Entry<Callees>,
    session: SessionId,
    wanted: InvocationPolicy,
) -> Option<(&'static str, String)> {
    let (uri, policy) = (&entry.uri, entry.holders.policy());
    if policy == InvocationPolicy::Single || entry.holders.contains(session) {
        let text = format!("`{uri}` is registered already");
        Some((uri::error::PROCEDURE_ALREADY_EXISTS, text))
    } else if policy != wanted {
        let text = format!(
            "`{uri}` is registered already, and its callees share it with `invoke` = `{policy}`, \
             not `{wanted}`"
        );
        Some((uri::error::INVOCATION_POLICY_CONFLICT, text))
    } else {
        None
    }
}
