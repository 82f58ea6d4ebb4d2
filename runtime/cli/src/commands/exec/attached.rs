//! A program on a node whose streams are those of this one.
//!
//! ```text
//!   node ──progress──▶ running ──▶ printer ──▶ stdout, stderr
//!     ▲ ▲                             │
//!     │ └──────── process.taken ◀─────┘   how much was printed
//!     └── process.stdin ◀── feed ◀── stdin
//! ```
//!
//! Where the agent is replaced meanwhile, the program goes on, and so does this: the
//! next agent is asked for the rest by `process.follow`.

use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use anyhow::Context;
use data_encoding::BASE64;
use drover_api::{Command, JobResult, JobState, NodeStatus, Progress, procedures};
use drover_wamp::{CallError, CallOptions, Client, Payload, RunningCall};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::super::call::milliseconds;
use super::ending::{BROKEN_PIPE, exit_of, remark, unanswered};
use crate::exit::{Exit, Failure};
use crate::feed::{Fed, Takings, WINDOW};
use crate::output::{self, Stream};
use crate::streams::{Chunk, Printed, Printer, read_stdin};
use crate::succession;

/// A program that runs for this one.
pub(super) struct Attached<'a> {
    session: &'a Client,
    node: &'a NodeStatus,
    fed: Fed,
    program: String,
    /// None between two agents.
    running: Option<RunningCall>,
    succession: Succession,
    as_json: bool,
    printer: Printer,
    printed: Printed,
    takings: Takings,
    interrupts: Signal,
    /// Why the job is to end before its time.
    ended_by: Option<EndedBy>,
    is_feeding: bool,
}

/// What is to be known to go on with another agent.
#[derive(Debug)]
struct Succession {
    /// When the job is to have ended.
    deadline: Option<Instant>,
    /// When the next agent is to be there, once the job is handed over.
    latest: Option<Instant>,
}

/// What ends the job from this side.
#[derive(Debug)]
enum EndedBy {
    /// Ctrl-C.
    Person,
    /// Its output can go nowhere.
    Output(io::Error),
}

/// What the node tells of the job.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    Stdout(String),
    StdoutBase64(String),
    Stderr(String),
    StderrBase64(String),
}

/// How waiting ended.
enum Waited {
    /// There is nothing to wait for any more.
    ToTheEnd,
    /// Whoever waits has had enough.
    LongEnough,
}

impl<'a> Attached<'a> {
    pub(super) async fn start(
        session: &'a Client,
        node: &'a NodeStatus,
        command: Command,
        as_json: bool,
    ) -> Result<Self, Failure> {
        let interrupts = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        let (printer, printed) = Printer::start().context("cannot start printing")?;
        let program = command.args.get("cmd").and_then(Value::as_str).unwrap_or_default();
        let program = program.to_owned();
        let procedure = procedures::run(node.description.id());
        let payload = Payload::one(&command)?;
        let limit = command.timeout_ms.map(Duration::from_millis);
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let id = command.id;
        let running = session.start(&procedure, payload, CallOptions::default()).await;
        let running = running.map_err(|error| unanswered(error, &program, node, &id))?;
        let fed = Fed {
            session: session.clone(),
            node: node.description.id(),
            id,
            input: "process.stdin",
            taken: "process.taken",
        };
        let (takings, ended_by) = (Takings::new(fed.clone()), None);
        Ok(Self {
            session,
            node,
            fed,
            program,
            running: Some(running),
            succession: Succession { deadline, latest: None },
            as_json,
            printer,
            printed,
            takings,
            interrupts,
            ended_by,
            is_feeding: true,
        })
    }

    /// Waits for the end of the program.
    pub(super) async fn run(mut self, passes_stdin: bool) -> Result<Exit, Failure> {
        let (accept, accepted) = oneshot::channel();
        let fed = self.fed.clone();
        let feeding = async {
            // A job that is never accepted reads nothing.
            match accepted.await {
                Ok(()) if passes_stdin => feed(&fed).await,
                _ => Ok(()),
            }
        };
        let (mut accept, mut feeding) = (Some(accept), pin!(feeding));
        let answer = loop {
            if let Waited::LongEnough = self.follow(&mut accept, &mut feeding).await? {
                return Ok(Exit::Cancelled);
            }
            let Some(running) = self.running.take() else { continue };
            let answer = running.answer().await;
            if !self.succession.follows(&answer) {
                break answer;
            }
            if let Waited::LongEnough = self.go_on().await? {
                return Ok(Exit::Cancelled);
            }
        };
        let Self { session, node, fed: Fed { id, .. }, program, as_json, printer, .. } = self;
        drop(printer);
        let mut ended_by = self.ended_by;
        if let Waited::LongEnough =
            print_the_rest(&mut self.printed, &mut self.interrupts, &mut ended_by).await
        {
            return Ok(Exit::Cancelled);
        }
        let result = answer.map_err(|error| match ended_by {
            Some(EndedBy::Person) => {
                let message = format!("job {id} was told to end; its node has not confirmed");
                Failure::text(Exit::Cancelled, message)
            }
            _ => unanswered(error, &program, node, &id),
        })?;
        let result: JobResult = result.first()?;
        session.close().await;
        if as_json {
            output::json(&result)?;
        }
        match ended_by {
            Some(EndedBy::Person) if result.state == JobState::Killed => Ok(Exit::Cancelled),
            // As if the program itself had written there.
            Some(EndedBy::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Ok(Exit::signal(BROKEN_PIPE))
            }
            Some(EndedBy::Output(error)) => {
                let message = format!("cannot print what `{program}` writes, and ended it");
                Err(Failure::new(Exit::Failed, anyhow::Error::new(error).context(message)))
            }
            _ => {
                if let Some(message) = remark(&result).filter(|_| !as_json) {
                    let node = &node.description.name;
                    output::note(&format!("drover: `{program}` on node {node}: {message}"));
                }
                Ok(exit_of(&result))
            }
        }
    }

