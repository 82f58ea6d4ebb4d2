//! A batch of lines, and what a parser says of them.

use std::collections::HashMap;

use super::Packed;
use super::contract::{Event as EventSpan, Field};
use super::ends::Ends;
use super::packing::{self, NUMBERS};
use crate::log::Level;

/// The kinds of fields; see `wit/line-parsing.wit`.
const TEXT: u16 = 0;
const REWRITTEN: u16 = 1;
const INTEGER: u16 = 2;
const FLOAT: u16 = 3;

/// The name of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name(u16);

impl Name {
    /// The name at this index of [`LineParser::names`](super::LineParser::names).
    #[must_use]
    pub const fn of(index: u16) -> Self {
        Self(index)
    }
}

/// Lines, of which the beginning becomes events and the rest, if any, comes
/// again with the next batch.
#[derive(Debug)]
pub struct Batch<'a> {
    lines: &'a [u8],
    is_last: bool,
    /// Where the events so far end.
    end: usize,
    ends: Ends,
    answer: Packed,
    lookup: HashMap<String, u16>,
    /// Where the next name probably is: lines resemble each other.
    guess: usize,
}

/// One event, while it is being found out. [`Event::finish`] or
/// [`Event::unparsed`] adds it to the batch; until then it is nothing.
#[derive(Debug)]
#[must_use = "it is added by `finish` or `unparsed`"]
pub struct Event<'b> {
    lines: &'b [u8],
    start: usize,
    length: usize,
    first_field: usize,
    time: u64,
    level: Level,
    end: &'b mut usize,
    answer: &'b mut Packed,
    lookup: &'b mut HashMap<String, u16>,
    guess: &'b mut usize,
}

impl<'a> Batch<'a> {
    pub(super) fn new(lines: &'a [u8], is_last: bool, names: Vec<String>) -> Self {
        // Most lines have 100 bytes and more, and most fields 16 and more.
        let (events, fields) = (lines.len() / 64 + 1, lines.len() / 16 + 1);
        let answer = Packed {
            events: Vec::with_capacity(events * NUMBERS),
            fields: Vec::with_capacity(fields * NUMBERS),
            names,
            rewritten: Vec::new(),
        };
        Self { lines, is_last, end: 0, ends: Ends::new(), answer, lookup: HashMap::new(), guess: 0 }
    }

    /// The lines that are not yet part of an event.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.lines[self.end..]
    }

    /// The next line that is not yet part of an event, without its end, and how
    /// long it is with it.
    #[must_use]
    #[inline]
    pub fn line(&self) -> Option<(&'a [u8], usize)> {
        let rest = self.rest();
        let (line, length) = match self.ends.next(self.lines, self.end) {
            Some(end) => (&self.lines[self.end..end], end + 1 - self.end),
            None if rest.is_empty() => return None,
            None => (rest, rest.len()),
        };
        Some((line.strip_suffix(b"\r").unwrap_or(line), length))
    }

    /// Makes an event of each line that is left. `parse` says by `None` that a line
    /// is none of its format; what it found so far is forgotten then.
    #[inline]
    pub fn each_line(&mut self, mut parse: impl FnMut(&[u8], &mut Event<'_>) -> Option<()>) {
        while let Some((line, length)) = self.line() {
            let mut event = self.event(length);
            match parse(line, &mut event) {
                Some(()) => event.finish(),
                None => event.unparsed(),
            }
        }
    }

    /// Whether all lines have to become events now, as none may come for long.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// Begins an event of the next `length` bytes, or of as many as there are.
    /// Its level is [`Level::Text`].
    #[inline]
    pub fn event(&mut self, length: usize) -> Event<'_> {
        Event {
            start: self.end,
            length: length.min(self.lines.len() - self.end),
            first_field: self.answer.fields.len(),
            time: 0,
            level: Level::Text,
            lines: self.lines,
            end: &mut self.end,
            answer: &mut self.answer,
            lookup: &mut self.lookup,
            guess: &mut self.guess,
        }
    }

    pub(super) fn into_answer(self) -> Packed {
        self.answer
    }
}

