//! What callers ask of a log, however they reach it: queries, deletion, and the
//! log as it grows.
//!
//! A [`LogService`] reads on threads that may wait for the disk, a few at a
//! time, so it can be asked from tasks. Nodes answer with it for their own log,
//! and a controller for what nodes sent.

mod arguments;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::store::{
    DeleteError, Follower, LogStore, Page, Query, RecordId, StoreClosed, StoredRecord,
};

pub use arguments::{DeleteArguments, FollowArguments, OrderName, QueryArguments};

/// Those who read from the disk at the same time; more wait.
const AT_ONCE: usize = 4;

/// How long a question waits for what was logged before it to be on disk.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Records that are looked for at once while the log is followed.
const FOLLOWED_AT_ONCE: usize = 1024;

/// Answers questions about a log. Clones share the turns at the disk.
#[derive(Debug, Clone)]
pub struct LogService {
    store: LogStore,
    turns: Arc<Semaphore>,
    max_bytes: usize,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The question makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The log is closed.
    #[error(transparent)]
    Closed(#[from] StoreClosed),
    /// Records cannot be deleted.
    #[error(transparent)]
    Delete(DeleteError),
    /// A mistake of ours.
    #[error("reading the log failed; the program's own log says more")]
    Failed,
}

/// What is told to those who follow a log.
///
/// In JSON: `{records: […]}` or `{missed: {first, last}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Followed {
    /// The next records. Empty only in the first report, which says that from
    /// now on nothing is missed.
    Records(Vec<StoredRecord>),
    /// Records that were dropped with age before they could be read.
    Missed {
        /// The first id that may have been missed.
        first: RecordId,
        /// The last one.
        last: RecordId,
    },
}

impl LogService {
    /// Answers for `store`, with at most about `max_bytes` in one answer.
    #[must_use]
    pub fn new(store: LogStore, max_bytes: usize) -> Self {
        Self { store, turns: Arc::new(Semaphore::new(AT_ONCE)), max_bytes }
    }

    /// The log itself.
    #[must_use]
    pub fn store(&self) -> &LogStore {
        &self.store
    }

    /// One page of records. What was logged before is found, unless the disk
    /// does not keep up.
    ///
    /// # Errors
    ///
    /// If a cursor is none.
    pub async fn query(&self, arguments: QueryArguments) -> Result<Page, ServiceError> {
        let query = arguments.query()?;
        self.flush().await;
        let max_bytes = self.max_bytes;
        self.on_disk(move |store| page_within(store, query, max_bytes)).await
    }

    /// Deletes records, and says how many there were.
    ///
    /// # Errors
    ///
    /// If no condition is given, or a file cannot be changed.
    pub async fn delete(&self, arguments: DeleteArguments) -> Result<u64, ServiceError> {
        let filter = arguments.filter()?;
        self.flush().await;
        self.on_disk(move |store| store.delete(&filter)).await?.map_err(ServiceError::Delete)
    }

    /// The log as it grows: nothing is lost or doubled between the records that
    /// were there and those that come.
    ///
    /// # Errors
    ///
    /// If a condition makes no sense.
    pub async fn follow(&self, arguments: FollowArguments) -> Result<Following, ServiceError> {
        let (filter, start) = arguments.start()?;
        if arguments.has_backlog() {
            // What the caller knows to have been logged is in the back-log.
            self.flush().await;
        }
        let follower = self.on_disk(move |store| store.follow(filter, start)).await?;
        let reports = VecDeque::from([Followed::Records(Vec::new())]);
        Ok(Following { service: self.clone(), follower: Some(follower), reports })
    }

    async fn flush(&self) {
        // A disk that does not keep up is told elsewhere.
        let _ = timeout(FLUSH_PATIENCE, self.store.flush()).await;
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LogStore) -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let store = self.store.clone();
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let work = spawn_blocking(move || {
            let _turn = turn;
            work(&store)
        });
        work.await.map_err(|error| {
            tracing::error!(%error, "reading the log failed");
            ServiceError::Failed
        })
    }
}

/// A view of the log that goes on as it grows.
#[derive(Debug)]
pub struct Following {
    service: LogService,
    /// Absent while it is with a thread that reads.
    follower: Option<Follower>,
    /// Found and not told yet.
    reports: VecDeque<Followed>,
}

impl Following {
    /// Waits for the next report. Nothing is read before it is asked for. To be
    /// awaited to its end: a view whose `next` was dropped is over.
    ///
    /// # Errors
    ///
    /// If the log is closed, or the view is over.
    pub async fn next(&mut self) -> Result<Followed, ServiceError> {
        loop {
            if let Some(report) = self.reports.pop_front() {
                return Ok(report);
            }
            let mut follower = self.follower.take().ok_or(ServiceError::Failed)?;
            let read = self.service.on_disk(move |_| {
                let missed = follower.missed();
                let records = follower.read(FOLLOWED_AT_ONCE);
                (follower, missed, records)
            });
            let (mut follower, missed, records) = read.await?;
            let is_new = missed.is_some() || !records.is_empty();
            if !is_new {
                follower.changed().await?;
            }
            self.follower = Some(follower);
            self.reports.extend(
                missed.map(|missed| Followed::Missed { first: missed.first, last: missed.last }),
            );
            let records = split(records, self.service.max_bytes);
            self.reports.extend(records.into_iter().map(Followed::Records));
        }
    }
}

