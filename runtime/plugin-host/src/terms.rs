//! What a plugin's jobs run on at present, and what one of them may have of it.

use std::sync::Arc;

use drover_api::JobLimits;

use crate::Limits;
use crate::children::Places;
use crate::limits::megabytes;
use crate::queue::Queue;
use crate::share::Share;

/// What jobs of a plugin run on until its limits change. Those that began before
/// keep what they have.
pub(crate) struct Terms {
    /// Those of the plugin.
    pub(crate) limits: Limits,
    pub(crate) queue: Queue,
    /// How many programs its jobs may run.
    pub(crate) programs: Places,
    /// None if it may use all processors.
    pub(crate) share: Option<Arc<Share>>,
}

impl Terms {
    /// `limits` are those of one plugin.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            queue: Queue::new(limits.running_jobs, limits.waiting_jobs),
            programs: Places::new(limits.plugin_programs),
            share: limits.cores.map(|cores| Arc::new(Share::new(cores))),
            limits,
        }
    }

    /// With other limits. What does not change is shared with the jobs that are
    /// under way.
    pub(crate) fn with(&self, limits: Limits) -> Self {
        let (old, mut new) = (&self.limits, Self::new(limits));
        let lines = |limits: &Limits| (limits.running_jobs, limits.waiting_jobs);
        if lines(old) == lines(&new.limits) {
            new.queue = self.queue.clone();
        }
        if old.plugin_programs == new.limits.plugin_programs {
            new.programs = self.programs.clone();
        }
        if old.cores == new.limits.cores {
            new.share.clone_from(&self.share);
        }
        new
    }
}

/// What one job may use up.
pub(crate) struct Bounds {
    terms: Arc<Terms>,
    lowered: Option<Lowered>,
}

/// What a job has less of than its plugin.
struct Lowered {
    limits: Limits,
    answer_bytes: usize,
    share: Option<Arc<Share>>,
}

impl Bounds {
    /// Those of the plugin.
    pub(crate) fn of(terms: Arc<Terms>) -> Self {
        Self { terms, lowered: None }
    }

    /// Those of the plugin, or less if the job's command says so.
    ///
    /// # Errors
    ///
    /// Why the job cannot have what is wanted: a sentence that lacks who it is about.
    pub(crate) fn lowered(terms: Arc<Terms>, wanted: &JobLimits) -> Result<Self, String> {
        if *wanted == JobLimits::default() {
            return Ok(Self::of(terms));
        }
        let limits = &terms.limits;
        let refused = |asked: String, allowed: String, key: &str| {
            format!(
                "may have {allowed}, and the command asks for {asked}; ask for less, or have the \
                 node's admin raise the limit `{key}`"
            )
        };
        let memory_bytes = wanted.memory_bytes.unwrap_or(limits.memory_bytes);
        if memory_bytes > limits.memory_bytes {
            let [asked, allowed] = [memory_bytes, limits.memory_bytes]
                .map(|bytes| format!("{} of memory", megabytes(bytes)));
            return Err(refused(asked, allowed, "memory"));
        }
        let answer_bytes = wanted.answer_bytes.map_or(Ok(limits.answer_bytes), usize::try_from);
        let answer_bytes = answer_bytes.unwrap_or(usize::MAX);
        if answer_bytes > limits.answer_bytes {
            let [asked, allowed] = [answer_bytes, limits.answer_bytes]
                .map(|bytes| format!("an answer of {bytes} bytes"));
            return Err(refused(asked, allowed, "answer"));
        }
        if let Some(cores) = wanted.cores {
            if !(LEAST_SHARE..).contains(&cores) {
                return Err(format!(
                    "cannot run on {cores} cores: `cores` must be at least {LEAST_SHARE}"
                ));
            }
            if let Some(allowed) = limits.cores.filter(|allowed| cores > *allowed) {
                let [asked, allowed] = [cores, allowed].map(|cores| format!("{cores} cores"));
                return Err(refused(asked, allowed, "cores"));
            }
        }
        let lowered = Lowered {
            limits: Limits { memory_bytes, ..limits.clone() },
            answer_bytes,
            share: wanted.cores.map(|cores| Arc::new(Share::new(cores))),
        };
        Ok(Self { terms, lowered: Some(lowered) })
    }

    /// Those of the plugin, with the memory of this job.
    pub(crate) fn limits(&self) -> &Limits {
        self.lowered.as_ref().map_or(&self.terms.limits, |lowered| &lowered.limits)
    }

