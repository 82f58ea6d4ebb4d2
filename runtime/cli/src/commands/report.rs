//! How a job's progress and result are shown.

use std::fmt::Write as _;
use std::io::IsTerminal;

use data_encoding::BASE64;
use drover_api::{ErrorCode, JobResult, JobState, Record};
use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::output::Stream;
use crate::{output, render};

/// Shows a report of a job that is still running.
pub(super) fn progress(report: &Value) {
    let text = match report {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    output::note(&format!("… {text}"));
}

/// Shows a record.
pub(super) fn record(record: &Record) {
    output::note(&format!("{}: {}", record.level.name(), record.data));
}

/// Shows a result: the answer on standard output; what the job logged and
/// wrote, and why it failed, on standard error. `place` says where it ran,
/// such as `on node a`; it may be empty.
pub(super) fn result(result: &JobResult, place: &str, as_json: bool) -> Result<Exit, Failure> {
    if !as_json {
        result.records.iter().for_each(record);
        for (name, text) in ["stdout", "stderr"].iter().zip(&result.streams) {
            for line in text.lines() {
                output::note(&format!("{name}: {line}"));
            }
        }
    }
    ending(result, place, as_json)
}

/// The same where standard output is the job's own: the answer goes to standard
/// error as well.
pub(super) fn beside_output(
    result: &JobResult,
    place: &str,
    as_json: bool,
) -> Result<Exit, Failure> {
    if as_json {
        output::note(&serde_json::to_string_pretty(result)?);
    } else if result.state == JobState::Ok {
        output::note(&render::value(&result.data));
    } else {
        output::note(&failure(result, place));
    }
    Ok(result.into())
}

/// The same where all that the job said has been shown.
pub(super) fn ending(result: &JobResult, place: &str, as_json: bool) -> Result<Exit, Failure> {
    if as_json {
        output::json(result)?;
    } else if result.state == JobState::Ok {
        match binary(&result.data) {
            Some(bytes) => output::raw(Stream::Stdout, &bytes)?,
            None => output::answer(&render::value(&result.data))?,
        }
    } else {
        output::note(&failure(result, place));
    }
    Ok(result.into())
}

/// The bytes of an answer that is no text, for whoever takes them: a person at a
/// terminal is shown the base64 of them.
fn binary(answer: &Value) -> Option<Vec<u8>> {
    let object = answer.as_object().filter(|object| object.len() == 1)?;
    let bytes = BASE64.decode(object.get("base64")?.as_str()?.as_bytes()).ok()?;
    (!std::io::stdout().is_terminal()).then_some(bytes)
}

/// Whether the message says for people all that the detail says for programs.
fn is_told_by_message(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UnknownCommand | ErrorCode::InvalidArguments)
}

fn failure(result: &JobResult, place: &str) -> String {
    let space = if place.is_empty() { "" } else { " " };
    let mut text = format!("drover: {}{space}{place} ended in ", result.cmd);
    text.push_str(match result.state {
        JobState::Timeout => "a timeout",
        JobState::Killed => "being killed",
        _ => "an error",
    });
    if let Some(error) = &result.error {
        let _ = write!(text, " ({}): {}", error.code, error.message);
        if !is_told_by_message(error.code) {
            for line in render::value(&error.detail).lines() {
                let _ = write!(text, "\n  {line}");
            }
        }
    }
    text
}
