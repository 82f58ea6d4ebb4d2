//! The part of the configuration that says what child processes may do.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Child processes: `[processes]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessSettings {
    /// How many run at the same time; those that run for ever not counted.
    pub max_jobs: u32,
    /// How many there may be at all, with those that wait; more are refused as
    /// busy.
    pub max_accepted: u32,
    /// The time between TERM and KILL of a command that does not say.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// How often it is measured what a process uses, if its command does not say.
    #[serde(with = "humantime_serde")]
    pub stats_interval: Duration,
    /// How long the output of a child that has ended may stay open without a
    /// byte, because somebody else holds it.
    #[serde(with = "humantime_serde")]
    pub leak_timeout: Duration,
    /// What `$root` stands for in paths of commands.
    pub root: PathBuf,
    /// What `$tmp` stands for there.
    pub tmp: PathBuf,
    /// The interpreters of `process.execute_script`: name, program and the
    /// arguments that come before the script.
    pub interpreters: BTreeMap<String, Vec<String>>,
}

impl Default for ProcessSettings {
    fn default() -> Self {
        let interpreter = |name: &str, command: &[&str]| {
            (name.to_owned(), command.iter().map(|&word| word.to_owned()).collect())
        };
        Self {
            max_jobs: 256,
            max_accepted: 10_000,
            grace: Duration::from_secs(10),
            stats_interval: Duration::from_secs(30),
            leak_timeout: Duration::from_secs(1),
            root: PathBuf::from("/"),
            tmp: PathBuf::from("/tmp"),
            interpreters: BTreeMap::from([
                interpreter("lua", &["lua"]),
                interpreter("python", &["python3"]),
                interpreter("sh", &["/bin/sh"]),
            ]),
        }
    }
}
