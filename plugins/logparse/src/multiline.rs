//! Lines that belong together: a trace below the line that it is about.

use drover_sdk::data;
use drover_sdk::lines::Batch;
use memchr::memchr;
use regex::bytes::Regex;

use crate::pattern::compile;

/// The most lines, and the most bytes, of one record.
const MAX_LINES: u32 = 500;
const MAX_BYTES: u32 = 64 << 10;

/// Which lines are one record.
#[data]
#[derive(Debug, Clone, Default)]
pub(crate) struct Multiline {
    /// Which kinds of traces belong to the line before them: `java`, `python`,
    /// or `indented` for all lines that begin with a blank. Not beside `start`.
    #[serde(default)]
    join: Option<Traces>,
    /// A regular expression that the first line of each record matches, and no
    /// other line.
    #[serde(default)]
    start: Option<String>,
    /// The most lines of a record; further ones are a record of their own.
    #[serde(default = "max_lines")]
    #[schemars(range(min = 1, max = 10_000))]
    max_lines: u32,
    /// The most bytes of a record; lines beyond are a record of their own.
    #[serde(default = "max_bytes")]
    #[schemars(range(min = 1, max = 65_536))]
    max_bytes: u32,
}

fn max_lines() -> u32 {
    MAX_LINES
}

fn max_bytes() -> u32 {
    MAX_BYTES
}

/// Traces that are known.
#[data]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Traces {
    /// The exception, its frames, and its causes.
    Java,
    /// From `Traceback` to the exception, and what happened meanwhile.
    Python,
    /// Every line that begins with a blank.
    Indented,
}

/// Finds where records end.
#[derive(Debug)]
pub(crate) struct Joiner {
    rule: Rule,
    max_lines: usize,
    max_bytes: usize,
}

#[derive(Debug)]
enum Rule {
    Start(Regex),
    Traces(Traces),
}

/// Where in a Python trace a line is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// In none.
    Outside,
    /// Below the `Traceback`.
    Frames,
    /// Below the exception.
    Exception,
    /// Between two traces that are one.
    Meanwhile,
}

impl Joiner {
    /// Makes a joiner of an option.
    ///
    /// # Errors
    ///
    /// If the option says nothing, two things, or has a wrong pattern.
    pub(crate) fn new(option: &Multiline) -> Result<Self, String> {
        let rule = match (&option.start, option.join) {
            (Some(start), None) => Rule::Start(compile(start)?),
            (None, Some(traces)) => Rule::Traces(traces),
            _ => return Err("multiline takes either `join` or `start`".to_owned()),
        };
        let (max_lines, max_bytes) = (option.max_lines as usize, option.max_bytes as usize);
        Ok(Self { rule, max_lines, max_bytes: max_bytes.min(MAX_BYTES as usize) })
    }

    /// How long the next record is; none if later lines may belong to it.
    pub(crate) fn next(&self, batch: &Batch<'_>) -> Option<usize> {
        let rest = batch.rest();
        let mut length = line_length(rest);
        let mut place = Place::begin(&rest[..length]);
        for _ in 1..self.max_lines {
            if length == rest.len() {
                let is_full = length >= self.max_bytes;
                return (is_full || batch.is_last()).then_some(length);
            }
            let line = &rest[length..][..line_length(&rest[length..])];
            if length + line.len() > self.max_bytes || !self.continues(line, &mut place) {
                return Some(length);
            }
            length += line.len();
        }
        Some(length)
    }

    fn continues(&self, line: &[u8], place: &mut Place) -> bool {
        let line = line.trim_ascii_end();
        match &self.rule {
            Rule::Start(start) => !start.is_match(line),
            Rule::Traces(Traces::Indented) => is_indented(line),
            Rule::Traces(Traces::Java) => is_of_java(line),
            Rule::Traces(Traces::Python) => match place.after(line) {
                Some(next) => {
                    *place = next;
                    true
                }
                None => false,
            },
        }
    }
}

fn line_length(text: &[u8]) -> usize {
    memchr(b'\n', text).map_or(text.len(), |end| end + 1)
}

fn is_indented(line: &[u8]) -> bool {
    matches!(line, [b' ' | b'\t', ..])
}

/// Frames, causes, and the exception itself below the line that logged it.
fn is_of_java(line: &[u8]) -> bool {
    if is_indented(line) || line.starts_with(b"Caused by: ") {
        return true;
    }
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$');
    let length = line.iter().take_while(|byte| is_part(byte)).count();
    let (class, rest) = line.split_at(length);
    let is_throwable =
        [&b"Exception"[..], b"Error", b"Throwable"].iter().any(|end| class.ends_with(end));
    is_throwable && class.contains(&b'.') && (rest.is_empty() || rest.starts_with(b":"))
}

const TRACEBACK: &[u8] = b"Traceback (most recent call last):";
const MEANWHILE: [&[u8]; 2] = [
    b"During handling of the above exception, another exception occurred:",
    b"The above exception was the direct cause of the following exception:",
];

impl Place {
    fn begin(line: &[u8]) -> Self {
        if line.starts_with(TRACEBACK) { Self::Frames } else { Self::Outside }
    }

    /// Where the next line is; none if it is of another record.
    fn after(self, line: &[u8]) -> Option<Self> {
        match self {
            Self::Outside => line.starts_with(TRACEBACK).then_some(Self::Frames),
            Self::Meanwhile if line.is_empty() => Some(Self::Meanwhile),
            Self::Meanwhile => line.starts_with(TRACEBACK).then_some(Self::Frames),
            Self::Frames if is_indented(line) => Some(Self::Frames),
            Self::Frames => Some(Self::Exception),
            Self::Exception if line.is_empty() => Some(Self::Exception),
            Self::Exception if MEANWHILE.contains(&line) => Some(Self::Meanwhile),
            Self::Exception => None,
        }
    }
}
