//! Running a parser as the host does, for tests and for people who try a format.

use serde_json::{Map, Value, json};

use super::contract::Field;
use super::{LineParser, OpenError, answer};

/// The longest batch, in bytes, as at the real host.
const BATCH: usize = 64 << 10;

/// One event, in values of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// Its lines as they were, with their ends.
    pub text: Vec<u8>,
    /// Whether they are of the format.
    pub is_parsed: bool,
    /// Milliseconds since 1970 (UTC); 0 if the lines do not say when.
    pub time_ms: u64,
    /// In the numbers of the level protocol.
    pub level: u8,
    /// The fields by name. What is not UTF-8 in a text is replaced.
    pub fields: Map<String, Value>,
}

/// Opens a format and parses all of `text`, in batches of whole lines.
///
/// # Errors
///
/// If the format does not open.
///
/// # Panics
///
/// If a batch has a line of more than 64 KiB, which the host cuts before, or the
/// parser answers what the host would refuse.
pub fn parse_all<P: LineParser>(
    format: &str,
    options: &str,
    text: &[u8],
) -> Result<Vec<Tried>, OpenError> {
    let mut parser = P::open(format, options)?;
    let (mut events, mut held, mut rest) = (Vec::new(), Vec::new(), text);
    loop {
        let (batch, later) = rest.split_at(batch_length(rest));
        rest = later;
        let is_last = rest.is_empty();
        held.extend_from_slice(batch);
        let covered = take(&mut parser, &held, is_last, &mut events);
        held.drain(..covered);
        assert!(held.len() <= BATCH, "the parser leaves more than {BATCH} bytes");
        if is_last {
            assert!(held.is_empty(), "the parser leaves lines of the last batch: {held:?}");
            return Ok(events);
        }
    }
}

/// How much of the text is whole lines that fit into a batch.
fn batch_length(text: &[u8]) -> usize {
    if text.len() <= BATCH {
        return text.len();
    }
    let end = memchr::memrchr(b'\n', &text[..BATCH]);
    end.expect("a line fits into a batch") + 1
}

/// Parses one batch; gives how much of it became events.
fn take<P: LineParser>(
    parser: &mut P,
    lines: &[u8],
    is_last: bool,
    events: &mut Vec<Tried>,
) -> usize {
    let answer = answer(Some(parser), lines, is_last);
    let (mut start, mut fields) = (0, &answer.fields[..]);
    for event in &answer.events {
        let text = &lines[start..start + event.length as usize];
        let (own, others) = fields.split_at(event.fields.into());
        (start, fields) = (start + text.len(), others);
        let field = |field: &Field| {
            let name = answer.names[usize::from(field.name)].clone();
            (name, value(field, text, &answer.rewritten))
        };
        events.push(Tried {
            text: text.to_vec(),
            is_parsed: event.status != 0,
            time_ms: event.time,
            level: event.level,
            fields: own.iter().map(field).collect(),
        });
    }
    assert!(fields.is_empty(), "fields of no event: {fields:?}");
    start
}

fn value(field: &Field, text: &[u8], rewritten: &[u8]) -> Value {
    let part = |of: &[u8]| {
        let start = field.value as usize;
        String::from_utf8_lossy(&of[start..start + field.length as usize]).into_owned()
    };
    match field.kind {
        0 => part(text).into(),
        1 => part(rewritten).into(),
        2 => field.value.cast_signed().into(),
        _ => json!(f64::from_bits(field.value)),
    }
}
