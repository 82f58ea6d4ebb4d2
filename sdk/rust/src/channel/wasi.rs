//! Streams through `wit/channel.wit`.

use std::io;

use crate::bindings::network::drover::plugin::channel as host;
use crate::bindings::network::wasi::io::poll::poll;
use crate::bindings::network::wasi::io::streams::{InputStream, OutputStream, StreamError};
use crate::channel::Ready;
use crate::http::{Error, Request};

/// What is read at once, in bytes.
const CHUNK: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Channel {
    headers: Vec<(String, String)>,
    /// What was read from the host and not yet by the plugin.
    left: Vec<u8>,
    at: usize,
    output: Option<OutputStream>,
    input: InputStream,
}

impl Channel {
    pub(super) fn open(request: Request, protocol: &str) -> Result<Self, Error> {
        let timeout = request.timeout;
        let timeout = timeout.map(|limit| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX));
        let Request { method, url, headers, body, .. } = request;
        let protocol = protocol.to_owned();
        let request = host::Request { method, url, protocol, headers, body };
        let opened = host::open(&request, timeout).map_err(of_host)?;
        let host::Opened { headers, input, output, .. } = opened;
        Ok(Self { headers, left: Vec::new(), at: 0, output: Some(output), input })
    }

    pub(super) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    pub(super) fn read_now(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.at < self.left.len() {
            let left = std::mem::take(&mut self.left).split_off(self.at);
            self.at = 0;
            return Ok(Some(left));
        }
        match self.input.read(CHUNK) {
            Ok(bytes) => Ok((!bytes.is_empty()).then_some(bytes)),
            Err(StreamError::Closed) => Ok(Some(Vec::new())),
            Err(error) => Err(of_stream(&error)),
        }
    }

    pub(super) fn wait(&self, to_write: bool) -> Ready {
        if self.at < self.left.len() {
            return Ready { can_read: true, can_write: false };
        }
        let input = self.input.subscribe();
        let output = self.output.as_ref().filter(|_| to_write).map(OutputStream::subscribe);
        let pollables: Vec<_> = [Some(&input), output.as_ref()].into_iter().flatten().collect();
        let ready = poll(&pollables);
        Ready { can_read: ready.contains(&0), can_write: ready.contains(&1) }
    }

    pub(super) fn end_output(&mut self) -> io::Result<()> {
        self.flush()?;
        self.output = None;
        Ok(())
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.at == self.left.len() {
            match self.input.blocking_read(CHUNK) {
                Ok(bytes) => (self.left, self.at) = (bytes, 0),
                Err(StreamError::Closed) => return Ok(0),
                Err(error) => return Err(of_stream(&error)),
            }
        }
        let length = buffer.len().min(self.left.len() - self.at);
        buffer[..length].copy_from_slice(&self.left[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(output) = &self.output else { return Err(io::ErrorKind::BrokenPipe.into()) };
        loop {
            let room = output.check_write().map_err(|error| of_stream(&error))?;
            if room > 0 {
                let length = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
                output.write(&bytes[..length]).map_err(|error| of_stream(&error))?;
                return Ok(length);
            }
            output.subscribe().block();
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(output) = &self.output else { return Ok(()) };
        output.blocking_flush().map_err(|error| of_stream(&error))
    }
}

fn of_stream(error: &StreamError) -> io::Error {
    match error {
        StreamError::Closed => io::ErrorKind::BrokenPipe.into(),
        StreamError::LastOperationFailed(error) => io::Error::other(error.to_debug_string()),
    }
}

fn of_host(error: host::Error) -> Error {
    match error {
        host::Error::Denied(_) => Error::Denied,
        host::Error::InvalidRequest(why) => Error::Invalid(why),
        host::Error::Unreachable(why) => Error::Unreachable(why),
        host::Error::Refused(host::Refusal { status, body }) => {
            Error::Status { status, body: String::from_utf8_lossy(&body).into_owned() }
        }
        host::Error::Broken(why) => Error::Broken(why),
        host::Error::TimedOut => Error::TimedOut,
        host::Error::TooMany => Error::Unreachable("too many requests are under way".to_owned()),
    }
}
