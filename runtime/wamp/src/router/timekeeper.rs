//! Who looks at the clock for a realm, whose core has none.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Hall;

/// One task per realm, which ends with it.
///
/// It belongs to the realm and not to the connections, because a call's time
/// is over for sessions of sockets and for attached ones alike, and because
/// idle sessions then need no timer.
#[derive(Debug, Default)]
pub(super) struct Timekeeper {
    wake: Arc<Notify>,
    task: Mutex<JoinSet<()>>,
}

impl Timekeeper {
    /// Starts the task unless it runs. Must be called within a runtime.
    pub(super) fn start(&self, hall: &Arc<Hall>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        // It ends before its realm only when its runtime does.
        while task.try_join_next().is_some() {}
        if task.is_empty() {
            task.spawn(keep_time(Arc::downgrade(hall), Arc::clone(&self.wake)));
        }
    }

    /// Says that something is due sooner than it was.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }
}

async fn keep_time(hall: Weak<Hall>, wake: Arc<Notify>) {
    loop {
        let next: Option<Instant> = match hall.upgrade() {
            Some(hall) => hall.expire(),
            None => return,
        };
        match next {
            Some(next) => tokio::select! {
                () = sleep_until(next) => {}
                () = wake.notified() => {}
            },
            None => wake.notified().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use tokio::time::timeout;

    use super::*;
    use crate::message::{
        CallDetails, CancelMode, ClientRoles, Features, Message, RegisterDetails, RequestKind, Role,
    };
    use crate::outbox::Outbox;
    use crate::payload::Payload;
    use crate::router::entrance::Admission;
    use crate::router::realm::Realm;
    use crate::router::{Limits, Seat};
    use crate::uri;

    fn join(hall: &Arc<Hall>) -> (Seat, Arc<Outbox>) {
        let features = Features { call_canceling: true, ..Features::default() };
        let roles = ClientRoles { callee: Some(Role { features }), ..ClientRoles::default() };
        let outbox = Arc::new(Outbox::new(1 << 20));
        (hall.join(Admission::trusted(), &roles, &outbox, |_, _| {}), outbox)
    }

    async fn next(outbox: &Outbox) -> Message {
        let next = timeout(Duration::from_secs(30), outbox.queue().pop()).await;
        next.expect("nothing came").expect("the outbox is closed").into_message()
    }

    fn call(request: u64, milliseconds: u64) -> Message {
        let options = CallDetails { timeout: Some(milliseconds), ..CallDetails::default() };
        let payload = Payload::empty();
        Message::Call { request, options, procedure: "a.b".into(), payload }
    }

    #[tokio::test]
    async fn a_call_that_takes_too_long_ends_while_nobody_says_anything() {
        let realm = Realm::new("test", 1, SystemTime::now(), &Limits::default());
        let hall = Hall::new(realm, None);
        let ((callee, to_callee), (caller, to_caller)) = (join(&hall), join(&hall));
        let (options, procedure) = (RegisterDetails::default(), "a.b".to_owned());
        callee.receive(Message::Register { request: 1, options, procedure }).unwrap();
        assert!(matches!(next(&to_callee).await, Message::Registered { .. }));

        // The second one is due before the one that the timekeeper sleeps for.
        caller.receive(call(1, 3_600_000)).unwrap();
        tokio::task::yield_now().await;
        caller.receive(call(2, 20)).unwrap();
        for request in [1, 2] {
            let invocation = next(&to_callee).await;
            assert!(matches!(invocation, Message::Invocation { request: r, .. } if r == request));
        }
        let Message::Error { kind: RequestKind::Call, request: 2, error, .. } =
            next(&to_caller).await
        else {
            panic!("no error for the second call")
        };
        assert_eq!(error, uri::error::TIMEOUT);
        let Message::Interrupt { request: 2, options } = next(&to_callee).await else {
            panic!("the callee was not interrupted")
        };
        assert_eq!(options.mode, Some(CancelMode::KillNoWait));
    }

    #[tokio::test]
    async fn the_task_ends_with_its_realm() {
        let realm = Realm::new("test", 1, SystemTime::now(), &Limits::default());
        let hall = Hall::new(realm, None);
        let weak = Arc::downgrade(&hall);
        let (seat, _) = join(&hall);
        tokio::task::yield_now().await;
        drop((seat, hall));
        assert!(weak.upgrade().is_none(), "the task holds no realm while it sleeps");
    }
}
