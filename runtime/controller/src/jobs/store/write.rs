//! What the journal's thread does with each write.

use drover_api::{JobCounts, JobState, Timestamp, Transition};
use drover_jobs::{NewSubmission, Write};
use rusqlite::{Connection, params};
use serde::Serialize;

use super::{number, state_text};

/// Submissions that are deleted at a time; more wait for the next sweep, so that
/// nobody waits long behind one.
const SWEPT_AT_ONCE: u32 = 200;

pub(super) fn job(connection: &Connection, write: &Write) -> rusqlite::Result<()> {
    let next = write.highest() + 1;
    if next > 1 {
        let sql = "UPDATE store SET next = max(next, ?)";
        connection.prepare_cached(sql)?.execute([next.cast_signed()])?;
    }
    match write {
        Write::Submitted(new) => submitted(connection, new),
        Write::Sent { key, number } => {
            let sql = "UPDATE jobs SET number = ? WHERE key = ?";
            connection
                .prepare_cached(sql)?
                .execute([number.cast_signed(), key.cast_signed()])
                .map(drop)
        }
        Write::Started { key, transition } => {
            let sql = "UPDATE jobs SET state = 'RUNNING', history = history || ? WHERE key = ?
                       RETURNING submission";
            let submission = connection
                .prepare_cached(sql)?
                .query_row(params![lines([transition]), key.cast_signed()], |row| number(row, 0))?;
            moved(connection, submission, JobState::Queued, JobState::Running, transition.time)
        }
        Write::Killing { key, transition } => {
            let sql = "UPDATE jobs SET is_killed = 1, history = history || ? WHERE key = ?";
            connection
                .prepare_cached(sql)?
                .execute(params![lines([transition]), key.cast_signed()])
                .map(drop)
        }
        Write::Noted { key, transition } => {
            let sql = "UPDATE jobs SET history = history || ? WHERE key = ?";
            connection
                .prepare_cached(sql)?
                .execute(params![lines([transition]), key.cast_signed()])
                .map(drop)
        }
        Write::Moved { key, node, transition } => {
            let sql = "UPDATE jobs SET gid = ?, nid = ?, history = history || ? WHERE key = ?";
            connection
                .prepare_cached(sql)?
                .execute(params![node.gid.0, node.nid.0, lines([transition]), key.cast_signed()])
                .map(drop)
        }
        Write::Again { key, attempt, ready, transitions } => {
            let sql = "SELECT submission, state = 'RUNNING' FROM jobs WHERE key = ?";
            let (submission, is_running): (u64, bool) = connection
                .prepare_cached(sql)?
                .query_row([key.cast_signed()], |row| Ok((number(row, 0)?, row.get(1)?)))?;
            let sql = "UPDATE jobs SET state = 'QUEUED', number = 0, attempt = ?, ready = ?,
                           history = history || ? WHERE key = ?";
            connection.prepare_cached(sql)?.execute(params![
                attempt,
                ready.0.cast_signed(),
                lines(transitions),
                key.cast_signed()
            ])?;
            if is_running {
                let was = JobState::Running;
                moved(connection, submission, was, JobState::Queued, *ready)?;
            }
            Ok(())
        }
        Write::Ended { key, submission, was, transitions, result, .. } => {
            let sql = "INSERT OR REPLACE INTO results VALUES (?, ?)";
            connection.prepare_cached(sql)?.execute(params![key.cast_signed(), text_of(result)])?;
            let sql = "UPDATE jobs SET state = ?, history = history || ? WHERE key = ?";
            connection.prepare_cached(sql)?.execute(params![
                state_text(result.state),
                lines(transitions),
                key.cast_signed()
            ])?;
            let time = transitions.last().map_or(Timestamp(0), |last| last.time);
            moved(connection, *submission, *was, result.state, time)
        }
    }
}

