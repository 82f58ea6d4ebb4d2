//! JSON lines: one object in each line.
//!
//! Objects in it become fields with dotted names, arrays stay JSON text, and
//! what is `null` is left out. Nothing is built: values are places in the line.

use std::borrow::Cow;

use drover_sdk::lines::Event;

use super::Keys;
use crate::time::Clock;
use crate::values::{float, integer, plain, quoted};

/// How deep objects and arrays may be; deeper lines are not parsed.
const DEPTH: usize = 32;

/// Parses a line that is an object.
pub(crate) fn parse(line: &[u8], keys: &Keys, clock: &Clock, event: &mut Event<'_>) -> Option<()> {
    let mut reader = Reader { rest: line.trim_ascii() };
    let mut path = String::new();
    reader.object(&mut path, &Sink { keys, clock }, event, 0)?;
    reader.rest.is_empty().then_some(())
}

struct Sink<'a> {
    keys: &'a Keys,
    clock: &'a Clock,
}

/// What is left of the line.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Reads over a mark and the blanks after it, if it is there.
    fn skip(&mut self, mark: u8) -> bool {
        let after = self.rest.strip_prefix(&[mark]);
        self.rest = after.map_or(self.rest, <[u8]>::trim_ascii_start);
        after.is_some()
    }

    fn expect(&mut self, mark: u8) -> Option<()> {
        self.skip(mark).then_some(())
    }

    fn object(
        &mut self,
        path: &mut String,
        sink: &Sink<'_>,
        event: &mut Event<'_>,
        depth: usize,
    ) -> Option<()> {
        (depth < DEPTH).then_some(())?;
        self.expect(b'{')?;
        if self.skip(b'}') {
            return Some(());
        }
        loop {
            let (key, has_escapes) = self.string()?;
            let key = plain(key, has_escapes);
            self.expect(b':')?;
            let outside = path.len();
            if outside > 0 {
                path.push('.');
            }
            path.push_str(&String::from_utf8_lossy(&key));
            self.value(path, sink, event, depth)?;
            path.truncate(outside);
            if !self.skip(b',') {
                return self.expect(b'}');
            }
        }
    }

    fn value(
        &mut self,
        path: &mut String,
        sink: &Sink<'_>,
        event: &mut Event<'_>,
        depth: usize,
    ) -> Option<()> {
        let Sink { keys, clock } = sink;
        match self.peek()? {
            b'{' => return self.object(path, sink, event, depth + 1),
            b'[' => {
                let before = self.rest;
                self.array(depth + 1)?;
                let text = &before[..before.len() - self.rest.len()];
                let name = event.name(path);
                event.text(name, text.trim_ascii_end());
            }
            b'"' => {
                let (text, has_escapes) = self.string()?;
                let text: Cow<'_, [u8]> = plain(text, has_escapes);
                if !keys.take_text(path, &text, clock, event) {
                    let name = event.name(keys.rename(path));
                    event.text(name, &text);
                }
            }
            b'n' => self.word(b"null")?,
            first @ (b't' | b'f') => {
                let word: &[u8] = if first == b't' { b"true" } else { b"false" };
                let text = &self.rest[..word.len().min(self.rest.len())];
                self.word(word)?;
                let name = event.name(path);
                event.text(name, text);
            }
            _ => {
                let text = self.number()?;
                if keys.take_number(path, text, event) {
                    return Some(());
                }
                let name = event.name(path);
                match (integer(text), float(text)) {
                    (Some(number), _) => event.integer(name, number),
                    (None, Some(number)) => event.float(name, number),
                    (None, None) => event.text(name, text),
                }
            }
        }
        Some(())
    }

    /// Reads over an array.
    fn array(&mut self, depth: usize) -> Option<()> {
        self.expect(b'[')?;
        if self.skip(b']') {
            return Some(());
        }
        loop {
            self.anything(depth)?;
            if !self.skip(b',') {
                return self.expect(b']');
            }
        }
    }

    fn anything(&mut self, depth: usize) -> Option<()> {
        (depth < DEPTH).then_some(())?;
        match self.peek()? {
            b'[' => self.array(depth + 1),
            b'{' => {
                self.expect(b'{')?;
                if self.skip(b'}') {
                    return Some(());
                }
                loop {
                    self.string()?;
                    self.expect(b':')?;
                    self.anything(depth + 1)?;
                    if !self.skip(b',') {
                        return self.expect(b'}');
                    }
                }
            }
            b'"' => self.string().map(drop),
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            _ => self.number().map(drop),
        }
    }

    /// A string without its quotation marks, and whether it has escapes.
    fn string(&mut self) -> Option<(&'a [u8], bool)> {
        let inside = self.rest.strip_prefix(b"\"")?;
        let (text, has_escapes) = quoted(inside)?;
        self.rest = inside[text.len() + 1..].trim_ascii_start();
        Some((text, has_escapes))
    }

    fn number(&mut self) -> Option<&'a [u8]> {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E');
        let length = self.rest.iter().take_while(|byte| is_part(byte)).count();
        let (number, rest) = self.rest.split_at(length);
        let digits = number.strip_prefix(b"-").unwrap_or(number);
        digits.first().filter(|byte| byte.is_ascii_digit())?;
        // Whether it is one is seen by reading it.
        let text = std::str::from_utf8(number).ok()?;
        text.parse::<f64>().ok()?;
        self.rest = rest.trim_ascii_start();
        Some(number)
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?.trim_ascii_start();
        Some(())
    }
}
