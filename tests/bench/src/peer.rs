//! The peer: Crossbar as router, programs in Python at its ends. This is what
//! an OCS user has today.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{interval, timeout};

use crate::latency::Sample;
use crate::load::Target;
use crate::load::order::Measured;
use crate::program::Program;
use crate::usage::Usage;

/// How long Crossbar may take to listen; it needs about three seconds.
const START_BOUND: Duration = Duration::from_secs(120);

/// How often a starting Crossbar is tried.
const TRIED_EVERY: Duration = Duration::from_millis(100);

/// The programs, by their names in the working directory.
const PYTHON: [(&str, &str); 3] = [
    ("peer.py", include_str!("../python/peer.py")),
    ("caller.py", include_str!("../python/caller.py")),
    ("callee.py", include_str!("../python/callee.py")),
];

const CROSSBAR_CONFIG: &str = include_str!("../python/crossbar.json");

/// The realm in both configurations.
const REALM: &str = "test_realm";

const OCS_SITE: &str = include_str!("../python/site.yaml");

/// The port in [`OCS_SITE`], which gives way to Crossbar's own.
const PORT_IN_SITE: &str = "127.0.0.1:8001";

/// What the two ends speak.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Serializer {
    /// What the router speaks to ours, too.
    Msgpack,
    /// What autobahn and Crossbar agree on unasked, as every OCS agent does.
    Default,
}

/// A running Crossbar with a directory of its own.
pub(crate) struct Crossbar {
    router: Program,
    address: SocketAddr,
    bin: PathBuf,
    dir: PathBuf,
}

/// A caller and a callee, each in a process of its own.
pub(crate) struct Pair {
    caller: Program,
    callee: Program,
}

impl Crossbar {
    /// Starts Crossbar from the virtual environment and waits until it listens.
    ///
    /// # Errors
    ///
    /// If the environment has no Crossbar, or it does not start.
    pub(crate) async fn start(venv: &Path, dir: &Path) -> anyhow::Result<Self> {
        let bin = venv.join("bin");
        ensure!(
            bin.join("crossbar").exists(),
            "there is no Crossbar in {}: make the environment with `python3 -m venv {0}` and \
             `{0}/bin/pip install -r tests/peers/requirements.txt`",
            venv.display()
        );
        let address = free_address().context("cannot find a port for Crossbar")?;
        write_files(dir, address).with_context(|| format!("cannot write to {}", dir.display()))?;
        let router = Program::start(
            "Crossbar",
            Command::new(bin.join("crossbar"))
                .args(["start", "--loglevel", "warn", "--cbdir"])
                .arg(dir),
        )?;
        let mut crossbar = Self { router, address, bin, dir: dir.to_owned() };
        crossbar.listening().await?;
        Ok(crossbar)
    }

    async fn listening(&mut self) -> anyhow::Result<()> {
        let connected = async {
            let mut tries = interval(TRIED_EVERY);
            loop {
                tries.tick().await;
                if TcpStream::connect(self.address).await.is_ok() {
                    return;
                }
            }
        };
        let outcome = tokio::select! {
            listens = timeout(START_BOUND, connected) => listens.is_ok(),
            ended = self.router.ended() => { ended?; false }
        };
        ensure!(
            outcome,
            "Crossbar does not listen on {}{}",
            self.address,
            self.router.last_lines()
        );
        Ok(())
    }

    /// Starts a callee, then a caller, and waits until both are ready.
    ///
    /// # Errors
    ///
    /// If one of them does not join.
    pub(crate) async fn pair(&self, serializer: Serializer) -> anyhow::Result<Pair> {
        self.pair_on(&self.target(), serializer).await
    }

    /// Like [`Crossbar::pair`], on another router.
    ///
    /// # Errors
    ///
    /// If one of them does not join.
    pub(crate) async fn pair_on(
        &self,
        target: &Target,
        serializer: Serializer,
    ) -> anyhow::Result<Pair> {
        let callee = self.python("callee.py", target, serializer).await?;
        let caller = self.python("caller.py", target, serializer).await?;
        Ok(Pair { caller, callee })
    }

    /// Where it listens, and its realm.
    pub(crate) fn target(&self) -> Target {
        Target { url: format!("ws://{}/ws", self.address), realm: REALM.to_owned() }
    }

