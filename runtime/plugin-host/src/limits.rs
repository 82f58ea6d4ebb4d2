//! What plugins may use up.

use std::time::Duration;

/// Bounds on plugins, the same for all of them.
#[derive(Debug, Clone)]
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
    /// The longest answer of an operation, in bytes of JSON text. It also
    /// bounds what an instance may hand to the host in any one call.
    pub answer_bytes: usize,
    /// The largest component file, in bytes.
    pub component_bytes: u64,
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
            answer_bytes: 16 << 20,
            component_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// The time that a job gets which asks for `wanted`.
    pub(crate) fn deadline_of(&self, wanted: Option<Duration>) -> Duration {
        wanted.unwrap_or(self.deadline).min(self.max_deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_gets_what_it_asks_for_up_to_the_maximum() {
        let limits = Limits::default();
        assert_eq!(limits.deadline_of(None), limits.deadline);
        assert_eq!(limits.deadline_of(Some(Duration::ZERO)), Duration::ZERO);
        assert_eq!(limits.deadline_of(Some(Duration::MAX)), limits.max_deadline);
    }
}
