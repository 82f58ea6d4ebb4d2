//! A stand-in for the host, so that a plugin's unit tests run natively.
//!
//! Not there on WebAssembly. Each thread, and so each test, has a host of its
//! own: the default one, or what [`with_host`] puts in its place.
//!
//! ```
//! use drover_sdk::testing::{Host, with_host};
//! use drover_sdk::{job, log, task};
//!
//! /// Does nothing if it is told so.
//! #[task]
//! fn patient() -> bool {
//!     log::warning("working");
//!     job::is_cancelled()
//! }
//!
//! let host = Host { is_cancelled: true, ..Host::default() };
//! let (answer, heard) = with_host(host, patient);
//! assert!(answer);
//! assert_eq!(heard.records[0].message, "working");
//! ```

#[cfg(feature = "async")]
pub(crate) mod async_streams;
pub(crate) mod channel;
pub(crate) mod http;
pub(crate) mod metrics;
pub(crate) mod process;
mod sample;
pub(crate) mod state;
pub(crate) mod streams;

pub use process::{Program, Ran};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

pub use self::channel::ChannelAnswers;
pub use self::http::HttpAnswers;
use crate::bindings::drover::plugin::config::Error as ConfigError;
use crate::bindings::drover::plugin::feed::PublishError;
use crate::bindings::drover::plugin::job::ProgressError;
use crate::job::{CallerInfo, NodeInfo, PluginInfo};
use crate::log::{FieldValue, Level};
use crate::metrics::Sample;
use crate::sysinfo::{CpuInfo, MemoryInfo, Nic, OsInfo, Process, StorageInfo};

/// What a report of progress may have, in bytes, as at the real host.
const PROGRESS_LIMIT: usize = 64 * 1024;

/// What a published value may have, in bytes, as at the real host.
const VALUE_LIMIT: usize = 64 * 1024;

/// What the host tells a plugin. The default is a job called `test` without
/// data and deadline, on a small made-up machine that is always the same.
#[derive(Debug, Clone)]
pub struct Host {
    /// What [`job::id`](crate::job::id) gives.
    pub job_id: String,
    /// What [`job::data`](crate::job::data) gives.
    pub job_data: Vec<u8>,
    /// What [`streams::input`](crate::streams::input) gives after `job_data`.
    pub input: Vec<u8>,
    /// Whether there is no [`streams::output`](crate::streams::output).
    pub wants_no_output: bool,
    /// What [`job::command`](crate::job::command) gives.
    pub command: String,
    /// What [`job::plugin`](crate::job::plugin) gives.
    pub plugin: PluginInfo,
    /// What [`job::node`](crate::job::node) gives.
    pub node: NodeInfo,
    /// What [`job::caller`](crate::job::caller) gives.
    pub caller: Option<CallerInfo>,
    /// What [`job::remaining`](crate::job::remaining) gives; it stands still.
    pub remaining: Option<Duration>,
    /// What [`job::is_cancelled`](crate::job::is_cancelled) gives.
    pub is_cancelled: bool,
    /// How often [`job::wait`](crate::job::wait) lets its time pass before it
    /// says that the job is cancelled. It takes no time here.
    pub waits: u32,
    /// What [`config::get`](crate::config::get) gives, by name; no other name
    /// is granted.
    pub settings: BTreeMap<String, String>,
    /// The programs that [`process`](crate::process) may run.
    pub programs: Vec<Program>,
    /// What is in the [`state`](crate::state) at first.
    pub state: BTreeMap<String, Vec<u8>>,
    /// Who answers the requests of [`http`](crate::http).
    pub http: HttpAnswers,
    /// Who opens the streams of [`channel`](crate::channel).
    pub channels: ChannelAnswers,
    /// What [`sysinfo::cpu`](crate::sysinfo::cpu) gives.
    pub cpu: CpuInfo,
    /// What [`sysinfo::memory`](crate::sysinfo::memory) gives.
    pub memory: MemoryInfo,
    /// What [`sysinfo::storage`](crate::sysinfo::storage) gives.
    pub storage: StorageInfo,
    /// What [`sysinfo::nics`](crate::sysinfo::nics) gives.
    pub nics: Vec<Nic>,
    /// What [`sysinfo::os`](crate::sysinfo::os) gives.
    pub os: OsInfo,
    /// What [`sysinfo::processes`](crate::sysinfo::processes) gives.
    pub processes: Vec<Process>,
}

/// What the plugin told the host.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// What it logged, oldest first.
    pub records: Vec<Record>,
    /// What it reported as progress, oldest first.
    pub progress: Vec<Value>,
    /// What it published, oldest first.
    pub published: Vec<Value>,
    /// The programs that it ran, oldest first.
    pub programs: Vec<Ran>,
    /// What it measured, oldest first.
    pub samples: Vec<Sample>,
    /// What it wrote into each stream of [`channel`](crate::channel) that it ended.
    pub sent: Vec<Vec<u8>>,
    /// What it wrote to [`streams::output`](crate::streams::output); none if it
    /// did not ask for that.
    pub output: Option<Vec<u8>>,
    /// Whether it asked for [`streams::input`](crate::streams::input).
    pub has_asked_for_input: bool,
    /// What is in the state at the end.
    pub state: BTreeMap<String, Vec<u8>>,
}

