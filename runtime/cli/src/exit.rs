//! Exit statuses, and errors that carry one.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use drover_api::{ErrorCode, JobResult, JobState};

use crate::output;

/// The statuses, as `--help` shows them.
pub(crate) const HELP: &str = "\
Exit status:
    0  done
    1  the job failed, or anything not listed here went wrong
    2  wrong command line or configuration
    3  the controller cannot be reached, or does not let you in
    4  no such node, plugin or operation, or the node is lost
    5  the arguments do not fit the operation
   75  the agent was told to restart
  124  the deadline passed
  130  cancelled with Ctrl-C
    N  `drover exec`: the program ended with status N
128+N  `drover exec`: signal N ended the program";

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    Usage,
    Unreachable,
    NotFound,
    InvalidArguments,
    /// Of the compile child only: [`CompileError::IO_STATUS`].
    ///
    /// [`CompileError::IO_STATUS`]: drover_plugin_host::CompileError::IO_STATUS
    Io,
    Restart,
    Timeout,
    Cancelled,
    /// As a program that ran on a node.
    Program(u8),
}

impl Exit {
    /// As a program that a signal ended.
    pub(crate) fn signal(number: i32) -> Self {
        Self::Program(u8::try_from(number.saturating_add(128)).unwrap_or(u8::MAX))
    }

    fn status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotFound => 4,
            Self::InvalidArguments => 5,
            Self::Io => drover_plugin_host::CompileError::IO_STATUS,
            Self::Restart => 75,
            Self::Timeout => 124,
            Self::Cancelled => 130,
            Self::Program(status) => status,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}

impl From<&JobResult> for Exit {
    fn from(result: &JobResult) -> Self {
        match (result.state, result.error.as_ref().map(|error| error.code)) {
            (JobState::Ok, _) => Self::Done,
            (JobState::Timeout, _) => Self::Timeout,
            (JobState::Killed, _) => Self::Cancelled,
            (_, Some(ErrorCode::UnknownCommand | ErrorCode::UnknownJob)) => Self::NotFound,
            (_, Some(ErrorCode::InvalidArguments)) => Self::InvalidArguments,
            _ => Self::Failed,
        }
    }
}

/// An error on its way to the person, with the status the program ends with.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: anyhow::Error,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// A failure that is told by `message` alone.
    pub(crate) fn text(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, error: anyhow::Error::msg(message.into()) }
    }

    /// Prints the error with its causes, one a line.
    pub(crate) fn report(&self) -> ExitCode {
        // `drover nodes | head -1` closes the pipe; that is no error.
        let is_pipe_closed = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
        };
        if self.error.chain().any(is_pipe_closed) {
            return Exit::Done.into();
        }
        let mut text = format!("drover: {}", self.error);
        for cause in self.error.chain().skip(1) {
            let _ = write!(text, "\n  because {cause}");
        }
        output::note(&text);
        self.exit.into()
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(Exit::Failed, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_in_the_help() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Unreachable,
            Exit::NotFound,
            Exit::InvalidArguments,
            Exit::Restart,
            Exit::Timeout,
            Exit::Cancelled,
        ] {
            let number = format!("{:>5}  ", exit.status());
            assert!(HELP.lines().any(|line| line.starts_with(&number)), "{exit:?}");
        }
    }
}
