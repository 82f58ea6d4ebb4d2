//! The jobs that outlive the agent, in one file.
//!
//! Only its owner may read it: commands hold secrets. One thread of the blocking
//! pool writes at a time; what comes meanwhile goes into the next file together,
//! so many jobs at once cost a few writes.
//!
//! What could not be written has not happened, but for the end of a job, which has:
//! that is tried again until the disk takes it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drover_api::{JobId, Timestamp};
use drover_snapshot::{Format, Found};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::ManagerError;
use crate::lifecycle::HandedLife;
use crate::spec::ProcessSpec;

const FORMAT: Format = Format { name: "the programs that the agent runs", steps: &[] };

/// Changes on their way to the writer; more wait in the actor's own tasks.
const CHANGES: usize = 1024;

/// How soon a file is written again that still has jobs which were forgotten.
const RETRY: Duration = Duration::from_secs(2);

/// A job on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) spec: ProcessSpec,
    /// When its last occurrence began, for those that recur slowly.
    #[serde(default)]
    pub(super) begun: Option<Timestamp>,
    /// How far it had come when it was handed over, or when it was last started after
    /// that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) handed: Option<Handed>,
}

impl Entry {
    pub(super) fn new(spec: ProcessSpec) -> Self {
        Self { spec, begun: None, handed: None }
    }
}

/// What the next manager needs to go on with a job where the last one stood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Handed {
    /// Before those with a larger number.
    pub(super) place: usize,
    /// When it was handed over.
    pub(super) at: Timestamp,
    pub(super) accepted: Timestamp,
    /// The jobs that it still waits for.
    pub(super) after: Vec<JobId>,
    pub(super) life: HandedLife,
}

#[derive(Serialize, Deserialize)]
struct Contents {
    jobs: BTreeMap<JobId, Entry>,
}

/// The remembered jobs as they were found.
#[derive(Debug)]
pub(super) struct Remembered {
    path: PathBuf,
    pub(super) jobs: BTreeMap<JobId, Entry>,
}

/// One change; the answer comes when it is on disk.
#[derive(Debug)]
struct Change {
    id: JobId,
    /// None: the job is forgotten.
    entry: Option<Entry>,
    done: oneshot::Sender<Result<(), ManagerError>>,
}

/// Where changes are sent; the writer ends when the last one is dropped.
#[derive(Debug, Clone)]
pub(super) struct Memory(mpsc::Sender<Change>);

impl Remembered {
    /// Reads the file; one that is missing is empty, one that is damaged is put
    /// aside.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let jobs = match FORMAT.read::<Contents>(path)? {
            Found::Whole(contents) => contents.jobs,
            Found::Nothing => BTreeMap::new(),
            Found::PutAside(aside) => {
                tracing::error!(
                    file = %path.display(),
                    aside = %aside.path.display(),
                    reason = aside.reason,
                    "the remembered jobs cannot be read and are put aside: submit them again"
                );
                BTreeMap::new()
            }
        };
        Ok(Self { path: path.to_owned(), jobs })
    }

    /// What is written from now on begins with these jobs.
    pub(super) fn writer(&self) -> (Memory, impl Future<Output = ()> + Send + use<>) {
        let (changes, asked) = mpsc::channel(CHANGES);
        (Memory(changes), write(self.path.clone(), self.jobs.clone(), asked))
    }
}

impl Memory {
    /// Puts a job on disk.
    pub(super) async fn remember(&self, id: JobId, entry: Entry) -> Result<(), ManagerError> {
        self.change(id, Some(entry)).await
    }

    /// Takes a job off the disk, if it is there.
    pub(super) async fn forget(&self, id: JobId) -> Result<(), ManagerError> {
        self.change(id, None).await
    }

    async fn change(&self, id: JobId, entry: Option<Entry>) -> Result<(), ManagerError> {
        let (done, answer) = oneshot::channel();
        let change = Change { id, entry, done };
        self.0.send(change).await.map_err(|_| ManagerError::ShuttingDown)?;
        answer.await.map_err(|_| ManagerError::ShuttingDown)?
    }
}

