//! Streams of plugins' jobs: what callers send and get while a job runs.
//!
//! ```text
//!  job.input ──▶ Inputs ──pipe──▶ plugin ──pipe──▶ Outlet ──progress──▶ caller
//!                                                    ▲
//!  job.taken ──▶ Windows ────────how much is room────┘
//! ```
//!
//! A pipe holds little, and the plugin's end of it waits; so does the caller's,
//! as `job.input` is answered when all is in the pipe.

mod input;
mod window;

use data_encoding::BASE64;
use drover_api::{Command, ErrorCode, JobError, JobId, Progress, StreamPart};
use drover_plugin_host::{JobStreams, PipeReader, pipe};
use drover_wamp::Payload;
use tokio_util::sync::CancellationToken;

pub(crate) use input::{Input, Inputs, NotRead};
pub(crate) use window::{Window, Windows};

use crate::asker::Asker;
use crate::node::Node;

/// The most output in one message, in bytes.
const PIECE: usize = 64 << 10;

/// The node's ends of a job's streams, none where the caller wants none.
#[derive(Default)]
pub(crate) struct Streams {
    /// Takes what the caller sends, until it is dropped.
    pub(crate) input: Option<Input>,
    pub(crate) outlet: Option<Outlet>,
}

/// What comes out, and how much of it the caller takes.
pub(crate) struct Outlet {
    output: PipeReader,
    window: Window,
}

/// Opens the streams that a command speaks of, and tells its caller. The plugin's
/// ends are the second half of the answer.
///
/// # Errors
///
/// If the caller could not hear of them.
pub(crate) async fn open(
    node: &Node,
    call: Asker<'_>,
    command: &Command,
) -> Result<(Streams, JobStreams), JobError> {
    let (mut ours, mut theirs) = <(Streams, JobStreams)>::default();
    let (id, Some(wanted)) = (&command.id, command.streaming) else { return Ok((ours, theirs)) };
    if !call.wants_progress {
        let message = "`streaming` is for calls that receive progress: a job tells by it when it \
                       takes input, and what comes out";
        return Err(JobError::new(ErrorCode::InvalidCommand, message));
    }
    if wanted.input {
        let (writer, reader) = pipe();
        theirs.input = Some(reader);
        ours.input = Some(node.inputs().open(id, writer));
    }
    if let Some(size) = wanted.window {
        let (writer, output) = pipe();
        theirs.output = Some(writer);
        ours.outlet = Some(Outlet { output, window: node.windows().open(id, size) });
    }
    tell(call, id, StreamPart::Accepted).await;
    Ok((ours, theirs))
}

/// Tells the caller what comes out, as fast as it takes it, until there is no
/// more. Once it `is_cut_short`, or when nobody can hear it, what there is no room
/// for is left, and the plugin is told that nobody reads.
pub(crate) async fn pass_on(
    mut outlet: Outlet,
    node: &Node,
    call: Asker<'_>,
    id: &JobId,
    is_cut_short: &CancellationToken,
) {
    let passing = async {
        while let Some(part) = outlet.next().await {
            tell(call, id, part).await;
        }
        tell(call, id, StreamPart::Ended).await;
    };
    tokio::select! {
        biased;
        () = passing => {}
        () = is_cut_short.cancelled() => {}
        () = call.cancelled().cancelled() => {}
        () = node.stop().cancelled() => {}
    }
}

impl Outlet {
    /// Waits for room, and then for something to fill it.
    async fn next(&mut self) -> Option<StreamPart> {
        if !self.window.room().await {
            return None;
        }
        let bytes = tokio::select! {
            bytes = self.output.read(PIECE) => bytes?,
            () = self.window.closed() => return None,
        };
        self.window.send(bytes.len());
        Some(match std::str::from_utf8(&bytes) {
            Ok(text) => StreamPart::Output(text.to_owned()),
            Err(_) => StreamPart::OutputBase64(BASE64.encode(&bytes)),
        })
    }
}

async fn tell(call: Asker<'_>, id: &JobId, part: StreamPart) {
    match Payload::one(&Progress::stream(id.clone(), part)) {
        // A session that has ended cancels the job by itself.
        Ok(payload) => drop(call.progress(payload).await),
        Err(error) => tracing::error!(job = %id, %error, "cannot encode a part of a stream"),
    }
}
