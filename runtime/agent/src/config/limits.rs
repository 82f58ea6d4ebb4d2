//! The part of the configuration that is about what jobs may use.

use std::collections::BTreeMap;
use std::time::Duration;

use bytesize::ByteSize;
use drover_plugin_host::{LimitOverrides, Patience};
use serde::{Deserialize, Serialize};

use super::rules::{Rule, duration_text};

/// What jobs may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of one job in a plugin.
    pub memory: ByteSize,
    /// How long a job may take if its command does not say.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// How long a job may take whatever its command says.
    #[serde(with = "humantime_serde")]
    pub max_deadline: Duration,
    /// Jobs that run at the same time.
    pub running_jobs: u32,
    /// Jobs that wait for their turn; one more is refused as busy.
    pub waiting_jobs: u32,
    /// Services that run at the same time, beside the jobs.
    pub services: u32,
    /// The longest answer of a job.
    pub answer: ByteSize,
    /// What a job in a plugin holds open at the same time: files, streams and so on.
    pub handles: u32,
    /// The largest plugin file.
    pub component: ByteSize,
    /// What all jobs of one plugin may use of the processors, in cores; all
    /// there are if it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<f64>,
    /// Programs that one job runs at the same time.
    pub programs: u32,
    /// Programs that all jobs of one plugin run at the same time.
    pub plugin_programs: u32,
    /// Crashes and timeouts that put a plugin in quarantine; 0: never.
    pub quarantine_after: u32,
    /// The time within which they count together.
    #[serde(with = "humantime_serde")]
    pub quarantine_within: Duration,
    /// How long the first quarantine takes; each one that follows takes twice
    /// as long.
    #[serde(with = "humantime_serde")]
    pub quarantine_first: Duration,
    /// The longest that one takes.
    #[serde(with = "humantime_serde")]
    pub quarantine_longest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let host = drover_plugin_host::Limits::default();
        Self {
            memory: ByteSize::b(host.memory_bytes),
            deadline: host.deadline,
            max_deadline: host.max_deadline,
            running_jobs: host.running_jobs,
            waiting_jobs: host.waiting_jobs,
            services: host.services,
            answer: ByteSize::b(u64::try_from(host.answer_bytes).unwrap_or(u64::MAX)),
            handles: host.handles,
            component: ByteSize::b(host.component_bytes),
            cores: host.cores,
            programs: host.programs,
            plugin_programs: host.plugin_programs,
            quarantine_after: host.patience.failures,
            quarantine_within: host.patience.within,
            quarantine_first: host.patience.first,
            quarantine_longest: host.patience.longest,
        }
    }
}

impl Limits {
    /// The keys that count from the next start of the agent; all others do as soon
    /// as the file has them.
    pub(super) const MADE_AT_THE_START: [&str; 3] = ["running_jobs", "waiting_jobs", "services"];

    /// What the values have to fulfil.
    pub(super) fn rules(&self) -> [Rule; 8] {
        [
            (
                !is_memory(self.memory),
                "limits.memory",
                self.memory.to_string(),
                "must be from 1 MiB to 4 GiB",
            ),
            (
                self.deadline.is_zero(),
                "limits.deadline",
                duration_text(self.deadline),
                "must not be zero",
            ),
            (
                self.max_deadline < self.deadline,
                "limits.max_deadline",
                duration_text(self.max_deadline),
                "must not be below `limits.deadline`",
            ),
            (
                !(1..=1000).contains(&self.running_jobs),
                "limits.running_jobs",
                self.running_jobs.to_string(),
                "must be from 1 to 1000",
            ),
            (
                self.services > 4096,
                "limits.services",
                self.services.to_string(),
                "must be at most 4096",
            ),
            (!is_handles(self.handles), "limits.handles", self.handles.to_string(), HANDLES),
            (
                self.cores.is_some_and(|cores| !is_share(cores)),
                "limits.cores",
                format!("{:?}", self.cores),
                SHARE,
            ),
            (
                self.quarantine_longest < self.quarantine_first,
                "limits.quarantine_longest",
                duration_text(self.quarantine_longest),
                "must not be below `limits.quarantine_first`",
            ),
        ]
    }

    /// The limits as the plugin host wants them.
    pub(super) fn of_host(
        &self,
        overrides: BTreeMap<String, LimitOverrides>,
    ) -> drover_plugin_host::Limits {
        drover_plugin_host::Limits {
            memory_bytes: self.memory.as_u64(),
            deadline: self.deadline,
            max_deadline: self.max_deadline,
            running_jobs: self.running_jobs,
            waiting_jobs: self.waiting_jobs,
            services: self.services,
            answer_bytes: usize::try_from(self.answer.as_u64()).unwrap_or(usize::MAX),
            handles: self.handles,
            component_bytes: self.component.as_u64(),
            cores: self.cores,
            programs: self.programs,
            plugin_programs: self.plugin_programs,
            patience: Patience {
                failures: self.quarantine_after,
                within: self.quarantine_within,
                first: self.quarantine_first,
                longest: self.quarantine_longest,
            },
            overrides,
            ..drover_plugin_host::Limits::default()
        }
    }
}

/// The rule for a share of the processors.
pub(super) const SHARE: &str = "must be from 0.01 to 1024";

pub(super) fn is_share(cores: f64) -> bool {
    (0.01..=1024.0).contains(&cores)
}

/// The rule for what a job holds open.
pub(super) const HANDLES: &str = "must be from 16 to 100000";

pub(super) fn is_handles(handles: u32) -> bool {
    (16..=100_000).contains(&handles)
}

pub(super) fn is_memory(memory: ByteSize) -> bool {
    (ByteSize::mib(1)..=ByteSize::gib(4)).contains(&memory)
}