/// Writes changes until nobody can make any more.
async fn write(path: PathBuf, mut jobs: BTreeMap<JobId, Entry>, mut asked: mpsc::Receiver<Change>) {
    let mut changes = Vec::new();
    // Whether the file has jobs that were forgotten.
    let mut is_stale = false;
    loop {
        let patience = if is_stale { RETRY } else { Duration::MAX };
        let received = tokio::time::timeout(patience, asked.recv_many(&mut changes, CHANGES)).await;
        let mut next = jobs.clone();
        let mut forgotten = Vec::new();
        let mut answers = Vec::new();
        for Change { id, entry, done } in changes.drain(..) {
            match entry {
                Some(entry) => drop(next.insert(id, entry)),
                None => {
                    next.remove(&id);
                    forgotten.push(id);
                }
            }
            answers.push(done);
        }
        let is_changed = is_stale || next != jobs;
        let outcome = if is_changed { save(&path, &next).await } else { Ok(()) };
        match &outcome {
            Ok(()) => {
                jobs = next;
                is_stale = false;
            }
            Err(error) => {
                if !is_stale {
                    tracing::error!(%error, "remembered jobs are not written");
                }
                for id in forgotten {
                    is_stale |= jobs.remove(&id).is_some();
                }
            }
        }
        for answer in answers {
            drop(answer.send(outcome.clone()));
        }
        if received == Ok(0) {
            return;
        }
    }
}

async fn save(path: &Path, jobs: &BTreeMap<JobId, Entry>) -> Result<(), ManagerError> {
    let contents = Contents { jobs: jobs.clone() };
    let target = path.to_owned();
    let replace = move || FORMAT.replace(&target, &contents);
    let saved = tokio::task::spawn_blocking(replace).await;
    let outcome = saved.unwrap_or_else(|panic| Err(io::Error::other(panic)));
    outcome.map_err(|error| ManagerError::Disk {
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::spec::{Places, SpecContext};

    fn entry(name: &str) -> Entry {
        let context = SpecContext {
            places: Places { agent_root: "/".into(), root: "/".into(), tmp: "/".into() },
            interpreters: BTreeMap::new(),
            grace: std::time::Duration::ZERO,
            stats_interval: std::time::Duration::ZERO,
        };
        let args = serde_json::json!({"cmd": name, "max_time": -1});
        let spec = ProcessSpec::execute(&context, args.as_object().unwrap(), "").unwrap();
        Entry::new(spec)
    }

    fn id(text: &str) -> JobId {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn what_is_remembered_is_there_for_the_next_one_and_what_is_forgotten_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        let (memory, writer) = Remembered::open(&path).unwrap().writer();
        let asks = async move {
            memory.remember(id("a"), entry("a")).await.unwrap();
            memory.remember(id("b"), entry("b")).await.unwrap();
            memory.forget(id("a")).await.unwrap();
            memory.forget(id("never")).await.unwrap();
        };
        tokio::join!(asks, writer);
        let found = Remembered::open(&path).unwrap().jobs;
        assert_eq!(found, BTreeMap::from([(id("b"), entry("b"))]));
    }

    #[tokio::test]
    async fn a_change_that_cannot_be_written_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone/jobs.json");
        let (memory, writer) = Remembered::open(&path).unwrap().writer();
        let asks = async move { memory.remember(id("a"), entry("a")).await.unwrap_err() };
        let (error, ()) = tokio::join!(asks, writer);
        assert!(error.to_string().contains("gone/jobs.json"), "{error}");
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_refused_but_what_is_forgotten_stays_so() {
        let dir = tempfile::tempdir().unwrap();
        let (path, away) = (dir.path().join("there"), dir.path().join("away"));
        fs::create_dir(&path).unwrap();
        let file = path.join("jobs.json");
        let (memory, writer) = Remembered::open(&file).unwrap().writer();
        let asks = async {
            memory.remember(id("a"), entry("a")).await.unwrap();
            memory.remember(id("b"), entry("b")).await.unwrap();
            fs::rename(&path, &away).unwrap();
            memory.remember(id("c"), entry("c")).await.unwrap_err();
            memory.forget(id("a")).await.unwrap_err();
            assert_eq!(Remembered::open(&away.join("jobs.json")).unwrap().jobs.len(), 2);
            fs::rename(&away, &path).unwrap();
            drop(memory);
        };
        tokio::join!(asks, writer);
        let found = Remembered::open(&file).unwrap().jobs;
        assert_eq!(found, BTreeMap::from([(id("b"), entry("b"))]));
    }

    #[test]
    fn a_damaged_file_is_put_aside_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        let text = "{\"version\":1,\"jobs\":{";
        fs::write(&path, text).unwrap();
        assert!(Remembered::open(&path).unwrap().jobs.is_empty());
        assert_eq!(fs::read_to_string(dir.path().join("jobs.damaged")).unwrap(), text);
    }
}
