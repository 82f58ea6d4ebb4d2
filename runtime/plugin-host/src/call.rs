//! What a plugin's code is being called for, as its imports see it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drover_api::{Level, Record};
use drover_grants::Allowance;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::children::Children;
use crate::denials::Denials;
use crate::failure::plain;
use crate::feed::Feed;
use crate::imports::Ends;
use crate::job::{Caller, RecordFields, Said};
use crate::records::{Records, cut, record};

/// The job, or the description of a plugin, that an instance works on.
pub(crate) struct Call {
    /// Empty while a plugin describes itself.
    pub(crate) job: String,
    pub(crate) plugin: Arc<str>,
    /// That of the plugin, if its manifest says one.
    pub(crate) version: Option<Arc<str>>,
    /// Empty while a plugin describes itself.
    pub(crate) operation: String,
    pub(crate) caller: Option<Caller>,
    pub(crate) data: Vec<u8>,
    /// Its ends of the job's streams, until the plugin asks for them.
    pub(crate) streams: Ends,
    /// What it may touch: nothing while a plugin describes itself.
    pub(crate) allowance: Arc<Allowance>,
    /// Where it is counted what it may not.
    pub(crate) denials: Arc<Denials>,
    /// None: it may run for ever.
    pub(crate) deadline: Option<Instant>,
    pub(crate) progress: Option<mpsc::Sender<Value>>,
    pub(crate) cancellation: Cancellation,
    /// For the job's result; none of a service, whose records are many and in
    /// the node's log.
    pub(crate) log: Option<Log>,
    pub(crate) said: Option<mpsc::Sender<Said>>,
    /// Where a service publishes; none if this is no service.
    pub(crate) feed: Option<Feed>,
    /// How much memory the instance has, in bytes.
    pub(crate) memory: Arc<AtomicU64>,
    /// The programs that it runs.
    pub(crate) children: Children,
}

impl Call {
    /// The call of `describe`, which is no job.
    pub(crate) fn describe(plugin: Arc<str>, deadline: Instant) -> Self {
        Self {
            job: String::new(),
            plugin,
            version: None,
            operation: String::new(),
            caller: None,
            data: Vec::new(),
            streams: Ends::default(),
            allowance: Arc::default(),
            denials: Arc::default(),
            deadline: Some(deadline),
            progress: None,
            cancellation: Cancellation::new(CancellationToken::new()),
            log: None,
            said: None,
            feed: None,
            memory: Arc::default(),
            children: Children::none(),
        }
    }

    /// Takes down a record for the job's result and its log, which has its fields
    /// as well.
    pub(crate) async fn say(&self, record: Record, fields: RecordFields) {
        say(self.log.as_ref(), self.said.as_ref(), record, fields).await;
    }

    /// The one who takes down what happens in this call.
    pub(crate) fn witness(&self) -> Witness {
        Witness {
            job: self.job.clone(),
            plugin: Arc::clone(&self.plugin),
            denials: Arc::clone(&self.denials),
            log: self.log.clone(),
            said: self.said.clone(),
        }
    }

    /// The same without waiting: a log that has no room for it does not get it.
    pub(crate) fn say_now(&self, record: Record) {
        if let Some(log) = &self.log {
            log.write(&record);
        }
        if let Some(said) = &self.said {
            // The job's result has it in any case.
            let _ = said.try_send(Said::Record { record, fields: Vec::new() });
        }
    }

    /// What was asked for; empty while a plugin describes itself.
    pub(crate) fn command(&self) -> String {
        match self.operation.is_empty() {
            true => String::new(),
            false => format!("{}.{}", self.plugin, self.operation),
        }
    }

    /// None if it may run for ever.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        Some(self.deadline?.saturating_duration_since(Instant::now()))
    }
}

async fn say(
    log: Option<&Log>,
    said: Option<&mpsc::Sender<Said>>,
    record: Record,
    fields: RecordFields,
) {
    if let Some(log) = log {
        log.write(&record);
    }
    if let Some(said) = said {
        // An error says that nobody takes it down, which is no matter of the plugin's.
        let _ = said.send(Said::Record { record, fields }).await;
    }
}

/// Takes down what happens in a call, for work that goes on beside it. Clones
/// are the same.
#[derive(Clone)]
pub(crate) struct Witness {
    job: String,
    pub(crate) plugin: Arc<str>,
    denials: Arc<Denials>,
    log: Option<Log>,
    said: Option<mpsc::Sender<Said>>,
}

impl Witness {
    /// Counts a call that was denied, and notes it, and why if that is not plain,
    /// where the job's log and the host's have it.
    pub(crate) async fn denied(&self, call: &str, argument: &str, reason: Option<&str>) {
        self.denials.count(call);
        let argument = plain(cut(argument, 256));
        let reason = reason.map(|reason| plain(cut(reason, 512)));
        tracing::warn!(
            job = self.job,
            plugin = &*self.plugin,
            call,
            argument,
            reason,
            "denied a plugin's call"
        );
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        self.warn(&format!("denied to `{}`: {call} {argument:?}{reason}", self.plugin)).await;
    }

    /// Takes down a warning, where the job's log has it.
    pub(crate) async fn warn(&self, text: &str) {
        let record = record(Level::WARNING, text);
        say(self.log.as_ref(), self.said.as_ref(), record, Vec::new()).await;
    }
}

/// Whether the caller has cancelled, and whether the plugin looks at it.
/// Clones share both.
#[derive(Clone)]
pub(crate) struct Cancellation {
    token: CancellationToken,
    was_asked: Arc<AtomicBool>,
}

impl Cancellation {
    pub(crate) fn new(token: CancellationToken) -> Self {
        Self { token, was_asked: Arc::default() }
    }

    /// The plugin's question.
    pub(crate) fn ask(&self) -> bool {
        self.was_asked.store(true, Ordering::Relaxed);
        self.token.is_cancelled()
    }

    /// The plugin's question, put for so long. Whether the caller has cancelled.
    pub(crate) async fn wait(&self, time: Duration) -> bool {
        self.was_asked.store(true, Ordering::Relaxed);
        timeout(time, self.token.cancelled()).await.is_ok()
    }

    /// Whether the plugin has asked at least once.
    pub(crate) fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::Relaxed)
    }

    /// Whether the caller has cancelled a plugin that looks at it.
    pub(crate) fn was_seen(&self) -> bool {
        self.was_asked() && self.token.is_cancelled()
    }

    pub(crate) async fn cancelled(&self) {
        self.token.cancelled().await;
    }
}

/// The records of a call. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Records>>);

impl Log {
    pub(crate) fn write(&self, record: &Record) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    /// Takes out what was written so far.
    pub(crate) fn take(&self) -> Vec<Record> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).finish()
    }
}
