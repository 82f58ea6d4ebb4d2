//! A session's place in a realm: how its task and the realm's core meet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Traffic;
use super::entrance::Admission;
use super::guard::{Caller, Ending, Guard, Verdict};
use super::realm::{Output, Realm, Standing, Violation};
use super::timekeeper::Timekeeper;
use crate::id::{IdMap, SessionId};
use crate::message::{ClientRoles, Message, RequestId, RequestKind, WelcomeDetails};
use crate::outbox::{Outbox, Outgoing, Shared};
use crate::uri::error;

/// A realm and the way to its sessions.
///
/// The core runs under a lock, taken once per message. What it wants sent is
/// put into the outboxes before the lock is let go, so that every session gets
/// its messages in the order in which the core decided them: a REGISTERED
/// before the first INVOCATION. Writing happens in the receivers' tasks.
#[derive(Debug)]
pub(crate) struct Hall {
    state: Mutex<State>,
    guard: Option<Arc<dyn Guard>>,
    timekeeper: Timekeeper,
}

#[derive(Debug)]
struct State {
    realm: Realm,
    outboxes: IdMap<SessionId, Arc<Outbox>>,
    outputs: Vec<Output>,
    /// The calls whose end the guard wants to hear of, by caller.
    watched: BTreeMap<(SessionId, RequestId), Watched>,
    /// The zero of the realm's time.
    began: Instant,
    /// What the timekeeper sleeps for, in the realm's time.
    alarm: Option<Duration>,
}

/// A call whose end a guard wants to hear of.
#[derive(Debug)]
struct Watched {
    guard: Arc<dyn Guard>,
    call: u64,
}

impl Hall {
    pub(super) fn new(realm: Realm, guard: Option<Arc<dyn Guard>>) -> Arc<Self> {
        let state = State {
            realm,
            outboxes: IdMap::default(),
            outputs: Vec::new(),
            watched: BTreeMap::new(),
            began: Instant::now(),
            alarm: None,
        };
        let timekeeper = Timekeeper::default();
        Arc::new(Self { state: Mutex::new(state), guard, timekeeper })
    }

    /// Lets a session in. Its outbox gets nothing before `welcome` has been called.
    /// Must be called within a runtime.
    pub(crate) fn join(
        self: &Arc<Self>,
        admission: Admission,
        roles: &ClientRoles,
        outbox: &Arc<Outbox>,
        welcome: impl FnOnce(SessionId, WelcomeDetails),
    ) -> Seat {
        self.timekeeper.start(self);
        let mut state = self.lock();
        let state = &mut *state;
        let applicant = admission.clone();
        let (session, details) = state.realm.join(admission, roles, &mut state.outputs);
        welcome(session, details);
        state.outboxes.insert(session, Arc::clone(outbox));
        state.deliver();
        let caller = self.guard.as_ref().and_then(|_| applicant.caller(session));
        Seat { hall: Arc::clone(self), session, caller }
    }

    /// Does what is due; when there is something to do again.
    pub(super) fn expire(&self) -> Option<Instant> {
        let mut state = self.lock();
        let state = &mut *state;
        let now = state.began.elapsed();
        state.realm.expire(now, &mut state.outputs);
        state.deliver();
        state.alarm = state.realm.next_deadline();
        // A time that the clock never reaches is none.
        state.alarm.and_then(|alarm| state.began.checked_add(alarm))
    }

