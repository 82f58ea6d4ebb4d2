//! Programs under test: started, read, signalled, and ended with the test.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::{wait_at_most, wait_for};

/// How a program ended and what it printed.
#[derive(Debug)]
pub struct Ran {
    /// The exit status; none if a signal ended it.
    pub status: Option<i32>,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

impl Ran {
    /// Runs a command to its end.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Checks the exit status and returns standard output.
    ///
    /// # Panics
    ///
    /// If the program did not end with status 0.
    #[must_use]
    pub fn ok(self) -> String {
        assert_eq!(self.status, Some(0), "{self:?}");
        self.stdout
    }

    /// Checks that the program failed with `status` and returns standard error.
    ///
    /// # Panics
    ///
    /// If the program ended in another way.
    #[must_use]
    pub fn failed(self, status: i32) -> String {
        assert_eq!(self.status, Some(status), "{self:?}");
        self.stderr
    }
}

/// Runs `program` to its end.
#[must_use]
pub fn run(program: &Path, arguments: &[&str]) -> Ran {
    Ran::of(Command::new(program).args(arguments))
}

/// A program that is running. Killed when dropped.
pub struct Process {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// The lines that a thread has read so far.
type Lines = Arc<Mutex<Vec<String>>>;

impl Process {
    /// Starts `program`.
    #[must_use]
    pub fn start(program: &Path, arguments: &[&str]) -> Self {
        Self::spawn(Command::new(program).args(arguments))
    }

    /// Starts a command that reads nothing.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Self {
        Self::spawn_reading(command, Stdio::null()).0
    }

    /// Starts a command that is told by its standard input what to do.
    #[must_use]
    pub fn spawn_listening(command: &mut Command) -> (Self, ChildStdin) {
        let (process, stdin) = Self::spawn_reading(command, Stdio::piped());
        (process, stdin.unwrap())
    }

    fn spawn_reading(command: &mut Command, stdin: Stdio) -> (Self, Option<ChildStdin>) {
        let command = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = command.spawn();
        let mut child = started.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        (Self { child, stdout, stderr }, stdin)
    }

    /// Waits for a line of standard output that `pick` takes something from.
    pub fn wait_for_output<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        wait_for_line(what, &self.stdout, pick, || self.last_words())
    }

    /// Waits until so many lines of standard output have `text` in them.
    pub fn wait_for_outputs(&self, text: &str, count: usize) {
        wait_for(&format!("{count} times {text:?}"), || {
            let found = self.output().iter().filter(|line| line.contains(text)).count();
            if found >= count { Ok(()) } else { Err(self.last_words()) }
        });
    }

    /// Waits for a line of standard error that has `text` in it.
    pub fn wait_for_log(&self, text: &str) {
        wait_for_line(text, &self.stderr, |line| line.contains(text).then_some(()), || self.log());
    }

    /// The lines it wrote to standard output until now.
    #[must_use]
    pub fn output(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    /// The end of both outputs, for the message of a test that waits in vain.
    #[must_use]
    pub fn last_words(&self) -> String {
        let last = |lines: &Lines| {
            let lines = lines.lock().unwrap();
            let last = lines[lines.len().saturating_sub(20)..].iter();
            last.map(|line| line.chars().take(500).collect()).collect::<Vec<String>>().join("\n")
        };
        format!("standard output:\n{}\nstandard error:\n{}", last(&self.stdout), last(&self.stderr))
    }

    /// What it wrote to standard error until now.
    #[must_use]
    pub fn log(&self) -> String {
        self.stderr.lock().unwrap().join("\n")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the program to end", || child.try_wait().unwrap().ok_or("still running"))
    }

    /// How it ended, if it has by now.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits 10 seconds until it has ended by itself, and kills it if it has not.
    pub fn wait_or_kill(&mut self) {
        let child = &mut self.child;
        let ended =
            wait_at_most(Duration::from_secs(10), || child.try_wait().ok().flatten().ok_or(()));
        if ended.is_err() {
            let _ = self.child.kill();
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stream: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let collected = lines.clone();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            collected.lock().unwrap().push(line);
        }
    });
    lines
}

fn wait_for_line<T>(
    what: &str,
    lines: &Lines,
    pick: impl Fn(&str) -> Option<T>,
    log: impl Fn() -> String,
) -> T {
    wait_for(what, || {
        let found = lines.lock().unwrap().iter().find_map(|line| pick(line));
        found.ok_or_else(&log)
    })
}
