//! The launcher: the installed program, where a version of it that was pushed runs.
//!
//! ```text
//!   service manager ──starts──▶ launcher ──starts──▶ agent, of the version that is to run
//!                                   ▲                 │
//!                                   └─ is heard of ───┘
//! ```
//!
//! It is the process that the service manager knows, for as long as there is an agent,
//! and does nothing else than to wait: it passes signals on, and ends as the agent
//! does. If the agent dies while it is watched, or is not heard of, the launcher starts
//! what ran before. If the launcher is killed the agent is killed with it, so that
//! there is never a second one.
//!
//! What is to run is in the record of the agent's own updates; see [`drover_update::choose`].

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use drover_api::{OWN_PROGRAM, Timestamp};
use drover_signing::ContentHash;
use drover_snapshot::Found;
use drover_update::{
    Choice, Files, FilesError, Record, Stage, Step, Version, choose, died, short, unstartable,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

use crate::Config;
use crate::update::RECORD;

/// How long a file may be busy that was written a moment ago.
const BUSY: Duration = Duration::from_secs(5);

/// Decides which program is the agent, and starts it.
#[derive(Debug)]
pub struct Launcher {
    files: Files,
    installed: semver::Version,
    patience: Duration,
}

/// What comes after a program that was started.
#[derive(Debug)]
pub enum After {
    /// Another one is to run: [`Launcher::choose`] says which.
    Another,
    /// Nothing: the agent has ended so.
    Ended(ExitStatus),
}

/// How an agent that was started says that another program is to run: by this exit
/// status.
pub const HAND_OVER: u8 = 76;

/// How one says that it is to be started again, which is the service manager's to do.
const RESTART: u8 = 75;

/// What the launcher hears.
enum Heard {
    Ended(io::Result<ExitStatus>),
    Line(io::Result<Option<String>>),
    Silence,
    Signal(Signal),
}

/// Why an agent has ended.
#[derive(Clone, Copy)]
enum Cause {
    /// It has its own reasons.
    Own,
    /// It was told to.
    Stopped,
    /// It was watched, and not heard of.
    Silent,
}

impl Launcher {
    /// The launcher of the agent with this configuration, where `installed` is the
    /// version of the installed program, which this is.
    ///
    /// # Errors
    ///
    /// If that is no version.
    pub fn new(config: &Config, installed: &str) -> anyhow::Result<Self> {
        let installed = installed.parse();
        let installed = installed.context("this program was stamped with what is no version")?;
        let files = Files::of_program(&config.data_dir.join("pushed"), OWN_PROGRAM);
        Ok(Self { files, installed, patience: config.updates.patience })
    }

    /// The version that was pushed and is to run; none if the installed program is. What
    /// follows from its start is on disk.
    ///
    /// # Errors
    ///
    /// If the record cannot be read.
    pub fn choose(&self) -> anyhow::Result<Option<Version>> {
        let Some(record) = self.record()? else { return Ok(None) };
        let (next, choice) = choose(&record, &self.installed, Timestamp::now());
        let choice = match next == record || self.write(&next) {
            true => choice,
            // What cannot be written down is not begun.
            false => record.active().cloned().map_or(Choice::Installed, Choice::Pushed),
        };
        Ok(match choice {
            Choice::Installed => None,
            Choice::Pushed(version) => Some(version),
        })
    }

    /// The version that [`Self::choose`] would choose, without choosing it.
    ///
    /// # Errors
    ///
    /// If the record cannot be read or understood.
    pub fn foresee(&self) -> anyhow::Result<Option<Version>> {
        let Some(record) = RECORD.look::<Record>(&self.files.record())? else { return Ok(None) };
        Ok(match choose(&record, &self.installed, Timestamp::now()).1 {
            Choice::Installed => None,
            Choice::Pushed(version) => Some(version),
        })
    }

    /// Starts a version with the arguments of this program, and waits for its end.
    /// SIGINT and SIGTERM are passed on.
    ///
    /// # Errors
    ///
    /// If signals cannot be had, or the record cannot be read.
    pub async fn run(&self, version: &Version, arguments: &[OsString]) -> anyhow::Result<After> {
        let (hash, number) = (version.hash, &version.version);
        let child = match self.start(version, arguments).await {
            Ok(child) => child,
            Err(reason) => {
                let reason = format!("{reason:#}");
                tracing::error!(%number, reason, "the agent cannot be started");
                let give_up = |record: &Record| unstartable(record, hash, reason, Timestamp::now());
                self.change(give_up)?;
                return Ok(After::Another);
            }
        };
        tracing::info!(%number, hash = short(hash), pid = child.id(), "started the agent that was pushed");
        let (status, cause) = self.follow(child, hash).await?;
        let reason = match cause {
            Cause::Stopped => return Ok(After::Ended(status)),
            Cause::Silent => format!("it was not heard of for {:?}", self.patience),
            Cause::Own => format!("it ended with {status}"),
        };
        if status.code() == Some(i32::from(HAND_OVER)) {
            return Ok(After::Another);
        }
        if status.code() == Some(i32::from(RESTART)) || !self.is_watched(hash)? {
            return Ok(After::Ended(status));
        }
        tracing::error!(%number, reason, "the agent failed while it was watched");
        self.change(|record: &Record| died(record, hash, reason, Timestamp::now()))?;
        Ok(After::Another)
    }

    async fn start(&self, version: &Version, arguments: &[OsString]) -> anyhow::Result<Child> {
        let (files, of) = (self.files.clone(), version.clone());
        let finished = tokio::task::spawn_blocking(move || files.finish(&of)).await?;
        // What cannot be written need not be.
        if let Err(error @ (FilesError::Other(_) | FilesError::Read { .. })) = finished {
            return Err(error.into());
        }
        let mut command = Command::new(self.files.version(version));
        command.args(arguments).arg("--pushed").arg(version.hash.to_string());
        command.arg("--launcher").arg(std::process::id().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let latest = Instant::now() + BUSY;
        loop {
            match command.spawn() {
                Err(error)
                    if error.kind() == io::ErrorKind::ExecutableFileBusy
                        && Instant::now() < latest =>
                {
                    sleep(BUSY / 50).await;
                }
                started => return started.context("it cannot be run"),
            }
        }
    }

    /// Waits for the end of the agent, and ends it if it is watched and silent.
    async fn follow(
        &self,
        mut child: Child,
        hash: ContentHash,
    ) -> anyhow::Result<(ExitStatus, Cause)> {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut lines = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        let mut latest = Instant::now() + self.patience;
        let mut cause = Cause::Own;
        loop {
            let line = async {
                match &mut lines {
                    Some(lines) => lines.next_line().await,
                    None => std::future::pending().await,
                }
            };
            let heard = tokio::select! {
                status = child.wait() => Heard::Ended(status),
                line = line => Heard::Line(line),
                () = sleep_until(latest), if matches!(cause, Cause::Own) => Heard::Silence,
                _ = interrupt.recv() => Heard::Signal(Signal::SIGINT),
                _ = terminate.recv() => Heard::Signal(Signal::SIGTERM),
            };
            match heard {
                Heard::Ended(status) => {
                    return Ok((status.context("cannot wait for the agent")?, cause));
                }
                Heard::Line(Ok(Some(_))) => latest = Instant::now() + self.patience,
                Heard::Line(_) => lines = None,
                Heard::Silence if self.is_watched(hash)? => {
                    cause = Cause::Silent;
                    child.start_kill().context("cannot kill the agent")?;
                }
                Heard::Silence => latest = Instant::now() + self.patience,
                Heard::Signal(signal) => {
                    cause = Cause::Stopped;
                    pass_on(&child, signal);
                }
            }
        }
    }

    /// Whether the version with this content is being watched.
    fn is_watched(&self, hash: ContentHash) -> anyhow::Result<bool> {
        let update = self.record()?.and_then(|record| record.update);
        Ok(update.is_some_and(|update| {
            update.target.hash == hash && matches!(update.stage, Stage::Watching { .. })
        }))
    }

    fn change(&self, next: impl FnOnce(&Record) -> Step) -> anyhow::Result<()> {
        if let Some(record) = self.record()? {
            self.write(&next(&record).record);
        }
        Ok(())
    }

    /// What is known of pushed versions of the agent's program; none if nothing is.
    fn record(&self) -> anyhow::Result<Option<Record>> {
        let path = self.files.record();
        let found = RECORD.read::<Record>(&path);
        match found.with_context(|| format!("cannot read {}", path.display()))? {
            Found::Whole(record) => Ok(Some(record)),
            Found::Nothing => Ok(None),
            Found::PutAside(aside) => {
                tracing::error!(
                    aside = %aside.path.display(),
                    reason = aside.reason,
                    "the record of the agent's own updates cannot be read and is put aside: the \
                     installed program runs"
                );
                Ok(None)
            }
        }
    }

    /// Whether the record is on disk.
    fn write(&self, record: &Record) -> bool {
        let written = RECORD.replace(&self.files.record(), record);
        if let Err(error) = &written {
            tracing::error!(%error, "the record of the agent's own updates cannot be written");
        }
        written.is_ok()
    }
}

fn pass_on(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid {
        // One that has ended needs none.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}
