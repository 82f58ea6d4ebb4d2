//! Disks and mounted file systems.

use crate::bindings::drover::plugin::sysinfo::StorageInfo;

/// Reads `/sys/block` and `/proc/mounts`.
#[cfg(target_os = "linux")]
pub(super) fn read() -> StorageInfo {
    StorageInfo { devices: devices::read(), mounts: mounts::read() }
}

/// Reads what every system tells.
#[cfg(not(target_os = "linux"))]
pub(super) fn read() -> StorageInfo {
    StorageInfo { devices: Vec::new(), mounts: elsewhere::mounts() }
}

#[cfg(target_os = "linux")]
mod devices;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod mounts;
