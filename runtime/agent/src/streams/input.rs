//! What callers send to jobs that run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use drover_api::JobId;
use drover_plugin_host::PipeWriter;

/// One write at a time, so that none is torn by another; none when it was ended.
type Writer = Arc<tokio::sync::Mutex<Option<PipeWriter>>>;

/// The inputs of the jobs that take any. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Inputs {
    writers: Arc<Mutex<HashMap<JobId, Writer>>>,
}

/// The input of one job: nobody can write to it once this is dropped.
pub(crate) struct Input {
    inputs: Inputs,
    id: JobId,
}

/// The job does not read its input any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotRead;

impl Inputs {
    /// Has a job take input.
    pub(super) fn open(&self, id: &JobId, writer: PipeWriter) -> Input {
        let writer = Arc::new(tokio::sync::Mutex::new(Some(writer)));
        self.lock().insert(id.clone(), writer);
        Input { inputs: self.clone(), id: id.clone() }
    }

    /// Writes to a job, no faster than it reads, and ends its input with the
    /// `last` bytes; none if no job with this id takes input.
    pub(crate) async fn write(
        &self,
        id: &JobId,
        bytes: Bytes,
        is_last: bool,
    ) -> Option<Result<(), NotRead>> {
        let writer = Arc::clone(self.lock().get(id)?);
        let mut place = writer.lock().await;
        let Some(writer) = place.as_mut() else { return Some(Err(NotRead)) };
        let written = writer.write(bytes).await.map_err(|_| NotRead);
        if is_last {
            *place = None;
        }
        Some(written)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Writer>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.inputs.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use drover_plugin_host::pipe;

    use super::*;

    #[tokio::test]
    async fn what_is_sent_is_read_until_the_last_of_it() {
        let inputs = Inputs::default();
        let id: JobId = "j".parse().unwrap();
        let (writer, mut reader) = pipe();
        let input = inputs.open(&id, writer);
        assert_eq!(inputs.write(&id, "a".into(), false).await, Some(Ok(())));
        assert_eq!(inputs.write(&id, "b".into(), true).await, Some(Ok(())));
        assert_eq!(inputs.write(&id, "c".into(), false).await, Some(Err(NotRead)));
        assert_eq!(reader.read(9).await.unwrap(), "ab");
        assert_eq!(reader.read(9).await, None);
        drop(input);
        assert_eq!(inputs.write(&id, "d".into(), false).await, None);
    }

    #[tokio::test]
    async fn a_job_that_reads_no_more_refuses_what_is_sent() {
        let inputs = Inputs::default();
        let id: JobId = "j".parse().unwrap();
        let (writer, reader) = pipe();
        let _input = inputs.open(&id, writer);
        drop(reader);
        assert_eq!(inputs.write(&id, "a".into(), false).await, Some(Err(NotRead)));
    }
}