    /// What goes on in the realm.
    pub(super) fn traffic(&self) -> Traffic {
        self.lock().realm.traffic()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in the core would be a bug; going on with the others is the best that is left.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn deliver(&mut self) {
        for output in self.outputs.drain(..) {
            match output {
                Output::Send { to, message } => {
                    if !self.watched.is_empty() {
                        tell_end(&mut self.watched, to, &message);
                    }
                    if let Some(outbox) = self.outboxes.get(&to) {
                        outbox.send_or_overflow(Outgoing::Own(message));
                    }
                }
                Output::Broadcast { to, message } => {
                    let shared = Arc::new(Shared::new(message));
                    for outbox in to.iter().filter_map(|to| self.outboxes.get(to)) {
                        outbox.send_or_overflow(Outgoing::Shared(Arc::clone(&shared)));
                    }
                }
                Output::End { session, message } => {
                    tell_left(&mut self.watched, session);
                    if let Some(outbox) = self.outboxes.remove(&session) {
                        outbox.send_anyway(message);
                        // Its connection ends when this has been sent.
                        outbox.queue().close();
                    }
                }
            }
        }
    }

    /// Whether something is due before the timekeeper looks again.
    fn is_due_sooner(&mut self) -> bool {
        let next = self.realm.next_deadline();
        let is_sooner = next.is_some_and(|next| self.alarm.is_none_or(|alarm| next < alarm));
        if is_sooner {
            self.alarm = next;
        }
        is_sooner
    }
}

/// Tells the guard if a message to a caller ends a call of which it wants to hear.
fn tell_end(
    watched: &mut BTreeMap<(SessionId, RequestId), Watched>,
    to: SessionId,
    message: &Message,
) {
    let (request, ending) = match message {
        Message::Result { request, details, .. } if !details.progress => {
            (*request, Ending::Answered)
        }
        Message::Error { kind: RequestKind::Call, request, error, .. } => {
            (*request, Ending::Failed(error))
        }
        _ => return,
    };
    if let Some(Watched { guard, call }) = watched.remove(&(to, request)) {
        guard.ended(call, ending);
    }
}

/// Tells the guard that nobody waits any more for the calls of a session.
fn tell_left(watched: &mut BTreeMap<(SessionId, RequestId), Watched>, session: SessionId) {
    if watched.is_empty() {
        return;
    }
    let of_session = watched.range((session, RequestId::MIN)..=(session, RequestId::MAX));
    let requests: Vec<_> = of_session.map(|(key, _)| *key).collect();
    for Watched { guard, call } in requests.iter().filter_map(|key| watched.remove(key)) {
        guard.ended(call, Ending::Left);
    }
}

/// What a guard says of a message.
#[derive(Debug)]
enum Asked {
    Pass,
    Watch(RequestId, Watched),
    Deny(RequestId, String),
}

/// A session's place; the session leaves when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    hall: Arc<Hall>,
    session: SessionId,
    /// How the realm's guard knows the session, if it hears of it.
    caller: Option<Box<Caller>>,
}

impl Seat {
    /// Whose place it is.
    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// Hands a message of the session to the realm. Does not block: what comes
    /// of it is in the outboxes when this returns.
    pub(crate) fn receive(&self, message: Message) -> Result<Standing, Violation> {
        let verdict = self.ask_guard(&message);
        let mut state = self.hall.lock();
        let state = &mut *state;
        match verdict {
            Asked::Pass => {}
            Asked::Watch(request, watched) => {
                let former = state.watched.insert((self.session, request), watched);
                // Two calls of one number break the protocol, which ends the session.
                if let Some(Watched { guard, call }) = former {
                    guard.ended(call, Ending::Left);
                }
            }
            Asked::Deny(request, text) => {
                let message =
                    Message::error(RequestKind::Call, request, error::NOT_AUTHORIZED, &text);
                state.outputs.push(Output::Send { to: self.session, message });
                state.deliver();
                return Ok(Standing::Joined);
            }
        }
        let now = state.began.elapsed();
        let standing = state.realm.receive(self.session, message, now, &mut state.outputs);
        state.deliver();
        if state.is_due_sooner() {
            self.hall.timekeeper.wake();
        }
        if standing == Ok(Standing::Left) {
            tell_left(&mut state.watched, self.session);
            state.outboxes.remove(&self.session);
        }
        standing
    }

    /// Has the guard judge a call.
    fn ask_guard(&self, message: &Message) -> Asked {
        let (Some(guard), Some(caller)) = (&self.hall.guard, &self.caller) else {
            return Asked::Pass;
        };
        let Message::Call { request, procedure, payload, .. } = message else {
            return Asked::Pass;
        };
        match guard.call(caller, procedure, payload) {
            Verdict::Pass => Asked::Pass,
            Verdict::Watch(call) => {
                Asked::Watch(*request, Watched { guard: Arc::clone(guard), call })
            }
            Verdict::Deny(text) => Asked::Deny(*request, text),
        }
    }

    /// Tells the realm that the session will not get a message.
    pub(crate) fn undeliverable(&self, message: Message, why: &str) {
        let mut state = self.hall.lock();
        let state = &mut *state;
        state.realm.undeliverable(self.session, message, why, &mut state.outputs);
        state.deliver();
    }

    /// Gives the place up. Doing it twice is doing it once.
    pub(crate) fn leave(&self) {
        let mut state = self.hall.lock();
        let state = &mut *state;
        state.outboxes.remove(&self.session);
        tell_left(&mut state.watched, self.session);
        state.realm.leave(self.session, &mut state.outputs);
        state.deliver();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}
