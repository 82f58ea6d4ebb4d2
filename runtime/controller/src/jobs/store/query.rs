//! What those learn who ask about one submission.

use drover_api::{
    JobCounts, JobId, JobQuery, JobResult, JobResults, JobState, JobSubmit, NodeId, NodeJob,
    Submission, SubmissionDetail, Timestamp, job_on, parts_of_job,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{json, number, state_text, time, unreadable};

/// Jobs of a submission in one answer.
const JOBS_IN_PAGE: usize = 2000;

/// The columns of a [`Submission`].
pub(super) const SUBMISSION: &str = "key, id, cmd, nodes, by, schedule, time, ended, state, queued, running, ok, \
                          error, timeout, killed";

/// A submission, and the node of the job if one was named.
#[derive(Debug)]
pub(in super::super) struct Found {
    pub(in super::super) key: u64,
    pub(in super::super) submission: Submission,
    pub(in super::super) node: Option<NodeId>,
}

pub(super) fn counts(row: &Row<'_>, first: usize) -> rusqlite::Result<JobCounts> {
    Ok(JobCounts {
        queued: number(row, first)?,
        running: number(row, first + 1)?,
        ok: number(row, first + 2)?,
        error: number(row, first + 3)?,
        timeout: number(row, first + 4)?,
        killed: number(row, first + 5)?,
    })
}

fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<JobState> {
    let text: String = row.get(column)?;
    serde_json::from_value(text.into()).map_err(|error| unreadable(column, error))
}

fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<JobId> {
    let text: String = row.get(column)?;
    serde_json::from_value(text.into()).map_err(|error| unreadable(column, error))
}

pub(super) fn submission(row: &Row<'_>) -> rusqlite::Result<Submission> {
    Ok(Submission {
        id: id(row, 1)?,
        cmd: row.get(2)?,
        nodes: row.get(3)?,
        by: row.get(4)?,
        schedule: row.get(5)?,
        time: Timestamp(number(row, 6)?),
        ended: time(row, 7)?,
        state: state(row, 8)?,
        counts: counts(row, 9)?,
    })
}

/// The submission of this id, or that of the job of this id.
pub(in super::super) fn find(
    connection: &Connection,
    id: &JobId,
) -> rusqlite::Result<Option<Found>> {
    let sql = format!("SELECT {SUBMISSION} FROM submissions WHERE id = ?");
    let mut query = connection.prepare_cached(&sql)?;
    let mut by_id = |id: &JobId, node| {
        let row =
            |row: &Row<'_>| Ok(Found { key: number(row, 0)?, submission: submission(row)?, node });
        query.query_row([id.as_str()], row).optional()
    };
    if let Some(found) = by_id(id, None)? {
        return Ok(Some(found));
    }
    match parts_of_job(id) {
        Some((submission, node)) => by_id(&submission, Some(node)),
        None => Ok(None),
    }
}

/// What was submitted under an id, and for how many nodes.
pub(in super::super) fn request(
    connection: &Connection,
    id: &JobId,
) -> rusqlite::Result<Option<(JobSubmit, u64)>> {
    let sql = "SELECT request, queued + running + ok + error + timeout + killed FROM submissions
               JOIN requests ON requests.submission = key WHERE id = ?";
    let row = |row: &Row<'_>| Ok((json(row, 0)?, number(row, 1)?));
    connection.prepare_cached(sql)?.query_row([id.as_str()], row).optional()
}

/// All of a submission, or of one of its jobs; a page of them.
pub(in super::super) fn show(
    connection: &Connection,
    wanted: &JobQuery,
) -> rusqlite::Result<Option<SubmissionDetail>> {
    let Some(found) = find(connection, &wanted.id)? else { return Ok(None) };
    let Some((request, _)) = request(connection, &found.submission.id)? else { return Ok(None) };
    let mut jobs = Vec::new();
    let mut next = None;
    each_job(connection, &found, wanted, "", |row, node| {
        if jobs.len() == JOBS_IN_PAGE {
            next = jobs.last().map(|job: &NodeJob| job.node);
            return Ok(false);
        }
        let history: String = row.get(4)?;
        let transitions = history.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        jobs.push(NodeJob {
            id: job_on(&found.submission.id, node).unwrap_or_else(|_| wanted.id.clone()),
            node,
            state: state(row, 2)?,
            attempt: row.get(3)?,
            transitions: transitions.map_err(|error| unreadable(4, error))?,
        });
        Ok(true)
    })?;
    Ok(Some(SubmissionDetail { submission: found.submission, request, jobs, next }))
}

/// Results of a submission, or of one of its jobs; as many as fit into `most_bytes`,
/// and one at least.
pub(in super::super) fn results(
    connection: &Connection,
    wanted: &JobQuery,
    most_bytes: usize,
) -> rusqlite::Result<Option<JobResults>> {
    let Some(found) = find(connection, &wanted.id)? else { return Ok(None) };
    let mut results: Vec<JobResult> = Vec::new();
    let (mut bytes, mut next) = (0, None);
    each_job(connection, &found, wanted, "JOIN results ON results.job = key", |row, _| {
        let text: String = row.get(5)?;
        bytes += text.len();
        if let Some(last) = results.last().filter(|_| bytes > most_bytes) {
            next = Some(NodeId { gid: last.gid, nid: last.nid });
            return Ok(false);
        }
        results.push(serde_json::from_str(&text).map_err(|error| unreadable(5, error))?);
        Ok(true)
    })?;
    Ok(Some(JobResults { results, next }))
}

/// Hands out the rows of the jobs that are meant, by node, until `take` has enough.
fn each_job(
    connection: &Connection,
    found: &Found,
    wanted: &JobQuery,
    join: &str,
    mut take: impl FnMut(&Row<'_>, NodeId) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let result = if join.is_empty() { "NULL" } else { "result" };
    let sql = format!(
        "SELECT gid, nid, state, attempt, history, {result} FROM jobs {join}
         WHERE submission = ?1 AND (gid, nid) > (?2, ?3)
             AND (?4 IS NULL OR state = ?4) AND (?5 IS NULL OR (gid = ?5 AND nid = ?6))
         ORDER BY gid, nid"
    );
    let after =
        wanted.after.map_or((-1, -1), |node| (i64::from(node.gid.0), i64::from(node.nid.0)));
    let mut query = connection.prepare_cached(&sql)?;
    let mut rows = query.query(params![
        found.key.cast_signed(),
        after.0,
        after.1,
        wanted.state.map(state_text),
        found.node.map(|node| node.gid.0),
        found.node.map(|node| node.nid.0)
    ])?;
    while let Some(row) = rows.next()? {
        let node = NodeId::new(row.get(0)?, row.get(1)?);
        if !take(row, node)? {
            break;
        }
    }
    Ok(())
}
