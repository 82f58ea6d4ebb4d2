//! Reading what a child writes.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::net::unix::pipe;

use super::OutputStream;
use crate::keeper_client::Pipes;
use crate::spec::ReadyPattern;

/// A block of output is at least and at most so long. It grows with what the
/// child writes, so that a thousand quiet children cost little.
const SMALLEST: usize = 4 << 10;
const LARGEST: usize = 64 << 10;

/// The longest line that is looked at for readiness.
const LONGEST_LINE: usize = 64 << 10;

/// Both streams of one run.
pub(super) struct Pump {
    stdout: Reader,
    stderr: Reader,
}

struct Reader {
    stream: OutputStream,
    /// None at the end of the stream.
    pipe: Option<pipe::Receiver>,
    block: usize,
}

impl Pump {
    /// Takes the read ends; the write end of `pipes` is not touched.
    pub(super) fn new(pipes: Pipes) -> io::Result<Self> {
        Ok(Self {
            stdout: Reader::new(OutputStream::Stdout, pipes.stdout)?,
            stderr: Reader::new(OutputStream::Stderr, pipes.stderr)?,
        })
    }

    /// Whether there can be more.
    pub(super) fn is_open(&self) -> bool {
        self.stdout.pipe.is_some() || self.stderr.pipe.is_some()
    }

    /// The next block; none if one of the streams has come to its end. Loses
    /// nothing when it is dropped. Waits for ever when both have ended.
    pub(super) async fn next(&mut self) -> Option<(OutputStream, Bytes)> {
        tokio::select! {
            bytes = self.stdout.read() => bytes.map(|bytes| (OutputStream::Stdout, bytes)),
            bytes = self.stderr.read() => bytes.map(|bytes| (OutputStream::Stderr, bytes)),
        }
    }
}

impl Reader {
    fn new(stream: OutputStream, end: std::os::fd::OwnedFd) -> io::Result<Self> {
        Ok(Self { stream, pipe: Some(pipe::Receiver::from_owned_fd(end)?), block: SMALLEST })
    }

    async fn read(&mut self) -> Option<Bytes> {
        let Some(pipe) = &self.pipe else { return std::future::pending().await };
        let error = loop {
            if let Err(error) = pipe.readable().await {
                break Some(error);
            }
            let mut block = BytesMut::with_capacity(self.block);
            match pipe.try_read_buf(&mut block) {
                Ok(0) => break None,
                Ok(read) => {
                    self.block = match read {
                        _ if read == self.block => (self.block * 2).min(LARGEST),
                        _ if read < self.block / 4 => (self.block / 2).max(SMALLEST),
                        _ => self.block,
                    };
                    return Some(block.freeze());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = error {
            tracing::error!(stream = ?self.stream, %error, "cannot read the output of a child");
        }
        self.pipe = None;
        None
    }
}

/// Looks for the line that says that a program is ready.
pub(super) struct ReadyWatch {
    pattern: ReadyPattern,
    /// The line that has begun, for each stream.
    lines: [Vec<u8>; 2],
}

impl ReadyWatch {
    pub(super) fn new(pattern: ReadyPattern) -> Self {
        Self { pattern, lines: [Vec::new(), Vec::new()] }
    }

    /// Whether the line was among these bytes, or was completed by them.
    pub(super) fn sees(&mut self, stream: OutputStream, bytes: &[u8]) -> bool {
        let line = &mut self.lines[stream as usize];
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, is_whole) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = LONGEST_LINE.saturating_sub(line.len());
            line.extend_from_slice(&text[..text.len().min(room)]);
            if is_whole {
                let is_ready = self.pattern.is_in(line);
                line.clear();
                if is_ready {
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_seen_however_it_is_cut_and_streams_are_kept_apart() {
        let watch = || ReadyWatch::new(ReadyPattern::new("^ready$").unwrap());
        let (out, err) = (OutputStream::Stdout, OutputStream::Stderr);
        assert!(watch().sees(out, b"one\nready\ntwo"));
        let mut cut = watch();
        assert!(!cut.sees(out, b"not ready\nrea"));
        assert!(!cut.sees(err, b"dy\n"));
        assert!(!cut.sees(out, b"dy"));
        assert!(cut.sees(out, b"\n"));
    }

    #[test]
    fn a_line_without_end_costs_no_memory_without_end() {
        let mut watch = ReadyWatch::new(ReadyPattern::new("x$").unwrap());
        for _ in 0..100 {
            assert!(!watch.sees(OutputStream::Stdout, &[b'y'; 10_000]));
        }
        assert!(watch.lines[0].len() <= LONGEST_LINE);
    }
}
