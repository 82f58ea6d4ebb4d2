//! Programs of the node.
//!
//! The manifest asks for each program with the ways in which it is called, and the
//! admin grants them; see `wit/process.wit`. There is no shell: arguments arrive
//! as they are. A program ends with the job at the latest, with all that it has
//! started. Natively, programs are those of the
//! [`testing::Host`](crate::testing::Host).
//!
//! ```
//! use drover_sdk::process::Command;
//! use drover_sdk::{Failure, OrFail, task};
//!
//! /// The last commits of a repository.
//! #[task]
//! fn commits(branch: String) -> Result<Vec<String>, Failure> {
//!     let log = Command::new("/usr/bin/git").args(["log", "--oneline", &branch]);
//!     let log = log.directory("/repository").run().or_fail("git", "asking for the log")?;
//!     Ok(log.text().or_fail("git", "reading the log")?.lines().map(str::to_owned).collect())
//! }
//! # use drover_sdk::process::{Ending, Output};
//! # use drover_sdk::testing::{Host, Program, with_host};
//! # let answers = Output { stdout: b"a1 one\nb2 two\n".to_vec(), ..Output::default() };
//! # let git = Program::new(["/usr/bin/git", "log", "--oneline", "main"], answers);
//! # let host = Host { programs: vec![git], ..Host::default() };
//! # let (answer, _) = with_host(host, || (commits("main".into()), commits("-x".into())));
//! # assert_eq!(answer.0.unwrap(), ["a1 one", "b2 two"]);
//! # assert!(answer.1.is_err());
//! ```
//!
//! with this in `plugin.toml`:
//!
//! ```toml
//! [[asks.programs]]
//! program = "/usr/bin/git"
//! args = [["log", "--oneline", "*"]]     # `*` is one argument that is no option
//! reason = "lists commits"
//!
//! [[asks.directories]]
//! path = "/repository"
//! access = "read"
//! reason = "where it looks for them"
//! ```

use std::fmt;
use std::time::Duration;

#[cfg(target_family = "wasm")]
use crate::bindings::drover::plugin::process as host;
use crate::bindings::drover::plugin::process::Error as HostError;
use crate::bindings::drover::plugin::process::{Command as HostCommand, Completed};
pub use crate::bindings::drover::plugin::process::{Ending, OutputStream};
#[cfg(not(target_family = "wasm"))]
use crate::testing::process as host;

/// What [`Command::run`] keeps of each stream, in bytes, unless it is told otherwise.
const MOST: u32 = 1 << 20;

/// A program, and what it is started with.
#[derive(Debug, Clone)]
pub struct Command {
    command: HostCommand,
    input: Vec<u8>,
    most: u32,
}

impl Command {
    /// The program at a path, which is not looked up anywhere.
    #[must_use]
    pub fn new(program: impl Into<String>) -> Self {
        let command = HostCommand {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            max_time_ms: None,
        };
        Self { command, input: Vec::new(), most: MOST }
    }

    /// Adds an argument, which arrives as it is.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.command.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.command.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable that is granted for this program.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.command.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it in a directory that is granted to the plugin, by the path under
    /// which the plugin sees it; else in the host's root directory.
    #[must_use]
    pub fn directory(mut self, path: impl Into<String>) -> Self {
        self.command.directory = Some(path.into());
        self
    }

    /// Bounds how long it may run; what is granted is the most.
    #[must_use]
    pub fn max_time(mut self, time: Duration) -> Self {
        self.command.max_time_ms = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// What [`Command::run`] gives it to read.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// How many bytes of each stream [`Command::run`] keeps: 1 MiB unless this
    /// says otherwise, and 4 MiB at most.
    #[must_use]
    pub fn most_output(mut self, bytes: u32) -> Self {
        self.most = bytes;
        self
    }

    /// Runs it to its end. That it failed is no error here; see
    /// [`Output::text`].
    ///
    /// # Errors
    ///
    /// If it is not granted, or does not start.
    pub fn run(&self) -> Result<Output, Error> {
        let completed = host::run(&self.command, &self.input, self.most);
        let Completed { ending, stdout, stderr, stdout_left_out, stderr_left_out } =
            completed.map_err(|error| self.failed(error))?;
        let program = self.command.program.clone();
        Ok(Output { program, ending, stdout, stderr, stdout_left_out, stderr_left_out })
    }

    /// Starts it and does not wait for it. Its standard input is open.
    ///
    /// # Errors
    ///
    /// If it is not granted, or does not start.
    pub fn spawn(&self) -> Result<Child, Error> {
        let program = self.command.program.clone();
        let child = host::spawn(&self.command).map_err(|error| self.failed(error))?;
        Ok(Child { program, child })
    }

    fn failed(&self, error: HostError) -> Error {
        Error { program: self.command.program.clone(), problem: Problem::of(error) }
    }
}

/// What a program wrote, and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its path.
    pub program: String,
    /// How it ended.
    pub ending: Ending,
    /// The beginning of standard output.
    pub stdout: Vec<u8>,
    /// The beginning of standard error.
    pub stderr: Vec<u8>,
    /// How many bytes of standard output were left out.
    pub stdout_left_out: u64,
    /// How many bytes of standard error were left out.
    pub stderr_left_out: u64,
}

