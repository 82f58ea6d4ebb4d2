//! The programs that run for one job, so that none outlives it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_api::JobId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::programs::{Ending, ProgramControl, ProgramOutput, Started};

/// The programs of one job. Clones share them.
#[derive(Clone)]
pub(crate) struct Children {
    running: Arc<Mutex<BTreeMap<JobId, Running>>>,
    /// Of this job, and of all jobs of the plugin.
    places: [Places; 2],
}

/// How many programs may run at the same time.
#[derive(Clone)]
pub(crate) struct Places {
    most: u32,
    free: Arc<Semaphore>,
}

/// The right to run one program.
pub(crate) type Place = [OwnedSemaphorePermit; 2];

struct Running {
    control: Arc<dyn ProgramControl>,
    _place: Place,
}

/// A program, as the plugin holds it.
#[expect(unreachable_pub, reason = "the bindings name it in a `pub use`")]
pub struct Child {
    id: JobId,
    children: Children,
    control: Arc<dyn ProgramControl>,
    output: mpsc::Receiver<ProgramOutput>,
    ended: oneshot::Receiver<Ending>,
    ending: Option<Ending>,
}

impl Places {
    pub(crate) fn new(most: u32) -> Self {
        Self { most, free: Arc::new(Semaphore::new(most as usize)) }
    }
}

impl Children {
    /// No programs yet, of a job that may run `most` of them.
    pub(crate) fn new(most: u32, of_plugin: &Places) -> Self {
        Self { running: Arc::default(), places: [Places::new(most), of_plugin.clone()] }
    }

    /// Those of who may run none.
    pub(crate) fn none() -> Self {
        Self::new(0, &Places::new(0))
    }

    /// A place for one more; an error says how many there are.
    pub(crate) fn place(&self) -> Result<Place, u32> {
        let [own, of_plugin] = &self.places;
        let take =
            |places: &Places| Arc::clone(&places.free).try_acquire_owned().map_err(|_| places.most);
        Ok([take(own)?, take(of_plugin)?])
    }

    /// Takes in a program, which from now on ends with the job.
    pub(crate) fn enter(&self, started: Started, place: Place) -> Child {
        let Started { id, began: _, output, ended, control } = started;
        let control: Arc<dyn ProgramControl> = control.into();
        let running = Running { control: Arc::clone(&control), _place: place };
        self.lock().insert(id.clone(), running);
        Child { id, children: self.clone(), control, output, ended, ending: None }
    }

    /// Ends all programs that are left and waits until nothing of them is there;
    /// gives the processes of which that cannot be had.
    pub(crate) async fn end(&self) -> Vec<u32> {
        let running = std::mem::take(&mut *self.lock());
        running.values().for_each(|program| program.control.end());
        let mut left = Vec::new();
        for program in running.values() {
            left.extend(program.control.gone().await);
        }
        left
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Child {
    pub(crate) fn id(&self) -> &JobId {
        &self.id
    }

    pub(crate) fn control(&self) -> Arc<dyn ProgramControl> {
        Arc::clone(&self.control)
    }

    /// The next output; none if there is none in time, or never again.
    pub(crate) async fn read(&mut self, wait: Duration) -> Option<ProgramOutput> {
        timeout(wait, self.output.recv()).await.ok().flatten()
    }

    /// The next output; none if both streams have ended.
    pub(crate) async fn read_next(&mut self) -> Option<ProgramOutput> {
        self.output.recv().await
    }

    /// How it ended; none if it has not in time.
    pub(crate) async fn wait(&mut self, wait: Duration) -> Option<Ending> {
        timeout(wait, self.ending()).await.ok()
    }

    /// How it ended, when it has.
    pub(crate) async fn ending(&mut self) -> Ending {
        if let Some(ending) = self.ending {
            return ending;
        }
        let ending = (&mut self.ended).await.unwrap_or(Ending::Unknown);
        self.ending = Some(ending);
        self.leave();
        ending
    }

    /// Ends it; an error has the processes that are still there.
    pub(crate) async fn kill(&mut self) -> Result<Ending, Vec<u32>> {
        if self.ending.is_none() {
            self.control.end();
            let left = self.control.gone().await;
            if !left.is_empty() {
                return Err(left);
            }
        }
        Ok(self.ending().await)
    }

    /// Nothing of it is there any more, so its place is free.
    fn leave(&self) {
        self.children.lock().remove(&self.id);
    }
}
