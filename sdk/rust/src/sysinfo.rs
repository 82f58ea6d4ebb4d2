//! What the node is made of and how busy it is.
//!
//! Every function reads afresh and changes nothing. Numbers are in bytes,
//! seconds since 1970 (UTC) and percent unless the name says otherwise. The
//! types can be answers of operations as they are. Natively the answers come
//! from the [`testing::Host`](crate::testing::Host).

pub use crate::bindings::drover::plugin::sysinfo::{
    BlockDevice, Core, CpuInfo, IoCounters, LoadAverage, MemoryInfo, Mount, Nic, NicCounters,
    OsInfo, Partition, Process, StorageInfo,
};

#[cfg(target_family = "wasm")]
use crate::bindings::drover::plugin::sysinfo as host;
#[cfg(not(target_family = "wasm"))]
use crate::testing as host;

/// Processors and their load. Business is measured since the last call of this
/// function by anyone; if that is under 200 ms ago, or never was, the call
/// waits 200 ms to measure.
#[must_use]
pub fn cpu() -> CpuInfo {
    host::cpu()
}

/// Memory and swap.
#[must_use]
pub fn memory() -> MemoryInfo {
    host::memory()
}

/// Disks as hardware and as places to put files.
#[must_use]
pub fn storage() -> StorageInfo {
    host::storage()
}

/// Network interfaces, in the order of their names.
#[must_use]
pub fn nics() -> Vec<Nic> {
    host::nics()
}

/// The operating system.
#[must_use]
pub fn os() -> OsInfo {
    host::os()
}

/// Every process of the node, in the order of their ids.
#[must_use]
pub fn processes() -> Vec<Process> {
    host::processes()
}
