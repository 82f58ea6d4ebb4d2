//! What callers wait for in jobs that one agent hands over to the next.
//!
//! ```text
//!   agent that ends                          agent that goes on
//!   caller ◀── output so far, "handed over"
//!                 rest of it ──▶ begun.json ──▶ awaited ──▶ caller, by `process.follow`
//!                 its job    ──▶ jobs.json  ──▶ manager ──▶ end of the job
//! ```
//!
//! Output that a caller is to be told waits for it for a while, and the program with
//! it; after that it is only in the log. How the job ended waits longer.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drover_api::{JobId, Timestamp};
use drover_process::{HandedJob, ManagerError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{EVENTS, Expected, Live, Processes, lock};

/// How long a caller has to come for the rest of the output.
const HELD: Duration = Duration::from_secs(60);

/// How long it has to come for the result.
const KEPT: Duration = Duration::from_secs(10 * 60);

/// Output of a job on its way to its caller.
pub(crate) struct Output {
    /// What the agent before has left.
    earlier: VecDeque<Live>,
    live: mpsc::Receiver<Live>,
}

/// A job of the agent before, for whoever goes on waiting for it.
pub(crate) struct Awaited {
    pub(crate) expected: Expected,
    pub(crate) output: Output,
    /// Whether it had ended when it was looked at last.
    had_ended: bool,
}

/// Jobs that are handed over: to this agent, and by it.
#[derive(Default)]
pub(super) struct Handing {
    /// Those that came with this agent, and that nobody has asked for.
    awaited: Mutex<HashMap<JobId, Awaited>>,
    /// All of them, with the time at which each was accepted.
    came: BTreeMap<JobId, Timestamp>,
    /// Cancelled once this one hands its jobs over.
    leaving: CancellationToken,
}

impl Output {
    /// What comes next; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Live> {
        match self.earlier.pop_front() {
            Some(live) => Some(live),
            None => self.live.recv().await,
        }
    }

    /// Output as it comes.
    pub(crate) fn of(live: mpsc::Receiver<Live>) -> Self {
        Self { earlier: VecDeque::new(), live }
    }
}

impl Handing {
    pub(super) fn came(jobs: &[HandedJob]) -> Self {
        let came = jobs.iter().map(|job| (job.id.clone(), job.accepted)).collect();
        Self { came, ..Self::default() }
    }
}

impl Processes {
    /// Keeps what is told of jobs that come with this agent for those who waited for
    /// them with the one before.
    pub(super) fn await_handed(&self, jobs: Vec<HandedJob>) {
        for HandedJob { id, .. } in jobs {
            let begun = &self.listeners.begun;
            let (tell, live) = mpsc::channel(EVENTS);
            let output = Output { earlier: begun.take_untold(&id).into(), live };
            let expected = self.expect(&id, begun.is_followed(&id).then_some(tell));
            let awaited = Awaited { expected, output, had_ended: false };
            lock(&self.handing.awaited).insert(id, awaited);
        }
        if lock(&self.handing.awaited).is_empty() {
            return;
        }
        let (handing, closing) = (Arc::clone(&self.handing), self.listeners.closing.clone());
        self.spawn(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = handing.forget_in_time() => {}
            }
            // A listener that is not heard goes on by itself.
            lock(&handing.awaited).clear();
        });
    }

    /// The jobs that the agent before has handed over to this one, and when each was
    /// accepted.
    pub(crate) fn came(&self) -> &BTreeMap<JobId, Timestamp> {
        &self.handing.came
    }

    /// A job of the agent before, for the first who asks.
    pub(crate) fn take_awaited(&self, id: &JobId) -> Option<Awaited> {
        lock(&self.handing.awaited).remove(id)
    }

    /// Is cancelled when the jobs are handed over to another agent. All that there is
    /// for their callers is to be told then.
    pub(crate) fn leaving(&self) -> &CancellationToken {
        &self.handing.leaving
    }

    /// Hands every job over to the agent that comes next. Programs of plugins are a part
    /// of what the plugins do, and stay.
    ///
    /// # Errors
    ///
    /// If they cannot be written down: they are as they were.
    pub(crate) async fn hand_over(&self) -> Result<(), ManagerError> {
        self.handing.leaving.cancel();
        let mut untold = self.hear_awaited();
        let handed = self.manager.hand_over().await;
        if handed.is_err() {
            // Their listeners go on, and so does whoever hears them.
            let closing = self.listeners.closing.clone();
            self.spawn(async move {
                tokio::select! {
                    () = closing.cancelled() => {}
                    () = async { while untold.join_next().await.is_some() {} } => {}
                }
            });
            return handed.map(drop);
        }
        while let Some(heard) = untold.join_next().await {
            let Ok((id, output)) = heard else { continue };
            self.listeners.begun.leave_untold(id, output);
        }
        Ok(())
    }

    /// Hears what nobody else has asked for, so that no program waits for that.
    fn hear_awaited(&self) -> JoinSet<(JobId, Vec<Live>)> {
        let awaited = std::mem::take(&mut *lock(&self.handing.awaited));
        let mut hearing = JoinSet::new();
        for (id, Awaited { mut output, expected, .. }) in awaited {
            hearing.spawn_on(
                async move {
                    let mut heard = Vec::new();
                    while let Some(live) = output.next().await {
                        heard.push(live);
                    }
                    drop(expected);
                    (id, heard)
                },
                &self.runtime,
            );
        }
        hearing
    }
}

impl Handing {
    async fn forget_in_time(&self) {
        sleep(HELD).await;
        for awaited in lock(&self.awaited).values_mut() {
            awaited.output.live.close();
        }
        loop {
            sleep(KEPT).await;
            let mut awaited = lock(&self.awaited);
            awaited.retain(|_, job| {
                let has_ended = job.has_ended();
                !std::mem::replace(&mut job.had_ended, has_ended)
            });
            if awaited.is_empty() {
                return;
            }
        }
    }
}

impl Awaited {
    fn has_ended(&self) -> bool {
        !self.expected.finished.is_empty() || self.expected.finished.is_terminated()
    }
}
