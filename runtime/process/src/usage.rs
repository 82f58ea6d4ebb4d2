//! What trees of processes use of the machine.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::tree::{Process, ProcessTable, Search, Tree, cgroup};

/// What all processes of one tree use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TreeUsage {
    /// Processes; zombies are none.
    pub processes: u64,
    /// Their threads.
    pub threads: u64,
    /// CPU time in percent of one core: since the tree was sampled last, or since
    /// it started.
    pub cpu_percent: f64,
    /// CPU time since it started, in milliseconds. With a cgroup that of processes
    /// which have ended is in it; without, only if their parent has waited for them.
    pub cpu_ms: u64,
    /// Resident memory in bytes; what several processes share counts in each.
    pub rss: u64,
    /// Address space in bytes.
    pub vms: u64,
    /// Memory that was swapped out, in bytes.
    pub swap: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Bytes that were read from disks by the processes that are there.
    pub read_bytes: u64,
    /// Bytes that they wrote to disks.
    pub written_bytes: u64,
}

/// Samples trees, and remembers enough of the last time to tell a percentage.
#[derive(Debug, Default)]
pub struct UsageSampler {
    /// By mark: when, and the CPU time until then.
    last: HashMap<String, (Instant, Duration)>,
}

impl UsageSampler {
    /// Looks at these trees, one result for each, in their order; a tree that is
    /// gone uses nothing.
    ///
    /// Reads files below `/proc` for each process: a thousand take 30 to 60 ms, so
    /// call it from a blocking thread, once for all trees that are due.
    pub fn sample(&mut self, trees: &[Tree]) -> Vec<TreeUsage> {
        let machine = Machine::read();
        let now = Instant::now();
        let mut last = HashMap::new();
        let mut usages = Vec::new();
        for (tree, members) in trees.iter().zip(members(trees)) {
            let mut usage = sum(&members, &machine);
            let before = self.last.get(&tree.mark);
            let cpu = cpu_time(tree, &members, &machine)
                .max(before.map_or(Duration::ZERO, |&(_, cpu)| cpu));
            let since = match before {
                Some(&(then, cpu)) => (now - then, cpu),
                None => (machine.age(tree), Duration::ZERO),
            };
            usage.cpu_ms = u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX);
            usage.cpu_percent = percent(cpu.saturating_sub(since.1), since.0);
            last.insert(tree.mark.clone(), (now, cpu));
            usages.push(usage);
        }
        // Trees that are sampled at other times keep what is known of them, as long
        // as they may still be there.
        let is_recent = |then: Instant| now - then < FORGET;
        let others = self
            .last
            .drain()
            .filter(|(mark, (then, _))| is_recent(*then) && !last.contains_key(mark));
        let others: Vec<_> = others.collect();
        last.extend(others);
        self.last = last;
        usages
    }
}

/// A tree that was not sampled for so long is sampled as if for the first time.
const FORGET: Duration = Duration::from_secs(3600);

/// What the numbers below `/proc` are counted in.
struct Machine {
    page_bytes: u64,
    ticks_per_second: u64,
    uptime: Duration,
    has_swap: bool,
}

impl Machine {
    fn read() -> Self {
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let seconds = uptime.split(' ').next().and_then(|text| text.parse().ok());
        Self {
            page_bytes: rustix::param::page_size() as u64,
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
            uptime: Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default(),
            // A title alone: reading about swapped memory is the costliest part.
            has_swap: fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1),
        }
    }

    fn time(&self, ticks: u64) -> Duration {
        Duration::from_millis(ticks.saturating_mul(1000) / self.ticks_per_second)
    }

    fn age(&self, tree: &Tree) -> Duration {
        match tree.start_time {
            // It had ended before anybody looked.
            0 => Duration::ZERO,
            ticks => self.uptime.saturating_sub(self.time(ticks)),
        }
    }
}

/// How long ago a tree began. The wall clock has no part in it.
pub(crate) fn age(tree: &Tree) -> Duration {
    Machine::read().age(tree)
}

