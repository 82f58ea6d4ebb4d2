//! The threads that plugins run on, apart from the caller's: whatever spins
//! here delays nobody who only asks and waits.
//!
//! Handing work over and waiting for it wakes two threads, which takes as long
//! as a short job. So work that has proved to be short may stay where it is
//! asked for, also while it waits for an answer: one piece at a time, and only
//! until it has computed for longer than a short job does, which is seen at the
//! next tick of the epoch at the latest. The rest of it runs here.
//!
//! What remains of it is cleared away here too, some pieces at a time.

use std::future::{Future, poll_fn};
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::pace::SHORT;

/// Threads for work that blocks: reading files and `/proc`.
const BLOCKING_THREADS: usize = 16;

/// How long remains may lie until they are cleared away together: to wake somebody for
/// each takes longer than to clear it away.
const COLLECTED: Duration = Duration::from_millis(2);

/// Remains that may lie there at once, as they hold memory and places of the pool.
pub(crate) const MOST_REMAINS: u32 = 8;

/// A tokio runtime of its own and the tasks on it.
pub(crate) struct Threads {
    runtime: Option<Runtime>,
    tasks: Mutex<JoinSet<()>>,
    stopping: CancellationToken,
    /// One permit, for the one who works on a caller's thread.
    outside: Semaphore,
    left: Arc<Left>,
}

/// What work has left when its output is known.
pub(crate) trait Remnant: Send + 'static {
    /// Gives back at once what others wait for.
    fn let_go(&mut self);
}

/// What is left until somebody clears it away.
#[derive(Default)]
struct Left(Mutex<Vec<Box<dyn Remnant>>>);

/// Where work begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// On these threads.
    Here,
    /// With the one who asks, if nothing else works outside at the moment.
    WithCaller,
}

/// Work that ended with its caller.
struct Ended<T> {
    output: T,
    has_waited: bool,
}

