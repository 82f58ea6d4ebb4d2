//! Answers to requests, given by the test.

use std::fmt;
use std::io;
use std::rc::Rc;

use super::ask;
use crate::http::{Error, Request, Response};

type Answer = dyn Fn(&Request) -> Result<Response, Error>;

/// Who answers the requests of [`http`](crate::http). The default grants none.
#[derive(Clone)]
pub struct HttpAnswers(Rc<Answer>);

impl HttpAnswers {
    /// Has a function answer, which gets whole requests.
    pub fn new(answer: impl Fn(&Request) -> Result<Response, Error> + 'static) -> Self {
        Self(Rc::new(answer))
    }
}

impl Default for HttpAnswers {
    fn default() -> Self {
        Self::new(|_| Err(Error::Denied))
    }
}

impl fmt::Debug for HttpAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAnswers").finish_non_exhaustive()
    }
}

/// A request whose body is being written.
#[derive(Debug)]
pub(crate) struct Outgoing(Request);

impl Outgoing {
    #[expect(clippy::unnecessary_wraps, reason = "the real host may refuse it here")]
    pub(crate) fn begin(request: &Request, whole: Option<Vec<u8>>) -> Result<Self, Error> {
        Ok(Self(Request { body: whole.unwrap_or_default(), ..request.clone() }))
    }

    #[expect(clippy::unnecessary_wraps, reason = "the real host may have nobody to read it")]
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    pub(crate) fn finish(self) -> Result<Response, Error> {
        let HttpAnswers(answer) = ask(|host| host.http.clone());
        answer(&self.0)
    }
}
