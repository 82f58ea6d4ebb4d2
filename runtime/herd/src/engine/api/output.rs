//! What containers write: the log, and the stream of those who are attached.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf};

use super::system::time;
use crate::engine::answer::{Answer, Refusal};
use crate::engine::call::Call;
use crate::engine::model::{Container, LogEntry, Model, Outcome};
use crate::engine::program::Stream as Output;
use crate::engine::server::SessionSlot;
use crate::engine::shared::Shared;

/// How much output one chunk of an answer holds at most.
const CHUNK: usize = 64 << 10;

pub(super) const RAW: Option<&str> = Some("application/vnd.docker.raw-stream");

/// Output as it goes over the wire: with a header that names its stream and its
/// length, unless there is a terminal.
pub(super) fn frame(framed: bool, stream: Output, text: &[u8], to: &mut BytesMut) {
    if framed {
        to.put_slice(&[stream as u8 + 1, 0, 0, 0]);
        to.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    }
    to.put_slice(text);
}

/// Which lines of a log are wanted.
#[derive(Debug, Clone)]
struct Wanted {
    stdout: bool,
    stderr: bool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    timestamps: bool,
}

impl Wanted {
    fn read(call: &Call) -> Outcome<Self> {
        let wanted = Self {
            stdout: call.query.flag("stdout"),
            stderr: call.query.flag("stderr"),
            since: time(call.query.text("since"))?,
            until: time(call.query.text("until"))?,
            timestamps: call.query.flag("timestamps"),
        };
        if wanted.stdout || wanted.stderr {
            return Ok(wanted);
        }
        let text = "Bad parameters: you must choose at least one stream";
        Err(Refusal::bad_request(text))
    }

    fn shows(&self, stream: Output) -> bool {
        match stream {
            Output::Stdout => self.stdout,
            Output::Stderr => self.stderr,
        }
    }

    fn passes(&self, entry: &LogEntry) -> bool {
        self.shows(entry.stream)
            && self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time <= until)
    }

    fn write(&self, entry: &LogEntry, framed: bool, to: &mut BytesMut) {
        if self.timestamps {
            let time = entry.time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ");
            let line = [format!("{time} ").as_bytes(), &entry.text].concat();
            frame(framed, entry.stream, &line, to);
        } else {
            frame(framed, entry.stream, &entry.text, to);
        }
    }
}

pub(super) fn logs(id: &str, call: &Call, shared: &Arc<Shared>) -> Outcome<Answer> {
    let wanted = Wanted::read(call);
    let id = shared.look(|model, _| model.container_id(id))?;
    let wanted = wanted?;
    let follow = call.query.flag("follow");
    let tail = call.query.text("tail").and_then(|tail| tail.parse::<usize>().ok());
    let position = shared.look(|model, _| {
        let Ok(container) = model.container(&id) else { return 0 };
        let Some(tail) = tail else { return 0 };
        let passing = (0..container.log.end()).rev().filter(|position| {
            container.log.from(*position).next().is_some_and(|entry| wanted.passes(entry))
        });
        match tail {
            0 => container.log.end(),
            _ => passing.take(tail).last().unwrap_or(container.log.end()),
        }
    });
    let lines = log_lines(shared.clone(), id, wanted, position, follow);
    Ok(Answer::chunks(None, lines))
}

/// The lines from a position on, as long as there are any; with `follow`, until
/// the container stops.
fn log_lines(
    shared: Arc<Shared>,
    id: String,
    wanted: Wanted,
    position: usize,
    follow: bool,
) -> impl Stream<Item = Bytes> + Send + 'static {
    stream::unfold((shared, Some(position)), move |(shared, position)| {
        let (id, wanted) = (id.clone(), wanted.clone());
        async move {
            let mut position = position?;
            let look = |model: &mut Model, _: Timestamp| {
                let Some(container) = model.containers.get(&id) else { return Some((None, None)) };
                let mut text = BytesMut::new();
                for entry in container.log.from(position) {
                    position += 1;
                    if wanted.passes(entry) {
                        wanted.write(entry, !container.has_terminal(), &mut text);
                    }
                    if text.len() > CHUNK {
                        break;
                    }
                }
                position = position.max(container.log.end().min(position));
                let is_last =
                    position >= container.log.end() && (!follow || !container.state.is_running());
                let next = (!is_last).then_some(position);
                (is_last || !text.is_empty()).then(|| (Some(text.freeze()), next))
            };
            let (text, next) = shared.until(look).await;
            text.map(|text| (text, (shared, next)))
        }
    })
    // The log of a container without output is an empty body, not an empty chunk.
    .filter(|text| std::future::ready(!text.is_empty()))
}