    /// The id of the process group of all its processes.
    pub(crate) fn group(&self) -> i32 {
        self.router.group()
    }

    async fn python(
        &self,
        script: &str,
        target: &Target,
        serializer: Serializer,
    ) -> anyhow::Result<Program> {
        let serializer = match serializer {
            Serializer::Msgpack => "msgpack",
            Serializer::Default => "default",
        };
        let name = format!("{script} --serializer {serializer}");
        let mut command = Command::new(self.bin.join("python"));
        command.arg(self.dir.join(script)).args(["--serializer", serializer]);
        command.args(["--url", &target.url, "--realm", &target.realm]);
        let mut program = Program::start(&name, &mut command)?;
        program.line("`ready`", |line| line.starts_with("ready")).await?;
        Ok(program)
    }

    /// Starts an OCS agent of the kind that every installation starts with,
    /// and waits until it has joined; tells how long that took.
    ///
    /// # Errors
    ///
    /// If it does not join.
    pub(crate) async fn ocs_agent(&self) -> anyhow::Result<(Program, Duration)> {
        let mut command = Command::new(self.bin.join("ocs-agent-cli"));
        command.args(["--instance-id", "fake1", "--site-host", "localhost"]);
        command.env("OCS_CONFIG_DIR", &self.dir).env("PYTHONUNBUFFERED", "1");
        let mut agent = Program::start("the OCS agent", &mut command)?;
        let line = agent.line("`session joined`", |line| line.contains("session joined")).await?;
        Ok((agent, line.after))
    }

    /// Stops Crossbar.
    ///
    /// # Errors
    ///
    /// If it cannot be waited for.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.router.stop().await
    }
}

impl Pair {
    /// The CPU time that the caller and the callee have used.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn cpu(&self) -> anyhow::Result<[Duration; 2]> {
        let used = |end: &Program| Usage::of_group(end.group()).map(|usage| usage.cpu);
        Ok([used(&self.caller)?, used(&self.callee)?])
    }

    /// Has the caller keep so many calls in flight for `time`.
    ///
    /// # Errors
    ///
    /// If a call fails, or the caller ends.
    pub(crate) async fn measure(
        &mut self,
        in_flight: usize,
        time: Duration,
    ) -> anyhow::Result<Sample> {
        self.caller.tell(&format!("{in_flight} {}", time.as_secs_f64())).await?;
        let line = self.caller.line("its latencies", |line| line.starts_with('{')).await?;
        let measured: Measured =
            serde_json::from_str(&line.text).context("the caller's latencies cannot be read")?;
        measured.sample()
    }

    /// Ends both.
    ///
    /// # Errors
    ///
    /// If one of them cannot be waited for.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.caller.kill().await?;
        self.callee.kill().await
    }
}

/// A port that was free a moment ago: Crossbar does not tell which one it took.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()
}

fn write_files(dir: &Path, address: SocketAddr) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    for (name, text) in PYTHON {
        std::fs::write(dir.join(name), text)?;
    }
    std::fs::write(dir.join("config.json"), crossbar_config(address.port())?)?;
    std::fs::write(dir.join("default.yaml"), OCS_SITE.replace(PORT_IN_SITE, &address.to_string()))?;
    Ok(())
}

fn crossbar_config(port: u16) -> anyhow::Result<String> {
    let mut config: Value = serde_json::from_str(CROSSBAR_CONFIG)?;
    let place = config.pointer_mut("/workers/0/transports/0/endpoint/port");
    *place.context("the configuration of Crossbar has no port")? = json!(port);
    Ok(config.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_put_into_both_configurations() {
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path(), SocketAddr::from(([127, 0, 0, 1], 4711))).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(read("config.json").contains(r#""port":4711"#));
        let site = read("default.yaml");
        assert!(
            site.contains("127.0.0.1:4711/ws") && site.contains("127.0.0.1:4711/call"),
            "{site}"
        );
        assert!(!site.contains("8001"), "{site}");
    }

    #[tokio::test]
    async fn an_environment_without_crossbar_is_refused_with_the_cure() {
        let dir = tempfile::tempdir().unwrap();
        let error = Crossbar::start(dir.path(), dir.path()).await.err().unwrap().to_string();
        assert!(error.contains("pip install -r tests/peers/requirements.txt"), "{error}");
    }
}
