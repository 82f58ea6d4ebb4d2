//! logfmt: `key=value key="a value" key`.

use drover_sdk::lines::Event;

use super::Keys;
use crate::time::Clock;
use crate::values::{number_or_text, plain, quoted};

/// Parses a line with at least one value. A key without a value is `true`.
pub(crate) fn parse(line: &[u8], keys: &Keys, clock: &Clock, event: &mut Event<'_>) -> Option<()> {
    let mut rest = line.trim_ascii();
    let mut has_value = false;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b' ')).unwrap_or(rest.len());
        let key = std::str::from_utf8(&rest[..end]).ok().filter(|key| is_key(key))?;
        rest = match rest[end..].strip_prefix(b"=") {
            None => {
                let name = event.name(key);
                event.text(name, b"true");
                &rest[end..]
            }
            Some(value) => {
                has_value = true;
                take(key, value, keys, clock, event)?
            }
        };
        rest = rest.trim_ascii_start();
    }
    has_value.then_some(())
}

/// Takes the value at the beginning of `text`, and gives what is after it.
fn take<'a>(
    key: &str,
    text: &'a [u8],
    keys: &Keys,
    clock: &Clock,
    event: &mut Event<'_>,
) -> Option<&'a [u8]> {
    if let Some(inside) = text.strip_prefix(b"\"") {
        let (value, has_escapes) = quoted(inside)?;
        let rest = &inside[value.len() + 1..];
        // A quotation mark in the middle of a word is no end.
        (rest.is_empty() || rest.starts_with(b" ")).then_some(())?;
        let value = plain(value, has_escapes);
        if !keys.take_text(key, &value, clock, event) {
            let name = event.name(keys.rename(key));
            event.text(name, &value);
        }
        return Some(rest);
    }
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    let value = &text[..end];
    let is_taken = keys.take_text(key, value, clock, event) || keys.take_number(key, value, event);
    if !is_taken {
        let name = event.name(keys.rename(key));
        number_or_text(event, name, value);
    }
    Some(&text[end..])
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && !key.contains(|c: char| c == '"' || c.is_control())
}