impl Default for Output {
    fn default() -> Self {
        Self {
            program: String::new(),
            ending: Ending::Code(0),
            stdout: Vec::new(),
            stderr: Vec::new(),
            stdout_left_out: 0,
            stderr_left_out: 0,
        }
    }
}

impl Output {
    /// Whether it ended with the status 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self.ending, Ending::Code(0))
    }

    /// Standard output as text.
    ///
    /// # Errors
    ///
    /// If it did not end with the status 0, or the text is longer than was kept,
    /// or is none; with the end of what it wrote to standard error.
    pub fn text(&self) -> Result<&str, Error> {
        let failed = |what: String| Error {
            program: self.program.clone(),
            problem: Problem::Failed { what, stderr: self.last_words() },
        };
        if !self.is_success() {
            return Err(failed(in_words(self.ending)));
        }
        if self.stdout_left_out > 0 {
            let length = self.stdout.len();
            return Err(failed(format!("wrote more than the {length} bytes that are kept of it")));
        }
        str::from_utf8(&self.stdout).map_err(|_| failed("wrote what is no text".to_owned()))
    }

    /// The last line of standard error that says something.
    fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("").to_owned()
    }
}

/// A program that runs. Dropping it ends it, with all that it has started.
#[derive(Debug)]
pub struct Child {
    program: String,
    child: host::Child,
}

impl Child {
    /// The job of the node's process manager that it is, as `drover ps` shows it.
    #[must_use]
    pub fn id(&self) -> String {
        self.child.id()
    }

    /// Writes to its standard input; waits while it does not read.
    ///
    /// # Errors
    ///
    /// If its standard input is closed.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        self.child.write(bytes).map_err(|error| self.failed(error))
    }

    /// Lets it find the end of its standard input.
    pub fn close_input(&self) {
        self.child.close_input();
    }

    /// What it has written next: at most 64 KiB of one stream. None if nothing
    /// comes in time, or ever: then [`Child::wait`] knows the end.
    #[must_use]
    pub fn read(&self, wait: Duration) -> Option<(OutputStream, Vec<u8>)> {
        self.child.read(milliseconds(wait))
    }

    /// How it ended; none if it has not in time. It waits as long as its output is
    /// not read, so read first.
    #[must_use]
    pub fn wait(&self, wait: Duration) -> Option<Ending> {
        self.child.wait(milliseconds(wait))
    }

    /// Ends it with all that it has started, and waits for that. How it ended may
    /// have been by itself, just before.
    ///
    /// # Errors
    ///
    /// If something of it is still there, which only the kernel can bring about.
    pub fn kill(&self) -> Result<Ending, Error> {
        self.child.kill().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: HostError) -> Error {
        Error { program: self.program.clone(), problem: Problem::of(error) }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What went wrong with a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The program.
    pub program: String,
    /// What went wrong.
    pub problem: Problem,
}

/// What can go wrong with a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It is not granted so; says what is not.
    Denied(String),
    /// So many run already.
    TooMany(u32),
    /// The command can be no program's; says why.
    Invalid(String),
    /// It was not started; says why.
    NotStarted(String),
    /// Its standard input is closed.
    Closed,
    /// These processes are still there after they were killed.
    StillThere(Vec<u32>),
    /// It ran, and not well.
    Failed {
        /// How it ended, or what is wrong with its output.
        what: String,
        /// The last line that it wrote to standard error.
        stderr: String,
    },
}

impl Problem {
    fn of(error: HostError) -> Self {
        match error {
            HostError::Denied(what) => Self::Denied(what),
            HostError::TooMany(most) => Self::TooMany(most),
            HostError::Invalid(what) => Self::Invalid(what),
            HostError::NotStarted(why) => Self::NotStarted(why),
            HostError::Closed => Self::Closed,
            HostError::StillThere(left) => Self::StillThere(left),
        }
    }
}

fn in_words(ending: Ending) -> String {
    match ending {
        Ending::Code(code) => format!("ended with status {code}"),
        Ending::Signal(signal) => format!("was ended by signal {signal}"),
        Ending::OutOfMemory => "used more memory than is granted".to_owned(),
        Ending::Timeout => "took longer than it may".to_owned(),
        Ending::Killed => "was ended".to_owned(),
        Ending::Unknown => "ended, and nobody knows how".to_owned(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, problem } = self;
        match problem {
            Problem::Denied(what) => write!(
                f,
                "{what}: ask for it in plugin.toml, under [[asks.programs]], and have it granted"
            ),
            Problem::TooMany(most) => {
                write!(f, "{program} has to wait: {most} programs run already")
            }
            Problem::Invalid(what) => write!(f, "{program} cannot be started so: {what}"),
            Problem::NotStarted(why) => write!(f, "{program} was not started: {why}"),
            Problem::Closed => write!(f, "{program} reads no more"),
            Problem::StillThere(left) => {
                write!(f, "processes of {program} cannot be killed: {left:?}")
            }
            Problem::Failed { what, stderr } if stderr.is_empty() => write!(f, "{program} {what}"),
            Problem::Failed { what, stderr } => write!(f, "{program} {what}: {stderr}"),
        }
    }
}

impl std::error::Error for Error {}
