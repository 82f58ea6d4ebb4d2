//! The clock that makes busy instances give way: a thread that moves the epoch
//! of the engines on while instances compute, and sleeps while none does.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::engine::Engines;

/// The longest time that an instance keeps a thread for itself.
const TICK: Duration = Duration::from_millis(10);

/// Ticks without an instance before the thread goes to sleep. Waking it costs
/// more than a short job, so a row of short jobs keeps it awake.
const IDLE_TICKS: u32 = 20;

/// Owns the thread, which ends when this is dropped.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Keeps the epoch moving as long as it exists.
struct Ticking<'a> {
    shared: &'a Shared,
}

/// Work of an instance, with the epoch moving whenever it is polled.
pub(crate) struct Ticked<'a, F> {
    ticker: &'a Ticker,
    work: Pin<Box<F>>,
}

struct Shared {
    instances: AtomicUsize,
    is_asleep: AtomicBool,
    is_stopped: AtomicBool,
}

impl Ticker {
    pub(crate) fn start(engines: Arc<Engines>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            instances: AtomicUsize::new(0),
            is_asleep: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
        });
        let of_thread = shared.clone();
        let thread = thread::Builder::new()
            .name("plugin-epoch".into())
            .spawn(move || tick(&of_thread, &engines))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Keeps the epoch moving while an instance computes, and not while it
    /// waits: a thousand idle services wake nobody.
    pub(crate) fn while_polled<F: Future>(&self, work: F) -> Ticked<'_, F> {
        Ticked { ticker: self, work: Box::pin(work) }
    }

    fn enter(&self) -> Ticking<'_> {
        self.shared.instances.fetch_add(1, Ordering::SeqCst);
        if self.shared.is_asleep.swap(false, Ordering::SeqCst) {
            self.wake();
        }
        Ticking { shared: &self.shared }
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and then there is nothing to wait for.
            let _ = thread.join();
        }
    }
}

impl<F: Future> Future for Ticked<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _ticking = self.ticker.enter();
        self.work.as_mut().poll(context)
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.shared.instances.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(shared: &Shared, engines: &Engines) {
    let mut idle_ticks = 0;
    while !shared.is_stopped.load(Ordering::SeqCst) {
        thread::park_timeout(TICK);
        engines.increment_epoch();
        if shared.instances.load(Ordering::SeqCst) > 0 {
            idle_ticks = 0;
            continue;
        }
        idle_ticks += 1;
        if idle_ticks < IDLE_TICKS {
            continue;
        }
        // First the flag, then the second look: an instance that comes between
        // the two either is seen here or sees the flag and wakes the thread.
        shared.is_asleep.store(true, Ordering::SeqCst);
        while shared.is_asleep.load(Ordering::SeqCst)
            && shared.instances.load(Ordering::SeqCst) == 0
            && !shared.is_stopped.load(Ordering::SeqCst)
        {
            thread::park();
        }
        shared.is_asleep.store(false, Ordering::SeqCst);
        idle_ticks = 0;
    }
}
