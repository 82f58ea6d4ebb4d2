//! The `processes` operation: the host's list, filtered and sorted.

use std::cmp::Reverse;

use drover_sdk::sysinfo::{self, Process};
use drover_sdk::{data, task};

/// What processes are sorted by.
#[data]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// The id, smallest first.
    Pid,
    /// The share of processor time, largest first.
    Cpu,
    /// What is resident in memory, largest first.
    Memory,
}

/// Lists processes, whoever started them.
///
/// Without arguments these are all, in the order of their ids. `sort=memory
/// limit=10` gives the ten largest.
#[task]
pub(crate) fn processes(
    /// Only those with this text in their name or command line; small and
    /// capital letters count as the same.
    name: Option<String>,
    /// What to sort by.
    #[default(Order::Pid)]
    sort: Order,
    /// How many at most, after sorting.
    limit: Option<u32>,
) -> Vec<Process> {
    let mut processes = sysinfo::processes();
    if let Some(text) = name {
        let text = text.to_lowercase();
        processes.retain(|process| is_about(process, &text));
    }
    match sort {
        Order::Pid => processes.sort_by_key(|process| process.pid),
        Order::Cpu => processes.sort_by(|a, b| b.cpu_percent.total_cmp(&a.cpu_percent)),
        Order::Memory => processes.sort_by_key(|process| Reverse(process.resident)),
    }
    if let Some(limit) = limit {
        processes.truncate(limit as usize);
    }
    processes
}

fn is_about(process: &Process, lower_case: &str) -> bool {
    let contains = |text: &str| text.to_lowercase().contains(lower_case);
    contains(&process.name) || contains(&process.command.join(" "))
}

#[cfg(test)]
mod tests {
    use drover_sdk::serde_json;

    use super::*;
    use crate::PLUGIN;

    /// The names of the sample host's processes that these arguments give.
    fn names(arguments: &str) -> Vec<String> {
        let answer = PLUGIN.run("processes", arguments).unwrap();
        let processes: Vec<Process> = serde_json::from_str(&answer).unwrap();
        processes.into_iter().map(|process| process.name).collect()
    }

    #[test]
    fn without_arguments_all_come_in_the_order_of_their_ids() {
        assert_eq!(names("{}"), ["init", "database", "web"]);
    }

    #[test]
    fn a_name_is_found_in_the_command_line_too() {
        assert_eq!(names(r#"{"name": "DATA"}"#), ["database"]);
        assert_eq!(names(r#"{"name": "/bin/web"}"#), ["web"]);
        assert!(names(r#"{"name": "nobody"}"#).is_empty());
    }

    #[test]
    fn the_limit_counts_after_sorting() {
        assert_eq!(names(r#"{"sort": "cpu", "limit": 1}"#), ["database"]);
        assert_eq!(names(r#"{"sort": "memory", "limit": 2}"#), ["database", "web"]);
        assert!(names(r#"{"limit": 0}"#).is_empty());
    }

    #[test]
    fn an_unknown_order_is_refused_with_those_there_are() {
        let error = PLUGIN.run("processes", r#"{"sort": "size"}"#).unwrap_err();
        assert!(error.to_string().contains("`memory`"), "{error}");
    }
}
