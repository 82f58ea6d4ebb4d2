//! Access logs of nginx and Apache: one line for each request, in a form that
//! the server's configuration describes.

mod template;

use std::cell::Cell;

use drover_sdk::lines::{Event, Level, Name};
use memchr::memrchr;

use crate::levels::LevelName;
use crate::time;
use crate::values::{
    begins_with, find, find_byte, float, integer, number_or_text, plain, quoted, text_unless_dash,
};

pub(crate) use template::{Dialect, Template};

/// What a part of a line means.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meaning {
    /// A text.
    Text(Name),
    /// A number, or a text if it is none.
    Number(Name),
    /// The status of the answer, which decides the level as well.
    Status(Name),
    /// The first line of the request.
    Request(RequestNames),
    /// `10/Oct/2000:13:55:36 -0700`.
    CommonTime,
    /// `2000-10-10T13:55:36-07:00`.
    IsoTime,
    /// Seconds since 1970, or parts of them.
    EpochTime,
    /// Seconds.
    Seconds(Name),
    /// Nothing of interest.
    Ignored,
}

/// The names of a request's parts.
#[derive(Debug, Clone, Copy, PartialEq)]
struct RequestNames {
    method: Name,
    path: Name,
    query: Name,
    protocol: Name,
    /// For what is no request.
    request: Name,
}

/// A part of the line with a meaning.
#[derive(Debug)]
struct Step {
    meaning: Meaning,
    is_quoted: bool,
    /// What follows it, the quotation mark included; empty at the line's end.
    stop: Vec<u8>,
}

/// How bad an answer is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StatusLevels {
    client_errors: Level,
    server_errors: Level,
}

impl StatusLevels {
    /// Server errors are errors, and everything else is text, unless told
    /// otherwise.
    pub(crate) fn new(client: Option<LevelName>, server: Option<LevelName>) -> Self {
        Self {
            client_errors: client.map_or(Level::Text, Level::from),
            server_errors: server.map_or(Level::Error, Level::from),
        }
    }

    fn of(self, status: i64) -> Level {
        match status {
            400..500 => self.client_errors,
            500..600 => self.server_errors,
            _ => Level::Text,
        }
    }
}

/// The length of a common time.
const COMMON_TIME: usize = 26;

/// The common time that was read last: a busy server has many lines in a second.
#[derive(Debug, Default)]
pub(crate) struct LastTime(Cell<([u8; COMMON_TIME], u64)>);

impl LastTime {
    #[inline]
    fn read(&self, text: &[u8]) -> Option<u64> {
        let Some(whole) = text.as_array::<COMMON_TIME>() else { return time::common_log(text) };
        let (last, time) = self.0.get();
        if is_same(&last, whole) {
            return Some(time);
        }
        let time = time::common_log(whole)?;
        self.0.set((*whole, time));
        Some(time)
    }
}

/// By eights, the last of which overlap: too few for a call of what compares texts.
#[inline]
fn is_same(one: &[u8; COMMON_TIME], other: &[u8; COMMON_TIME]) -> bool {
    one.as_chunks::<8>().0 == other.as_chunks::<8>().0
        && one.last_chunk::<8>() == other.last_chunk::<8>()
}

impl Template {
    /// Parses one line. A function of its own, apart from those of other formats:
    /// a compiler that has all of them at once in front of it runs out of registers.
    #[inline(never)]
    pub(crate) fn parse(
        &self,
        line: &[u8],
        levels: StatusLevels,
        event: &mut Event<'_>,
    ) -> Option<()> {
        let mut rest = line.strip_prefix(&self.start[..])?;
        for step in &self.steps {
            let stop = &step.stop[..];
            let (value, has_escapes) = if step.is_quoted {
                quoted(rest)?
            } else if step.meaning == Meaning::CommonTime && rest.len() >= COMMON_TIME {
                (&rest[..COMMON_TIME], false)
            } else {
                (&rest[..find(stop, rest)?], false)
            };
            rest = &rest[value.len()..];
            begins_with(rest, stop).then_some(())?;
            rest = &rest[stop.len()..];
            step.meaning.take(value, has_escapes, levels, &self.last_time, event)?;
        }
        rest.is_empty().then_some(())
    }
}

impl Meaning {
    /// Takes a value; none if it cannot be one of the kind.
    #[inline]
    fn take(
        self,
        value: &[u8],
        has_escapes: bool,
        levels: StatusLevels,
        last_time: &LastTime,
        event: &mut Event<'_>,
    ) -> Option<()> {
        match self {
            Self::Text(name) => match has_escapes {
                false => text_unless_dash(event, name, value),
                true => event.text(name, &plain(value, true)),
            },
            Self::Number(name) => match integer(value) {
                Some(number) => event.integer(name, number),
                None if value == b"-" => {}
                None => number_or_text(event, name, value),
            },
            Self::Status(name) => {
                if value != b"-" {
                    let status = integer(value)?;
                    event.integer(name, status);
                    event.level(levels.of(status));
                }
            }
            Self::Request(names) => match has_escapes {
                false => names.take(value, event),
                true => names.take(&plain(value, true), event),
            },
            Self::CommonTime => event.time_ms(last_time.read(value)?),
            Self::IsoTime => {
                let (time, rest) = time::iso(value, &time::Clock::default())?;
                rest.is_empty().then_some(())?;
                event.time_ms(time);
            }
            Self::EpochTime => event.time_ms(time::since_1970(value)?),
            Self::Seconds(name) => match float(value) {
                Some(seconds) => event.float(name, seconds),
                // Of several servers that were asked in turn.
                None => text_unless_dash(event, name, value),
            },
            Self::Ignored => {}
        }
        Some(())
    }
}

impl RequestNames {
    /// Takes `GET /path?query HTTP/1.1`, and whatever else clients send.
    #[inline]
    fn take(self, request: &[u8], event: &mut Event<'_>) {
        let is_method = |length: usize| match &request[..length] {
            b"GET" | b"POST" | b"HEAD" | b"PUT" => true,
            word @ [_, ..] if length <= 32 => {
                word.iter().all(|c| c.is_ascii_alphabetic() || *c == b'-')
            }
            _ => false,
        };
        let method = find_byte(b' ', request).filter(|length| is_method(*length));
        let Some(method) = method else { return text_unless_dash(event, self.request, request) };
        let target = &request[method + 1..];
        // Only a client that is up to something has a blank in its path.
        let (target, protocol) = match target {
            [before @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1'] => {
                (before, &target[before.len() + 1..])
            }
            _ => match memrchr(b' ', target) {
                Some(index) if target[index + 1..].starts_with(b"HTTP/") => {
                    (&target[..index], &target[index + 1..])
                }
                _ => (target, &[][..]),
            },
        };
        event.text(self.method, &request[..method]);
        match find_byte(b'?', target) {
            Some(mark) => {
                event.text(self.path, &target[..mark]);
                event.text(self.query, &target[mark + 1..]);
            }
            None => event.text(self.path, target),
        }
        if !protocol.is_empty() {
            event.text(self.protocol, protocol);
        }
    }
}
