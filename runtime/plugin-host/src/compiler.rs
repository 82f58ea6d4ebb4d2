//! The host's side of the compile child: starting it, waiting for it, ending it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::compile::{self, CompileError};

/// How much of the child's standard error is kept.
const REASON: usize = 4 << 10;

/// As `nice` counts it: a tenth of what others get where processors are scarce. With
/// less, a busy host would never come to the end of an update.
const LOW_PRIORITY: i32 = 10;

/// The program that compiles, run as `program args… INPUT OUTPUT`. It is
/// expected to call [`compile`](crate::compile).
#[derive(Debug, Clone)]
pub struct CompilerCommand {
    /// An executable file.
    pub program: PathBuf,
    /// What goes before the two paths.
    pub args: Vec<OsString>,
}

/// Why there is no compiled code.
#[derive(Debug, thiserror::Error)]
pub enum CompilerError {
    /// The program cannot be run.
    #[error("cannot run the compiler {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was at work for too long and was ended.
    #[error(
        "compiling took longer than {} s and was stopped; make the plugin smaller, or raise the limit",
        .0.as_secs_f64()
    )]
    TooSlow(Duration),
    /// It wanted more than it may have.
    #[error(
        "compiling it takes more than {0} and was stopped; make the plugin smaller, or make two of it"
    )]
    TooMuch(&'static str),
    /// It was ended by the system or by someone else.
    #[error("the compiler was ended by signal {signal}, maybe for lack of memory; {reason}")]
    Killed {
        /// The signal's number.
        signal: i32,
        /// What it wrote before.
        reason: String,
    },
    /// It refused the component.
    #[error("{0}")]
    Refused(String),
    /// It could not read the component or write the code.
    #[error("{0}")]
    Io(String),
}

impl CompilerError {
    /// Whether the same component may be compiled later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Start { .. } | Self::Killed { .. } | Self::Io(_))
    }
}

/// How much somebody waits for a component to be compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Something else serves meanwhile, and goes first.
    Low,
    /// As fast as can be.
    High,
}

/// Runs compile children, as many at once as there are processors.
pub(crate) struct Compiler {
    command: CompilerCommand,
    timeout: Duration,
    turns: Semaphore,
}

impl Compiler {
    pub(crate) fn new(command: CompilerCommand, timeout: Duration, at_once: usize) -> Self {
        Self { command, timeout, turns: Semaphore::new(at_once) }
    }

    /// Compiles the file `input` into the file `output`. If this future is
    /// dropped, the child and all that it started are killed.
    pub(crate) async fn run(
        &self,
        input: &Path,
        output: &Path,
        haste: Haste,
    ) -> Result<(), CompilerError> {
        // The semaphore is never closed; without a permit we would go on all the same.
        let _turn = self.turns.acquire().await;
        timeout(self.timeout, self.run_child(input, output, haste))
            .await
            .unwrap_or(Err(CompilerError::TooSlow(self.timeout)))
    }

    async fn run_child(
        &self,
        input: &Path,
        output: &Path,
        haste: Haste,
    ) -> Result<(), CompilerError> {
        let start_error =
            |source| CompilerError::Start { program: self.command.program.clone(), source };
        let mut child = Command::new(&self.command.program)
            .args(&self.command.args)
            .args([input, output])
            // It needs nothing of it, and there can be secrets.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(start_error)?;
        let group = Group(child.id());
        if haste == Haste::Low {
            give_way(child.id());
        }
        let stderr = child.stderr.take();
        let (status, reason) = tokio::join!(child.wait(), read_reason(stderr));
        let status = status.map_err(start_error)?;
        group.has_ended();
        if status.success() {
            return Ok(());
        }
        Err(match status.signal() {
            Some(signal) => limit_of(signal, &reason)
                .map_or(CompilerError::Killed { signal, reason }, CompilerError::TooMuch),
            None if status.code() == Some(CompileError::IO_STATUS.into()) => {
                CompilerError::Io(reason)
            }
            None => CompilerError::Refused(reason),
        })
    }
}

/// Has a child give way to what else wants the processors.
fn give_way(id: Option<u32>) {
    let id = id.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    // Where it does not work, the child is in nobody's way for long.
    let _ = rustix::process::setpriority_process(id, LOW_PRIORITY);
}

