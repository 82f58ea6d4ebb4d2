//! What an agent has of the output of programs that outlive it: lines and blocks that
//! have begun, what goes into the result, and what a caller is still to be told. The
//! next one goes on in the middle of them.
//!
//! The file is there only between two agents. What an agent that is killed had of a
//! line is lost with it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use drover_api::JobId;
use drover_logs::Unfinished;
use drover_snapshot::{Format, Found};
use serde::{Deserialize, Serialize};

use super::Live;
use super::listener::Heard;

const FORMAT: Format = Format { name: "the output that had begun", steps: &[] };

/// What has begun, of standard output and standard error.
pub(super) type Begun = [Option<Unfinished>; 2];

/// What an agent before has heard of a job.
#[derive(Serialize, Deserialize)]
pub(super) struct Earlier {
    pub(super) heard: Heard,
    /// Whether a caller listened who is to be told the rest.
    pub(super) is_followed: bool,
}

/// What has begun of all jobs.
pub(super) struct AllBegun {
    path: PathBuf,
    all: Mutex<Contents>,
}

#[derive(Default, Serialize, Deserialize)]
struct Contents {
    jobs: BTreeMap<JobId, Begun>,
    #[serde(default)]
    earlier: BTreeMap<JobId, Earlier>,
    /// Output that its caller was not told yet.
    #[serde(default)]
    untold: BTreeMap<JobId, Vec<Live>>,
}

impl AllBegun {
    /// Takes what the agent before has left. Blocks.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let all = match FORMAT.read::<Contents>(&path)? {
            Found::Whole(contents) => {
                // It would be there twice if it were taken again.
                std::fs::remove_file(&path)?;
                contents
            }
            Found::Nothing => Contents::default(),
            Found::PutAside(aside) => {
                let (aside, reason) = (aside.path.display().to_string(), aside.reason);
                tracing::error!(aside, reason, "lines that had begun cannot be read");
                Contents::default()
            }
        };
        Ok(Self { path, all: Mutex::new(all) })
    }

    /// Whether the caller of a job is to be told its rest.
    pub(super) fn is_followed(&self, job: &JobId) -> bool {
        self.all().earlier.get(job).is_some_and(|earlier| earlier.is_followed)
    }

    /// Output of a job that its caller was not told, once.
    pub(super) fn take_untold(&self, job: &JobId) -> Vec<Live> {
        self.all().untold.remove(job).unwrap_or_default()
    }

    /// What was heard of a job, once.
    pub(super) fn take_earlier(&self, job: &JobId) -> Option<Earlier> {
        self.all().earlier.remove(job)
    }

    /// What has begun of a job, once.
    pub(super) fn take(&self, job: &JobId) -> Option<Begun> {
        self.all().jobs.remove(job)
    }

    /// Leaves to the next agent what there is of a job.
    pub(super) fn leave(&self, job: JobId, begun: Begun, earlier: Earlier) {
        let mut all = self.all();
        if begun.iter().any(Option::is_some) {
            all.jobs.insert(job.clone(), begun);
        }
        all.earlier.insert(job, earlier);
    }

    /// Leaves to the next agent what the caller of a job is still to be told.
    pub(super) fn leave_untold(&self, job: JobId, untold: Vec<Live>) {
        if !untold.is_empty() {
            self.all().untold.insert(job, untold);
        }
    }

    /// Writes down what the next agent goes on with. Blocks.
    pub(super) fn write(&self) -> io::Result<()> {
        let all = std::mem::take(&mut *self.all());
        if all.jobs.is_empty() && all.earlier.is_empty() {
            return Ok(());
        }
        FORMAT.replace(&self.path, &all)
    }

    fn all(&self) -> MutexGuard<'_, Contents> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use drover_logs::{OutputParser, Stream};
    use drover_process::OutputStream;

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
        let earlier = |is_followed| Earlier { heard: Heard::default(), is_followed };
        let live = || Live { stream: OutputStream::Stderr, bytes: b"\xffnot told".to_vec() };
        let all = AllBegun::open(path.clone()).unwrap();
        all.leave(job.clone(), begun(), earlier(true));
        all.leave("other".parse().unwrap(), [None, None], earlier(false));
        all.leave_untold(job.clone(), vec![live()]);
        all.write().unwrap();
        let next = AllBegun::open(path.clone()).unwrap();
        assert_eq!((next.take(&job), next.take(&job)), (Some(begun()), None));
        assert!(next.is_followed(&job) && !next.is_followed(&"other".parse().unwrap()));
        assert_eq!((next.take_untold(&job), next.take_untold(&job)), (vec![live()], vec![]));
        assert!(next.take_earlier(&job).is_some() && next.take_earlier(&job).is_none());
        drop(next.take_earlier(&"other".parse().unwrap()));
        assert!(!path.exists());
        next.write().unwrap();
        assert!(!path.exists());
    }
}
