//! The threads that plugins run on, apart from the caller's: whatever spins
//! here delays nobody who only asks and waits.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
        })
    }

    /// Cancelled when these threads take no more work.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Runs `work` here and waits for it from wherever the caller is. The
    /// second half of what it gives is dropped here, after the caller was woken.
    ///
    /// None if the threads take no more work, or `work` panicked. If the
    /// returned future is dropped, `work` is dropped as well.
    pub(crate) async fn run<T: Send + 'static, R: Send + 'static>(
        &self,
        work: impl Future<Output = (T, R)> + Send + 'static,
    ) -> Option<T> {
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