    /// The longest answer. What else the job hands to the host is bounded as that
    /// of all jobs of the plugin.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.lowered.as_ref().map_or(self.terms.limits.answer_bytes, |lowered| lowered.answer_bytes)
    }

    /// The line of the plugin's jobs.
    pub(crate) fn queue(&self) -> &Queue {
        &self.terms.queue
    }

    /// The share of all jobs of the plugin.
    pub(crate) fn share_of_plugin(&self) -> Option<Arc<Share>> {
        self.terms.share.clone()
    }

    /// The share of this job alone.
    pub(crate) fn own_share(&self) -> Option<Arc<Share>> {
        self.lowered.as_ref()?.share.clone()
    }

    /// How many programs all jobs of the plugin may run.
    pub(crate) fn programs(&self) -> &Places {
        &self.terms.programs
    }

    /// Whether the job has less than others of its plugin, for which the plugin is
    /// not to blame.
    pub(crate) fn are_lowered(&self) -> bool {
        self.lowered.is_some()
    }
}

/// The smallest share of the processors, as the agent's configuration has it.
const LEAST_SHARE: f64 = 0.01;

/// The limits that an instance feels while it lives. One that is kept is made anew
/// when they change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Felt {
    memory_bytes: u64,
    answer_bytes: usize,
    handles: u32,
    programs: u32,
    plugin_programs: u32,
    cores: Option<f64>,
}

impl Felt {
    pub(crate) fn of(limits: &Limits) -> Self {
        let Limits {
            memory_bytes, answer_bytes, handles, programs, plugin_programs, cores, ..
        } = *limits;
        Self { memory_bytes, answer_bytes, handles, programs, plugin_programs, cores }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(cores: Option<f64>) -> Arc<Terms> {
        Arc::new(Terms::new(Limits { cores, ..Limits::default() }))
    }

    #[test]
    fn a_job_may_have_less_than_its_plugin() {
        let wanted =
            JobLimits { memory_bytes: Some(1 << 20), cores: Some(0.5), answer_bytes: Some(10) };
        let bounds = Bounds::lowered(terms(None), &wanted).unwrap();
        assert_eq!((bounds.limits().memory_bytes, bounds.answer_bytes()), (1 << 20, 10));
        assert!(bounds.own_share().is_some() && bounds.share_of_plugin().is_none());
        assert!(bounds.are_lowered());
        // What it hands over otherwise is none of its caller's business.
        assert_eq!(bounds.limits().answer_bytes, Limits::default().answer_bytes);
    }

    #[test]
    fn a_job_that_asks_for_nothing_has_what_its_plugin_has() {
        let bounds = Bounds::lowered(terms(Some(2.0)), &JobLimits::default()).unwrap();
        assert!(!bounds.are_lowered() && bounds.own_share().is_none());
        assert_eq!(bounds.limits(), &Limits { cores: Some(2.0), ..Limits::default() });
    }

    #[test]
    fn a_job_that_asks_for_more_than_its_plugin_has_is_refused_with_the_limits_name() {
        let none = JobLimits::default();
        for (wanted, words) in [
            (
                JobLimits { memory_bytes: Some(65 << 20), ..none },
                "may have 64 MiB of memory, and the command asks for 65 MiB of memory",
            ),
            (JobLimits { answer_bytes: Some(u64::MAX), ..none }, "the limit `answer`"),
            (JobLimits { cores: Some(2.1), ..none }, "2 cores, and the command asks for 2.1 cores"),
            (JobLimits { cores: Some(0.0), ..none }, "at least 0.01"),
            (JobLimits { cores: Some(-1.0), ..none }, "at least 0.01"),
            (JobLimits { cores: Some(f64::NAN), ..none }, "at least 0.01"),
        ] {
            let Err(error) = Bounds::lowered(terms(Some(2.0)), &wanted) else {
                panic!("{wanted:?} is not refused");
            };
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_does_not_change_is_shared_with_the_jobs_under_way() {
        let old = terms(Some(1.0));
        let new = old.with(Limits { memory_bytes: 1, running_jobs: 2, ..old.limits.clone() });
        let same = |one: &Option<Arc<Share>>, other: &Option<Arc<Share>>| {
            one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| Arc::ptr_eq(one, other))
        };
        assert!(same(&old.share, &new.share));
        let other = old.with(Limits { cores: Some(2.0), ..old.limits.clone() });
        assert!(!same(&old.share, &other.share));
        assert_eq!((new.limits.memory_bytes, new.limits.running_jobs), (1, 2));
    }
}
