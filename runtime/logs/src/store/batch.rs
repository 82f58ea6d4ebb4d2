//! Records on their way into the store.

use std::sync::Arc;

use drover_api::{Level, Timestamp};

use super::record::{Flags, Sent, StoredRecord};
use crate::fields::{self, FieldRef};
use crate::level_set::LevelSet;
use crate::protocol::{Message, Part};
use crate::source::Source;

/// What becomes of a job's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The job, and what it runs.
    pub source: Arc<Source>,
    /// Levels that are kept here.
    pub store: LevelSet,
    /// Levels that are forwarded. They are kept here as well, since they wait
    /// on disk until they are acknowledged.
    pub forward: LevelSet,
}

impl Origin {
    /// A source of which all is kept and nothing forwarded.
    #[must_use]
    pub fn new(source: Source) -> Self {
        let source = Arc::new(source);
        Self { source, store: LevelSet::ALL, forward: LevelSet::NONE }
    }
}

/// Records of one job, in the order they were written.
///
/// One is meant to take what a read of the child's output held.
#[derive(Debug)]
pub struct Batch {
    origin: Arc<Origin>,
    entries: Vec<Entry>,
    /// The text of each record, and then its fields.
    data: Vec<u8>,
    marks: Vec<(String, Option<String>)>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    time: Timestamp,
    level: Level,
    flags: Flags,
    length: usize,
    fields_length: usize,
    sent: Option<Sent>,
}

/// A record as it is written: the columns of its row but the id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewRecord<'a> {
    pub(crate) source: &'a Source,
    pub(crate) time: Timestamp,
    pub(crate) level: Level,
    pub(crate) flags: Flags,
    pub(crate) data: &'a [u8],
    /// As [`fields::write`] writes them; empty if there are none.
    pub(crate) fields: &'a [u8],
    pub(crate) sent: Option<Sent>,
}

impl Batch {
    /// A batch without records.
    #[must_use]
    pub fn new(origin: Arc<Origin>) -> Self {
        Self { origin, entries: Vec::new(), data: Vec::new(), marks: Vec::new() }
    }

    /// Adds a message as it comes out of the parser. One whose level is neither
    /// stored nor forwarded is left out.
    pub fn push(&mut self, time: Timestamp, message: Message<'_>) {
        self.push_with_fields(time, message, std::iter::empty());
    }

    /// As [`Batch::push`], with what a parser found in the message.
    pub fn push_with_fields<'a>(
        &mut self,
        time: Timestamp,
        message: Message<'_>,
        fields: impl Iterator<Item = (&'a str, FieldRef<'a>)>,
    ) {
        let is_forwarded = self.is_forwarded(message.level);
        if is_forwarded || self.origin.store.contains(message.level) {
            self.add(time, message, Flags::new(message.part, is_forwarded));
            self.add_fields(fields);
        }
    }

    /// Has the store remember `value` under `name` from the commit on in which
    /// these records are, or forget it: both or none. See [`LogStore::marks`].
    ///
    /// [`LogStore::marks`]: super::LogStore::marks
    pub fn mark(&mut self, name: impl Into<String>, value: Option<String>) {
        self.marks.push((name.into(), value));
    }

    /// Adds a record that a node sent, as it was in the node's log. Its source
    /// must be that of the batch.
    pub fn push_sent(&mut self, record: &StoredRecord, sent: Sent) {
        let StoredRecord { time, level, data, part, is_gap, .. } = record;
        let gap = if *is_gap { Flags::GAP } else { 0 };
        let flags = Flags(Flags::new(*part, false).0 | gap);
        self.add(*time, Message { level: *level, data, part: *part }, flags);
        self.add_fields(record.fields.iter());
        if let Some(entry) = self.entries.last_mut() {
            entry.sent = Some(sent);
        }
    }

    /// Adds a record that stands for what was not kept, whatever levels are.
    pub fn push_gap(&mut self, time: Timestamp, text: &str) {
        let level = Level::WARNING;
        let message = Message { level, data: text.as_bytes(), part: Part::Whole };
        let flags = Flags::new(Part::Whole, self.is_forwarded(level));
        self.add(time, message, Flags(flags.0 | Flags::GAP));
    }

    /// Adds a record that the store itself writes, now.
    pub(crate) fn note(&mut self, level: Level, text: &str) {
        let message = Message { level, data: text.as_bytes(), part: Part::Whole };
        self.add(Timestamp::now(), message, Flags::new(Part::Whole, self.is_forwarded(level)));
    }

    fn is_forwarded(&self, level: Level) -> bool {
        self.origin.forward.contains(level)
    }

    fn add(&mut self, time: Timestamp, message: Message<'_>, flags: Flags) {
        self.data.extend_from_slice(message.data);
        let length = message.data.len();
        let level = message.level;
        self.entries.push(Entry { time, level, flags, length, fields_length: 0, sent: None });
    }

    /// Gives the record that was added last its fields.
    fn add_fields<'a>(&mut self, fields: impl Iterator<Item = (&'a str, FieldRef<'a>)>) {
        let before = self.data.len();
        fields::write(&mut self.data, fields);
        if let Some(entry) = self.entries.last_mut() {
            entry.fields_length = self.data.len() - before;
        }
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The memory that it takes, about.
    pub(crate) fn cost(&self) -> usize {
        let marks = self.marks.iter().map(|(name, value)| {
            size_of::<(String, Option<String>)>()
                + name.len()
                + value.as_ref().map_or(0, String::len)
        });
        let entries = self.entries.len() * size_of::<Entry>();
        self.data.len() + entries + marks.sum::<usize>() + size_of::<Self>()
    }

    pub(crate) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    pub(crate) fn marks(&self) -> &[(String, Option<String>)] {
        &self.marks
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = NewRecord<'_>> {
        let mut rest = &self.data[..];
        self.entries.iter().map(move |entry| {
            let (data, after) = rest.split_at(entry.length);
            let (fields, after) = after.split_at(entry.fields_length);
            rest = after;
            let Entry { time, level, flags, sent, .. } = *entry;
            NewRecord { source: &self.origin.source, time, level, flags, data, fields, sent }
        })
    }
}
