//! Programs of plugins: jobs of the process manager that belong to a job of a
//! plugin.
//!
//! Each has a task here, which submits it, passes its output on, and ends it when
//! the plugin's side says so or goes away. What such a program writes is its
//! plugin's, and not in the log.

use std::fmt;
use std::io;
use std::time::Duration;

use drover_api::{JobId, JobState};
use drover_plugin_host::{
    Doing, Ending, NotStarted, Program, ProgramControl, ProgramOutput, ProgramStream, Programs,
    Started,
};
use drover_process::{
    Environment, Exit, Inherit, LevelTexts, MaxTime, OnAgentRestart, Outcome, OutputStream,
    ProcessLimits, ProcessSpec, RestartPolicy, SpecContext, StdinPolicy,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Finished, Live, Processes};

/// Pieces of output between a program and its plugin; more hold the program back.
const OUTPUT: usize = 4;

/// The longest time between TERM and KILL; see `wit/process.wit`.
const GRACE: Duration = Duration::from_secs(2);

/// Runs programs for plugins.
pub(crate) struct OfPlugins(pub(crate) Processes);

impl fmt::Debug for OfPlugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfPlugins").finish_non_exhaustive()
    }
}

impl Programs for OfPlugins {
    fn start(&self, program: Program) -> Started {
        let Self(processes) = self;
        let id = JobId::generate();
        let (tell_began, began) = oneshot::channel();
        let (pass_on, output) = mpsc::channel(OUTPUT);
        let (tell_end, ended) = oneshot::channel();
        let (tell_gone, gone) = watch::channel(None);
        let end = CancellationToken::new();
        let task = ProgramTask {
            processes: processes.clone(),
            id: id.clone(),
            end: end.clone(),
            began: tell_began,
            output: pass_on,
            ended: tell_end,
            gone: tell_gone,
        };
        processes.spawn(task.run(spec(program, processes.context())));
        let control = Control {
            processes: processes.clone(),
            id: id.clone(),
            _end_when_dropped: end.clone().drop_guard(),
            end,
            gone,
        };
        Started { id, began, output, ended, control: Box::new(control) }
    }
}

/// The plugin's side of a program.
struct Control {
    processes: Processes,
    id: JobId,
    end: CancellationToken,
    _end_when_dropped: DropGuard,
    /// There once nothing of it is: the processes of which that could not be had.
    gone: watch::Receiver<Option<Vec<u32>>>,
}

impl ProgramControl for Control {
    fn write<'a>(&'a self, bytes: &'a [u8]) -> Doing<'a, io::Result<()>> {
        Box::pin(async move {
            let writer = self.processes.manager().stdin(&self.id).await;
            writer.map_err(io::Error::other)?.write(bytes).await
        })
    }

    fn close_input(&self) -> Doing<'_, ()> {
        Box::pin(async move {
            // A program that has ended reads nothing any more.
            if let Ok(writer) = self.processes.manager().stdin(&self.id).await {
                writer.close().await;
            }
        })
    }

    fn end(&self) {
        self.end.cancel();
    }

    fn gone(&self) -> Doing<'_, Vec<u32>> {
        let mut gone = self.gone.clone();
        Box::pin(async move {
            let left = gone.wait_for(Option::is_some).await;
            left.ok().and_then(|left| left.clone()).unwrap_or_default()
        })
    }
}

/// The agent's side of a program.
struct ProgramTask {
    processes: Processes,
    id: JobId,
    end: CancellationToken,
    began: oneshot::Sender<Result<(), NotStarted>>,
    output: mpsc::Sender<ProgramOutput>,
    ended: oneshot::Sender<Ending>,
    gone: watch::Sender<Option<Vec<u32>>>,
}

