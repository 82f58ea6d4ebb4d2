//! What plugins may use up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::quarantine::Patience;

/// Bounds on plugins.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Linear memory of one instance, in bytes, all its memories together.
    pub memory_bytes: u64,
    /// Time that a job has if it asks for none, its wait for a turn included.
    pub deadline: Duration,
    /// The longest time that a job gets, whatever it asks for.
    pub max_deadline: Duration,
    /// Time that a plugin has to describe itself after loading.
    pub describe_deadline: Duration,
    /// Time that the compiler has for one plugin.
    pub compile_timeout: Duration,
    /// Jobs that have an instance at the same time.
    pub running_jobs: u32,
    /// Jobs that wait for their turn beside those; one more is refused as busy.
    pub waiting_jobs: u32,
    /// Services that have an instance at the same time, beside those. One that
    /// is made of much more than most counts as several.
    pub services: u32,
    /// The longest answer of an operation, in bytes of JSON text. It also
    /// bounds what an instance may hand to the host in any one call.
    pub answer_bytes: usize,
    /// What an instance holds open at the same time: files, directories, streams,
    /// requests, timers.
    pub handles: u32,
    /// The largest component file, in bytes.
    pub component_bytes: u64,
    /// What all jobs of one plugin may use of the processors, in cores; none:
    /// all there are.
    pub cores: Option<f64>,
    /// Programs that one job runs at the same time.
    pub programs: u32,
    /// Programs that all jobs of one plugin run at the same time.
    pub plugin_programs: u32,
    /// When a plugin that fails gets no jobs for a while.
    pub patience: Patience,
    /// What is different for a plugin, by its name.
    pub overrides: BTreeMap<String, LimitOverrides>,
}

/// What is different for one plugin; none: as for all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LimitOverrides {
    /// See [`Limits::memory_bytes`].
    pub memory_bytes: Option<u64>,
    /// See [`Limits::deadline`].
    pub deadline: Option<Duration>,
    /// See [`Limits::max_deadline`].
    pub max_deadline: Option<Duration>,
    /// Jobs of this plugin that have an instance at the same time, within those
    /// of [`Limits::running_jobs`].
    pub running_jobs: Option<u32>,
    /// Jobs of this plugin that wait, within those of [`Limits::waiting_jobs`].
    pub waiting_jobs: Option<u32>,
    /// See [`Limits::answer_bytes`].
    pub answer_bytes: Option<usize>,
    /// See [`Limits::handles`].
    pub handles: Option<u32>,
    /// See [`Limits::cores`].
    pub cores: Option<f64>,
    /// See [`Limits::programs`].
    pub programs: Option<u32>,
    /// See [`Limits::plugin_programs`].
    pub plugin_programs: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            deadline: Duration::from_secs(60),
            max_deadline: Duration::from_secs(60 * 60),
            describe_deadline: Duration::from_secs(5),
            compile_timeout: Duration::from_secs(120),
            running_jobs: 64,
            waiting_jobs: 1024,
            services: 256,
            answer_bytes: 16 << 20,
            handles: 1000,
            component_bytes: 64 << 20,
            cores: None,
            programs: 8,
            plugin_programs: 64,
            patience: Patience::default(),
            overrides: BTreeMap::new(),
        }
    }
}

impl Limits {
    /// The limits of one plugin.
    pub(crate) fn of(&self, plugin: &str) -> Self {
        let own = self.overrides.get(plugin).cloned().unwrap_or_default();
        // Who sets the usual time alone wants jobs to have it.
        let longest = own.deadline.map_or(self.max_deadline, |usual| usual.max(self.max_deadline));
        Self {
            memory_bytes: own.memory_bytes.unwrap_or(self.memory_bytes),
            deadline: own.deadline.unwrap_or(self.deadline),
            max_deadline: own.max_deadline.unwrap_or(longest),
            running_jobs: own.running_jobs.unwrap_or(self.running_jobs),
            waiting_jobs: own.waiting_jobs.unwrap_or(self.waiting_jobs),
            services: self.services,
            answer_bytes: own.answer_bytes.unwrap_or(self.answer_bytes),
            handles: own.handles.unwrap_or(self.handles),
            cores: own.cores.or(self.cores),
            programs: own.programs.unwrap_or(self.programs),
            plugin_programs: own.plugin_programs.unwrap_or(self.plugin_programs),
            overrides: BTreeMap::new(),
            patience: self.patience.clone(),
            describe_deadline: self.describe_deadline,
            compile_timeout: self.compile_timeout,
            component_bytes: self.component_bytes,
        }
    }

    /// The time that a job gets which asks for `wanted`.
    pub(crate) fn deadline_of(&self, wanted: Option<Duration>) -> Duration {
        wanted.unwrap_or(self.deadline).min(self.max_deadline)
    }
}

/// A number of bytes for people; whole mebibytes as such.
pub(crate) fn megabytes(bytes: u64) -> String {
    match bytes % (1 << 20) {
        0 => format!("{} MiB", bytes >> 20),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_its_own_limits_and_the_others_those_of_all() {
        let own = LimitOverrides {
            memory_bytes: Some(1 << 30),
            deadline: Some(Duration::from_secs(7200)),
            cores: Some(0.5),
            ..LimitOverrides::default()
        };
        let all =
            Limits { overrides: BTreeMap::from([("big".to_owned(), own)]), ..Limits::default() };
        let (big, small) = (all.of("big"), all.of("small"));
        assert_eq!((big.memory_bytes, small.memory_bytes), (1 << 30, 64 << 20));
        assert_eq!(big.deadline_of(None), Duration::from_secs(7200));
        assert_eq!(small.deadline_of(None), all.deadline);
        assert_eq!((big.cores, small.cores), (Some(0.5), None));
        assert_eq!(big.running_jobs, all.running_jobs);
    }

    #[test]
    fn a_job_gets_what_it_asks_for_up_to_the_maximum() {
        let limits = Limits::default();
        assert_eq!(limits.deadline_of(None), limits.deadline);
        assert_eq!(limits.deadline_of(Some(Duration::ZERO)), Duration::ZERO);
        assert_eq!(limits.deadline_of(Some(Duration::MAX)), limits.max_deadline);
    }
}
