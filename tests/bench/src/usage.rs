//! What a process group takes from the machine.

use std::time::Duration;

use anyhow::{Context, ensure};
use procfs::process::{Process, all_processes};

/// What all processes of a group took so far, or hold at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) resident_bytes: u64,
    /// On all cores together, since the processes started.
    pub(crate) cpu: Duration,
}

impl Usage {
    /// Reads `/proc` for every process of the group.
    ///
    /// # Errors
    ///
    /// If there is none, or `/proc` cannot be read.
    pub(crate) fn of_group(group: i32) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        let mut found = false;
        for process in all_processes().context("cannot read /proc")? {
            // One that ends meanwhile takes nothing.
            let Some(usage) = process.ok().and_then(|process| of_member(&process, group)) else {
                continue;
            };
            sum.resident_bytes += usage.resident_bytes;
            sum.cpu += usage.cpu;
            found = true;
        }
        ensure!(found, "process group {group} has ended before it was measured");
        Ok(sum)
    }
}

fn of_member(process: &Process, group: i32) -> Option<Usage> {
    let stat = process.stat().ok().filter(|stat| stat.pgrp == group)?;
    let memory = process.smaps_rollup().ok()?;
    let maps = memory.memory_map_rollup;
    let resident = maps.iter().filter_map(|map| map.extension.map.get("Rss")).sum();
    let ticks = u32::try_from(stat.utime + stat.stime).ok()?;
    let per_second = u32::try_from(procfs::ticks_per_second()).ok()?;
    Some(Usage { resident_bytes: resident, cpu: Duration::from_secs(1) * ticks / per_second })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_takes_at_least_what_its_member_takes() {
        let me = Process::myself().unwrap();
        let group = me.stat().unwrap().pgrp;
        let usage = Usage::of_group(group).unwrap();
        let own = of_member(&me, group).unwrap();
        assert!(own.resident_bytes > 100_000, "{own:?}");
        assert!(usage.resident_bytes >= own.resident_bytes / 2, "{usage:?}");
    }

    #[test]
    fn a_group_without_members_is_an_error() {
        assert!(Usage::of_group(i32::MAX).is_err());
    }
}
