//! Memory and swap.

use crate::bindings::drover::plugin::sysinfo::MemoryInfo;

/// Reads `/proc/meminfo`.
#[cfg(target_os = "linux")]
pub(super) fn read() -> MemoryInfo {
    use procfs::{Current, Meminfo};

    let Ok(info) = Meminfo::current() else { return elsewhere() };
    // Kernels before 3.14 do not tell what is available.
    let available = info.mem_available.unwrap_or(info.mem_free + info.buffers + info.cached);
    MemoryInfo {
        total: info.mem_total,
        free: info.mem_free,
        available,
        used: info.mem_total.saturating_sub(available),
        buffers: info.buffers,
        cached: info.cached,
        active: info.active,
        inactive: info.inactive,
        swap_total: info.swap_total,
        swap_free: info.swap_free,
        swap_used: info.swap_total.saturating_sub(info.swap_free),
        swap_cached: info.swap_cached,
    }
}

/// Reads what every system tells.
#[cfg(not(target_os = "linux"))]
pub(super) fn read() -> MemoryInfo {
    elsewhere()
}

fn elsewhere() -> MemoryInfo {
    let mut info = MemoryInfo {
        total: 0,
        free: 0,
        available: 0,
        used: 0,
        buffers: 0,
        cached: 0,
        active: 0,
        inactive: 0,
        swap_total: 0,
        swap_free: 0,
        swap_used: 0,
        swap_cached: 0,
    };
    if let Ok(mut system) = sysinfo::System::new() {
        system.refresh_memory();
        info.total = system.total_memory();
        info.free = system.free_memory();
        info.available = system.available_memory();
        info.used = info.total.saturating_sub(info.available);
        info.swap_total = system.total_swap();
        info.swap_free = system.free_swap();
        info.swap_used = system.used_swap();
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of `/proc/meminfo`, in bytes.
    fn proc(name: &str) -> u64 {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.unwrap().split_whitespace().next().unwrap();
        number.parse::<u64>().unwrap() * 1024
    }

    #[test]
    fn numbers_are_those_of_proc() {
        let info = read();
        assert_eq!(info.total, proc("MemTotal"));
        assert_eq!(info.swap_total, proc("SwapTotal"));
        assert_eq!(info.used, info.total - info.available);
        assert_eq!(info.swap_used, info.swap_total - info.swap_free);
        // These move while we look: within a tenth of the whole.
        for (ours, name) in [
            (info.free, "MemFree"),
            (info.available, "MemAvailable"),
            (info.buffers, "Buffers"),
            (info.cached, "Cached"),
            (info.active, "Active"),
            (info.inactive, "Inactive"),
        ] {
            assert!(ours.abs_diff(proc(name)) < info.total / 10, "{name}: {ours}");
        }
    }

    #[test]
    fn other_systems_give_the_same_total() {
        assert_eq!(elsewhere().total, proc("MemTotal"));
    }
}
