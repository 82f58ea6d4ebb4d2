//! The standard streams here for a program that runs elsewhere.
//!
//! Reading and writing wait on threads of their own: a terminal that is stopped,
//! or a pipe that nobody reads, holds up neither the session nor Ctrl-C. A thread
//! that still waits when the program ends, ends with it.

use std::io::{self, Read};
use std::thread;

use tokio::sync::mpsc;

use crate::output::{self, Stream};

/// Chunks that wait to be printed; more wait at the session, where their bytes
/// are counted.
const PRINT_BACKLOG: usize = 64;

/// The most that is read at once.
const READ_BYTES: usize = 128 << 10;

/// A part of what is to be printed.
pub(crate) struct Chunk {
    pub(crate) stream: Stream,
    pub(crate) bytes: Vec<u8>,
    /// Whether it is a note of this program.
    pub(crate) is_own: bool,
}

/// Prints chunks in their order, until it is dropped and all that waits is printed.
pub(crate) struct Printer {
    chunks: mpsc::Sender<Chunk>,
}

/// Tells how long each chunk was that was printed, notes not counted, and why one could not be: then,
/// nothing is printed any more.
pub(crate) type Printed = mpsc::Receiver<io::Result<usize>>;

impl Printer {
    pub(crate) fn start() -> io::Result<(Self, Printed)> {
        let (chunks, mut to_print) = mpsc::channel::<Chunk>(PRINT_BACKLOG);
        let (tell, printed) = mpsc::channel(PRINT_BACKLOG);
        thread::Builder::new().name("printer".to_owned()).spawn(move || {
            while let Some(Chunk { stream, bytes, is_own }) = to_print.blocking_recv() {
                let length = if is_own { 0 } else { bytes.len() };
                let outcome = output::raw(stream, &bytes).map(|()| length);
                let is_over = outcome.is_err();
                if tell.blocking_send(outcome).is_err() || is_over {
                    return;
                }
            }
        })?;
        Ok((Self { chunks }, printed))
    }

    /// Waits until there is room for a chunk; none if nothing is printed any more.
    pub(crate) async fn room(&self) -> Option<mpsc::OwnedPermit<Chunk>> {
        self.chunks.clone().reserve_owned().await.ok()
    }

    /// Prints a line behind what waits, unless too much does: whoever reads nothing
    /// misses nothing.
    pub(crate) fn note(&self, text: &str) {
        let bytes = format!("{text}\n").into_bytes();
        let _ = self.chunks.try_send(Chunk { stream: Stream::Stderr, bytes, is_own: true });
    }
}

/// What is read, piece by piece, and why it could not be read on.
pub(crate) type Chunks = mpsc::Receiver<io::Result<Vec<u8>>>;

/// Reads standard input to its end, no faster than it is taken.
pub(crate) fn read_stdin() -> io::Result<Chunks> {
    read(io::stdin())
}

/// Reads something to its end, no faster than it is taken.
pub(crate) fn read(mut input: impl Read + Send + 'static) -> io::Result<Chunks> {
    let (tell, read) = mpsc::channel(1);
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let chunk = match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(buffer[..count].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let is_over = chunk.is_err();
            if tell.blocking_send(chunk).is_err() || is_over {
                return;
            }
        }
    })?;
    Ok(read)
}
