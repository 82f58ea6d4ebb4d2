//! Lines and blocks that have begun, of programs that outlive the agent: the next one
//! goes on in the middle of them.
//!
//! The file is there only between two agents. What an agent that is killed had of a
//! line is lost with it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use drover_api::JobId;
use drover_logs::Unfinished;
use drover_snapshot::Found;
use serde::{Deserialize, Serialize};

/// The version of the file.
const VERSION: u32 = 1;

/// What has begun, of standard output and standard error.
pub(super) type Begun = [Option<Unfinished>; 2];

/// What has begun of all jobs.
pub(super) struct AllBegun {
    path: PathBuf,
    jobs: Mutex<BTreeMap<JobId, Begun>>,
}

#[derive(Serialize, Deserialize)]
struct Contents {
    jobs: BTreeMap<JobId, Begun>,
}

impl AllBegun {
    /// Takes what the agent before has left. Blocks.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let jobs = match drover_snapshot::read::<Contents>(&path, VERSION)? {
            Found::Whole(contents) => {
                // It would be there twice if it were taken again.
                std::fs::remove_file(&path)?;
                contents.jobs
            }
            Found::Nothing => BTreeMap::new(),
            Found::PutAside(aside) => {
                let (aside, reason) = (aside.path.display().to_string(), aside.reason);
                tracing::error!(aside, reason, "lines that had begun cannot be read");
                BTreeMap::new()
            }
        };
        Ok(Self { path, jobs: Mutex::new(jobs) })
    }

    /// What has begun of a job, once.
    pub(super) fn take(&self, job: &JobId) -> Option<Begun> {
        self.jobs().remove(job)
    }

    /// Leaves to the next agent what has begun of a job.
    pub(super) fn leave(&self, job: JobId, begun: Begun) {
        if begun.iter().any(Option::is_some) {
            self.jobs().insert(job, begun);
        }
    }

    /// Writes down what the next agent goes on with. Blocks.
    pub(super) fn write(&self) -> io::Result<()> {
        let jobs = std::mem::take(&mut *self.jobs());
        if jobs.is_empty() {
            return Ok(());
        }
        drover_snapshot::replace(&self.path, VERSION, &Contents { jobs })
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobId, Begun>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use drover_logs::{OutputParser, Stream};

    use super::*;

    #[test]
    fn what_has_begun_is_left_to_the_next_agent_and_to_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("begun.json");
        let job: JobId = "job".parse().unwrap();
        let begun = || {
            let mut parser = OutputParser::new(Stream::Stdout, 64);
            parser.feed(b"half a", |_| panic!("no line is whole"));
            [parser.unfinished(), None]
        };
        let all = AllBegun::open(path.clone()).unwrap();
        all.leave(job.clone(), begun());
        all.leave("other".parse().unwrap(), [None, None]);
        all.write().unwrap();
        let next = AllBegun::open(path.clone()).unwrap();
        assert_eq!((next.take(&job), next.take(&job)), (Some(begun()), None));
        assert!(!path.exists());
        next.write().unwrap();
        assert!(!path.exists());
    }
}
