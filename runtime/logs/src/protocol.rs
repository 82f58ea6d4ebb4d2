//! The level protocol: a child's output in, messages with a level out.
//!
//! A line is a message of level 1 (standard output) or 2 (standard error).
//! `N::text` is a message of level N. `N:::` opens a message of many lines,
//! which ends at a line that begins with `:::`:
//!
//! ```text
//! 7::the disk is nearly full          level 7, "the disk is nearly full"
//! 20:::                               level 20, "{\n\"free\": 3}"
//! {
//! "free": 3}
//! :::
//! ```
//!
//! Inside of a block everything is text, prefixes and blank lines included.
//! Text on the opening line is the block's first line; text that follows the
//! closing `:::` is a line of its own. What is no prefix is text: a level has
//! one to three digits and is at most 255, and a `:::` outside of a block says
//! nothing.

use drover_api::Level;
use memchr::memchr;
use serde::{Deserialize, Serialize};

/// One message, as borrowed from the chunk it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The level that the child wrote, or its stream's own. Any number is
    /// kept; [`Level::is_known`] tells those that mean something.
    pub level: Level,
    /// The text without prefix and line end. Any bytes, UTF-8 or not.
    pub data: &'a [u8],
    /// Whether this is all of it.
    pub part: Part,
}

/// Where a child's output came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The level of a line without a prefix.
    #[must_use]
    pub fn default_level(self) -> Level {
        match self {
            Self::Stdout => Level::STDOUT,
            Self::Stderr => Level::STDERR,
        }
    }
}

/// Which part of a message this is: long ones come in several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// The beginning; the next message of the same stream goes on.
    First,
    /// Neither the beginning nor the end.
    Middle,
    /// The end.
    Last,
}

/// Turns one stream of a child into messages, chunk by chunk.
///
/// The messages are the same wherever the chunks begin and end. No more than
/// the longest message is ever held back.
#[derive(Debug)]
pub struct OutputParser {
    default_level: Level,
    longest: usize,
    state: State,
    /// Text of a message that is not complete: in `State::Line` the raw line
    /// with its prefix, else without.
    pending: Vec<u8>,
}

/// What has come of a message that is not complete, for another parser of the same
/// stream to go on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    state: State,
    pending: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// In a line of which nothing was handed out.
    Line { after_block: bool },
    /// In a line that is too long to be looked at whole.
    LongLine { level: Level, is_cut: bool },
    /// Between `N:::` and `:::`.
    Block { level: Level, is_cut: bool, place: Place, has_lines: bool },
}

/// Where in a block's line the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    /// At its beginning, after so many colons.
    Start { colons: usize },
    /// Further on.
    Inside,
}

const FRESH: State = State::Line { after_block: false };

impl OutputParser {
    /// The longest message in one piece, in bytes, unless a caller chooses.
    pub const LONGEST_MESSAGE: usize = 64 * 1024;

    /// A parser of one stream, at its beginning, that cuts messages into parts
    /// of at most `longest` bytes (16 at the least). A cut never falls into a
    /// UTF-8 character.
    #[must_use]
    pub fn new(stream: Stream, longest: usize) -> Self {
        Self {
            default_level: stream.default_level(),
            longest: longest.max(16),
            state: FRESH,
            pending: Vec::new(),
        }
    }

