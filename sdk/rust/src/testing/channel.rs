//! Streams of bytes, opened by the test.

use std::fmt;
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use super::{HOST, ask};
use crate::channel::Ready;
use crate::http::{Error, Request};

type Answer = dyn Fn(&Request, &str) -> Result<Vec<u8>, Error>;

/// Who opens the streams of [`channel`](crate::channel). The default grants none.
#[derive(Clone)]
pub struct ChannelAnswers(Rc<Answer>);

impl ChannelAnswers {
    /// Has a function decide, which gets the request and the protocol: the
    /// answer is all that can be read. What is written is in
    /// [`Heard::sent`](super::Heard::sent).
    pub fn new(answer: impl Fn(&Request, &str) -> Result<Vec<u8>, Error> + 'static) -> Self {
        Self(Rc::new(answer))
    }
}

impl Default for ChannelAnswers {
    fn default() -> Self {
        Self::new(|_, _| Err(Error::Denied))
    }
}

impl fmt::Debug for ChannelAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelAnswers").finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) struct Channel {
    input: Cursor<Vec<u8>>,
    written: Option<Vec<u8>>,
}

#[expect(clippy::unnecessary_wraps, reason = "the real connection may be broken")]
impl Channel {
    #[expect(clippy::needless_pass_by_value, reason = "the real host takes it")]
    pub(crate) fn open(request: Request, protocol: &str) -> Result<Self, Error> {
        let ChannelAnswers(answer) = ask(|host| host.channels.clone());
        let input = Cursor::new(answer(&request, protocol)?);
        Ok(Self { input, written: Some(Vec::new()) })
    }

    pub(crate) fn headers(&self) -> &[(String, String)] {
        &[]
    }

    pub(crate) fn read_now(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        self.input.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    pub(crate) fn wait(&self, to_write: bool) -> Ready {
        Ready { can_read: true, can_write: to_write }
    }

    pub(crate) fn end_output(&mut self) -> io::Result<()> {
        let written = self.written.take();
        HOST.with_borrow_mut(|host| {
            if let Some((_, heard)) = host {
                heard.sent.extend(written);
            }
        });
        Ok(())
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(written) = &mut self.written else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if self.written.is_some() {
            // It cannot fail.
            let _ = self.end_output();
        }
    }
}
