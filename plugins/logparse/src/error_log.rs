//! Error logs of nginx and Apache.

use drover_sdk::lines::{Event, Level, Name};

use crate::levels;
use crate::time::{self, Clock};
use crate::values::{find, integer, names, text_unless_dash, unescaped};

names! {
    MESSAGE "message",
    PID "pid",
    TID "tid",
    CONNECTION "connection",
    CLIENT "client",
    SERVER "server",
    REQUEST "request",
    UPSTREAM "upstream",
    HOST "host",
    REFERER "referer",
    MODULE "module",
    CODE "code",
}

/// What nginx adds to a message, in this order.
const NGINX_CONTEXT: &[(&[u8], Name)] = &[
    (b", client: ", CLIENT),
    (b", server: ", SERVER),
    (b", request: ", REQUEST),
    (b", upstream: ", UPSTREAM),
    (b", host: ", HOST),
    (b", referrer: ", REFERER),
];

/// `2024/01/31 12:00:00 [error] 12#34: *56 message, client: 1.2.3.4, …`.
pub(crate) fn nginx(line: &[u8], clock: &Clock, event: &mut Event<'_>) -> Option<()> {
    let (time, rest) = time::iso(line, clock)?;
    let rest = rest.strip_prefix(b" [")?;
    let end = find(b"] ", rest)?;
    event.time_ms(time);
    event.level(levels::of_word(&rest[..end])?);
    let rest = &rest[end + 2..];
    let colon = find(b": ", rest)?;
    let hash = find(b"#", &rest[..colon])?;
    event.integer(PID, integer(&rest[..hash])?);
    event.integer(TID, integer(&rest[hash + 1..colon])?);
    let mut rest = &rest[colon + 2..];
    if let Some(connection) = rest.strip_prefix(b"*")
        && let Some(end) = find(b" ", connection)
        && let Some(number) = integer(&connection[..end])
    {
        event.integer(CONNECTION, number);
        rest = &connection[end + 1..];
    }
    // The message may have anything in it; what follows it begins with the client.
    let context = find(NGINX_CONTEXT[0].0, rest).unwrap_or(rest.len());
    event.text(MESSAGE, &rest[..context]);
    let mut rest = &rest[context..];
    for (index, (label, name)) in NGINX_CONTEXT.iter().enumerate() {
        let Some(value) = rest.strip_prefix(*label) else { continue };
        let later = NGINX_CONTEXT[index + 1..].iter().filter_map(|(label, _)| find(label, value));
        let end = later.min().unwrap_or(value.len());
        let unquoted = value[..end].strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        event.text(*name, unquoted.unwrap_or(&value[..end]));
        rest = &value[end..];
    }
    Some(())
}

/// `[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 43286]
/// [client 1.2.3.4:5] AH00124: message`, and the shorter lines of Apache 2.2.
pub(crate) fn apache(line: &[u8], clock: &Clock, event: &mut Event<'_>) -> Option<()> {
    let (text, mut rest) = bracketed(line)?;
    let (time, after) = time::with_weekday(text, clock)?;
    after.is_empty().then_some(())?;
    event.time_ms(time);
    let (text, after) = bracketed(rest)?;
    rest = after;
    let level = match find(b":", text) {
        Some(colon) => {
            text_unless_dash(event, MODULE, &text[..colon]);
            &text[colon + 1..]
        }
        None => text,
    };
    // `trace1` to `trace8` are all the same here.
    let level = level.strip_suffix(b"8").unwrap_or(level).trim_ascii_end();
    let word = level.iter().rposition(|c| !c.is_ascii_digit()).map_or(level, |i| &level[..=i]);
    event.level(levels::of_word(word).unwrap_or(Level::Text));
    while let Some((text, after)) = bracketed(rest) {
        if let Some(ids) = text.strip_prefix(b"pid ") {
            let (pid, tid) = match find(b":tid ", ids) {
                Some(colon) => (&ids[..colon], Some(&ids[colon + 5..])),
                None => (ids, None),
            };
            event.integer(PID, integer(pid)?);
            if let Some(tid) = tid.and_then(integer) {
                event.integer(TID, tid);
            }
        } else if let Some(client) =
            text.strip_prefix(b"client ").or_else(|| text.strip_prefix(b"remote "))
        {
            event.text(CLIENT, without_port(client));
        } else {
            break;
        }
        rest = after;
    }
    let is_code = |code: &[u8]| {
        code.strip_prefix(b"AH").is_some_and(|d| d.len() == 5 && d.iter().all(u8::is_ascii_digit))
    };
    if let Some(colon) = find(b": ", rest)
        && is_code(&rest[..colon])
    {
        event.text(CODE, &rest[..colon]);
        rest = &rest[colon + 2..];
    }
    match rest.contains(&b'\\') {
        true => event.rewritten(MESSAGE, &unescaped(rest)),
        false => event.text(MESSAGE, rest),
    }
    Some(())
}

/// What is in brackets at the beginning, and what is after them and a blank.
fn bracketed(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = text.strip_prefix(b"[")?;
    let end = find(b"]", inside)?;
    let after = &inside[end + 1..];
    Some((&inside[..end], after.strip_prefix(b" ").unwrap_or(after)))
}

/// Of `1.2.3.4:5` and `[::1]:5` the address; an address without a port may have
/// colons itself.
fn without_port(client: &[u8]) -> &[u8] {
    match client.iter().rposition(|byte| *byte == b':') {
        Some(colon) if integer(&client[colon + 1..]).is_some() => {
            let address = &client[..colon];
            let is_whole = !address.contains(&b':') || address.ends_with(b"]") || {
                // Apache writes an IPv6 address without brackets before the port.
                client.iter().filter(|byte| **byte == b':').count() > 7 || address.contains(&b'.')
            };
            if is_whole { address } else { client }
        }
        _ => client,
    }
}
