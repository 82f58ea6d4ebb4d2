//! Lines that name their values: JSON objects and logfmt.

mod json;
mod logfmt;

use drover_sdk::lines::Event;

use crate::levels;
use crate::time::{self, Clock};
use crate::values::integer;

pub(crate) use json::parse as json;
pub(crate) use logfmt::parse as logfmt;

/// The names of the values that mean more than others.
#[derive(Debug)]
pub(crate) struct Keys {
    time: Vec<String>,
    level: Vec<String>,
    message: Vec<String>,
}

const TIME: &[&str] = &["time", "timestamp", "ts", "@timestamp", "date", "datetime", "t"];
const LEVEL: &[&str] =
    &["level", "severity", "lvl", "loglevel", "log.level", "levelname", "priority"];
const MESSAGE: &[&str] = &["message", "msg", "@message"];

impl Keys {
    /// The admin's names, or the usual ones.
    pub(crate) fn new(
        time: Option<String>,
        level: Option<String>,
        message: Option<String>,
    ) -> Self {
        let of = |own: Option<String>, usual: &[&str]| match own {
            Some(own) => vec![own],
            None => usual.iter().map(|name| (*name).to_owned()).collect(),
        };
        Self { time: of(time, TIME), level: of(level, LEVEL), message: of(message, MESSAGE) }
    }

    /// Takes a text for what its name says it is; false if it is anything.
    fn take_text(&self, key: &str, value: &[u8], clock: &Clock, event: &mut Event<'_>) -> bool {
        if is_one_of(key, &self.time)
            && let Some(time) = time::any(value, clock)
        {
            event.time_ms(time);
            return true;
        }
        if is_one_of(key, &self.level)
            && let Some(level) = levels::of_word(value)
        {
            event.level(level);
        }
        false
    }

    /// Takes a number for what its name says it is; false if it is anything.
    fn take_number(&self, key: &str, value: &[u8], event: &mut Event<'_>) -> bool {
        if is_one_of(key, &self.time)
            && let Some(time) = time::since_1970(value)
        {
            event.time_ms(time);
            return true;
        }
        if is_one_of(key, &self.level)
            && let Some(level) = integer(value).and_then(levels::of_number)
        {
            event.level(level);
        }
        false
    }

    /// The name of a field.
    fn rename<'a>(&self, key: &'a str) -> &'a str {
        if is_one_of(key, &self.message) { "message" } else { key }
    }
}

fn is_one_of(key: &str, names: &[String]) -> bool {
    names.iter().any(|name| name == key)
}
