//! Why there is no answer.

use std::{fmt, io};

/// Why a request has no answer, or none that is of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// It is not asked for, or not granted; the job's log has why.
    Denied,
    /// It is no request; what is wrong with it.
    Invalid(String),
    /// Nobody is there to answer it; the job's log has more.
    Unreachable(String),
    /// The answer, or more of it, did not come in time.
    TimedOut,
    /// The answer is none, or only half of one.
    Broken(String),
    /// The status is not one of success, see [`Response::ok`](super::Response::ok).
    Status {
        /// The status.
        status: u16,
        /// The beginning of the answer's body.
        body: String,
    },
}

impl Error {
    /// An error that came out of reading or writing a body.
    pub(crate) fn of_read(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => {
                f.write_str("the request is not granted; the job's log says what is missing")
            }
            Self::Invalid(why) => write!(f, "the request cannot be sent: {why}"),
            Self::Unreachable(why) => write!(f, "nobody is there to answer: {why}"),
            Self::TimedOut => f.write_str("there was no answer in time"),
            Self::Broken(why) => f.write_str(why),
            Self::Status { status, body } => {
                write!(f, "the answer has the status {status}: {}", body.trim_end())
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Denied => io::ErrorKind::PermissionDenied,
            Error::TimedOut => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}
