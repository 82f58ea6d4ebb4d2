//! The node as `wit/sysinfo.wit` describes it: the `sysinfo` crate where that
//! is enough, `/proc` and `/sys` beside it on Linux.
//!
//! Everything here may block for a moment, is called on threads that may, and
//! never fails: what cannot be read is empty.

mod cpu;
mod memory;
mod nic;
mod os;
mod processes;
mod storage;
mod virtualisation;

use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::bindings::drover::plugin::sysinfo::{
    CpuInfo, MemoryInfo, Nic, OsInfo, Process, StorageInfo,
};
use cpu::CpuMeter;

/// Reads the node, and remembers what is needed to read it again.
pub(crate) struct System {
    cpu: Arc<CpuMeter>,
    /// One reader of file systems at a time: a dead network share holds its
    /// reader for ever, and must not get hold of all the threads that read.
    storage: Arc<Semaphore>,
}

impl Default for System {
    fn default() -> Self {
        Self { cpu: Arc::default(), storage: Arc::new(Semaphore::new(1)) }
    }
}

impl System {
    pub(crate) async fn cpu(&self) -> CpuInfo {
        self.cpu.measure().await
    }

    pub(crate) async fn memory(&self) -> MemoryInfo {
        blocking(memory::read).await
    }

    pub(crate) async fn storage(&self) -> StorageInfo {
        // The semaphore is never closed.
        let turn = self.storage.clone().acquire_owned().await;
        blocking(move || {
            let _turn = turn;
            storage::read()
        })
        .await
    }

    pub(crate) async fn nics(&self) -> Vec<Nic> {
        blocking(nic::read).await
    }

    pub(crate) async fn os(&self) -> OsInfo {
        blocking(os::read).await
    }

    pub(crate) async fn processes(&self) -> Vec<Process> {
        blocking(processes::read).await
    }
}

/// Runs `read` on a thread that may block.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(read).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The threads are ending, and the one that waits here ends with them.
            Err(_) => std::future::pending().await,
        },
    }
}

/// The content of a small file without the white space around it; none if it
/// cannot be read or is empty.
fn text(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The number that is the content of a small file.
fn number<T: FromStr>(path: impl AsRef<Path>) -> Option<T> {
    text(path)?.parse().ok()
}

/// The names of what is in a directory, in their order.
fn names(directory: impl AsRef<Path>) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
