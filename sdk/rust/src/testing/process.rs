//! The programs of the stand-in: each command line has its output, and nothing
//! else is granted.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::bindings::drover::plugin::process::{Command, Completed, Ending, Error, OutputStream};
use crate::process::Output;

use super::{HOST, ask};

/// A program that plugins may run in a test, with these arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// Its path and its arguments.
    pub line: Vec<String>,
    /// What it writes, and how it ends.
    pub output: Output,
}

impl Program {
    /// A program that writes and ends like this when it is run with this line.
    #[must_use]
    pub fn new(line: impl IntoIterator<Item = impl Into<String>>, output: Output) -> Self {
        Self { line: line.into_iter().map(Into::into).collect(), output }
    }
}

/// A program that the plugin has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its path and its arguments.
    pub line: Vec<String>,
    /// What it was given to read.
    pub input: Vec<u8>,
}

pub(crate) fn run(command: &Command, input: &[u8], most: u32) -> Result<Completed, Error> {
    let output = begin(command)?;
    hear(input);
    let cut = |mut bytes: Vec<u8>| {
        let left_out = bytes.len().saturating_sub(most as usize);
        bytes.truncate(most as usize);
        (bytes, left_out as u64)
    };
    let ((stdout, stdout_left_out), (stderr, stderr_left_out)) =
        (cut(output.stdout), cut(output.stderr));
    let ending = output.ending;
    Ok(Completed { ending, stdout, stderr, stdout_left_out, stderr_left_out })
}

pub(crate) fn spawn(command: &Command) -> Result<Child, Error> {
    let Output { stdout, stderr, ending, .. } = begin(command)?;
    let pieces = [(OutputStream::Stdout, stdout), (OutputStream::Stderr, stderr)];
    let unread = pieces.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    Ok(Child { state: RefCell::new(State { unread, ending, is_open: true }) })
}

/// A program that has written all it will, and waits for its output to be read.
#[derive(Debug)]
pub(crate) struct Child {
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    unread: VecDeque<(OutputStream, Vec<u8>)>,
    ending: Ending,
    is_open: bool,
}

impl Child {
    pub(crate) fn id(&self) -> String {
        "program".to_owned()
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        if !self.state.borrow().is_open {
            return Err(Error::Closed);
        }
        hear(bytes);
        Ok(())
    }

    pub(crate) fn close_input(&self) {
        self.state.borrow_mut().is_open = false;
    }

    pub(crate) fn read(&self, _wait_ms: u64) -> Option<(OutputStream, Vec<u8>)> {
        self.state.borrow_mut().unread.pop_front()
    }

    pub(crate) fn wait(&self, _wait_ms: u64) -> Option<Ending> {
        let state = self.state.borrow();
        state.unread.is_empty().then_some(state.ending)
    }

    pub(crate) fn kill(&self) -> Result<Ending, Error> {
        let mut state = self.state.borrow_mut();
        if !state.unread.is_empty() {
            state.unread.clear();
            state.ending = Ending::Killed;
        }
        Ok(state.ending)
    }
}

/// Notes a program that is run, if it is one of the host's.
fn begin(command: &Command) -> Result<Output, Error> {
    let line: Vec<_> =
        std::iter::once(&command.program).chain(&command.arguments).cloned().collect();
    let found = ask(|host| host.programs.iter().find(|program| program.line == line).cloned());
    let Some(program) = found else {
        return Err(Error::Denied(format!("the test's host does not have {line:?}")));
    };
    HOST.with_borrow_mut(|host| {
        if let Some((_, heard)) = host {
            heard.programs.push(Ran { line, input: Vec::new() });
        }
    });
    Ok(program.output)
}

/// Notes what the last program is given to read.
fn hear(input: &[u8]) {
    HOST.with_borrow_mut(|host| {
        if let Some(ran) = host.as_mut().and_then(|(_, heard)| heard.programs.last_mut()) {
            ran.input.extend_from_slice(input);
        }
    });
}
