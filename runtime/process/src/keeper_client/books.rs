//! Who waits for which answer: requests become packets, answers find their asker.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use drover_api::JobId;
use serde::Serialize;
use tokio::sync::oneshot;

use super::{KeeperError, KeeperEvent, Pipes, Spawned};
use crate::keeper::message::{Answer, Request, StdinKind};
use crate::keeper::socket::{Packet, Received, memory_file};
use crate::keeper::{Launch, LaunchError, LaunchErrorKind, Stdin, TreeEnd};
use crate::tree::Tree;

/// What a handle asks of the task.
#[derive(Debug)]
pub(super) enum Ask {
    Spawn { launch: Box<Launch>, reply: Reply<Spawned> },
    Signal { id: JobId, signal: i32, reply: Reply<usize> },
    EndTree { id: JobId, grace: Duration, reply: Reply<TreeEnd> },
    CloseStdin { id: JobId },
    Acknowledge { id: JobId },
}

type Reply<T> = oneshot::Sender<Result<T, KeeperError>>;

/// What has been asked and not answered, and what is to be sent.
#[derive(Default)]
pub(super) struct Books {
    pub(super) outbox: VecDeque<Packet>,
    waiting: HashMap<u64, Waiting>,
    last_number: u64,
}

enum Waiting {
    Spawn { id: JobId, program: String, reply: Reply<Spawned> },
    Signal { id: JobId, reply: Reply<usize> },
    EndTree { id: JobId, reply: Reply<TreeEnd> },
}

impl Books {
    /// Writes down who asks, and puts the request into the outbox.
    pub(super) fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Spawn { launch, reply } => self.spawn(launch, reply),
            Ask::Signal { id, signal, reply } => {
                let number = self.wait(Waiting::Signal { id: id.clone(), reply });
                self.send(&Request::Signal { number, id, signal });
            }
            Ask::EndTree { id, grace, reply } => {
                let number = self.wait(Waiting::EndTree { id: id.clone(), reply });
                let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                self.send(&Request::EndTree { number, id, grace_ms });
            }
            Ask::CloseStdin { id } => self.send(&Request::CloseStdin { id }),
            Ask::Acknowledge { id } => self.send(&Request::Acknowledge { id }),
        }
    }

    fn spawn(&mut self, mut launch: Box<Launch>, reply: Reply<Spawned>) {
        let (id, program) = (launch.id.clone(), launch.program.clone());
        let stdin = std::mem::take(&mut launch.stdin);
        let packet = descriptors_of(&stdin).and_then(|(stdin, descriptors)| {
            let number = self.last_number + 1;
            Packet::new(&Request::Spawn { number, launch, stdin }, descriptors)
        });
        match packet {
            Ok(packet) => {
                self.wait(Waiting::Spawn { id, program, reply });
                self.outbox.push_back(packet);
            }
            Err(error) => drop(reply.send(Err(unsendable(&program, &error).into()))),
        }
    }

    fn wait(&mut self, waiting: Waiting) -> u64 {
        self.last_number += 1;
        self.waiting.insert(self.last_number, waiting);
        self.last_number
    }

    /// Only for requests that are always short.
    fn send(&mut self, request: &impl Serialize) {
        match Packet::new(request, Vec::new()) {
            Ok(packet) => self.outbox.push_back(packet),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "a request to the keeper cannot be written"
            ),
        }
    }

    /// Gives an answer to who waits for it; what nobody asked for is an event.
    pub(super) fn answer(&mut self, received: Received<Answer>) -> Option<KeeperEvent> {
        match received.message {
            Answer::Exited { id, exit, leftover } => {
                return Some(KeeperEvent::Exited { id, exit, leftover });
            }
            Answer::Spawned { number, tree } => {
                let pipes = Pipes::from_packet(received.descriptors);
                self.spawned(number, tree, pipes);
            }
            Answer::SpawnFailed { number, error } => {
                if let Some(Waiting::Spawn { reply, .. }) = self.waiting.remove(&number) {
                    drop(reply.send(Err(error.into())));
                }
            }
            Answer::Done { number, processes } => {
                if let Some(Waiting::Signal { id, reply }) = self.waiting.remove(&number) {
                    drop(reply.send(processes.ok_or(KeeperError::Unknown { id })));
                }
            }
            Answer::Ended { number, end } => {
                if let Some(Waiting::EndTree { id, reply }) = self.waiting.remove(&number) {
                    drop(reply.send(end.ok_or(KeeperError::Unknown { id })));
                }
            }
            // Part of the handshake, which is over.
            Answer::Welcome { .. } | Answer::Refused { .. } | Answer::Kept { .. } => {}
        }
        None
    }

    fn spawned(&mut self, number: u64, tree: Tree, pipes: Option<Pipes>) {
        let Some(Waiting::Spawn { id, program, reply }) = self.waiting.remove(&number) else {
            return;
        };
        let answer = match pipes {
            Some(Pipes { stdout, stderr, stdin }) => Ok(Spawned { tree, stdout, stderr, stdin }),
            None => Err(KeeperError::Launch(LaunchError {
                kind: LaunchErrorKind::Exhausted,
                message: format!(
                    "cannot take the output of {program}: the agent has no file descriptors \
                     left; raise its limit of open files"
                ),
            })),
        };
        let is_refused = answer.is_err();
        if reply.send(answer).is_err() || is_refused {
            // Nobody owns the run: it must not live on unseen.
            self.send(&Request::Acknowledge { id });
        }
    }
}

impl Pipes {
    /// The descriptors of a run, in the order in which the keeper sends them;
    /// `None` when some were lost on the way.
    pub(super) fn from_packet(descriptors: Vec<OwnedFd>) -> Option<Self> {
        let mut descriptors = descriptors.into_iter();
        let (stdout, stderr) = (descriptors.next()?, descriptors.next()?);
        Some(Self { stdout, stderr, stdin: descriptors.next() })
    }
}

fn descriptors_of(stdin: &Stdin) -> io::Result<(StdinKind, Vec<Arc<OwnedFd>>)> {
    Ok(match stdin {
        Stdin::Null => (StdinKind::Null, Vec::new()),
        Stdin::Data(bytes) => {
            (StdinKind::Data, vec![Arc::new(memory_file("drover-stdin", bytes)?)])
        }
        Stdin::Pipe => (StdinKind::Pipe, Vec::new()),
    })
}

/// A launch that did not fit into a packet, or whose data found no memory.
fn unsendable(program: &str, error: &io::Error) -> LaunchError {
    let (kind, cure) = match error.kind() {
        io::ErrorKind::ArgumentListTooLong => (
            LaunchErrorKind::Other,
            "its arguments and environment are too long; pass them as data",
        ),
        _ => (LaunchErrorKind::Exhausted, "free memory or descriptors and try again"),
    };
    LaunchError { kind, message: format!("cannot start {program}: {error}: {cure}") }
}
