//! A keeper in a directory of its own, and what the tests ask of it.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use drover_api::JobId;
use drover_process::{
    Connection, Exit, KeeperEvent, Launch, Limits, Spawned, Stdin, connect_or_start,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// How long anything may take before a test fails.
pub(super) const BOUND: Duration = Duration::from_secs(30);

const KEEPER: &str = env!("CARGO_BIN_EXE_test-keeper");

/// An agent, as the keeper sees it.
pub(super) struct Agent {
    pub(super) connection: Connection,
    tasks: JoinSet<()>,
}

impl Agent {
    pub(super) async fn connect(dir: &Path) -> Self {
        Self::connect_by(dir, || {
            let mut program = Command::new(KEEPER);
            program.arg(dir);
            program
        })
        .await
    }

    /// With a keeper that sees no cgroups, as on a machine that has none for it.
    pub(super) async fn connect_groupless(dir: &Path) -> Self {
        let script = "umount --lazy --recursive /sys/fs/cgroup && exec \"$@\"";
        let agent = Self::connect_by(dir, || {
            let mut program = Command::new("unshare");
            program.args(["--mount", "sh", "-c", script, "sh", KEEPER]).arg(dir);
            program
        })
        .await;
        assert!(!agent.connection.keeper.force().own_cgroup);
        agent
    }

    async fn connect_by(dir: &Path, program: impl Fn() -> Command) -> Self {
        let mut tasks = JoinSet::new();
        let connection = connect_or_start(dir, program, &mut tasks).await.unwrap();
        Self { connection, tasks }
    }

    /// As `kill -9` of the agent: nothing is said, descriptors are just closed.
    pub(super) async fn vanish(mut self) {
        self.tasks.shutdown().await;
    }

    /// Says what is still to be said, and lets go.
    pub(super) async fn let_go(mut self) {
        drop(self.connection);
        let end = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(BOUND, end).await.expect("the connection does not end");
    }

    pub(super) async fn spawn(&self, launch: Launch) -> Spawned {
        self.connection.keeper.spawn(launch).await.unwrap()
    }

    /// The next exit, with what was left of the tree.
    pub(super) async fn exited(&mut self) -> (JobId, Exit, bool) {
        match tokio::time::timeout(BOUND, self.connection.events.recv()).await {
            Ok(Some(KeeperEvent::Exited { id, exit, leftover })) => (id, exit, leftover),
            other => panic!("no exit but {other:?}"),
        }
    }

    /// Waits for the keeper's end.
    pub(super) async fn keeper_gone(&mut self) {
        let gone = async { while self.connection.events.recv().await.is_some() {} };
        tokio::time::timeout(BOUND, gone).await.expect("the keeper is still there");
    }
}

pub(super) fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(super) fn id(text: &str) -> JobId {
    JobId::try_from(text.to_owned()).unwrap()
}

pub(super) fn launch(name: &str, program: &str, args: &[&str]) -> Launch {
    Launch {
        id: id(name),
        program: program.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: vec![("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())],
        working_dir: "/".into(),
        stdin: Stdin::Null,
        user: None,
        group: None,
        limits: Limits::default(),
        note: String::new(),
    }
}

pub(super) fn shell(name: &str, script: &str) -> Launch {
    launch(name, "/bin/sh", &["-c", script])
}

/// Reads to the end.
pub(super) async fn read(pipe: OwnedFd) -> Vec<u8> {
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        File::from(pipe).read_to_end(&mut bytes).unwrap();
        bytes
    });
    tokio::time::timeout(BOUND, read).await.expect("the pipe does not end").unwrap()
}

/// Reads until so many lines have come.
pub(super) async fn read_lines(pipe: &OwnedFd, count: usize) -> String {
    let mut pipe = File::from(pipe.try_clone().unwrap());
    let read = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        while text.iter().filter(|&&byte| byte == b'\n').count() < count {
            let mut byte = [0];
            pipe.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    });
    tokio::time::timeout(BOUND, read).await.expect("the lines do not come").unwrap()
}

/// Waits until a condition holds; `state` says what it is about, for a failure.
pub(super) async fn until(state: impl Fn() -> String, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < BOUND, "waited in vain: {}", state());
        tokio::task::yield_now().await;
    }
}

/// When a process started, in clock ticks.
pub(super) fn start_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap()
}

/// Whether a process runs; a zombie does not.
pub(super) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

pub(super) fn pids(text: &str) -> Vec<u32> {
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