    /// Shows reports as they come, until there are no more.
    async fn follow(
        &mut self,
        accept: &mut Option<oneshot::Sender<()>>,
        feeding: &mut Pin<&mut impl Future<Output = Result<(), String>>>,
    ) -> Result<Waited, Failure> {
        loop {
            let Self { running, printer, printed, interrupts, is_feeding, .. } = self;
            let Some(running) = running else { return Ok(Waited::ToTheEnd) };
            // A report that there is no room for waits at the session.
            let next = async {
                let room = printer.room().await;
                (running.next().await, room)
            };
            tokio::select! {
                (report, room) = next => match report {
                    None => return Ok(Waited::ToTheEnd),
                    Some(report) => match report.first::<Progress>()?.progress {
                        report if report.get("accepted").is_some() => {
                            let _ = accept.take().map(|accept| accept.send(()));
                        }
                        report => self.show(report, room)?,
                    },
                },
                Some(printed) = printed.recv() => match printed {
                    Ok(bytes) => self.takings.add(bytes),
                    Err(error) => {
                        self.ended_by.get_or_insert(EndedBy::Output(error));
                        running.cancel();
                    }
                },
                fed = &mut *feeding, if *is_feeding => {
                    *is_feeding = false;
                    if let Err(reason) = fed {
                        let program = &self.program;
                        let note =
                            format!("drover: `{program}` gets no more standard input: {reason}");
                        self.printer.note(&note);
                    }
                }
                _ = interrupts.recv() => {
                    running.cancel();
                    if let Waited::LongEnough = self.interrupted() {
                        return Ok(Waited::LongEnough);
                    }
                }
            }
        }
    }

    /// Somebody wants the end; the second time, not even to wait for it.
    fn interrupted(&mut self) -> Waited {
        if let Some(EndedBy::Person) = self.ended_by {
            return Waited::LongEnough;
        }
        let note = format!(
            "drover: ending `{}` with all its processes; Ctrl-C again leaves without waiting for \
             that",
            self.program
        );
        self.printer.note(&note);
        self.ended_by = Some(EndedBy::Person);
        Waited::ToTheEnd
    }

    /// Asks the next agent for the rest, in a moment.
    async fn go_on(&mut self) -> Result<Waited, Failure> {
        tokio::select! {
            () = sleep(succession::PAUSE) => {}
            _ = self.interrupts.recv() => {
                if let Waited::LongEnough = self.interrupted() {
                    return Ok(Waited::LongEnough);
                }
            }
        }
        let description = &self.node.description;
        let Value::Object(args) = json!({ "id": self.fed.id, "window": WINDOW }) else {
            return Ok(Waited::ToTheEnd);
        };
        let left = self.succession.deadline.map(|deadline| deadline - Instant::now());
        let command = Command {
            gid: Some(description.gid),
            nid: Some(description.nid),
            args,
            timeout_ms: left.map(milliseconds),
            ..Command::new("process.follow")
        };
        let (procedure, payload) = (procedures::run(description.id()), Payload::one(&command)?);
        let running = self.session.start(&procedure, payload, CallOptions::default()).await;
        let id = &self.fed.id;
        let running = running.map_err(|error| unanswered(error, &self.program, self.node, id))?;
        if self.ended_by.is_some() {
            running.cancel();
        }
        self.running = Some(running);
        Ok(Waited::ToTheEnd)
    }

    fn show(&mut self, report: Value, room: Option<OwnedPermit<Chunk>>) -> Result<(), Failure> {
        let (stream, bytes) = match serde_json::from_value(report)? {
            Report::Stdout(text) => (Stream::Stdout, text.into_bytes()),
            Report::Stderr(text) => (Stream::Stderr, text.into_bytes()),
            Report::StdoutBase64(text) => (Stream::Stdout, BASE64.decode(text.as_bytes())?),
            Report::StderrBase64(text) => (Stream::Stderr, BASE64.decode(text.as_bytes())?),
        };
        match room {
            Some(room) if !self.as_json => {
                room.send(Chunk { stream, bytes, is_own: false });
            }
            // The result has the ends of both.
            _ => self.takings.add(bytes.len()),
        }
        Ok(())
    }
}

impl Succession {
    /// Whether the next agent is to be asked, after this answer.
    fn follows(&mut self, answer: &Result<Payload, CallError>) -> bool {
        if succession::is_handed_over(answer) {
            self.latest = Some(Instant::now() + succession::PATIENCE);
            return true;
        }
        self.latest.is_some_and(|latest| Instant::now() < latest)
            && succession::is_unanswered(answer)
    }
}

/// Passes standard input to a program. What could be read is all there is.
async fn feed(fed: &Fed) -> Result<(), String> {
    let input = read_stdin().map_err(|error| error.to_string())?;
    let passed = fed.feed(input).await;
    if passed.is_err() {
        fed.end().await;
    }
    passed
}

/// Waits until all that waits is printed.
async fn print_the_rest(
    printed: &mut Printed,
    interrupts: &mut Signal,
    ended_by: &mut Option<EndedBy>,
) -> Waited {
    loop {
        tokio::select! {
            printed = printed.recv() => match printed {
                None => return Waited::ToTheEnd,
                Some(Ok(_)) => {}
                Some(Err(error)) => drop(ended_by.get_or_insert(EndedBy::Output(error))),
            },
            _ = interrupts.recv() => return Waited::LongEnough,
        }
    }
}