/// A page that fits into one answer: records that are no text take more room
/// there than in the log.
fn page_within(store: &LogStore, mut query: Query, max_bytes: usize) -> Page {
    loop {
        let page = store.query(&query);
        let bytes: usize = page.records.iter().map(bytes_of).sum();
        if bytes <= max_bytes || page.records.len() <= 1 {
            return page;
        }
        query.limit = page.records.len() / 2;
    }
}

fn split(records: Vec<StoredRecord>, max_bytes: usize) -> Vec<Vec<StoredRecord>> {
    let mut split: Vec<Vec<StoredRecord>> = Vec::new();
    let mut bytes = usize::MAX;
    for record in records {
        bytes = bytes.saturating_add(bytes_of(&record));
        match split.last_mut() {
            Some(last) if bytes <= max_bytes => last.push(record),
            _ => {
                bytes = bytes_of(&record);
                split.push(vec![record]);
            }
        }
    }
    split
}

/// What a record takes in an answer, at most: what is no text is written twice.
fn bytes_of(record: &StoredRecord) -> usize {
    const NAMES_OF_FIELDS: usize = 160;
    let source = &record.source;
    let data = match std::str::from_utf8(&record.data) {
        Ok(text) => text.len(),
        Err(_) => record.data.len() * 5,
    };
    let fields = if record.fields.is_empty() { 0 } else { record.fields.cost() };
    NAMES_OF_FIELDS
        + fields
        + source.job.as_str().len()
        + source.domain.len()
        + source.name.len()
        + data
}

#[cfg(test)]
mod tests {
    use drover_api::{Level, Timestamp};

    use super::*;
    use crate::store::{Batch, Origin, StoreConfig};
    use crate::{Message, Part, Source};

    fn service(directory: &std::path::Path, max_bytes: usize) -> LogService {
        LogService::new(LogStore::open(StoreConfig::new(directory)).unwrap(), max_bytes)
    }

    async fn log(service: &LogService, data: &[&[u8]]) {
        let job = "a".parse().unwrap();
        let source = Source { job, domain: String::new(), name: String::new() };
        let mut batch = Batch::new(Arc::new(Origin::new(source)));
        for data in data {
            let message = Message { level: Level::STDOUT, data, part: Part::Whole };
            batch.push(Timestamp(1), message);
        }
        service.store().append(batch).await.unwrap();
    }

    fn arguments<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> T {
        serde_json::from_value(json).unwrap()
    }

    #[tokio::test]
    async fn a_page_has_as_much_as_fits_and_says_where_to_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let service = service(dir.path(), 20_000);
        let binary = vec![0xff; 1000];
        log(&service, &vec![&binary[..]; 100]).await;
        let mut found = 0;
        let mut cursor = None;
        loop {
            let json = serde_json::json!({ "order": "oldest", "cursor": cursor });
            let page = service.query(arguments(json)).await.unwrap();
            assert!(serde_json::to_vec(&page).unwrap().len() <= 20_000);
            found += page.records.len();
            match page.next {
                Some(next) => cursor = Some(next.to_string()),
                None => break,
            }
        }
        assert_eq!(found, 100);
    }

    #[tokio::test]
    async fn deleting_wants_a_condition() {
        let dir = tempfile::tempdir().unwrap();
        let service = service(dir.path(), 20_000);
        log(&service, &[b"one", b"two"]).await;
        let error = service.delete(DeleteArguments::default()).await.unwrap_err();
        assert!(error.to_string().contains("levels"), "{error}");
        let two = arguments(serde_json::json!({ "text": "two" }));
        assert_eq!(service.delete(two).await.unwrap(), 1);
        let all = arguments(serde_json::json!({ "levels": "*" }));
        assert_eq!(service.delete(all).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn nothing_is_lost_or_doubled_between_what_was_and_what_comes() {
        let dir = tempfile::tempdir().unwrap();
        let service = service(dir.path(), 2_000);
        for number in 0..100 {
            log(&service, &[format!("{number}").as_bytes()]).await;
        }
        let json = serde_json::json!({ "backlog": 50 });
        let mut following = service.follow(arguments(json)).await.unwrap();
        assert_eq!(following.next().await.unwrap(), Followed::Records(Vec::new()));
        for number in 100..150 {
            log(&service, &[format!("{number}").as_bytes()]).await;
        }
        let mut texts = Vec::new();
        while texts.len() < 100 {
            let Followed::Records(records) = following.next().await.unwrap() else { panic!() };
            assert!(records.len() < 20, "a report is bounded");
            texts.extend(records.iter().map(|record| record.text().parse::<u32>().unwrap()));
        }
        assert!(texts.into_iter().eq(50..150));
    }
}
