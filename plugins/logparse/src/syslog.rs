//! Lines of syslog: RFC 5424, RFC 3164, and what daemons write to files.

use drover_sdk::lines::Event;

use crate::levels::{self, FACILITIES, SEVERITIES};
use crate::time::{self, Clock};
use crate::values::{find, find_byte, integer, names, plain, quoted, text_unless_dash};

names! {
    FACILITY "facility",
    SEVERITY "severity",
    HOST "host",
    PROGRAM "program",
    PID "pid",
    MESSAGE_ID "message_id",
    MESSAGE "message",
}

/// Parses a line of either kind: with a priority and a version it is of RFC
/// 5424, or else of RFC 3164, where the priority is missing in files.
pub(crate) fn parse(line: &[u8], clock: &Clock, event: &mut Event<'_>) -> Option<()> {
    let (priority, rest) = match priority(line) {
        Some((priority, rest)) => (Some(priority), rest),
        None if line.starts_with(b"<") => return None,
        None => (None, line),
    };
    if let Some(priority) = priority {
        event.level(levels::of_severity(priority & 7));
        // Where they are in no line, they are copied.
        event.text(FACILITY, FACILITIES[usize::from(priority >> 3)].as_bytes());
        event.text(SEVERITY, SEVERITIES[usize::from(priority & 7)].as_bytes());
    }
    match rest.strip_prefix(b"1 ") {
        Some(rest) if priority.is_some() => rfc5424(rest, event),
        _ => rfc3164(rest, clock, event),
    }
}

/// `<34>` at the beginning, and what follows it.
pub(crate) fn priority(line: &[u8]) -> Option<(u8, &[u8])> {
    let inside = line.strip_prefix(b"<")?;
    let end = find_byte(b'>', &inside[..inside.len().min(4)])?;
    let number = integer(&inside[..end]).filter(|number| (0..192).contains(number))?;
    Some((number as u8, &inside[end + 1..]))
}

/// `2003-10-11T22:14:15.003Z host program pid id [data] message`.
fn rfc5424(rest: &[u8], event: &mut Event<'_>) -> Option<()> {
    let (time, mut rest) = word(rest)?;
    if time != b"-" {
        let (time, after) = time::iso(time, &Clock::default())?;
        after.is_empty().then_some(())?;
        event.time_ms(time);
    }
    for name in [HOST, PROGRAM, PID, MESSAGE_ID] {
        let (value, after) = word(rest)?;
        match integer(value).filter(|_| name == PID) {
            Some(pid) => event.integer(PID, pid),
            None => text_unless_dash(event, name, value),
        }
        rest = after;
    }
    rest = match rest.strip_prefix(b"-") {
        Some(rest) => rest,
        None => structured_data(rest, event)?,
    };
    if let Some(message) = rest.strip_prefix(b" ") {
        event.text(MESSAGE, message.strip_prefix("\u{feff}".as_bytes()).unwrap_or(message));
    } else {
        rest.is_empty().then_some(())?;
    }
    Some(())
}

/// `[id name="value" …][…]`, whose fields are called `<id>.<name>`.
fn structured_data<'a>(mut rest: &'a [u8], event: &mut Event<'_>) -> Option<&'a [u8]> {
    rest.starts_with(b"[").then_some(())?;
    while let Some(inside) = rest.strip_prefix(b"[") {
        let end = inside.iter().position(|byte| matches!(byte, b' ' | b']'))?;
        let id = std::str::from_utf8(&inside[..end]).ok()?;
        rest = &inside[end..];
        while let Some(parameter) = rest.strip_prefix(b" ") {
            let equals = find(b"=\"", parameter)?;
            let name = std::str::from_utf8(&parameter[..equals]).ok()?;
            let (value, has_escapes) = quoted(&parameter[equals + 2..])?;
            let field = event.name(&format!("{id}.{name}"));
            event.text(field, &plain(value, has_escapes));
            rest = &parameter[equals + 2 + value.len() + 1..];
        }
        rest = rest.strip_prefix(b"]")?;
    }
    Some(rest)
}

/// `Oct 11 22:14:15 host program[pid]: message`; the time may be an ISO one.
fn rfc3164(rest: &[u8], clock: &Clock, event: &mut Event<'_>) -> Option<()> {
    let (time, rest) = time::without_year(rest, clock).or_else(|| time::iso(rest, clock))?;
    event.time_ms(time);
    let rest = rest.strip_prefix(b" ")?;
    match word(rest) {
        // On its way to the local daemon a line has no host.
        Some((host, rest)) if !host.ends_with(b":") => {
            event.text(HOST, host);
            tagged(rest, event);
        }
        _ => tagged(rest, event),
    }
    Some(())
}

/// `program[pid]: message`, or a message alone.
fn tagged(text: &[u8], event: &mut Event<'_>) {
    let tag = find(b": ", text).or_else(|| text.strip_suffix(b":").map(<[u8]>::len));
    let tag = tag.map(|length| &text[..length]);
    // A tag is one word.
    let Some(tag) = tag.filter(|tag| !tag.is_empty() && !tag.contains(&b' ')) else {
        return event.text(MESSAGE, text);
    };
    let bracket = find_byte(b'[', tag).filter(|_| tag.ends_with(b"]"));
    match bracket {
        Some(bracket) => {
            event.text(PROGRAM, &tag[..bracket]);
            let id = &tag[bracket + 1..tag.len() - 1];
            match integer(id) {
                Some(id) => event.integer(PID, id),
                None => event.text(PID, id),
            }
        }
        None => event.text(PROGRAM, tag),
    }
    let rest = &text[tag.len() + 1..];
    event.text(MESSAGE, rest.strip_prefix(b" ").unwrap_or(rest));
}

/// The text before the next blank, and what is after it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = find_byte(b' ', text)?;
    (end > 0).then_some((&text[..end], &text[end + 1..]))
}
