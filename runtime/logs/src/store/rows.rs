//! Which records a query wants, and how they are read out of a stretch of a file.

use std::fmt::Write as _;
use std::sync::Arc;

use drover_api::{JobId, Level, NodeId, Timestamp};
use memchr::memmem::Finder;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, ToSql};

use super::database::{to_i64, to_u64};
use super::query::{Filter, Order};
use super::record::{Flags, Sent, Sequence, StoredRecord};
use super::zone::Run;
use crate::fields::Fields;
use crate::level_set::LevelSet;
use crate::source::Source;

/// Records with their places, and how much more there may be.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) records: Vec<(Sequence, StoredRecord)>,
    max_records: usize,
    max_bytes: usize,
    bytes: usize,
}

impl Found {
    pub(super) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self { records: Vec::new(), max_records, max_bytes, bytes: 0 }
    }

    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= self.max_records || self.bytes >= self.max_bytes
    }

    /// The source of the last record, if it is this one: most have it.
    fn shared_source(&self, job: &str, domain: &str, name: &str) -> Option<Arc<Source>> {
        let source = &self.records.last()?.1.source;
        let is_same = source.job.as_str() == job && source.domain == domain && source.name == name;
        is_same.then(|| Arc::clone(source))
    }
}

/// The records that a query wants, and in which order.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) filter: Filter,
    pub(super) order: Order,
    pub(super) is_forwarded: bool,
    finder: Option<Finder<'static>>,
    /// The statements that read records of files with and without fields.
    select: [String; 2],
}

impl Wanted {
    pub(super) fn new(filter: Filter, order: Order) -> Self {
        let finder = filter.text.as_ref().map(|text| Finder::new(text).into_owned());
        let wanted =
            Self { filter, order, is_forwarded: false, finder, select: Default::default() };
        wanted.with_statements()
    }

    /// Leaves out what is not to be forwarded.
    pub(super) fn only_forwarded(mut self) -> Self {
        self.is_forwarded = true;
        self.with_statements()
    }

    fn with_statements(mut self) -> Self {
        self.select = ["fields", "NULL"].map(|fields| self.select_statement(fields));
        self
    }

