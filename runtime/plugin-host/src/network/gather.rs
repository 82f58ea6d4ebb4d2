//! The bodies of answers, gathered while a plugin is busy.
//!
//! Some servers send a long answer in thousands of small pieces: a container
//! engine sends each line of a log as one. A plugin that had to ask for each of
//! them would spend its time at the border. So a body that comes in small pieces
//! is read by a task of its own from then on, and the plugin gets everything that
//! has come since it asked the last time. The task looks at such a trickle a few
//! hundred times a second, so that neither it nor the server is woken for each
//! line of many.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::sleep;
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};

use super::pouring::Pouring;

/// How much is gathered before the server has to wait.
const GATHERED: usize = 64 << 10;
/// A piece that is not worth a call of the plugin.
const SMALL: usize = 4 << 10;
/// How long to let more come when less than [`TRICKLE`] has.
const PAUSE: Duration = Duration::from_millis(1);
/// What is more than this was worth a look.
const TRICKLE: usize = 32 << 10;
/// So many pieces fill the way from a server on the same machine: with more to say it
/// has to wait for the next look, so that follows at once.
const PILED_UP: usize = 128;
/// So many small pieces in a row, and the body is gathered.
const PATIENCE: u32 = 4;

type Piece = Result<Frame<Bytes>, hyper::Error>;

/// The body of an answer.
pub(super) enum Gathered {
    /// It is read when the plugin asks, and had so many small pieces in a row.
    Direct(Pouring, u32),
    /// It is read by a task, which ends with it.
    Ahead { pieces: mpsc::Receiver<Piece>, _reader: AbortOnDropJoinHandle<()> },
    /// It broke off, or is about to be read by a task.
    Gone,
}

impl Gathered {
    pub(super) fn new(body: Pouring) -> Self {
        Self::Direct(body, 0)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        matches!(self, Self::Direct(body, _) if body.is_end_stream())
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Direct(body, _) => body.size_hint(),
            Self::Ahead { .. } | Self::Gone => SizeHint::default(),
        }
    }

    /// The next piece; none at the end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let piece = match self {
            Self::Direct(body, small) => {
                let piece = ready!(body.poll_piece(cx));
                let is_small =
                    |frame: &Frame<Bytes>| frame.data_ref().is_some_and(|data| data.len() < SMALL);
                *small = match &piece {
                    Some(Ok(frame)) if is_small(frame) => *small + 1,
                    _ => 0,
                };
                piece
            }
            Self::Ahead { pieces, .. } => return pieces.poll_recv(cx),
            Self::Gone => return Poll::Ready(None),
        };
        if matches!(self, Self::Direct(_, PATIENCE..))
            && let Self::Direct(body, _) = std::mem::replace(self, Self::Gone)
        {
            let (sender, pieces) = mpsc::channel(1);
            *self = Self::Ahead { pieces, _reader: spawn(gather(body, sender)) };
        }
        Poll::Ready(piece)
    }
}

/// Hands a body on: what is there if the plugin waits, and else what comes until
/// it asks again.
async fn gather(mut body: Pouring, pieces: mpsc::Sender<Piece>) {
    let (mut gathered, mut count) = (BytesMut::new(), 0);
    loop {
        let end = tokio::select! {
            biased;
            piece = poll_fn(|cx| body.poll_piece(cx)), if gathered.len() < GATHERED => match piece {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        gathered.extend_from_slice(&data);
                        count += 1;
                        continue;
                    }
                    Err(trailers) => Some(Ok(trailers)),
                },
                Some(Err(error)) => Some(Err(error)),
                None => None,
            },
            room = pieces.reserve(), if !gathered.is_empty() => {
                let Ok(room) = room else { return };
                let is_trickle = gathered.len() < TRICKLE && count < PILED_UP;
                count = 0;
                room.send(Ok(Frame::data(gathered.split().freeze())));
                if is_trickle {
                    sleep(PAUSE).await;
                }
                continue;
            }
        };
        if !gathered.is_empty() {
            let rest = Ok(Frame::data(gathered.split().freeze()));
            if pieces.send(rest).await.is_err() {
                return;
            }
        }
        let Some(last) = end else { return };
        if pieces.send(last).await.is_err() {
            return;
        }
    }
}
