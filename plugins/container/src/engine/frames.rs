//! The output of containers as the engine sends it: with a terminal it is raw,
//! without one it comes in frames that say whether it is standard output or
//! standard error.

use std::io::{self, Read};

use drover_sdk::data;

/// The longest piece that is handed on at once, which is what the host hands over.
const PIECE: usize = 64 << 10;

/// The length of what is in front of a frame.
const HEADER: usize = 8;

/// Where output comes from.
#[data]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stream {
    /// Standard output, and everything of a container with a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Its name, as callers know it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Takes a stream of output apart.
pub(crate) struct Frames<R> {
    reader: R,
    has_terminal: bool,
    stream: Stream,
    /// What is left of the frame.
    left: usize,
    /// What was read; that between `start` and `end` was not handed on yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Frames<R> {
    pub(crate) fn new(reader: R, has_terminal: bool) -> Self {
        let (stream, buffer) = (Stream::Stdout, vec![0; PIECE]);
        Self { reader, has_terminal, stream, left: 0, buffer, start: 0, end: 0 }
    }

    /// The next piece of output, which may be empty; none at the end.
    ///
    /// # Errors
    ///
    /// If reading fails, or the stream ends within a frame.
    pub(crate) fn next(&mut self) -> io::Result<Option<(Stream, &[u8])>> {
        if self.left == 0 && !self.has_terminal {
            match self.buffer_at_least(HEADER)? {
                0 => return Ok(None),
                HEADER.. => {}
                _ => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            let Some([stream, 0, 0, 0, length @ ..]) =
                self.buffer[self.start..].first_chunk::<HEADER>()
            else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no frame"));
            };
            self.stream = if *stream == 2 { Stream::Stderr } else { Stream::Stdout };
            self.left = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            self.start += HEADER;
            if self.left == 0 {
                return Ok(Some((self.stream, &[])));
            }
        }
        let buffered = self.buffer_at_least(1)?;
        if buffered == 0 {
            return match self.left {
                0 => Ok(None),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let length = if self.has_terminal { buffered } else { buffered.min(self.left) };
        let piece = &self.buffer[self.start..self.start + length];
        self.start += length;
        self.left = self.left.saturating_sub(length);
        Ok(Some((self.stream, piece)))
    }

    /// Whether the next piece has to be waited for, maybe.
    pub(crate) fn has_to_read(&self) -> bool {
        let least = if self.left == 0 && !self.has_terminal { HEADER } else { 0 };
        self.end - self.start <= least
    }

    /// Reads until so much is there, or the stream ends; how much is there.
    fn buffer_at_least(&mut self, wanted: usize) -> io::Result<usize> {
        while self.end - self.start < wanted {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.end - self.start)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Output as an engine frames it.
    pub(crate) fn framed(pieces: &[(Stream, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (stream, piece) in pieces {
            bytes.extend([if *stream == Stream::Stderr { 2 } else { 1 }, 0, 0, 0]);
            bytes.extend(u32::try_from(piece.len()).unwrap().to_be_bytes());
            bytes.extend(*piece);
        }
        bytes
    }

    fn all(bytes: &[u8], has_terminal: bool) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut frames = Frames::new(bytes, has_terminal);
        while let Some((stream, piece)) = frames.next()? {
            if stream == Stream::Stderr { &mut stderr } else { &mut stdout }.extend(piece);
        }
        Ok((stdout, stderr))
    }

    #[test]
    fn output_of_a_terminal_is_raw() {
        let raw = framed(&[(Stream::Stderr, b"looks like a frame")]);
        assert_eq!(all(&raw, true).unwrap(), (raw.clone(), Vec::new()));
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        assert_eq!(all(b"no frame", false).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    proptest! {
        #[test]
        fn frames_come_apart_and_a_cut_is_noticed(
            pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..99)), 0..9),
            cut in 0usize..999,
        ) {
            let stream = |is_stderr| if is_stderr { Stream::Stderr } else { Stream::Stdout };
            let pieces: Vec<_> = pieces.iter().map(|(e, bytes)| (stream(*e), bytes.as_slice())).collect();
            let bytes = framed(&pieces);
            let of = |wanted| -> Vec<u8> {
                pieces.iter().filter(|(s, _)| *s == wanted).flat_map(|(_, b)| b.to_vec()).collect()
            };
            prop_assert_eq!(all(&bytes, false).unwrap(), (of(Stream::Stdout), of(Stream::Stderr)));

            let mut ends = vec![0];
            for (_, piece) in &pieces { ends.push(ends[ends.len() - 1] + 8 + piece.len()); }
            let cut = cut.min(bytes.len());
            prop_assert_eq!(all(&bytes[..cut], false).is_ok(), ends.contains(&cut));
        }
    }
}