impl Event<'_> {
    /// Says when it happened, in milliseconds since 1970 (UTC).
    #[inline]
    pub fn time_ms(&mut self, time: u64) {
        self.time = time;
    }

    /// Says who it is for and how bad it is.
    #[inline]
    pub fn level(&mut self, level: Level) {
        self.level = level;
    }

    /// The name of a field that is not known beforehand. Names beyond 65,536
    /// different ones in a batch become the last of them.
    pub fn name(&mut self, name: &str) -> Name {
        let names = &mut self.answer.names;
        if names.get(*self.guess).is_none_or(|guess| guess != name) {
            *self.guess = match self.lookup.get(name) {
                Some(index) => usize::from(*index),
                None => {
                    let known = names.iter().position(|known| known == name);
                    let index = known.unwrap_or_else(|| {
                        if names.len() <= usize::from(u16::MAX) {
                            names.push(name.to_owned());
                        }
                        names.len() - 1
                    });
                    self.lookup.insert(name.to_owned(), index as u16);
                    index
                }
            };
        }
        let name = Name(*self.guess as u16);
        *self.guess += 1;
        name
    }

    /// Adds a text. One that is part of the event's lines is not copied.
    #[inline]
    pub fn text(&mut self, name: Name, value: &[u8]) {
        let event = &self.lines[self.start..self.start + self.length];
        let offset = (value.as_ptr() as usize).wrapping_sub(event.as_ptr() as usize);
        if offset <= event.len() && value.len() <= event.len() - offset {
            self.push(name, TEXT, value.len(), offset as u64);
        } else {
            self.rewritten(name, value);
        }
    }

    /// Adds a text by copying it.
    pub fn rewritten(&mut self, name: Name, value: &[u8]) {
        let offset = self.answer.rewritten.len();
        self.answer.rewritten.extend_from_slice(value);
        self.push(name, REWRITTEN, value.len(), offset as u64);
    }

    /// Adds a whole number.
    #[inline]
    pub fn integer(&mut self, name: Name, value: i64) {
        self.push(name, INTEGER, 0, value.cast_unsigned());
    }

    /// Adds a number with a fraction.
    #[inline]
    pub fn float(&mut self, name: Name, value: f64) {
        self.push(name, FLOAT, 0, value.to_bits());
    }

    /// Forgets the fields, the time and the level so far.
    pub fn reset(&mut self) {
        self.answer.fields.truncate(self.first_field);
        (self.time, self.level) = (0, Level::Text);
    }

    /// Adds the event to the batch, as one of this format.
    #[inline]
    pub fn finish(self) {
        self.add(1);
    }

    /// Adds the event as one that is not of this format: its lines are kept as
    /// they are.
    pub fn unparsed(mut self) {
        self.reset();
        self.add(0);
    }

    #[inline]
    fn push(&mut self, name: Name, kind: u16, length: usize, value: u64) {
        // An event has 65,535 fields, which 64 KiB of lines hardly fill.
        if self.fields() < usize::from(u16::MAX) {
            let field = Field { name: name.0, kind, length: length as u32, value };
            self.answer.fields.extend_from_slice(&packing::field(&field));
        }
    }

    /// How many it has so far.
    #[inline]
    fn fields(&self) -> usize {
        (self.answer.fields.len() - self.first_field) / NUMBERS
    }

    #[inline]
    fn add(self, status: u8) {
        *self.end += self.length;
        *self.guess = 0;
        let event = EventSpan {
            length: self.length as u32,
            fields: self.fields() as u16,
            level: number(self.level),
            status,
            time: self.time,
        };
        self.answer.events.extend_from_slice(&packing::event(&event));
    }
}

/// A level in the numbers of the level protocol.
fn number(level: Level) -> u8 {
    match level {
        Level::Public => 3,
        Level::Operator => 4,
        Level::Text => 5,
        Level::Structured => 6,
        Level::Warning => 7,
        Level::Error => 8,
        Level::Critical => 9,
        Level::Debug => 11,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_event_is_pointed_to_and_anything_else_is_copied() {
        let lines = b"one two\nthree\n";
        let mut batch = Batch::new(lines, true, vec!["a".into()]);
        let (line, length) = batch.line().unwrap();
        let mut event = batch.event(length);
        event.text(Name::of(0), &line[4..]);
        event.text(Name::of(0), &lines[8..10]);
        event.finish();
        let answer = packing::unpacked(batch.into_answer());
        let [inside, outside] = &answer.fields[..] else { panic!("{answer:?}") };
        assert_eq!((inside.kind, inside.value, inside.length), (TEXT, 4, 3));
        assert_eq!((outside.kind, outside.value, outside.length), (REWRITTEN, 0, 2));
        assert_eq!(answer.rewritten, b"th");
    }

    #[test]
    fn names_are_listed_once_in_whatever_order_they_come() {
        let mut batch = Batch::new(b"x\ny\n", true, vec!["known".into()]);
        let mut event = batch.event(2);
        let first: Vec<_> = ["a", "b", "known"].iter().map(|name| event.name(name)).collect();
        event.finish();
        let mut event = batch.event(2);
        let second: Vec<_> = ["known", "b", "a"].iter().map(|name| event.name(name)).collect();
        event.finish();
        assert_eq!(first, [Name(1), Name(2), Name(0)]);
        assert_eq!(second, [Name(0), Name(2), Name(1)]);
        assert_eq!(batch.into_answer().names, ["known", "a", "b"]);
    }

    #[test]
    fn an_unparsed_event_keeps_its_lines_and_nothing_else() {
        let mut batch = Batch::new(b"x\r\nrest", true, vec!["a".into()]);
        assert_eq!(batch.line(), Some((&b"x"[..], 3)));
        let mut event = batch.event(3);
        event.integer(Name::of(0), 7);
        event.time_ms(7);
        event.unparsed();
        assert_eq!(batch.line(), Some((&b"rest"[..], 4)));
        let answer = packing::unpacked(batch.into_answer());
        assert!(answer.fields.is_empty());
        let event = &answer.events[0];
        assert_eq!((event.length, event.status, event.time, event.level), (3, 0, 0, 5));
    }
}