    /// Reads a stretch of a file until enough is found, and says how much of it was
    /// looked at.
    pub(super) fn read(
        &self,
        connection: &Connection,
        Run { first: low, last: high }: Run,
        found: &mut Found,
    ) -> rusqlite::Result<Run> {
        let select = &self.select[usize::from(!has_fields(connection)?)];
        let mut statement = connection.prepare_cached(select)?;
        for (i, value) in self.parameters(&low, &high).into_iter().enumerate() {
            statement.raw_bind_parameter(i + 1, value)?;
        }
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            let Some((place, record)) = self.record_of(row, found)? else { continue };
            found.bytes += record.data.len() + record.fields.cost() + size_of::<StoredRecord>();
            found.records.push((place, record));
            if found.is_full() {
                return Ok(match self.order {
                    Order::Oldest => Run { first: low, last: place.0 },
                    Order::Newest => Run { first: place.0, last: high },
                });
            }
        }
        Ok(Run { first: low, last: high })
    }

    /// The record in a row, if the text that is asked for occurs in it and its
    /// fields are as they are to be.
    fn record_of(
        &self,
        row: &Row<'_>,
        found: &Found,
    ) -> rusqlite::Result<Option<(Sequence, StoredRecord)>> {
        let data = match row.get_ref(7)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
            _ => &[],
        };
        if self.finder.as_ref().is_some_and(|finder| finder.find(data).is_none()) {
            return Ok(None);
        }
        let fields = match row.get_ref(10)? {
            ValueRef::Text(json) => Fields::read(json),
            _ => Fields::default(),
        };
        if !self.filter.fields.iter().all(|condition| condition.holds(&fields)) {
            return Ok(None);
        }
        let place = Sequence(to_u64(row.get(0)?));
        let column = |i: usize| Ok::<_, rusqlite::Error>(row.get_ref(i)?.as_str().unwrap_or(""));
        let (job, domain, name) = (column(1)?, column(2)?, column(3)?);
        let source = match found.shared_source(job, domain, name) {
            Some(source) => source,
            None => {
                // A job that is none cannot be told; its file is damaged.
                let job = job.parse().map_err(|_| rusqlite::Error::InvalidQuery)?;
                Arc::new(Source { job, domain: domain.to_owned(), name: name.to_owned() })
            }
        };
        let flags = Flags(row.get(6)?);
        let node = row.get_ref(8)?.as_str_or_null()?.and_then(|node| node.parse::<NodeId>().ok());
        let sent = match node {
            Some(node) => Some(Sent { node, place: to_u64(row.get(9)?) }),
            None => None,
        };
        let record = StoredRecord {
            id: place.id(),
            source,
            time: Timestamp(to_u64(row.get(4)?)),
            level: Level(row.get(5)?),
            data: data.to_vec(),
            fields,
            part: flags.part(),
            is_gap: flags.has(Flags::GAP),
            sent,
        };
        Ok(Some((place, record)))
    }

    /// The order in the words of SQL.
    pub(super) fn direction(&self) -> &'static str {
        match self.order {
            Order::Oldest => "ASC",
            Order::Newest => "DESC",
        }
    }

    /// The statement that reads a stretch of records. Its parameters are those
    /// of [`Wanted::parameters`]; numbers stand in the text.
    fn select_statement(&self, fields: &str) -> String {
        let mut sql = format!(
            "SELECT id, job, domain, name, epoch, level, flags, data, node, place, {fields}
             FROM logs WHERE id BETWEEN ?1 AND ?2"
        );
        if !self.filter.fields.is_empty() {
            let _ = write!(sql, " AND {fields} IS NOT NULL");
        }
        let texts = [
            ("job", self.filter.job.is_some()),
            ("domain", self.filter.domain.is_some()),
            ("name", self.filter.name.is_some()),
            ("node", self.filter.node.is_some()),
        ];
        let asked_for = texts.into_iter().filter(|(_, is_asked_for)| *is_asked_for);
        for (parameter, (column, _)) in (3..).zip(asked_for) {
            let _ = write!(sql, " AND {column} = ?{parameter}");
        }
        if let Some(from) = self.filter.from {
            let _ = write!(sql, " AND epoch >= {}", to_i64(from.0));
        }
        if let Some(until) = self.filter.until {
            let _ = write!(sql, " AND epoch < {}", to_i64(until.0));
        }
        if self.filter.levels != LevelSet::ALL {
            let ranges = self.filter.levels.ranges();
            let ranges = ranges.map(|(a, b)| format!("level BETWEEN {} AND {}", a.0, b.0));
            let ranges = ranges.collect::<Vec<_>>().join(" OR ");
            let _ = write!(sql, " AND ({})", if ranges.is_empty() { "FALSE" } else { &ranges });
        }
        if self.is_forwarded {
            let _ = write!(sql, " AND flags & {}", Flags::FORWARD);
        }
        let _ = write!(sql, " ORDER BY id {}", self.direction());
        sql
    }

    fn parameters<'a>(&'a self, low: &'a u64, high: &'a u64) -> Vec<Box<dyn ToSql + 'a>> {
        let mut parameters: Vec<Box<dyn ToSql + 'a>> =
            vec![Box::new(to_i64(*low)), Box::new(to_i64(*high))];
        let job = self.filter.job.as_ref().map(JobId::as_str);
        for text in [job, self.filter.domain.as_deref(), self.filter.name.as_deref()] {
            parameters.extend(text.map(|text| Box::new(text) as Box<dyn ToSql>));
        }
        if let Some(node) = self.filter.node {
            parameters.push(Box::new(node.to_string()));
        }
        parameters
    }
}

/// Whether records may have fields: those of a file that an older program ended
/// have none.
pub(super) fn has_fields(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('logs') WHERE name = 'fields')";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}
