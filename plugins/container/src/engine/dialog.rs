//! Both directions of a stream at once.

use std::io::{self, Read, Write};

use drover_sdk::channel::Channel;

/// Reads what the other side says while it is given its input, however much
/// both are: neither waits for the other.
pub(crate) struct Dialog<'a> {
    channel: Channel,
    input: Input<'a>,
    /// What was read and not yet asked for.
    left: io::Cursor<Vec<u8>>,
}

/// How far the input is.
enum Input<'a> {
    /// This has to be written.
    Rest(&'a [u8]),
    /// The other side was told its end, or is gone.
    Ended,
}

impl<'a> Dialog<'a> {
    /// Gives `input` and then its end to the other side, while it is read.
    pub(crate) fn new(channel: Channel, input: &'a [u8]) -> Self {
        Self { channel, input: Input::Rest(input), left: io::Cursor::default() }
    }

    /// Writes as much as there is room for.
    fn write(&mut self) {
        let Input::Rest(rest) = self.input else { return };
        let written = if rest.is_empty() {
            // There was room, so all before has gone out.
            self.channel.end_output().map(|()| None)
        } else {
            self.channel.write(rest).map(|length| Some(&rest[length..]))
        };
        // Who does not read any more may still have something to say.
        self.input = written.ok().flatten().map_or(Input::Ended, Input::Rest);
    }
}

impl Read for Dialog<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.left.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            if matches!(self.input, Input::Ended) {
                return self.channel.read(buffer);
            }
            let ready = self.channel.wait(true);
            if ready.can_write {
                self.write();
            }
            if ready.can_read
                && let Some(bytes) = self.channel.read_now()?
            {
                if bytes.is_empty() {
                    return Ok(0);
                }
                self.left = io::Cursor::new(bytes);
            }
        }
    }
}