/// The living processes of each tree. All processes of the machine are looked at
/// only when a tree has no cgroup.
fn members(trees: &[Tree]) -> Vec<Vec<Process>> {
    let groupless: Vec<&Tree> = trees.iter().filter(|tree| tree.cgroup.is_none()).collect();
    let table = match groupless.is_empty() {
        true => ProcessTable::default(),
        false => ProcessTable::read().unwrap_or_default(),
    };
    let mut found = table.members(&groupless, None, Search::Everywhere).into_iter();
    let all = trees.iter().map(|tree| match &tree.cgroup {
        Some(group) => cgroup::processes(group).into_iter().filter_map(Process::read).collect(),
        None => found.next().unwrap_or_default().into_iter().cloned().collect::<Vec<_>>(),
    });
    all.map(|mut members| {
        members.retain(Process::is_alive);
        members
    })
    .collect()
}

fn sum(members: &[Process], machine: &Machine) -> TreeUsage {
    let mut usage = TreeUsage { processes: members.len() as u64, ..TreeUsage::default() };
    for process in members {
        usage.threads += process.threads;
        usage.rss += process.resident_pages.saturating_mul(machine.page_bytes);
        usage.vms += process.virtual_bytes;
        usage.open_files += open_files(process.pid);
        let io = read(process.pid, "io");
        usage.read_bytes += field(&io, "read_bytes:");
        usage.written_bytes += field(&io, "write_bytes:");
        if machine.has_swap {
            usage.swap += field(&read(process.pid, "status"), "VmSwap:") * 1024;
        }
    }
    usage
}

/// The CPU time of a tree. A cgroup may have been another run's before.
fn cpu_time(tree: &Tree, members: &[Process], machine: &Machine) -> Duration {
    match tree.cgroup.as_deref().and_then(cgroup::cpu_usec) {
        Some(usec) => Duration::from_micros(usec.saturating_sub(tree.cpu_before)),
        None => machine.time(members.iter().map(|process| process.cpu_ticks).sum()),
    }
}

fn percent(used: Duration, elapsed: Duration) -> f64 {
    match elapsed.is_zero() {
        true => 0.0,
        false => used.as_secs_f64() / elapsed.as_secs_f64() * 100.0,
    }
}

/// Linux tells the count as the size of the directory from 6.2 on.
fn open_files(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/fd");
    match fs::metadata(&path) {
        Ok(directory) if directory.len() > 0 => directory.len(),
        _ => fs::read_dir(&path).map_or(0, |entries| entries.count() as u64),
    }
}

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

/// The number behind a name at the beginning of a line; 0 when it is not there.
fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_missing_ones_are_nothing() {
        let text = "rchar: 1\nread_bytes: 4096\nVmSwap:\t  12 kB\n";
        assert_eq!(field(text, "read_bytes:"), 4096);
        assert_eq!(field(text, "VmSwap:"), 12);
        assert_eq!(field(text, "write_bytes:"), 0);
    }

    #[test]
    fn an_age_is_counted_from_the_machines_start() {
        let uptime = Duration::from_secs(100);
        let machine = Machine { page_bytes: 4096, ticks_per_second: 100, uptime, has_swap: false };
        let age = |start_time| {
            machine.age(&Tree {
                id: "a".parse().unwrap(),
                pid: 7,
                start_time,
                mark: "m/a".to_owned(),
                cgroup: None,
                cpu_before: 0,
            })
        };
        assert_eq!(age(9000), Duration::from_secs(10));
        assert_eq!(age(10_001), Duration::ZERO);
        assert_eq!(age(0), Duration::ZERO);
    }

    #[test]
    fn a_percentage_is_of_one_core() {
        let second = Duration::from_secs(1);
        assert_eq!(percent(second, second * 4), 25.0);
        assert_eq!(percent(second * 4, second), 400.0);
        assert_eq!(percent(second, Duration::ZERO), 0.0);
    }
}
