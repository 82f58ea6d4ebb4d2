//! Lists of submissions, the newest first.
//!
//! Every filter has an index that is in the order of the list, so a list with one of them
//! reads what it shows and no more. Where there are several, the one of which there is
//! the least is followed, and the others are held against what it finds.

use drover_api::{JobList, JobState, NodeId, Submission, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::query::{SUBMISSION, submission};
use super::state_text;

/// Submissions in a list, unless it is asked for another number.
const LISTED: u32 = 50;

/// The most submissions in a list.
const MOST_LISTED: u32 = 10_000;

/// How far one counts to see of which filter there is the least. Of what is more than
/// that, as many as are shown are mostly found soon.
const COUNTED: u32 = 1000;

/// The submissions that are meant.
pub(in super::super) fn list(
    connection: &Connection,
    wanted: &JobList,
) -> rusqlite::Result<Vec<Submission>> {
    let Query { sql, values } = query(connection, wanted)?;
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map(params_from_iter(values), submission)?;
    rows.collect()
}

/// A question with its parameters.
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// What a submission must be to be listed.
enum Filter {
    /// A column has this value.
    Has(Column, String),
    /// One of its jobs is on this node.
    On(NodeId),
    /// It was submitted then or later.
    Since(Timestamp),
}

/// A column with an index over it and the time.
#[derive(Clone, Copy)]
enum Column {
    State,
    Cmd,
    By,
    Schedule,
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Cmd => "cmd",
            Self::By => "by",
            Self::Schedule => "schedule",
        }
    }
}

/// How the list is read.
pub(super) fn query(connection: &Connection, wanted: &JobList) -> rusqlite::Result<Query> {
    let JobList { state, cmd, node, by, schedule, since, limit } = wanted;
    let texts = [
        (Column::State, state.map(|state: JobState| state_text(state).to_owned())),
        (Column::Cmd, cmd.clone()),
        (Column::By, by.clone()),
        (Column::Schedule, schedule.clone()),
    ];
    let has = texts.into_iter().filter_map(|(column, text)| Some(Filter::Has(column, text?)));
    let others = [node.map(Filter::On), since.map(Filter::Since)];
    let mut filters: Vec<_> = has.chain(others.into_iter().flatten()).collect();
    let followed = match filters.len() {
        0 => Filter::Since(Timestamp(0)),
        1 => filters.swap_remove(0),
        _ => filters.swap_remove(least(connection, &filters)?),
    };
    let columns = match followed {
        Filter::On(_) => &of_submissions(),
        _ => SUBMISSION,
    };
    let mut sql = format!("SELECT {columns} {}", followed.source());
    let mut values = followed.values();
    for filter in filters {
        sql += " AND ";
        sql += &filter.condition();
        values.extend(filter.values());
    }
    sql += match followed {
        Filter::On(_) => " ORDER BY jobs.submission DESC LIMIT ?",
        _ => " ORDER BY time DESC, key DESC LIMIT ?",
    };
    values.push(i64::from(limit.unwrap_or(LISTED).min(MOST_LISTED)).into());
    Ok(Query { sql, values })
}

/// The place of the filter of which there is the least, the first of them.
fn least(connection: &Connection, filters: &[Filter]) -> rusqlite::Result<usize> {
    let mut least = (u32::MAX, 0);
    for (place, filter) in filters.iter().enumerate() {
        least = least.min((filter.count(connection)?, place));
    }
    Ok(least.1)
}

impl Filter {
    /// Where to read to follow this filter.
    fn source(&self) -> String {
        match self {
            Self::Since(_) => {
                "FROM submissions INDEXED BY submissions_by_time WHERE time >= ?".to_owned()
            }
            Self::Has(column, _) => {
                let name = column.name();
                format!("FROM submissions INDEXED BY submissions_by_{name} WHERE {name} = ?")
            }
            Self::On(_) => "FROM jobs INDEXED BY jobs_by_node
                 CROSS JOIN submissions ON submissions.key = jobs.submission
                 WHERE gid = ? AND nid = ?"
                .to_owned(),
        }
    }

    /// What is asked of a submission that was found by another filter.
    fn condition(&self) -> String {
        match self {
            Self::Since(_) => "time >= ?".to_owned(),
            Self::Has(column, _) => format!("submissions.{} = ?", column.name()),
            Self::On(_) => "EXISTS (SELECT 1 FROM jobs WHERE submission = submissions.key
                                    AND gid = ? AND nid = ?)"
                .to_owned(),
        }
    }

    fn values(&self) -> Vec<Value> {
        match self {
            Self::Since(time) => vec![time.0.cast_signed().into()],
            Self::Has(_, text) => vec![text.clone().into()],
            Self::On(node) => vec![i64::from(node.gid.0).into(), i64::from(node.nid.0).into()],
        }
    }

    /// How many there are, as far as that is counted.
    fn count(&self, connection: &Connection) -> rusqlite::Result<u32> {
        let sql = format!("SELECT count(*) FROM (SELECT 1 {} LIMIT {COUNTED})", self.source());
        let mut query = connection.prepare_cached(&sql)?;
        query.query_row(params_from_iter(self.values()), |row| row.get(0))
    }
}

/// The columns, where those of jobs have the same names.
fn of_submissions() -> String {
    SUBMISSION.replace("key", "submissions.key").replace("state", "submissions.state")
}