/// One log record.
#[derive(Debug, Clone)]
pub struct Record {
    /// Who it is for.
    pub level: Level,
    /// The whole message, however long.
    pub message: String,
    /// Its fields, however many.
    pub fields: Vec<(String, FieldValue)>,
}

thread_local! {
    static HOST: RefCell<Option<(Host, Heard)>> = const { RefCell::new(None) };
}

/// Runs `test` with `host` in place of the default one and gives its answer
/// with what was heard meanwhile. Afterwards, also after a panic, the former
/// host is back.
pub fn with_host<T>(host: Host, test: impl FnOnce() -> T) -> (T, Heard) {
    /// Puts the former host back.
    struct Restore(Option<(Host, Heard)>);

    impl Drop for Restore {
        fn drop(&mut self) {
            HOST.set(self.0.take());
        }
    }

    let restore = Restore(HOST.replace(Some((host, Heard::default()))));
    let answer = test();
    let heard =
        HOST.take().map(|(host, heard)| Heard { state: host.state, ..heard }).unwrap_or_default();
    drop(restore);
    (answer, heard)
}

/// Runs an operation that is an `async fn` to its end.
///
/// # Panics
///
/// If it waits for what the test's host has nothing to do with, which would bring
/// it on never.
#[cfg(feature = "async")]
pub fn complete<T>(operation: impl Future<Output = T>) -> T {
    use std::task::{Context, Poll, Waker};

    let mut operation = std::pin::pin!(operation);
    match operation.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the operation waits, and nothing here makes anybody wait"),
    }
}

fn ask<T>(question: impl FnOnce(&Host) -> T) -> T {
    HOST.with_borrow(|host| match host {
        Some((host, _)) => question(host),
        None => question(&Host::default()),
    })
}

#[expect(clippy::print_stderr, reason = "the test runner shows it if the test fails")]
pub(crate) fn write(level: Level, message: String, fields: Vec<(String, FieldValue)>) {
    HOST.with_borrow_mut(|host| match host {
        Some((_, heard)) => heard.records.push(Record { level, message, fields }),
        None => eprintln!("{level:?}: {message}"),
    });
}

pub(crate) fn id() -> String {
    ask(|host| host.job_id.clone())
}

pub(crate) fn data() -> Vec<u8> {
    ask(|host| host.job_data.clone())
}

pub(crate) fn data_size() -> u64 {
    ask(|host| host.job_data.len() as u64)
}

pub(crate) fn data_range(offset: u64, length: u32) -> Vec<u8> {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    ask(|host| host.job_data.iter().skip(offset).take(length as usize).copied().collect())
}

pub(crate) fn command() -> String {
    ask(|host| host.command.clone())
}

pub(crate) fn plugin() -> PluginInfo {
    ask(|host| host.plugin.clone())
}

pub(crate) fn node() -> NodeInfo {
    ask(|host| host.node.clone())
}

pub(crate) fn caller() -> Option<CallerInfo> {
    ask(|host| host.caller.clone())
}

pub(crate) fn remaining_ms() -> Option<u64> {
    let remaining = ask(|host| host.remaining)?;
    Some(u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn is_cancelled() -> bool {
    ask(|host| host.is_cancelled)
}

pub(crate) fn wait(_ms: u64) -> bool {
    HOST.with_borrow_mut(|host| match host {
        Some((host, _)) => {
            let is_over = host.is_cancelled || host.waits == 0;
            host.waits = host.waits.saturating_sub(1);
            is_over
        }
        None => true,
    })
}

pub(crate) fn publish(value: &str) -> Result<(), PublishError> {
    if value.len() > VALUE_LIMIT {
        return Err(PublishError::TooLong(VALUE_LIMIT as u32));
    }
    let value = serde_json::from_str(value)
        .map_err(|error| PublishError::InvalidJson(error.to_string()))?;
    HOST.with_borrow_mut(|host| {
        if let Some((_, heard)) = host {
            heard.published.push(value);
        }
    });
    Ok(())
}

pub(crate) fn progress(report: &str) -> Result<(), ProgressError> {
    if report.len() > PROGRESS_LIMIT {
        return Err(ProgressError::TooLong(PROGRESS_LIMIT as u32));
    }
    let report = serde_json::from_str(report)
        .map_err(|error| ProgressError::InvalidJson(error.to_string()))?;
    HOST.with_borrow_mut(|host| {
        if let Some((_, heard)) = host {
            heard.progress.push(report);
        }
    });
    Ok(())
}

pub(crate) fn get_setting(name: &str) -> Result<String, ConfigError> {
    let value = ask(|host| host.settings.get(name).cloned());
    value.ok_or_else(|| ConfigError::Denied("the test's host does not have it".to_owned()))
}

pub(crate) fn cpu() -> CpuInfo {
    ask(|host| host.cpu.clone())
}

pub(crate) fn memory() -> MemoryInfo {
    ask(|host| host.memory)
}

pub(crate) fn storage() -> StorageInfo {
    ask(|host| host.storage.clone())
}

pub(crate) fn nics() -> Vec<Nic> {
    ask(|host| host.nics.clone())
}

pub(crate) fn os() -> OsInfo {
    ask(|host| host.os.clone())
}

pub(crate) fn processes() -> Vec<Process> {
    ask(|host| host.processes.clone())
}