fn submitted(connection: &Connection, new: &NewSubmission) -> rusqlite::Result<()> {
    let NewSubmission { key, request, by, time, start_by, end_by, jobs } = new;
    let optional = |time: &Option<Timestamp>| time.map(|time| time.0.cast_signed());
    let sql = "INSERT INTO submissions
                   (key, id, cmd, nodes, by, schedule, time, start_by, end_by, keep_ms, state, queued)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'QUEUED', ?)";
    connection.prepare_cached(sql)?.execute(params![
        key.cast_signed(),
        request.command.id.as_str(),
        request.command.cmd,
        request.nodes,
        &**by,
        request.schedule,
        time.0.cast_signed(),
        optional(start_by),
        optional(end_by),
        request.keep_ms.unwrap_or_default().min(i64::MAX as u64 / 2).cast_signed(),
        jobs.len() as i64
    ])?;
    connection
        .prepare_cached("INSERT INTO requests VALUES (?, ?)")?
        .execute(params![key.cast_signed(), text_of(request)])?;
    let sql = "INSERT INTO jobs (key, submission, gid, nid, number, ready, state, history)
               VALUES (?, ?, ?, ?, ?, ?, 'QUEUED', ?)";
    let mut insert = connection.prepare_cached(sql)?;
    let reason = format!("submitted by {by}");
    let history = lines([&Transition { time: *time, state: JobState::Queued, reason }]);
    for job in jobs {
        insert.execute(params![
            job.key.cast_signed(),
            key.cast_signed(),
            job.node.gid.0,
            job.node.nid.0,
            job.number.cast_signed(),
            job.ready.0.cast_signed(),
            history
        ])?;
    }
    Ok(())
}

/// A job of a submission has gone from one state to another.
fn moved(
    connection: &Connection,
    submission: u64,
    was: JobState,
    to: JobState,
    time: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "SELECT queued, running, ok, error, timeout, killed FROM submissions WHERE key = ?";
    let mut counts = connection
        .prepare_cached(sql)?
        .query_row([submission.cast_signed()], |row| super::query::counts(row, 0))?;
    let left = counts.of(was);
    *left = left.saturating_sub(1);
    *counts.of(to) += 1;
    let JobCounts { queued, running, ok, error, timeout, killed } = counts;
    let ended = (counts.unfinished() == 0).then_some(time.0.cast_signed());
    let sql = "UPDATE submissions SET queued = ?1, running = ?2, ok = ?3, error = ?4, timeout = ?5,
                   killed = ?6, state = ?7, ended = ?8, expires = ?8 + keep_ms WHERE key = ?9";
    connection.prepare_cached(sql)?.execute(params![
        queued.cast_signed(),
        running.cast_signed(),
        ok.cast_signed(),
        error.cast_signed(),
        timeout.cast_signed(),
        killed.cast_signed(),
        state_text(counts.state()),
        ended,
        submission.cast_signed()
    ])?;
    Ok(())
}

/// Deletes some of what was kept long enough.
pub(super) fn sweep(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "SELECT key FROM submissions WHERE expires < ? LIMIT ?";
    let mut query = connection.prepare_cached(sql)?;
    let keys = query
        .query_map(params![now.0.cast_signed(), SWEPT_AT_ONCE], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<i64>>>()?;
    for key in keys {
        for sql in [
            "DELETE FROM results WHERE job IN (SELECT key FROM jobs WHERE submission = ?)",
            "DELETE FROM jobs WHERE submission = ?",
            "DELETE FROM requests WHERE submission = ?",
            "DELETE FROM submissions WHERE key = ?",
        ] {
            connection.prepare_cached(sql)?.execute([key])?;
        }
    }
    Ok(())
}

/// Transitions, one a line.
fn lines<'a>(transitions: impl IntoIterator<Item = &'a Transition>) -> String {
    transitions.into_iter().map(|one| text_of(one) + "\n").collect()
}

fn text_of<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("it has no maps but those with texts as keys")
}
