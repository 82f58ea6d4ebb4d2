//! Processes of the node.

use std::collections::HashMap;

use nix::unistd::{Uid, User};
use sysinfo::{ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

use crate::bindings::drover::plugin::sysinfo::Process;

/// Reads all processes, in the order of their ids.
pub(super) fn read() -> Vec<Process> {
    let Ok(mut system) = System::new() else { return Vec::new() };
    let what = ProcessRefreshKind::nothing()
        .with_cpu()
        .with_memory()
        .with_cmd(UpdateKind::Always)
        .with_user(UpdateKind::Always)
        .without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    let mut users = Users::default();
    let mut processes: Vec<_> =
        system.processes().values().map(|process| describe(process, &mut users)).collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

fn describe(process: &sysinfo::Process, users: &mut Users) -> Process {
    let pid = process.pid().as_u32();
    let command = process.cmd().iter().map(|word| word.to_string_lossy().into_owned());
    Process {
        pid,
        // The first process has none, which the kernel writes as 0.
        parent: process.parent().map(sysinfo::Pid::as_u32).filter(|parent| *parent != 0),
        name: process.name().to_string_lossy().into_owned(),
        command: command.collect(),
        user: process.user_id().map(|id| users.name(**id)),
        state: state(process.status()).to_owned(),
        started_at: process.start_time(),
        cpu_percent: average(process.accumulated_cpu_time(), process.run_time()),
        resident: process.memory(),
        virtual_size: process.virtual_memory(),
        threads: threads(pid),
    }
}

fn state(status: ProcessStatus) -> &'static str {
    match status {
        ProcessStatus::Run => "running",
        ProcessStatus::Sleep => "sleeping",
        ProcessStatus::UninterruptibleDiskSleep => "disk-sleep",
        ProcessStatus::Stop | ProcessStatus::Tracing => "stopped",
        ProcessStatus::Zombie => "zombie",
        ProcessStatus::Idle => "idle",
        _ => "other",
    }
}

/// Percent of one core over a life of so many seconds, of which the first
/// counts as a whole one.
fn average(cpu_ms: u64, seconds: u64) -> f64 {
    cpu_ms as f64 / (seconds.max(1) as f64 * 1000.0) * 100.0
}

/// The number of a process's threads; zero if it has just ended.
#[cfg(target_os = "linux")]
fn threads(pid: u32) -> u32 {
    let process = i32::try_from(pid).ok().and_then(|pid| procfs::process::Process::new(pid).ok());
    let stat = process.and_then(|process| process.stat().ok());
    stat.and_then(|stat| stat.num_threads.try_into().ok()).unwrap_or_default()
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
fn threads(_pid: u32) -> u32 {
    0
}

/// Names of users, each looked up once: behind the look-up may be a network.
#[derive(Default)]
struct Users(HashMap<u32, String>);

impl Users {
    /// The user's name, or the number where it has none.
    fn name(&mut self, id: u32) -> String {
        let look_up = || match User::from_uid(Uid::from_raw(id)) {
            Ok(Some(user)) => user.name,
            _ => id.to_string(),
        };
        self.0.entry(id).or_insert_with(look_up).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_described_as_proc_has_it() {
        let pid = std::process::id();
        let processes = read();
        let this = processes.iter().find(|process| process.pid == pid).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap().trim().to_owned()
        };
        assert_eq!(this.name, field("Name"));
        assert_eq!(this.parent.unwrap().to_string(), field("PPid"));
        let arguments: Vec<_> = std::env::args().collect();
        assert_eq!(this.command, arguments);
        assert!(this.threads >= 1 && this.resident > 0 && this.virtual_size > this.resident);
        let kib: u64 = field("VmRSS").trim_end_matches(" kB").parse().unwrap();
        assert!(this.resident.abs_diff(kib * 1024) < 64 << 20, "{this:?} {kib} kB");
    }

    #[test]
    fn the_list_is_sorted_and_has_the_first_process() {
        let processes = read();
        assert!(processes.is_sorted_by_key(|process| process.pid));
        assert_eq!((processes[0].pid, processes[0].parent), (1, None));
    }

    #[test]
    fn a_user_without_a_name_is_a_number() {
        let mut users = Users::default();
        assert_eq!(users.name(0), "root");
        assert_eq!(users.name(4_000_000_123), "4000000123");
    }

    #[test]
    fn shares_are_of_one_core() {
        assert!((average(500, 1) - 50.0).abs() < 1e-9);
        assert!((average(500, 0) - 50.0).abs() < 1e-9);
        assert!((average(8_000, 4) - 200.0).abs() < 1e-9);
    }
}
