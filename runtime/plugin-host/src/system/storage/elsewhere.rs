//! Mounted file systems where there is no `/proc/mounts`.

use crate::bindings::drover::plugin::sysinfo::Mount;

pub(super) fn mounts() -> Vec<Mount> {
    let Ok(disks) = sysinfo::Disks::new_with_refreshed_list() else { return Vec::new() };
    let mounts = disks.list().iter().map(|disk| {
        let (capacity, free) = (disk.total_space(), disk.available_space());
        let used = capacity.saturating_sub(free);
        Mount {
            device: disk.name().to_string_lossy().into_owned(),
            mount_point: disk.mount_point().to_string_lossy().into_owned(),
            file_system: disk.file_system().to_string_lossy().into_owned(),
            read_only: disk.is_read_only(),
            capacity,
            free,
            available: free,
            used,
            used_percent: 100.0 * used as f64 / capacity.max(1) as f64,
        }
    });
    mounts.collect()
}
