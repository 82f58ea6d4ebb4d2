//! The peer: runit, which restarts a child faster than others do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::task::yield_now;

use crate::latency::median;
use crate::program::Program;

const SERVICE: &str = "#!/bin/sh\nexec sleep 1000\n";

/// How long a child may take to be there.
const BOUND: Duration = Duration::from_secs(30);

/// A running `runsvdir` whose children are all up.
pub(super) struct Runit {
    program: Program,
    children: Vec<Service>,
    all_up: Duration,
}

/// The directory of one service.
struct Service(PathBuf);

impl Runit {
    /// Starts so many services, and waits until all of them run.
    pub(super) async fn start(runsvdir: &Path, dir: &Path, count: usize) -> anyhow::Result<Self> {
        let children: Vec<_> = (0..count).map(|n| Service(dir.join(format!("s{n}")))).collect();
        for Service(dir) in &children {
            let script = dir.join("run");
            fs::create_dir_all(dir)
                .and_then(|()| fs::write(&script, SERVICE))
                .and_then(|()| fs::set_permissions(&script, fs::Permissions::from_mode(0o755)))
                .with_context(|| format!("cannot write the service {}", dir.display()))?;
        }
        let bin = runsvdir.parent().context("runsvdir is in no directory")?;
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let mut command = Command::new(runsvdir);
        command.arg(dir).env("PATH", path);
        let program = Program::start("runsvdir", &mut command)?;
        for child in &children {
            child.pid_after(None).await?;
        }
        let all_up = program.age();
        Ok(Self { program, children, all_up })
    }

    /// Seconds from the start to the last child.
    pub(super) fn all_up_s(&self) -> f64 {
        self.all_up.as_secs_f64()
    }

    /// Milliseconds from the `kill -9` of the first child to the next one.
    pub(super) async fn restart_ms(&self, times: usize) -> anyhow::Result<f64> {
        let child = self.children.first().context("there is no service")?;
        let mut pid = child.pid_after(None).await?;
        let mut took = Vec::new();
        for _ in 0..times {
            // Within a second of its start runit waits for the rest of it.
            tokio::time::sleep(Duration::from_millis(1100)).await;
            let killed = Instant::now();
            kill(pid, Signal::SIGKILL).context("the child is not there")?;
            pid = child.pid_after(Some(pid)).await?;
            took.push(killed.elapsed().as_secs_f64() * 1e3);
        }
        median(took).context("nothing was killed")
    }

    /// Ends all services.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        // They are all of its process group.
        self.program.kill().await
    }
}

impl Service {
    /// The child's id as soon as there is one, and another than `before`.
    async fn pid_after(&self, before: Option<Pid>) -> anyhow::Result<Pid> {
        let file = self.0.join("supervise/pid");
        let asked = Instant::now();
        loop {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let pid = text.trim().parse().ok().map(Pid::from_raw);
            if let Some(pid) = pid.filter(|_| pid != before) {
                return Ok(pid);
            }
            ensure!(asked.elapsed() < BOUND, "runit does not start {}", self.0.display());
            yield_now().await;
        }
    }
}
