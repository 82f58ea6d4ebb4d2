//! A pattern of the admin's own: a regular expression with named groups.

use drover_sdk::lines::{Event, Name};
use regex::bytes::{CaptureLocations, Regex, RegexBuilder};

use crate::levels;
use crate::time::{self, Clock};
use crate::values::number_or_text;

/// How large a compiled pattern may be, in bytes. It also bounds what matching
/// takes: the time grows with the line and this, and never faster.
const SIZE: usize = 1 << 20;

/// A compiled pattern, and room for what it finds.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    groups: Vec<Group>,
    found: CaptureLocations,
    pub(crate) names: Vec<String>,
}

/// A named group.
#[derive(Debug)]
struct Group {
    index: usize,
    name: Name,
    meaning: Meaning,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Meaning {
    Time,
    Level,
    Value,
}

impl Pattern {
    /// Compiles a pattern. The groups called `time` and `level` say when it was
    /// and how bad.
    ///
    /// # Errors
    ///
    /// If it is no pattern, too large, or has no named groups.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let regex = compile(pattern)?;
        let mut names = Vec::new();
        let mut groups = Vec::new();
        for (index, name) in regex.capture_names().enumerate() {
            let Some(name) = name else { continue };
            let meaning = match name {
                "time" => Meaning::Time,
                "level" => Meaning::Level,
                _ => Meaning::Value,
            };
            groups.push(Group { index, name: Name::of(names.len() as u16), meaning });
            names.push(name.to_owned());
        }
        if groups.is_empty() {
            return Err(format!(
                "the pattern `{pattern}` has no named groups: write `(?<name>…)` around what is to become a field"
            ));
        }
        let found = regex.capture_locations();
        Ok(Self { regex, groups, found, names })
    }

    pub(crate) fn parse(
        &mut self,
        line: &[u8],
        clock: &Clock,
        event: &mut Event<'_>,
    ) -> Option<()> {
        self.regex.captures_read(&mut self.found, line)?;
        for group in &self.groups {
            let Some((start, end)) = self.found.get(group.index) else { continue };
            let value = &line[start..end];
            match group.meaning {
                Meaning::Time => match time::any(value, clock) {
                    Some(time) => event.time_ms(time),
                    None => event.text(group.name, value),
                },
                Meaning::Level => {
                    event.text(group.name, value);
                    if let Some(level) = levels::of_word(value) {
                        event.level(level);
                    }
                }
                Meaning::Value => number_or_text(event, group.name, value),
            }
        }
        Some(())
    }
}

/// Compiles a regular expression of an option.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let compiled = RegexBuilder::new(pattern).size_limit(SIZE).dfa_size_limit(SIZE).build();
    compiled.map_err(|error| format!("`{pattern}` cannot be used as a pattern: {error}"))
}
