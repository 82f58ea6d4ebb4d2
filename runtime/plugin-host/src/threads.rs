//! The threads that plugins run on, apart from the caller's: whatever spins
//! here delays nobody who only asks and waits.
//!
//! Handing work over and waiting for it wakes two threads, which takes as long
//! as a short job. So work that has proved to be short may begin where it is
//! asked for: one piece at a time, and only until it first gives way, which an
//! instance does at the next tick of the epoch. The rest of it runs here.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Threads for work that blocks: reading files and `/proc`.
const BLOCKING_THREADS: usize = 16;

/// A tokio runtime of its own and the tasks on it.
pub(crate) struct Threads {
    runtime: Option<Runtime>,
    tasks: Mutex<JoinSet<()>>,
    stopping: CancellationToken,
    /// Held by the one who works on a caller's thread.
    outside: Mutex<()>,
}

/// Where work begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// On these threads.
    Here,
    /// On the thread that asks, if nothing else works outside at the moment.
    WithCaller,
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
            outside: Mutex::default(),
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
    pub(crate) async fn run<T: Send + 'static, R: Send + 'static>(
        &self,
        work: impl Future<Output = (T, R)> + Send + 'static,
        start: Start,
    ) -> Option<T> {
        let mut work = Box::pin(work);
        if start == Start::WithCaller
            && let Poll::Ready(output) = self.begin_outside(work.as_mut())
        {
            return output.map(|(output, _remains)| output);
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

    /// Works on the caller's thread until `work` is done or gives way. It is
    /// polled again when it is handed over, so nobody need be woken before.
    fn begin_outside<T>(&self, work: Pin<&mut impl Future<Output = T>>) -> Poll<Option<T>> {
        let Ok(_alone) = self.outside.try_lock() else { return Poll::Pending };
        let Some(runtime) = &self.runtime else { return Poll::Pending };
        if self.stopping.is_cancelled() {
            return Poll::Pending;
        }
        // Timers and tasks that it makes belong to the threads here.
        let _context = runtime.enter();
        let mut context = Context::from_waker(Waker::noop());
        catch_unwind(AssertUnwindSafe(|| work.poll(&mut context).map(Some))).unwrap_or_else(|_| {
            tracing::error!("a task of the plugin host panicked");
            Poll::Ready(None)
        })
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
        let all_ended = async { while tasks.join_next().await.is_some() {} };
        if timeout(grace, all_ended).await.is_err() {
            tracing::warn!(tasks = tasks.len(), "ending what did not end by itself");
            tasks.abort_all();
        }
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
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

    async fn where_it_ends(yields: usize) -> (ThreadId, ()) {
        for _ in 0..yields {
            yield_now().await;
        }
        (current().id(), ())
    }

    #[tokio::test]
    async fn what_begins_with_the_caller_ends_there_unless_it_gives_way() {
        let threads = Threads::start(1).unwrap();
        let caller = current().id();
        assert_eq!(threads.run(where_it_ends(0), Start::WithCaller).await, Some(caller));
        assert_ne!(threads.run(where_it_ends(1), Start::WithCaller).await, Some(caller));
        assert_ne!(threads.run(where_it_ends(0), Start::Here).await, Some(caller));
    }

    #[tokio::test]
    async fn a_panic_is_nobodys_but_the_works_own() {
        async fn broken() -> ((), ()) {
            panic!("a mistake of the host");
        }
        let threads = Threads::start(1).unwrap();
        assert_eq!(threads.run(broken(), Start::WithCaller).await, None);
        assert_eq!(threads.run(broken(), Start::Here).await, None);
        assert!(threads.run(where_it_ends(0), Start::WithCaller).await.is_some());
    }
}
