//! What the two long-running programs share: their flags, their log, and the
//! signals that stop them.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use drover_vitals::LogFormat;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::exit::{Exit, Failure};
use crate::notify::{self, Notify};
use crate::{core_dumps, log};

/// Flags of a program that runs until it is stopped.
#[derive(Debug, Args)]
pub(crate) struct Daemon {
    /// Configuration file; without it the one in /etc/drover, or the defaults
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the configuration in force, every key included, and end
    #[arg(long)]
    pub(crate) print_config: bool,
    /// What to log to standard error: error, warn, info, debug, or filters
    /// such as info,drover_agent=debug
    #[arg(long, value_name = "FILTER", env = "DROVER_LOG", default_value = "info")]
    pub(crate) log: String,
    /// How to log it: text for people and journald, or json, one object a line; as
    /// `log_format` in the configuration says by default
    #[arg(long, value_name = "FORMAT", env = "DROVER_LOG_FORMAT", value_parser = log_format)]
    pub(crate) log_format: Option<LogFormat>,
    /// Leave a core dump in case of a crash, as the system has it; it has the secrets
    /// that the program had
    #[arg(long)]
    pub(crate) core_dumps: bool,
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("write text or json".to_owned()),
    }
}

impl Daemon {
    /// Lets this process leave a core dump, if it is to.
    pub(crate) fn settle_core_dumps(&self) {
        if self.core_dumps {
            core_dumps::allow();
        }
    }

    /// Sends the log to standard error, in the `configured` format unless a flag says
    /// another one; gives back which it is.
    pub(crate) fn start_log(&self, configured: LogFormat) -> Result<LogFormat, Failure> {
        let filter = EnvFilter::try_new(&self.log)
            .map_err(|error| Failure::text(Exit::Usage, format!("--log {}: {error}", self.log)))?;
        let format = self.log_format.unwrap_or(configured);
        log::start(filter, format);
        Ok(format)
    }
}

/// Tells how a program ended: in its log, if programs read that, else as every command
/// does.
pub(crate) fn told(ended: Result<Exit, Failure>, format: LogFormat) -> Result<Exit, Failure> {
    match ended {
        Err(failure) if format == LogFormat::Json => {
            tracing::error!(error = format!("{:#}", failure.error), "ended with an error");
            Ok(failure.exit)
        }
        ended => ended,
    }
}

/// The runtime of a daemon. Two threads: one message of megabytes that is
/// being decoded must not hold up a heartbeat. Plugins run elsewhere.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("drover")
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// Runs `work` until it ends or a signal asks it to. SIGTERM lets it drain, and any
/// second signal ends that; SIGINT, or that second signal, lets it tidy up; one more ends
/// it at once.
pub(crate) async fn until_signalled<T>(
    drain: CancellationToken,
    stop: CancellationToken,
    work: impl Future<Output = anyhow::Result<T>>,
) -> Result<T, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let notify = Notify::from_environment();
    notify.tell(notify::READY);
    let mut beat = notify.beat.map(tokio::time::interval);
    tokio::pin!(work);
    let mut is_stopping = false;
    loop {
        let beats = async {
            match &mut beat {
                Some(beat) => beat.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = &mut work => return Ok(ended?),
            _ = beats => {
                notify.tell(notify::ALIVE);
                continue;
            }
            _ = interrupt.recv() => drain.cancel(),
            _ = terminate.recv() => {
                if !drain.is_cancelled() {
                    notify.tell(notify::STOPPING);
                    drain.cancel();
                    continue;
                }
            }
        }
        // Not whether `stop` is cancelled: work that has drained may do that as well.
        if std::mem::replace(&mut is_stopping, true) {
            return Err(Failure::text(Exit::Failed, "ended at once by a further signal"));
        }
        tracing::info!("stopping; a further signal ends it at once");
        notify.tell(notify::STOPPING);
        stop.cancel();
    }
}
