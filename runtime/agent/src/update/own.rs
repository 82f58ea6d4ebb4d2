//! The agent's own program: what its update does where a plugin's would load and
//! serve.
//!
//! A version is prepared and tested beside the agent that runs, which gives nothing up
//! until that went well. Then the agent ends in order, as its launcher is told, and the
//! version that the launcher starts watches itself.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use drover_process::ManagerError;
use drover_signing::ContentHash;
use drover_update::{Event, Version};
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::work::{Done, in_words};
use crate::commands;
use crate::node::Node;

/// How often the agent that is watched, or waits for its jobs, is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How soon it is tried again to hand the processes over.
const AGAIN: Duration = Duration::from_secs(1);

/// How long a file may be busy that was written a moment ago: a child that is just
/// being started still has it open.
const BUSY: Duration = Duration::from_secs(5);

/// What programs for this kind of machine begin with, without what differs between
/// them.
const HEAD: usize = 20;

/// Most of what a program that failed is quoted with.
const QUOTED: usize = 1000;

/// How the agent was started, where another version of its program may take its place.
#[derive(Debug, Clone)]
pub struct OwnProgram {
    /// SHA-256 of the pushed version that this is; none if it is the installed one.
    pub pushed: Option<ContentHash>,
    /// What a version is started with to find out whether it could be this agent.
    pub trial: Vec<OsString>,
}

/// What there is to do it with.
#[derive(Clone)]
pub(super) struct Own {
    pub(super) program: OwnProgram,
    /// See [`UpdateSettings::patience`](crate::UpdateSettings::patience).
    pub(super) patience: Duration,
}

impl Own {
    /// Finds out whether the file is a program of this machine, of that version.
    pub(super) async fn prepare(self, path: PathBuf, version: Version) -> Done {
        let of = path.clone();
        let checked = spawn_blocking(move || make_program(&of)).await;
        match checked {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => return Event::Refused(reason).into(),
            Err(error) => return Event::Refused(format!("looking at it panicked: {error}")).into(),
        }
        let said = match self.run(&path, &["--version".into()]).await {
            Ok(said) => said,
            Err(reason) => return Event::Refused(reason).into(),
        };
        let wanted = format!("drover {}", version.version);
        match said.trim() {
            said if said == wanted => Event::Prepared.into(),
            said => {
                let said: String = said.chars().take(80).collect();
                Event::Refused(format!("it calls itself `{said}`, not `{wanted}`")).into()
            }
        }
    }

    /// Has the version find out beside this agent whether it could take its place.
    pub(super) async fn test(self, path: PathBuf) -> Done {
        match self.run(&path, &self.program.trial).await {
            Ok(_) => Event::Tested.into(),
            Err(reason) => Event::Refused(format!("its trial failed: {reason}")).into(),
        }
    }

    /// Runs the program to its end, and gives back what it says.
    async fn run(&self, path: &Path, arguments: &[OsString]) -> Result<String, String> {
        let mut command = Command::new(path);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(self.patience, output(&mut command)).await;
        let Output { status, stdout, stderr } = match output {
            Ok(Ok(output)) => output,
            Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err("it may not be run: `data_dir` must not be mounted `noexec`".to_owned());
            }
            Ok(Err(error)) => return Err(format!("it cannot be run: {error}")),
            Err(_) => return Err(format!("it did not end within {:?}", self.patience)),
        };
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        let stderr = String::from_utf8_lossy(&stderr);
        let from = stderr.floor_char_boundary(stderr.len().saturating_sub(QUOTED));
        Err(format!("it ended with {status}: {}", stderr[from..].trim()))
    }

    /// Has the program that runs watched for so long: it must join, and stay.
    pub(super) async fn watch(self, node: Node, time: Duration) -> Done {
        let began = Instant::now();
        let mut joined = began;
        loop {
            if node.is_joined() {
                joined = Instant::now();
                if began.elapsed() >= time {
                    return Event::Passed.into();
                }
            } else if joined.elapsed() > self.patience {
                let patience = self.patience;
                let reason = format!("it had no link to the controller for {patience:?}");
                return Event::Bad(reason).into();
            }
            sleep(LOOK).await;
        }
    }

    /// Ends the agent for the program that is to run, when no job of a plugin would end
    /// with it or after the patience. Processes go on: the other agent has them then.
    pub(super) async fn hand_over(self, node: Node) -> Done {
        node.inbox().drain();
        let latest = Instant::now() + self.patience;
        while Instant::now() < latest && is_busy(&node) {
            sleep(LOOK).await;
        }
        while let Err(error) = node.processes().hand_over().await {
            if error == ManagerError::ShuttingDown {
                // The agent ends already, for another reason.
                std::future::pending::<()>().await;
            }
            tracing::error!(
                error = in_words(&error),
                "the processes cannot be handed over to another version of the agent, which waits"
            );
            sleep(AGAIN).await;
        }
        tracing::info!("the agent ends, for another version of its program to run");
        node.hand_over();
        std::future::pending().await
    }
}

/// Whether there are jobs that end with the agent. Of its own commands none does any
/// work that is lost.
fn is_busy(node: &Node) -> bool {
    node.running().iter().any(|job| !commands::is_own(&job.cmd))
}

async fn output(command: &mut Command) -> io::Result<Output> {
    let latest = Instant::now() + BUSY;
    loop {
        match command.output().await {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < latest =>
            {
                sleep(LOOK).await;
            }
            other => return other,
        }
    }
}

/// Checks that a file is a program for this kind of machine, and has it be one. Blocks.
fn make_program(path: &Path) -> Result<(), String> {
    let read = |path: &Path| {
        let mut head = [0; HEAD];
        File::open(path).and_then(|mut file| file.read_exact(&mut head)).map(|()| head)
    };
    let head = read(path).map_err(|error| format!("it is no program: {}", in_words(&error)))?;
    let own = read(Path::new("/proc/self/exe"))
        .map_err(|error| format!("the agent's own program cannot be read: {error}"))?;
    if !is_same_kind(head, own) {
        return Err("it is no program for this kind of machine".to_owned());
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
        .map_err(|error| format!("it cannot be made a program: {error}"))
}

/// Compares what the ELF says of the machine: word size, byte order and instructions.
fn is_same_kind(one: [u8; HEAD], other: [u8; HEAD]) -> bool {
    let kind = |head: [u8; HEAD]| {
        ([head[0], head[1], head[2], head[3]], head[4], head[5], head[18], head[19])
    };
    one.starts_with(b"\x7fELF") && kind(one) == kind(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_of_the_same_machine_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let own = std::fs::read("/proc/self/exe").unwrap();
        std::fs::write(&path, &own[..100]).unwrap();
        make_program(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let mut foreign = own[..100].to_vec();
        foreign[18] ^= 1;
        for content in [foreign, b"#!/bin/sh\necho drover 2.0.0\n".to_vec(), Vec::new()] {
            std::fs::write(&path, content).unwrap();
            assert!(make_program(&path).unwrap_err().starts_with("it is no program"));
        }
    }
}