impl Threads {
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let number = AtomicUsize::new(0);
        let runtime = Builder::new_multi_thread()
            .worker_threads(count)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name_fn(move || format!("plugin-{}", number.fetch_add(1, Ordering::Relaxed)))
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            tasks: Mutex::default(),
            stopping: CancellationToken::new(),
            outside: Semaphore::new(1),
            left: Arc::default(),
        })
    }

    /// Cancelled when these threads take no more work.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Runs `work` and waits for its output from wherever the caller is. Its
    /// remains are dropped when the caller has the output.
    ///
    /// None if the threads take no more work, or `work` panicked. If the
    /// returned future is dropped, `work` is dropped as well.
    pub(crate) async fn run<T: Send + 'static, R: Remnant>(
        &self,
        work: impl Future<Output = (T, R)> + Send + 'static,
        start: Start,
    ) -> Option<T> {
        let mut work = Box::pin(work);
        if start == Start::WithCaller
            && let ControlFlow::Break(ended) = self.begin_outside(work.as_mut()).await
        {
            let Ended { output: (output, remains), has_waited } = ended?;
            // Who did not wait takes less time than it takes to leave it to others.
            match has_waited {
                true => self.leave(Box::new(remains)),
                false => drop(remains),
            }
            return Some(output);
        }
        let (mut reply, answer) = oneshot::channel();
        let task = async move {
            let (output, remains) = tokio::select! {
                biased;
                () = reply.closed() => return,
                output = work => output,
            };
            // Nobody waits any more, and so be it.
            let _ = reply.send(output);
            drop(remains);
        };
        self.spawn(task)?;
        answer.await.ok()
    }

    /// Works as a part of the caller until `work` is done, or has computed for too
    /// long and is to be handed over. What it waits for wakes the caller, and
    /// timers and tasks that it makes belong to the caller's threads.
    async fn begin_outside<T>(
        &self,
        mut work: Pin<&mut impl Future<Output = T>>,
    ) -> ControlFlow<Option<Ended<T>>> {
        let Ok(_alone) = self.outside.try_acquire() else { return ControlFlow::Continue(()) };
        if self.stopping.is_cancelled() || Handle::try_current().is_err() {
            return ControlFlow::Continue(());
        }
        let (mut computed, mut has_waited) = (Duration::ZERO, false);
        poll_fn(|context| {
            let resumed = Instant::now();
            match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
                Ok(Poll::Ready(output)) => {
                    let ended = Ended { output, has_waited };
                    return Poll::Ready(ControlFlow::Break(Some(ended)));
                }
                Ok(Poll::Pending) => has_waited = true,
                Err(_) => {
                    tracing::error!("a task of the plugin host panicked");
                    return Poll::Ready(ControlFlow::Break(None));
                }
            }
            computed += resumed.elapsed();
            match computed > SHORT {
                true => Poll::Ready(ControlFlow::Continue(())),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Has remains cleared away on these threads, soon.
    fn leave(&self, mut remains: Box<dyn Remnant>) {
        remains.let_go();
        if self.left.push(remains) {
            let (left, stopping) = (Arc::clone(&self.left), self.stopping.clone());
            let clearing = async move {
                // Over at once when these threads end, and that is what it is for.
                let _ = timeout(COLLECTED, stopping.cancelled()).await;
                left.clear();
            };
            if self.spawn(clearing).is_none() {
                self.left.clear();
            }
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Option<()> {
        let runtime = self.runtime.as_ref()?;
        let mut tasks = self.tasks();
        if self.stopping.is_cancelled() {
            return None;
        }
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the plugin host panicked");
            }
        }
        tasks.spawn_on(task, runtime.handle());
        Some(())
    }

    /// Refuses further work and waits for what is under way, which is expected
    /// to watch [`Threads::stopping`]; after `grace`, ends it.
    pub(crate) async fn stop(&self, grace: Duration) {
        let mut tasks = {
            let mut tasks = self.tasks();
            self.stopping.cancel();
            std::mem::take(&mut *tasks)
        };
        let all_ended = async {
            while tasks.join_next().await.is_some() {}
            // The semaphore is never closed.
            let _outside = self.outside.acquire().await;
        };
        if timeout(grace, all_ended).await.is_err() {
            tracing::warn!(tasks = tasks.len(), "ending what did not end by itself");
            tasks.abort_all();
        }
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remnant for () {
    fn let_go(&mut self) {}
}

impl Left {
    /// Whether these are the first, which somebody has to see to. Those that are too
    /// many are dropped at once.
    fn push(&self, remains: Box<dyn Remnant>) -> bool {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() < MOST_REMAINS as usize {
            left.push(remains);
            return left.len() == 1;
        }
        drop(left);
        drop(remains);
        false
    }

    fn clear(&self) {
        let left = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        // Apart from the lock, as it takes its time.
        drop(left);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stopping.cancel();
        if let Some(runtime) = self.runtime.take() {
            // Waiting is not allowed here, where the caller may be on a runtime.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{ThreadId, current};

    use tokio::task::yield_now;

    use super::*;

    async fn where_it_ends(yields: usize, computes: Duration) -> (ThreadId, ()) {
        for _ in 0..yields {
            let begun = Instant::now();
            while begun.elapsed() < computes {}
            yield_now().await;
        }
        (current().id(), ())
    }

    #[tokio::test]
    async fn what_begins_with_the_caller_ends_there_unless_it_computes_for_long() {
        let threads = Threads::start(1).unwrap();
        let caller = current().id();
        let short = || where_it_ends(2, Duration::ZERO);
        assert_eq!(threads.run(short(), Start::WithCaller).await, Some(caller));
        let long = where_it_ends(1, 2 * SHORT);
        assert_ne!(threads.run(long, Start::WithCaller).await, Some(caller));
        assert_ne!(threads.run(short(), Start::Here).await, Some(caller));
    }

    /// Tells who drops it.
    struct Told(std::sync::mpsc::Sender<ThreadId>);

    impl Remnant for Told {
        fn let_go(&mut self) {}
    }

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(current().id());
        }
    }

    #[tokio::test]
    async fn what_remains_of_those_who_waited_is_cleared_away_by_others() {
        let threads = Threads::start(1).unwrap();
        let (sender, dropped) = std::sync::mpsc::channel();
        let work = |yields| {
            let sender = sender.clone();
            async move { (where_it_ends(yields, Duration::ZERO).await, Told(sender)) }
        };
        threads.run(work(0), Start::WithCaller).await.unwrap();
        assert_eq!(dropped.try_recv(), Ok(current().id()), "this one has not waited");
        for _ in 0..3 {
            threads.run(work(1), Start::WithCaller).await.unwrap();
        }
        for _ in 0..3 {
            let by = dropped.recv_timeout(Duration::from_secs(30)).unwrap();
            assert_ne!(by, current().id());
        }
        let many = 2 * MOST_REMAINS as usize;
        for _ in 0..many {
            threads.run(work(1), Start::WithCaller).await.unwrap();
        }
        threads.stop(Duration::from_secs(30)).await;
        assert_eq!(dropped.try_iter().count(), many, "nothing lies there");
    }

    #[tokio::test]
    async fn only_one_is_with_its_caller() {
        let threads = Threads::start(1).unwrap();
        let (release, released) = oneshot::channel::<()>();
        let waiting = async { (released.await.is_ok(), ()) };
        let mut waiting = std::pin::pin!(threads.run(waiting, Start::WithCaller));
        tokio::select! {
            biased;
            ended = &mut waiting => panic!("{ended:?}"),
            () = std::future::ready(()) => {}
        }
        let second = threads.run(where_it_ends(0, Duration::ZERO), Start::WithCaller).await;
        assert_ne!(second, Some(current().id()));
        release.send(()).unwrap();
        assert_eq!(waiting.await, Some(true));
    }

    #[tokio::test]
    async fn what_is_with_its_caller_is_waited_for_at_the_end() {
        let threads = Threads::start(1).unwrap();
        let stopping = threads.stopping().clone();
        let work = async move {
            stopping.cancelled().await;
            yield_now().await;
            (true, ())
        };
        let stopped = async {
            yield_now().await;
            threads.stop(Duration::from_secs(30)).await;
            threads.outside.available_permits()
        };
        let (ended, free) = tokio::join!(threads.run(work, Start::WithCaller), stopped);
        assert_eq!((ended, free), (Some(true), 1));
    }

    #[tokio::test]
    async fn a_panic_is_nobodys_but_the_works_own() {
        async fn broken() -> ((), ()) {
            panic!("a mistake of the host");
        }
        let threads = Threads::start(1).unwrap();
        assert_eq!(threads.run(broken(), Start::WithCaller).await, None);
        assert_eq!(threads.run(broken(), Start::Here).await, None);
        assert!(threads.run(where_it_ends(0, Duration::ZERO), Start::WithCaller).await.is_some());
    }
}