/// The limit that a child has reached, if that is how it ended: the same component
/// would reach it again.
fn limit_of(signal: i32, reason: &str) -> Option<&'static str> {
    match Signal::try_from(signal) {
        // Rust's last words where an allocation fails.
        Ok(Signal::SIGABRT) if reason.contains("memory allocation of ") => {
            Some(compile::MEMORY_IN_WORDS)
        }
        Ok(Signal::SIGXCPU) => Some(compile::TIME_IN_WORDS),
        _ => None,
    }
}

/// A child's process group, killed when this is dropped before its end.
struct Group(Option<u32>);

impl Group {
    /// From here on the id may belong to somebody else.
    fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.take().and_then(|id| i32::try_from(id).ok()) {
            // It fails if the group is gone, which is what is wanted.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

/// Reads a stream to its end and keeps the start.
async fn read_reason(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let room = REASON - kept.len();
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
    let text = String::from_utf8_lossy(&kept);
    let text = text.trim();
    if text.is_empty() { "the compiler gave no reason".into() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Duration) -> Compiler {
        let args = ["-c", script, "compiler"].map(OsString::from).to_vec();
        Compiler::new(CompilerCommand { program: "/bin/sh".into(), args }, timeout, 1)
    }

    async fn run(script: &str) -> Result<(), CompilerError> {
        let minute = Duration::from_secs(60);
        shell(script, minute).run(Path::new("in put"), Path::new("out put"), Haste::High).await
    }

    #[tokio::test]
    async fn the_paths_are_the_last_two_arguments() {
        let error = run("echo \"$1 to $2\" >&2; exit 1").await.unwrap_err();
        assert_eq!(error.to_string(), "in put to out put");
    }

    #[tokio::test]
    async fn success_needs_no_words() {
        assert!(run("exit 0").await.is_ok());
    }

    #[tokio::test]
    async fn a_reason_of_any_length_neither_blocks_nor_fills_memory() {
        let error = run("yes reason | head -c 1000000 >&2; exit 1").await.unwrap_err();
        assert!(error.to_string().len() <= REASON);
    }

    #[tokio::test]
    async fn without_haste_others_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let priority = dir.path().join("priority");
        // The priority is set just after the start.
        let script = "until [ \"$(nice)\" = 10 ]; do :; done; nice > \"$2\"";
        let compiler = shell(script, Duration::from_secs(30));
        compiler.run(Path::new("-"), &priority, Haste::Low).await.unwrap();
        assert_eq!(std::fs::read_to_string(priority).unwrap(), "10\n");
    }

    #[tokio::test]
    async fn a_killed_compiler_is_told_from_one_that_refuses() {
        let error = run("kill -9 $$").await.unwrap_err();
        assert!(matches!(error, CompilerError::Killed { signal: 9, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_compiler_at_its_limits_would_reach_them_again() {
        for (script, words) in [
            ("echo memory allocation of 5 bytes failed >&2; kill -ABRT $$", "4 GiB of memory"),
            ("kill -XCPU $$", "10 minutes of processor time"),
        ] {
            let error = run(script).await.unwrap_err();
            assert!(error.to_string().contains(words) && !error.may_pass(), "{error}");
        }
        assert!(run("kill -ABRT $$").await.unwrap_err().may_pass());
    }

    #[tokio::test]
    async fn a_compiler_that_is_not_there_is_named() {
        let command = CompilerCommand { program: "/nowhere/compiler".into(), args: vec![] };
        let compiler = Compiler::new(command, Duration::from_secs(1), 1);
        let error = compiler.run(Path::new("a"), Path::new("b"), Haste::High).await.unwrap_err();
        assert!(error.to_string().contains("/nowhere/compiler"), "{error}");
    }

    #[tokio::test]
    async fn a_slow_compiler_is_killed_with_what_it_started() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("pid");
        // The script gets the paths as $1 and $2 and writes a grandchild's id to $2.
        let slow = shell("sleep 600 & echo $! > \"$2\"; wait", Duration::from_secs(1));
        let error = slow.run(Path::new("-"), &path, Haste::High).await.unwrap_err();
        assert!(matches!(error, CompilerError::TooSlow(_)), "{error}");
        let id: i32 = std::fs::read_to_string(&path).unwrap().trim().parse().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while is_running(id) {
            assert!(std::time::Instant::now() < deadline, "process {id} is still there");
            tokio::task::yield_now().await;
        }
    }

    /// Whether a process runs; one that nobody has reaped yet does not.
    fn is_running(id: i32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }
}
