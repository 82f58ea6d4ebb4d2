//! Lines of the kernel's ring buffer: of `dmesg`, of `/dev/kmsg` and as
//! journals and syslog daemons write them.

use drover_sdk::lines::Event;

use crate::levels::{self, FACILITIES, SEVERITIES};
use crate::syslog::priority;
use crate::time::{self, Clock};
use crate::values::{find_byte, float, integer, names};

names! {
    FACILITY "facility",
    SEVERITY "severity",
    HOST "host",
    UPTIME "uptime",
    SEQUENCE "sequence",
    MESSAGE "message",
}

/// Parses a line. `booted_ms` is when the machine started, for lines that only
/// say how long after that they were written.
pub(crate) fn parse(
    line: &[u8],
    booted_ms: Option<u64>,
    clock: &Clock,
    event: &mut Event<'_>,
) -> Option<()> {
    if let Some((head, message)) = kmsg_head(line) {
        return kmsg(head, message, booted_ms, event);
    }
    let mut rest = line;
    if let Some((number, after)) = priority(line) {
        prioritised(number, event);
        rest = after;
    } else if let Some(after) = decoded(line, event) {
        rest = after;
    } else if let Some(after) = by_a_daemon(line, clock, event) {
        // The uptime is not everywhere.
        if !after.starts_with(b"[") {
            event.text(MESSAGE, after);
            return Some(());
        }
        let message = uptime(after, None, event).unwrap_or(after);
        event.text(MESSAGE, message);
        return Some(());
    }
    let inside = rest.strip_prefix(b"[")?;
    let end = find_byte(b']', inside)?;
    if let Some((time, after)) =
        time::with_weekday(&inside[..end], clock).or_else(|| time::iso(&inside[..end], clock))
    {
        after.is_empty().then_some(())?;
        event.time_ms(time);
        let message = &inside[end + 1..];
        event.text(MESSAGE, message.strip_prefix(b" ").unwrap_or(message));
        return Some(());
    }
    let message = uptime(rest, booted_ms, event)?;
    event.text(MESSAGE, message);
    Some(())
}

fn prioritised(number: u8, event: &mut Event<'_>) {
    event.level(levels::of_severity(number & 7));
    event.text(FACILITY, FACILITIES[usize::from(number >> 3) % FACILITIES.len()].as_bytes());
    event.text(SEVERITY, SEVERITIES[usize::from(number & 7)].as_bytes());
}

/// `[   12.345678] `, and what is after it.
fn uptime<'a>(text: &'a [u8], booted_ms: Option<u64>, event: &mut Event<'_>) -> Option<&'a [u8]> {
    let inside = text.strip_prefix(b"[")?;
    let end = find_byte(b']', inside)?;
    let seconds = float(inside[..end].trim_ascii()).filter(|seconds| *seconds >= 0.0)?;
    event.float(UPTIME, seconds);
    since_boot(seconds, booted_ms, event);
    let message = &inside[end + 1..];
    Some(message.strip_prefix(b" ").unwrap_or(message))
}

fn since_boot(seconds: f64, booted_ms: Option<u64>, event: &mut Event<'_>) {
    if let Some(booted) = booted_ms {
        event.time_ms(booted.saturating_add((seconds * 1000.0) as u64));
    }
}

/// `kern  :info  : `, as `dmesg --decode` begins its lines.
fn decoded<'a>(line: &'a [u8], event: &mut Event<'_>) -> Option<&'a [u8]> {
    let colon = find_byte(b':', &line[..line.len().min(16)])?;
    let (facility, rest) = (line[..colon].trim_ascii_end(), &line[colon + 1..]);
    let colon = find_byte(b':', &rest[..rest.len().min(16)])?;
    let severity = rest[..colon].trim_ascii_end();
    let level = levels::of_word(severity)?;
    FACILITIES.iter().any(|known| known.as_bytes() == facility).then_some(())?;
    event.text(FACILITY, facility);
    event.text(SEVERITY, severity);
    event.level(level);
    Some(rest[colon + 1..].trim_ascii_start())
}

/// `Nov 21 10:00:00 host kernel: `.
fn by_a_daemon<'a>(line: &'a [u8], clock: &Clock, event: &mut Event<'_>) -> Option<&'a [u8]> {
    let (time, rest) = time::without_year(line, clock).or_else(|| time::iso(line, clock))?;
    let rest = rest.strip_prefix(b" ")?;
    let blank = find_byte(b' ', rest)?;
    let message = rest[blank + 1..].strip_prefix(b"kernel: ")?;
    event.time_ms(time);
    event.text(HOST, &rest[..blank]);
    Some(message)
}

/// `6,339,5140900,-` before the `;` of `/dev/kmsg`.
fn kmsg_head(line: &[u8]) -> Option<(&[u8], &[u8])> {
    line.first().filter(|byte| byte.is_ascii_digit())?;
    let end = find_byte(b';', &line[..line.len().min(128)])?;
    Some((&line[..end], &line[end + 1..]))
}

fn kmsg(head: &[u8], message: &[u8], booted_ms: Option<u64>, event: &mut Event<'_>) -> Option<()> {
    let mut parts = head.split(|byte| *byte == b',');
    let priority = integer(parts.next()?).filter(|number| (0..192).contains(number))?;
    let sequence = integer(parts.next()?)?;
    let micros = integer(parts.next()?).filter(|micros| *micros >= 0)?;
    prioritised(priority as u8, event);
    event.integer(SEQUENCE, sequence);
    let seconds = micros as f64 / 1e6;
    event.float(UPTIME, seconds);
    since_boot(seconds, booted_ms, event);
    event.text(MESSAGE, message);
    Some(())
}
