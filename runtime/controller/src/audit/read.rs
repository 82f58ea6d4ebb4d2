//! Reading the audit log, and checking it.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use drover_api::{AuditEntry, AuditQuery, AuditVerdict};

use super::chain::{Head, Numbered};
use super::{Line, writer};

/// How many entries one answer has at most.
const MAX_ENTRIES: usize = 10_000;

/// What is in the log, the newest last.
pub(super) fn list(path: &Path, query: &AuditQuery) -> anyhow::Result<Vec<AuditEntry>> {
    let limit = query.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_ENTRIES);
    let limit = limit.min(MAX_ENTRIES);
    let mut entries: VecDeque<AuditEntry> = VecDeque::new();
    let mut results = HashMap::new();
    for line in lines(path)? {
        let line = line?;
        let json = line.split_once(' ').map_or("", |(_, json)| json);
        // What cannot be read is for `verify` to tell.
        let Ok(Numbered { number, line }) = serde_json::from_str(json) else { continue };
        match line {
            Line::Begun { time, who, role, from, what, on } => {
                let is_wanted = query.who.as_ref().is_none_or(|wanted| who == *wanted)
                    && query.what.as_ref().is_none_or(|wanted| {
                        what.contains(wanted.as_str()) || on.contains(wanted.as_str())
                    });
                if is_wanted {
                    let result = None;
                    entries.push_back(AuditEntry {
                        number,
                        time,
                        who,
                        role,
                        from,
                        what,
                        on,
                        result,
                    });
                }
                if entries.len() > limit {
                    entries.pop_front();
                }
            }
            Line::Ended { of, result, .. } => {
                // Those of entries that are not shown are not kept.
                if entries.front().is_some_and(|first| first.number <= of) {
                    results.insert(of, result);
                }
            }
        }
    }
    let finish = |mut entry: AuditEntry| {
        entry.result = results.remove(&entry.number);
        entry
    };
    Ok(entries.into_iter().map(finish).collect())
}

/// Checks every line, and that none is missing at the end.
pub(super) fn verify(path: &Path) -> anyhow::Result<AuditVerdict> {
    let noted = writer::noted(path).context("cannot read how far the audit log goes")?;
    let mut head = Head::start();
    let mut at_noted = (noted == head).then(|| head.clone());
    let verdict = |head: Head, fault| AuditVerdict { lines: head.lines, head: head.hash, fault };
    for line in lines(path)? {
        match line.map_err(|error| error.to_string()).and_then(|line| head.follow(&line)) {
            Ok((_, next)) => head = next,
            Err(fault) => return Ok(verdict(head, Some(fault))),
        }
        if head.lines == noted.lines {
            at_noted = Some(head.clone());
        }
    }
    let fault = match at_noted {
        None => Some(format!(
            "lines are missing at the end: {} were written, and {} are there",
            noted.lines, head.lines
        )),
        Some(found) if found != noted => Some(format!(
            "line {} is another one than was written: the log was made anew",
            noted.lines
        )),
        Some(_) => None,
    };
    Ok(verdict(head, fault))
}

/// The lines of the log; those that are no text have a fault.
fn lines(path: &Path) -> anyhow::Result<impl Iterator<Item = std::io::Result<String>>> {
    let file = File::open(path)
        .with_context(|| format!("cannot read the audit log {}", path.display()))?;
    Ok(BufReader::new(file).lines())
}