impl ProgramTask {
    /// Runs the program to its end. Whoever is told may have gone.
    async fn run(self, spec: ProcessSpec) {
        let Self { processes, id, end, began, output, ended, gone } = self;
        let (live, written) = mpsc::channel(1);
        let mut expected = processes.expect(&id, Some(live));
        if let Err(error) = processes.manager().submit(id.clone(), spec).await {
            let _ = began.send(Err(NotStarted(error.to_string())));
            gone.send_replace(Some(Vec::new()));
            return;
        }
        let beginning = async {
            match (&mut expected.started).await {
                Ok(()) => {
                    let _ = began.send(Ok(()));
                    None
                }
                Err(_) => Some(began),
            }
        };
        let passing = pass_on(written, output, end.clone());
        let whole = async {
            let (finished, (), waiting) = tokio::join!(&mut expected.finished, passing, beginning);
            (finished.ok(), waiting)
        };
        tokio::pin!(whole);
        let ((finished, waiting), left) = tokio::select! {
            ended = &mut whole => (ended, Vec::new()),
            () = end.cancelled() => {
                let (killed, ended) = tokio::join!(processes.manager().kill(&id), whole);
                // A job that is not known any more has ended with all its processes.
                let left = killed.map(|report| report.left).unwrap_or_default();
                (ended, left.iter().map(|process| process.pid).collect())
            }
        };
        if let Some(began) = waiting {
            let _ = began.send(Err(not_started(finished.as_ref())));
        }
        let ending = finished.map_or(Ending::Unknown, |finished| ending_of(&finished.outcome));
        let _ = ended.send(ending);
        gone.send_replace(Some(left));
    }
}

/// Passes output on as long as somebody reads it. What comes after the program is
/// told to end, nobody needs.
async fn pass_on(
    mut written: mpsc::Receiver<Live>,
    output: mpsc::Sender<ProgramOutput>,
    end: CancellationToken,
) {
    while let Some(Live { stream, bytes }) = written.recv().await {
        let stream = match stream {
            OutputStream::Stdout => ProgramStream::Stdout,
            OutputStream::Stderr => ProgramStream::Stderr,
        };
        tokio::select! {
            biased;
            () = end.cancelled() => {}
            _ = output.send(ProgramOutput { stream, bytes: bytes.into() }) => {}
        }
    }
}

fn not_started(finished: Option<&Finished>) -> NotStarted {
    NotStarted(match finished {
        None => "the node is shutting down".to_owned(),
        Some(Finished { outcome, .. }) if outcome.message.is_empty() => {
            "it was ended before it began".to_owned()
        }
        Some(Finished { outcome, .. }) => outcome.message.clone(),
    })
}

fn ending_of(outcome: &Outcome) -> Ending {
    match (outcome.state, outcome.exit) {
        (JobState::Timeout, _) => Ending::Timeout,
        (JobState::Killed, _) => Ending::Killed,
        (_, Some(Exit::Code(code))) => Ending::Code(code),
        (_, Some(Exit::Signal(signal))) => Ending::Signal(signal),
        (_, Some(Exit::OutOfMemory { .. })) => Ending::OutOfMemory,
        (_, Some(Exit::Lost) | None) => Ending::Unknown,
    }
}

/// The program as a job of the process manager: one run, which ends with the agent.
/// Nothing is filled in: `$root` is what the plugin wrote, and was judged so.
fn spec(program: Program, context: &SpecContext) -> ProcessSpec {
    let name = program.path.rsplit('/').next().unwrap_or_default().to_owned();
    ProcessSpec {
        cmd: program.path,
        args: program.arguments,
        script: None,
        working_dir: program.directory,
        environment: Environment { inherit: Inherit::Nothing, set: program.environment },
        input: String::new(),
        stdin: if program.has_input { StdinPolicy::Open } else { StdinPolicy::Close },
        domain: program.plugin,
        name,
        max_time: program.max_time.map_or(MaxTime::Unlimited, MaxTime::Limit),
        restart: RestartPolicy { max: Some(0), first: Duration::ZERO, longest: Duration::ZERO },
        recurrence: None,
        start_delay: Duration::ZERO,
        after: Vec::new(),
        ready: None,
        queue: None,
        grace: context.grace.min(GRACE),
        on_agent_restart: OnAgentRestart::EndWithAgent,
        stats_interval: context.stats_interval,
        levels: LevelTexts { loglevels: Some("-".to_owned()), ..LevelTexts::default() },
        parse: None,
        user: program.user,
        group: None,
        limits: ProcessLimits {
            memory: program.memory_bytes,
            processes: program.processes,
            ..ProcessLimits::default()
        },
    }
}
