//! Operations that tell what the host shows of itself.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use drover_sdk::{data, job, task};

static RUNS: AtomicU32 = AtomicU32::new(0);

/// What a job knows of itself.
#[data]
pub(crate) struct Job {
    /// Its id.
    id: String,
    /// The command's data.
    data: Vec<u8>,
    /// Milliseconds until its deadline.
    remaining_ms: Option<u64>,
    /// Whether it is cancelled.
    is_cancelled: bool,
    /// How long its data is.
    data_size: u64,
    /// Three bytes from the middle of it.
    data_range: Vec<u8>,
    /// What was asked for.
    command: String,
    /// The plugin.
    plugin: job::PluginInfo,
    /// The node.
    node: job::NodeInfo,
    /// Who asked.
    caller: Option<job::CallerInfo>,
}

/// Tells what the job knows of itself.
#[task]
pub(crate) fn job() -> Job {
    let remaining = job::remaining().map(|left| u64::try_from(left.as_millis()));
    Job {
        id: job::id(),
        data: job::data(),
        remaining_ms: remaining.map(|ms| ms.unwrap_or(u64::MAX)),
        is_cancelled: job::is_cancelled(),
        data_size: job::data_size(),
        data_range: job::data_range(job::data_size() / 2, 3),
        command: job::command(),
        plugin: job::plugin(),
        node: job::node(),
        caller: job::caller(),
    }
}

/// Counts the runs in this instance: always 1, as each has a fresh one.
#[task]
pub(crate) fn count() -> u32 {
    RUNS.fetch_add(1, Ordering::Relaxed) + 1
}

/// Reads a file.
#[task]
pub(crate) fn read_file(
    /// Which.
    path: String,
) -> io::Result<String> {
    std::fs::read_to_string(path)
}

/// Lists a directory.
#[task]
pub(crate) fn list_directory(
    /// Which.
    path: String,
) -> io::Result<Vec<String>> {
    let names = std::fs::read_dir(path)?.map(|entry| {
        let name = entry?.file_name();
        Ok(name.to_string_lossy().into_owned())
    });
    names.collect()
}

/// What a program is started with.
#[data]
pub(crate) struct Environment {
    /// The environment's variables.
    variables: BTreeMap<String, String>,
    /// The arguments, the program's name included.
    arguments: Vec<String>,
}

/// Tells what the guest was started with.
#[task]
pub(crate) fn environment() -> Environment {
    Environment { variables: std::env::vars().collect(), arguments: std::env::args().collect() }
}
