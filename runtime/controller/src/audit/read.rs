//! Reading the audit log, and checking it.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use anyhow::Context;
use drover_api::{AuditEntry, AuditQuery, AuditVerdict};

use super::chain::{Head, Numbered};
use super::files::{Part, parts};
use super::{Line, writer};

/// How many entries one answer has at most.
const MAX_ENTRIES: usize = 10_000;

/// What is in the log, the newest last. Files are read from the newest on, until
/// there is enough; what is in memory is what is answered.
pub(super) fn list(path: &Path, query: &AuditQuery) -> anyhow::Result<Vec<AuditEntry>> {
    let limit = query.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_ENTRIES);
    let limit = limit.min(MAX_ENTRIES);
    let mut found = Vec::new();
    // What came of things that were begun in an earlier file.
    let mut results = HashMap::new();
    for part in files(path)?.into_iter().rev() {
        let missing = limit - found.len();
        if missing == 0 {
            break;
        }
        let of_part = entries(part, query, missing, &mut results)?;
        found.splice(0..0, of_part);
    }
    Ok(found)
}

/// The last entries of one file that are wanted.
fn entries(
    part: Part,
    query: &AuditQuery,
    limit: usize,
    results: &mut HashMap<u64, String>,
) -> anyhow::Result<VecDeque<AuditEntry>> {
    let before = part.after.lines;
    let mut entries = VecDeque::<AuditEntry>::new();
    for line in part {
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
                    let result = results.remove(&number);
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
            Line::Ended { of, result, .. } if of <= before => {
                results.insert(of, result);
            }
            Line::Ended { of, result, .. } => {
                let place = entries.binary_search_by_key(&of, |entry| entry.number);
                if let Some(entry) = place.ok().and_then(|place| entries.get_mut(place)) {
                    entry.result = Some(result);
                }
            }
        }
    }
    Ok(entries)
}

/// Checks every line of every file, and that none is missing between files or at the
/// end: `written` is how far it goes for whoever writes it, who has noted that on disk a
/// moment ago at the latest.
pub(super) fn verify(path: &Path, written: Option<Head>) -> anyhow::Result<AuditVerdict> {
    let noted = writer::noted(path).context("cannot read how far the audit log goes")?;
    let noted = noted.map(|noted| written.unwrap_or(noted));
    let mut head = Head::start();
    let mut at_noted = noted.as_ref().filter(|noted| **noted == head).cloned();
    let mut files_read = 0;
    let verdict = |files, head: Head, fault| AuditVerdict {
        lines: head.lines,
        head: head.hash,
        files,
        fault,
    };
    for part in files(path)? {
        files_read += 1;
        if part.after != head {
            let fault = match part.after.lines > head.lines {
                true => format!(
                    "lines {} to {} are missing: the files that had them are gone, and {} comes \
                     after them",
                    head.lines + 1,
                    part.after.lines,
                    part.name
                ),
                false => format!(
                    "{} does not come after line {}: it is another file than was written",
                    part.name, head.lines
                ),
            };
            return Ok(verdict(files_read, head, Some(fault)));
        }
        let name = part.name.clone();
        for line in part {
            match line.map_err(|error| error.to_string()).and_then(|line| head.follow(&line)) {
                Ok((_, next)) => head = next,
                Err(fault) => {
                    let fault = format!("{fault} ({name})");
                    return Ok(verdict(files_read, head, Some(fault)));
                }
            }
            if noted.as_ref().is_some_and(|noted| noted.lines == head.lines) {
                at_noted = Some(head.clone());
            }
        }
    }
    let fault = match (noted, at_noted) {
        (None, _) => Some(
            "audit.head is missing or damaged, so nobody can tell whether lines are missing at \
             the end"
                .to_owned(),
        ),
        (Some(noted), None) => Some(format!(
            "lines are missing at the end: {} were written, and {} are there",
            noted.lines, head.lines
        )),
        (Some(noted), Some(found)) if found != noted => Some(format!(
            "line {} is another one than was written: the log was made anew",
            noted.lines
        )),
        (Some(_), Some(_)) => None,
    };
    Ok(verdict(files_read, head, fault))
}

fn files(path: &Path) -> anyhow::Result<Vec<Part>> {
    parts(path).with_context(|| format!("cannot read the audit log {}", path.display()))
}
