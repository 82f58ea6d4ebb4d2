//! A call whose operation gets input and gives output while it runs.
//!
//! ```text
//!   node ──progress──▶ running ──▶ sink ──▶ file
//!     ▲ ▲                           │
//!     │ └─────── job.taken ◀────────┘   how much was written
//!     └── job.input ◀── file
//! ```

use std::pin::pin;

use anyhow::Context;
use data_encoding::BASE64;
use drover_api::{
    Command, JobResult, JobState, NodeStatus, Progress, StreamPart, Streaming, procedures,
};
use drover_wamp::{CallOptions, Client, Payload, RunningCall};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::super::report;
use crate::exit::{Exit, Failure};
use crate::feed::{Fed, Takings, WINDOW};
use crate::transfer::{Files, Sink};
use crate::{controller, output};

/// Why a transfer does not come to its end.
enum Broken {
    /// Ctrl-C.
    Person,
    /// A file here cannot be read or written, or the node takes no input.
    Here(anyhow::Error),
}

/// Sends the command, and the input while the operation runs; takes its output and
/// waits for its result.
pub(super) async fn call_node(
    session: &Client,
    node: &NodeStatus,
    mut command: Command,
    files: &Files,
) -> Result<JobResult, Failure> {
    let (source, sink) = files.open()?;
    let window = sink.is_some().then_some(WINDOW);
    command.streaming = Some(Streaming { input: source.is_some(), window });
    let what = format!("cannot call {} on node {}", command.cmd, node.description.name);
    let procedure = procedures::run(node.description.id());
    let payload = Payload::one(&command)?;
    // The node keeps the deadline; how long the link needs for the rest, nobody knows.
    let running = session.start(&procedure, payload, CallOptions::default()).await;
    let running = running.map_err(|error| controller::lost(error, &what))?;
    let fed = Fed {
        session: session.clone(),
        node: node.description.id(),
        id: command.id,
        input: "job.input",
        taken: "job.taken",
    };
    let (accept, accepted) = oneshot::channel();
    let feeding = async {
        // A job that is never accepted reads nothing.
        match (accepted.await, source) {
            (Ok(()), Some(source)) => fed.feed(source).await,
            _ => Ok(()),
        }
    };
    let takings = Takings::new(fed.clone());
    let mut streamed = Streamed { running, sink, takings, accept: Some(accept), broken: None };
    streamed.follow(feeding).await?;

    let Streamed { running, sink, broken, .. } = streamed;
    let result = running.answer().await.map_err(|error| match broken {
        Some(Broken::Person) => {
            let message = format!("job {} was told to end; its node has not confirmed", fed.id);
            Failure::text(Exit::Cancelled, message)
        }
        _ => controller::lost(error, &what),
    });
    let result = result.and_then(|answer| Ok(answer.first::<JobResult>()?));
    let is_whole = broken.is_none() && matches!(&result, Ok(JobResult { state: JobState::Ok, .. }));
    match sink {
        Some(sink) if is_whole => tokio::select! {
            finished = sink.finish() => finished?,
            _ = tokio::signal::ctrl_c() => {
                let message = "left before all of the output was written";
                return Err(Failure::text(Exit::Cancelled, message));
            }
        },
        Some(sink) => output::note(&format!("drover: {}", sink.abandon())),
        None => {}
    }
    match broken {
        Some(Broken::Here(error)) => Err(Failure::new(Exit::Failed, error)),
        _ => result,
    }
}

struct Streamed {
    running: RunningCall,
    sink: Option<Sink>,
    takings: Takings,
    accept: Option<oneshot::Sender<()>>,
    broken: Option<Broken>,
}

impl Streamed {
    /// Follows the job until it has nothing more to tell.
    async fn follow(
        &mut self,
        feeding: impl Future<Output = Result<(), String>>,
    ) -> Result<(), Failure> {
        let mut interrupts = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        let (mut feeding, mut is_feeding) = (pin!(feeding), true);
        loop {
            let Self { running, sink, .. } = self;
            let room = sink.as_ref().map(Sink::room);
            // A report that there is no room for waits at the session.
            let next = async {
                let room = match room {
                    Some(room) => room.await,
                    None => None,
                };
                (running.next().await, room)
            };
            let written = async {
                match sink {
                    Some(sink) => sink.written().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                (report, room) = next => match report {
                    None => return Ok(()),
                    Some(report) => self.take(report.first()?, room)?,
                },
                written = written => match written {
                    Ok(bytes) => self.takings.add(bytes),
                    Err(error) => {
                        let error = anyhow::Error::new(error);
                        self.break_off(Broken::Here(error.context("cannot write the output")));
                    }
                },
                fed = &mut feeding, if is_feeding => {
                    is_feeding = false;
                    if let Err(reason) = fed {
                        let error = anyhow::anyhow!("the input broke off, and the job was ended: {reason}");
                        self.break_off(Broken::Here(error));
                    }
                }
                _ = interrupts.recv() => {
                    if let Some(Broken::Person) = self.broken {
                        let message = "left without waiting for the node; the job was told to end";
                        return Err(Failure::text(Exit::Cancelled, message));
                    }
                    output::note("cancelling; Ctrl-C again leaves without waiting for the node");
                    self.break_off(Broken::Person);
                }
            }
        }
    }

    fn break_off(&mut self, why: Broken) {
        self.broken.get_or_insert(why);
        self.running.cancel();
    }

    fn take(
        &mut self,
        report: Progress,
        room: Option<mpsc::OwnedPermit<Vec<u8>>>,
    ) -> Result<(), Failure> {
        let bytes = match report.stream {
            None => {
                report::progress(&report.progress);
                return Ok(());
            }
            Some(StreamPart::Accepted) => {
                let _ = self.accept.take().map(|accept| accept.send(()));
                return Ok(());
            }
            Some(StreamPart::Ended) => return Ok(()),
            Some(StreamPart::Output(text)) => text.into_bytes(),
            Some(StreamPart::OutputBase64(text)) => BASE64.decode(text.as_bytes())?,
        };
        // Where there is no room, writing has failed, which is told by itself.
        if let Some(room) = room {
            room.send(bytes);
        }
        Ok(())
    }
}