    /// Takes the next bytes of the stream and hands out what they complete.
    pub fn feed(&mut self, chunk: &[u8], mut sink: impl FnMut(Message<'_>)) {
        let mut rest = chunk;
        while !rest.is_empty() {
            rest = match self.state {
                State::Line { .. } if self.pending.is_empty() => self.feed_lines(rest, &mut sink),
                State::Line { .. } => self.feed_rest_of_line(rest, &mut sink),
                State::LongLine { .. } => self.feed_long_line(rest, &mut sink),
                State::Block { place: Place::Start { colons }, .. } => {
                    self.feed_start_in_block(rest, colons, &mut sink)
                }
                State::Block { .. } => self.feed_inside_block(rest, &mut sink),
            };
        }
    }

    /// Hands out what is left when the stream has ended: a line without a line
    /// end, a block that was never closed. The parser is as new afterwards.
    pub fn finish(&mut self, mut sink: impl FnMut(Message<'_>)) {
        if matches!(self.state, State::Line { .. }) && !self.pending.is_empty() {
            self.end_line(&mut sink);
        }
        if let State::Block { place: Place::Start { colons: colons @ 1.. }, has_lines, .. } =
            self.state
        {
            self.begin_line_in_block(colons, has_lines, &mut sink);
        }
        self.end_message(&mut sink);
        self.state = FRESH;
    }

    /// Takes out what has come of a message that is not complete; none between two
    /// messages. The parser is as new afterwards.
    pub fn unfinished(&mut self) -> Option<Unfinished> {
        let state = std::mem::replace(&mut self.state, FRESH);
        let pending = std::mem::take(&mut self.pending);
        let is_between = state == FRESH && pending.is_empty();
        (!is_between).then_some(Unfinished { state, pending })
    }

    /// Goes on, as the first thing that it does, with what another parser left; hands
    /// out what is more than this one holds back.
    pub fn resume(&mut self, unfinished: Unfinished, mut sink: impl FnMut(Message<'_>)) {
        let Unfinished { state, pending } = unfinished;
        self.state = state;
        match state {
            State::Line { .. } => self.feed(&pending, sink),
            State::LongLine { .. } | State::Block { .. } => {
                self.pending = pending;
                while self.pending.len() > self.longest {
                    self.cut_if_full(&mut sink);
                }
            }
        }
    }

    /// The fast path: whole lines, straight out of the chunk.
    fn feed_lines<'c>(&mut self, chunk: &'c [u8], sink: &mut impl FnMut(Message<'_>)) -> &'c [u8] {
        let mut rest = chunk;
        while let Some(end) = memchr(b'\n', rest) {
            let line = &rest[..end];
            if line.len() > self.longest {
                break;
            }
            rest = &rest[end + 1..];
            if !self.take_line(line, sink) {
                return rest;
            }
        }
        let (piece, rest) = rest.split_at(rest.len().min(self.longest + 1));
        self.pending.extend_from_slice(piece);
        self.leave_line_if_long(sink);
        rest
    }

    fn feed_rest_of_line<'c>(
        &mut self,
        chunk: &'c [u8],
        sink: &mut impl FnMut(Message<'_>),
    ) -> &'c [u8] {
        let room = self.longest + 1 - self.pending.len();
        let within = &chunk[..chunk.len().min(room)];
        let Some(end) = memchr(b'\n', within) else {
            self.pending.extend_from_slice(within);
            self.leave_line_if_long(sink);
            return &chunk[within.len()..];
        };
        self.pending.extend_from_slice(&within[..end]);
        self.end_line(sink);
        &chunk[end + 1..]
    }

    /// Ends the line in `pending`.
    fn end_line(&mut self, sink: &mut impl FnMut(Message<'_>)) {
        let mut line = std::mem::take(&mut self.pending);
        if self.take_line(&line, sink) {
            line.clear();
            self.pending = line;
        }
    }

    /// Handles one whole line; false if it opened a block.
    fn take_line(&mut self, line: &[u8], sink: &mut impl FnMut(Message<'_>)) -> bool {
        let after_block = matches!(self.state, State::Line { after_block: true });
        self.state = FRESH;
        if after_block && matches!(line, b"" | b"\r") {
            return true;
        }
        match Prefix::of(line) {
            None => sink(Message { level: self.default_level, data: line, part: Part::Whole }),
            Some(Prefix { level, length, opens_block: false }) => {
                sink(Message { level, data: &line[length..], part: Part::Whole });
            }
            Some(Prefix { level, length, opens_block: true }) => {
                self.open_block(level, &line[length..]);
                return false;
            }
        }
        true
    }

    fn open_block(&mut self, level: Level, first_line: &[u8]) {
        // An opening line that says nothing more is not a blank line.
        let first_line = if first_line == b"\r" { b"" } else { first_line };
        self.pending = first_line.to_vec();
        self.state = State::Block {
            level,
            is_cut: false,
            place: Place::Start { colons: 0 },
            has_lines: !first_line.is_empty(),
        };
    }

    /// Gives up looking at the line as a whole once it is longer than a message.
    fn leave_line_if_long(&mut self, sink: &mut impl FnMut(Message<'_>)) {
        if self.pending.len() <= self.longest {
            return;
        }
        let prefix = Prefix::of(&self.pending);
        self.pending.drain(..prefix.map_or(0, |prefix| prefix.length));
        self.state = match prefix {
            Some(Prefix { level, opens_block: true, .. }) => {
                State::Block { level, is_cut: false, place: Place::Inside, has_lines: true }
            }
            Some(Prefix { level, .. }) => State::LongLine { level, is_cut: false },
            None => State::LongLine { level: self.default_level, is_cut: false },
        };
        self.cut_if_full(sink);
    }

    fn feed_long_line<'c>(
        &mut self,
        chunk: &'c [u8],
        sink: &mut impl FnMut(Message<'_>),
    ) -> &'c [u8] {
        let Some(end) = memchr(b'\n', chunk) else {
            self.append(chunk, sink);
            return &[];
        };
        self.append(&chunk[..end], sink);
        self.end_message(sink);
        self.state = FRESH;
        &chunk[end + 1..]
    }

    fn feed_start_in_block<'c>(
        &mut self,
        chunk: &'c [u8],
        seen: usize,
        sink: &mut impl FnMut(Message<'_>),
    ) -> &'c [u8] {
        let more = chunk.iter().take(3 - seen).take_while(|&&byte| byte == b':').count();
        let (colons, rest) = (seen + more, &chunk[more..]);
        if colons == 3 {
            self.end_message(sink);
            self.state = State::Line { after_block: true };
        } else if let State::Block { place, has_lines, .. } = &mut self.state {
            let has_lines = *has_lines;
            *place = Place::Start { colons };
            if !rest.is_empty() {
                self.begin_line_in_block(colons, has_lines, sink);
            }
        }
        rest
    }

    fn begin_line_in_block(
        &mut self,
        colons: usize,
        has_lines: bool,
        sink: &mut impl FnMut(Message<'_>),
    ) {
        if has_lines {
            self.append(b"\n", sink);
        }
        self.append(&b":::"[..colons], sink);
        if let State::Block { place, has_lines, .. } = &mut self.state {
            *place = Place::Inside;
            *has_lines = true;
        }
    }

    fn feed_inside_block<'c>(
        &mut self,
        chunk: &'c [u8],
        sink: &mut impl FnMut(Message<'_>),
    ) -> &'c [u8] {
        let Some(end) = memchr(b'\n', chunk) else {
            self.append(chunk, sink);
            return &[];
        };
        self.append(&chunk[..end], sink);
        if let State::Block { place, .. } = &mut self.state {
            *place = Place::Start { colons: 0 };
        }
        &chunk[end + 1..]
    }

    /// Adds text to a message that may have to be cut.
    fn append(&mut self, text: &[u8], sink: &mut impl FnMut(Message<'_>)) {
        let mut rest = text;
        while !rest.is_empty() {
            let room = self.longest + 1 - self.pending.len();
            let (now, later) = rest.split_at(rest.len().min(room));
            self.pending.extend_from_slice(now);
            self.cut_if_full(sink);
            rest = later;
        }
    }

    /// Hands out a part once there is certainly something after it.
    fn cut_if_full(&mut self, sink: &mut impl FnMut(Message<'_>)) {
        if self.pending.len() <= self.longest {
            return;
        }
        let cut = character_border(&self.pending, self.longest);
        let (State::LongLine { level, is_cut } | State::Block { level, is_cut, .. }) =
            &mut self.state
        else {
            return;
        };
        let part = if *is_cut { Part::Middle } else { Part::First };
        *is_cut = true;
        sink(Message { level: *level, data: &self.pending[..cut], part });
        self.pending.drain(..cut);
    }

    /// Hands out the rest of a long line or a block.
    fn end_message(&mut self, sink: &mut impl FnMut(Message<'_>)) {
        if let State::LongLine { level, is_cut } | State::Block { level, is_cut, .. } = self.state {
            let part = if is_cut { Part::Last } else { Part::Whole };
            sink(Message { level, data: &self.pending, part });
        }
        self.pending.clear();
    }
}

/// What stands before a line's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefix {
    level: Level,
    length: usize,
    opens_block: bool,
}

impl Prefix {
    fn of(line: &[u8]) -> Option<Self> {
        let digits = line.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=3).contains(&digits) || line.get(digits..digits + 2) != Some(b"::") {
            return None;
        }
        let number = line[..digits].iter().fold(0, |n, byte| n * 10 + u16::from(byte - b'0'));
        let opens_block = line.get(digits + 2) == Some(&b':');
        Some(Self {
            level: Level(u8::try_from(number).ok()?),
            length: digits + 2 + usize::from(opens_block),
            opens_block,
        })
    }
}

/// The last place at or before `at` that is not inside of a UTF-8 character;
/// `at` itself if the bytes are no UTF-8.
fn character_border(bytes: &[u8], at: usize) -> usize {
    let is_inside = |i: &usize| bytes[*i] & 0b1100_0000 == 0b1000_0000;
    (at.saturating_sub(3)..=at).rev().find(|i| !is_inside(i)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_parser_goes_on_wherever_one_has_stopped() {
        let input = b"one\n7::two\n20:::\n{\n\"a\": 3}\n:::\n\nthree that is longer than is held\n\
                      8:::of many\nlines that are long, too\n:::\nfour";
        type Parts = Vec<(u8, Vec<u8>, Part)>;
        let parse = |pieces: &[&[u8]]| {
            let mut found: Parts = Vec::new();
            let mut sink = |m: Message<'_>| found.push((m.level.0, m.data.to_vec(), m.part));
            let mut left = None;
            for piece in pieces {
                let mut parser = OutputParser::new(Stream::Stdout, 16);
                if let Some(left) = left.take() {
                    parser.resume(left, &mut sink);
                }
                parser.feed(piece, &mut sink);
                left = parser.unfinished();
                // It goes through a file.
                let text = serde_json::to_string(&left).unwrap();
                left = serde_json::from_str(&text).unwrap();
            }
            let mut parser = OutputParser::new(Stream::Stdout, 16);
            if let Some(left) = left {
                parser.resume(left, &mut sink);
            }
            parser.finish(&mut sink);
            found
        };
        let whole = parse(&[input]);
        for at in 0..=input.len() {
            let (one, two) = input.split_at(at);
            assert_eq!(parse(&[one, two]), whole, "cut at {at}");
        }
    }

    fn messages(input: &[u8]) -> Vec<(u8, String)> {
        let mut found = Vec::new();
        let mut sink = |m: Message<'_>| {
            assert_eq!(m.part, Part::Whole);
            found.push((m.level.0, String::from_utf8_lossy(m.data).into_owned()));
        };
        let mut parser = OutputParser::new(Stream::Stdout, OutputParser::LONGEST_MESSAGE);
        parser.feed(input, &mut sink);
        parser.finish(&mut sink);
        found
    }

    #[test]
    fn lines_have_the_level_of_their_prefix_or_stream() {
        for (line, level, data) in [
            ("plain", 1, "plain"),
            ("7::careful", 7, "careful"),
            ("7:: careful ", 7, " careful "),
            ("007::x", 7, "x"),
            ("42::unknown levels stay", 42, "unknown levels stay"),
            ("255::", 255, ""),
            ("", 1, ""),
            ("::x", 1, "::x"),
            (":::", 1, ":::"),
            ("256::x", 1, "256::x"),
            ("2001::1", 1, "2001::1"),
            ("12:30", 1, "12:30"),
            (" 7::x", 1, " 7::x"),
            ("7:x", 1, "7:x"),
            ("-7::x", 1, "-7::x"),
        ] {
            let expected = [(level, data.to_owned())];
            assert_eq!(messages(format!("{line}\n").as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn standard_error_is_level_2() {
        let mut level = None;
        OutputParser::new(Stream::Stderr, 100)
            .feed(b"oops\n", |message| level = Some(message.level));
        assert_eq!(level, Some(Level::STDERR));
    }

    #[test]
    fn a_block_is_one_message() {
        for (input, data) in [
            ("8:::a\nb\n:::\n", "a\nb"),
            ("8:::\na\nb\n:::\n", "a\nb"),
            ("8:::a\n\n\nb\n\n:::\n", "a\n\n\nb\n"),
            ("8:::\n\na\n:::\n", "\na"),
            ("8:::\n7::not a prefix\n9:::\n::\n:x\n:::\n", "7::not a prefix\n9:::\n::\n:x"),
            ("8:::\n:::\n", ""),
            ("8:::\r\na\n:::\r\n", "a"),
            ("8::::x\n:::\n", ":x"),
        ] {
            assert_eq!(messages(input.as_bytes()), [(8, data.to_owned())], "{input:?}");
        }
    }

    #[test]
    fn text_behind_the_end_of_a_block_is_a_line() {
        let expected = [(8, "a".into()), (7, "b".into()), (1, String::new())];
        assert_eq!(messages(b"8:::a\n:::7::b\n\n"), expected);
    }

    #[test]
    fn what_never_ended_is_kept() {
        assert_eq!(messages(b"a\nb"), [(1, "a".into()), (1, "b".into())]);
        assert_eq!(messages(b"9:::a\nb"), [(9, "a\nb".into())]);
        assert_eq!(messages(b"9:::a\nb\n::"), [(9, "a\nb\n::".into())]);
        assert_eq!(messages(b"9:::a"), [(9, "a".into())]);
        assert_eq!(messages(b"9:::"), [(9, String::new())]);
    }

    #[test]
    fn a_cut_never_falls_into_a_character() {
        assert_eq!(character_border("aä".as_bytes(), 2), 1);
        assert_eq!(character_border("a\u{1f600}b".as_bytes(), 4), 1);
        assert_eq!(character_border("a\u{1f600}b".as_bytes(), 5), 5);
        assert_eq!(character_border(&[0x80; 9], 8), 8);
    }
}