/// The container's streams: its log first if that is wanted, then what it writes
/// from now on; what the client sends goes to the program.
pub(super) fn attach(
    id: &str,
    call: &mut Call,
    shared: &Arc<Shared>,
    slot: &SessionSlot,
) -> Outcome<Answer> {
    let flag = |name: &str| call.query.flag(name);
    let (with_log, with_stream, input) = (flag("logs"), flag("stream"), flag("stdin"));
    let shows = [flag("stdout"), flag("stderr")];
    let found = shared.with(|model, now| {
        let container = model.container(id)?;
        let found = (container.id.clone(), container.live.end(), container.exits);
        model.attached(&found.0, now);
        Ok(found)
    });
    let (id, live, exits) = match found {
        Ok(found) => found,
        // The stream has begun for the engine, so the refusal is no JSON.
        Err(Refusal { status, message }) => {
            return Ok(Answer::whole(status, RAW, message + "\r\n"));
        }
    };
    let wanted =
        Wanted { stdout: shows[0], stderr: shows[1], since: None, until: None, timestamps: false };
    let log = with_log.then(|| log_lines(shared.clone(), id.clone(), wanted, 0, false));
    let output = with_stream.then(|| live_output(shared.clone(), id.clone(), shows, live, exits));
    let output = stream::iter(log).flatten().chain(stream::iter(output).flatten());
    let Some(upgrade) = call.upgrade.take() else { return Ok(Answer::chunks(RAW, output)) };
    let shared = shared.clone();
    let feed = move |input: Option<&[u8]>| {
        shared.with(|model, _| {
            let process = model.containers.get_mut(&id).and_then(|one| one.process.as_mut());
            match (process, input) {
                (Some(process), Some(input)) => process.feed(input),
                (Some(process), None) => process.close_input(),
                (None, _) => {}
            }
        });
    };
    keep_session(slot, upgrade, input.then_some(feed), output);
    Ok(upgraded())
}

/// What a container writes from a position on, until its program ends.
fn live_output(
    shared: Arc<Shared>,
    id: String,
    shows: [bool; 2],
    position: usize,
    exits: u64,
) -> impl Stream<Item = Bytes> + Send + 'static {
    stream::unfold((shared, position), move |(shared, mut position)| {
        let id = id.clone();
        async move {
            let look = |model: &mut Model, _: Timestamp| {
                let Some(container) = model.containers.get(&id) else { return Some(None) };
                let text = new_output(container, shows, &mut position);
                let is_over = container.exits > exits;
                (is_over || !text.is_empty()).then(|| Some(text).filter(|text| !text.is_empty()))
            };
            let text = shared.until(look).await?;
            Some((text, (shared, position)))
        }
    })
}

fn new_output(container: &Container, shows: [bool; 2], position: &mut usize) -> Bytes {
    let mut text = BytesMut::new();
    for (stream, output) in container.live.from(*position) {
        if shows[*stream as usize] {
            frame(!container.has_terminal(), *stream, output, &mut text);
        }
    }
    *position = container.live.end();
    text.freeze()
}

/// The answer after which a connection belongs to a session.
pub(super) fn upgraded() -> Answer {
    let mut answer = Answer::empty(101);
    answer.content_type = RAW;
    answer
}

/// Leaves a session for the connection: output to the client until it ends, and
/// the client's input to `feed`, which hears of its end as none.
pub(super) fn keep_session(
    slot: &SessionSlot,
    upgrade: OnUpgrade,
    feed: Option<impl Fn(Option<&[u8]>) + Send + 'static>,
    output: impl Stream<Item = Bytes> + Send + 'static,
) {
    let session = async move {
        let Ok(upgraded) = upgrade.await else { return };
        let (mut from_client, mut to_client) = tokio::io::split(TokioIo::new(upgraded));
        let write = async {
            let mut output = Box::pin(output);
            while let Some(text) = output.next().await {
                if to_client.write_all(&text).await.is_err() {
                    return;
                }
            }
            // The client reads the end of the output, or has gone.
            let _ = to_client.shutdown().await;
        };
        let read = async {
            if let Some(feed) = feed {
                read_input(&mut from_client, feed).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = write => {}
            () = read => {}
        }
    };
    *slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Box::pin(session));
}

async fn read_input(from_client: &mut ReadHalf<TokioIo<Upgraded>>, feed: impl Fn(Option<&[u8]>)) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        feed(buffer.get(..length));
    }
    feed(None);
}
