//! Who runs and who waits: so many jobs at once, so many in line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hands out places to jobs. Clones are the same queue.
#[derive(Clone)]
pub(crate) struct Queue {
    turns: Arc<Semaphore>,
    admitted: Arc<AtomicU32>,
    capacity: u32,
}

/// A job's place, in line or at work. Leaving it is dropping it.
struct Place {
    turns: Arc<Semaphore>,
    /// There at once if nobody is in line.
    permit: Option<OwnedSemaphorePermit>,
    admitted: Arc<AtomicU32>,
}

/// A job's turn, which ends when it is dropped. It may outlive the place.
struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Queue {
    pub(crate) fn new(running: u32, waiting: u32) -> Self {
        // A queue in which nothing runs would take jobs and never serve them.
        let running = running.max(1);
        Self {
            turns: Arc::new(Semaphore::new(running as usize)),
            admitted: Arc::default(),
            capacity: running.saturating_add(waiting),
        }
    }

    /// A place for one more job, with its turn if nobody is in line; none if all
    /// are taken.
    fn enter(&self) -> Option<Place> {
        let mut place = self.line_up()?;
        place.permit = self.turns.clone().try_acquire_owned().ok();
        Some(place)
    }

    /// A place in line for one more job; none if all are taken.
    fn line_up(&self) -> Option<Place> {
        let one_more = |admitted| (admitted < self.capacity).then_some(admitted + 1);
        self.admitted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Place { turns: self.turns.clone(), permit: None, admitted: self.admitted.clone() })
    }
}

/// Which line is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The plugin's own.
    Own,
    /// That of all plugins.
    Common,
}

/// A job's places in its plugin's line and in that of all.
pub(crate) struct Places {
    own: Place,
    common: Place,
}

impl Places {
    /// Places for one more job, and its turns if nobody is in line.
    pub(crate) fn enter(own: &Queue, common: &Queue) -> Result<Self, Full> {
        let own = own.enter().ok_or(Full::Own)?;
        // Whoever waits for its own plugin must not keep the others waiting.
        let common = if own.permit.is_some() { common.enter() } else { common.line_up() };
        Ok(Self { own, common: common.ok_or(Full::Common)? })
    }

    /// Waits until it is this job's turn.
    pub(crate) async fn turns(&mut self) -> Turns {
        let own = self.own.turn().await;
        Turns { _common: self.common.turn().await, _own: own }
    }
}

/// Where a run waits until it may begin.
pub(crate) enum Entrance {
    /// A job stands in line.
    Line(Places),
    /// A service has its slots already, or it is refused.
    Open(Option<OwnedSemaphorePermit>),
}

impl Entrance {
    /// Waits until the run may begin.
    pub(crate) async fn turns(&mut self) -> Turns {
        match self {
            Self::Line(places) => places.turns().await,
            Self::Open(slots) => {
                Turns { _common: Turn { _permit: slots.take() }, _own: Turn { _permit: None } }
            }
        }
    }
}

/// A job's turns, which end when they are dropped.
pub(crate) struct Turns {
    _common: Turn,
    _own: Turn,
}

impl Place {
    /// Waits until it is this job's turn.
    async fn turn(&mut self) -> Turn {
        let permit = match self.permit.take() {
            Some(permit) => Some(permit),
            // The semaphore is never closed, so there always is one in the end.
            None => self.turns.clone().acquire_owned().await.ok(),
        };
        Turn { _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admitted.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_job_too_many_is_refused_until_another_leaves() {
        let queue = Queue::new(1, 1);
        let running = queue.enter().unwrap();
        let waiting = queue.enter().unwrap();
        assert!(queue.enter().is_none());
        drop(waiting);
        assert!(queue.enter().is_some());
        drop(running);
    }

    #[test]
    fn a_turn_comes_when_the_one_before_ends() {
        let queue = Queue::new(1, 1);
        let (mut first, mut second) = (queue.enter().unwrap(), queue.enter().unwrap());
        let turn = poll(first.turn()).unwrap();
        let mut waiting = pin!(second.turn());
        assert!(poll(waiting.as_mut()).is_none());
        drop(first);
        assert!(poll(waiting.as_mut()).is_none());
        drop(turn);
        assert!(poll(waiting.as_mut()).is_some());
    }

    #[test]
    fn who_comes_first_runs_first_even_if_it_is_slow_to_start() {
        let queue = Queue::new(1, 1);
        let mut first = queue.enter().unwrap();
        assert!(poll(queue.enter().unwrap().turn()).is_none());
        assert!(poll(first.turn()).is_some());
    }

    #[test]
    fn a_plugin_with_a_long_line_leaves_the_turns_to_the_others() {
        let (busy, other, common) = (Queue::new(1, 9), Queue::new(2, 9), Queue::new(2, 18));
        let mut places: Vec<_> =
            (0..10).map(|_| Places::enter(&busy, &common).ok().unwrap()).collect();
        assert_eq!(Places::enter(&busy, &common).err(), Some(Full::Own));
        let turns = poll(places[0].turns()).unwrap();
        assert!(poll(places[1].turns()).is_none());
        let mut elsewhere = Places::enter(&other, &common).ok().unwrap();
        assert!(poll(elsewhere.turns()).is_some());
        drop(turns);
        assert!(poll(places[1].turns()).is_some());
    }

    #[test]
    fn one_who_stops_waiting_leaves_the_line() {
        let queue = Queue::new(1, 1);
        let mut first = queue.enter().unwrap();
        let turn = poll(first.turn()).unwrap();
        assert!(poll(queue.enter().unwrap().turn()).is_none());
        let mut third = queue.enter().unwrap();
        drop(turn);
        assert!(poll(third.turn()).is_some());
    }
}
