//! Lines on their way through a plugin's parser, whatever becomes of that.

use std::time::{Duration, Instant};

use bytes::Bytes;
use drover_api::{ErrorCode, JobError, Level, Record, Timestamp};
use drover_logs::store::Batch;
use drover_logs::{FieldRef, Message, Part};
use drover_plugin_host::{Event, FieldValue, Host, Parsed, Parser, ParserSpec};

/// Parses the lines of one file or stream.
///
/// A parser that fails costs nothing but what it was to find: its lines are
/// kept as they are, and so is what comes until it is opened again, later each
/// time.
pub(crate) struct Parsing {
    spec: Option<ParserSpec>,
    parser: Option<Parser>,
    /// Bytes that the parser holds back.
    held: usize,
    /// Failures since a batch was parsed.
    failures: u32,
    /// Until when lines are kept as they are.
    resting_until: Option<Instant>,
}

/// What became of a batch.
pub(crate) enum Taken {
    /// It was parsed; what is not in here is held back.
    Parsed(Parsed),
    /// It is to be kept as it is, with what was held back before it.
    AsItIs {
        /// All lines that no event had.
        lines: Bytes,
        /// What the parser failed with, if it did that now.
        failure: Option<Failure>,
    },
}

/// A parser has failed.
pub(crate) struct Failure {
    /// With what.
    pub(crate) error: JobError,
    /// Whether it fails again and again, and somebody must look at it. True
    /// once in a row of failures.
    pub(crate) is_critical: bool,
}

/// One event, or a line that was not parsed.
pub(crate) struct Line<'a> {
    pub(crate) time: Option<Timestamp>,
    pub(crate) level: Level,
    /// Without the end of the last line.
    pub(crate) text: &'a [u8],
    /// How many lines of the file it has.
    pub(crate) lines: u64,
    pub(crate) is_parsed: bool,
    event: Option<Event<'a>>,
}

/// How long lines are kept as they are after a first failure; doubled each time …
const FIRST_REST: Duration = Duration::from_secs(1);

/// … up to this.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Failures in a row of which somebody must be told.
const CRITICAL_AFTER: u32 = 3;

impl Parsing {
    /// `None` keeps all lines as they are.
    pub(crate) fn new(spec: Option<ParserSpec>) -> Self {
        Self { spec, parser: None, held: 0, failures: 0, resting_until: None }
    }

    /// Takes whole lines, at most 64 KiB.
    ///
    /// # Errors
    ///
    /// If there is no such parser at present, or the host shuts down: nothing
    /// was taken.
    pub(crate) async fn take(&mut self, host: &Host, lines: Bytes) -> Result<Taken, JobError> {
        let Some(spec) = &self.spec else { return Ok(Taken::AsItIs { lines, failure: None }) };
        if self.resting_until.is_some_and(|until| Instant::now() < until) {
            return Ok(Taken::AsItIs { lines, failure: None });
        }
        let parser = match &mut self.parser {
            Some(parser) => parser,
            None => match host.open_parser(spec).await {
                Ok(parser) => self.parser.insert(parser),
                Err(error) if error.code == ErrorCode::ShuttingDown => return Err(error),
                Err(error) if is_failure(&error) => {
                    return Ok(self.fail(error, lines));
                }
                Err(error) => return Err(error),
            },
        };
        match parser.parse(lines.clone()).await {
            Ok(parsed) => {
                self.held = (self.held + lines.len()).saturating_sub(parsed.text().len());
                (self.failures, self.resting_until) = (0, None);
                self.leave_if_stale();
                Ok(Taken::Parsed(parsed))
            }
            Err(error) if error.code == ErrorCode::ShuttingDown => Err(error),
            Err(error) => Ok(self.fail(error, lines)),
        }
    }

    /// As [`Parsing::take`], for lines that must not wait: where there is no
    /// parser they are kept as they are.
    pub(crate) async fn take_or_keep(&mut self, host: &Host, lines: Bytes) -> Taken {
        match self.take(host, lines.clone()).await {
            Ok(taken) => taken,
            Err(error) if error.code == ErrorCode::ShuttingDown => {
                Taken::AsItIs { lines: self.give_up(lines), failure: None }
            }
            Err(error) => self.fail(error, lines),
        }
    }

    /// As [`Parsing::flush`], for lines that must not wait.
    pub(crate) async fn flush_or_keep(&mut self) -> Option<Taken> {
        self.flush().await.unwrap_or_else(|_| {
            Some(Taken::AsItIs { lines: self.give_up(Bytes::new()), failure: None })
        })
    }

    /// Takes what is held back, where no more lines come for now.
    ///
    /// # Errors
    ///
    /// If the host shuts down: it is still held back then.
    pub(crate) async fn flush(&mut self) -> Result<Option<Taken>, JobError> {
        if self.held == 0 {
            return Ok(None);
        }
        let Some(parser) = &mut self.parser else { return Ok(None) };
        match parser.flush().await {
            Ok(parsed) => {
                self.held = self.held.saturating_sub(parsed.text().len());
                self.leave_if_stale();
                Ok(Some(Taken::Parsed(parsed)))
            }
            Err(error) if error.code == ErrorCode::ShuttingDown => Err(error),
            Err(error) => Ok(Some(self.fail(error, Bytes::new()))),
        }
    }

    /// Bytes of lines that were taken, and that no event had yet.
    pub(crate) fn held(&self) -> u64 {
        self.held as u64
    }

    /// Closes the parser, which is opened again when there are lines for it.
    pub(crate) fn close(&mut self) {
        if self.held == 0 {
            self.parser = None;
        }
    }

    /// The next lines are for the new version of a plugin that was replaced.
    fn leave_if_stale(&mut self) {
        if self.held == 0 && self.parser.as_ref().is_some_and(Parser::is_stale) {
            self.parser = None;
        }
    }

    /// Closes the parser, and takes back what no event had, before `lines`.
    fn give_up(&mut self, lines: Bytes) -> Bytes {
        self.held = 0;
        let held = self.parser.take().map(Parser::into_held).unwrap_or_default();
        if held.is_empty() { lines } else { [&held[..], &lines[..]].concat().into() }
    }

    fn fail(&mut self, error: JobError, lines: Bytes) -> Taken {
        let lines = self.give_up(lines);
        let rest = FIRST_REST.saturating_mul(1 << self.failures.min(10)).min(LONGEST_REST);
        self.failures += 1;
        self.resting_until = Some(Instant::now() + rest);
        let is_critical = self.failures == CRITICAL_AFTER;
        Taken::AsItIs { lines, failure: Some(Failure { error, is_critical }) }
    }
}

/// Whether a parser cannot be opened because it fails, and not because it is
/// not there: then lines are not kept waiting for it.
fn is_failure(error: &JobError) -> bool {
    matches!(
        error.code,
        ErrorCode::Quarantined
            | ErrorCode::Trapped
            | ErrorCode::OutOfMemory
            | ErrorCode::Timeout
            | ErrorCode::InvalidAnswer
    )
}

impl Taken {
    /// The events, and the lines that are kept as they are, in their order.
    pub(crate) fn lines(&self) -> Box<dyn Iterator<Item = Line<'_>> + Send + '_> {
        match self {
            Self::Parsed(parsed) => Box::new(parsed.events().map(|event| Line {
                time: event.time,
                level: event.level,
                text: without_end(event.text),
                lines: memchr::memchr_iter(b'\n', event.text).count().max(1) as u64,
                is_parsed: event.is_parsed,
                event: Some(event),
            })),
            Self::AsItIs { lines, .. } => {
                Box::new(lines.split_inclusive(|byte| *byte == b'\n').map(|line| Line {
                    time: None,
                    level: Level::TEXT,
                    text: without_end(line),
                    lines: 1,
                    is_parsed: false,
                    event: None,
                }))
            }
        }
    }

    /// What the plugin itself logged.
    pub(crate) fn records(&self) -> &[Record] {
        match self {
            Self::Parsed(parsed) => parsed.records(),
            Self::AsItIs { .. } => &[],
        }
    }

    /// What the parser failed with.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::AsItIs { failure, .. } => failure.as_ref(),
            Self::Parsed(_) => None,
        }
    }
}

impl<'a> Line<'a> {
    /// What the parser found. A text that is not UTF-8 is left out; it is in the
    /// line.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'a str, FieldRef<'a>)> {
        let fields = self.event.as_ref().map(Event::fields);
        fields.into_iter().flatten().filter_map(|(name, value)| {
            let value = match value {
                FieldValue::Text(text) => FieldRef::Text(std::str::from_utf8(text).ok()?),
                FieldValue::Integer(number) => FieldRef::Integer(number),
                FieldValue::Float(number) => FieldRef::Float(number),
            };
            Some((name, value))
        })
    }
}

impl Line<'_> {
    /// Adds a record of it; a long one in several parts, as others are.
    pub(crate) fn add_to(&self, batch: &mut Batch, longest: usize, now: Timestamp) {
        let (time, level) = (self.time.unwrap_or(now), self.level);
        if self.text.len() <= longest {
            let message = Message { level, data: self.text, part: Part::Whole };
            batch.push_with_fields(time, message, self.fields());
            return;
        }
        let last = self.text.len().div_ceil(longest) - 1;
        for (number, data) in self.text.chunks(longest).enumerate() {
            let part = match number {
                0 => Part::First,
                number if number == last => Part::Last,
                _ => Part::Middle,
            };
            let fields = self.fields().filter(|_| number == 0);
            batch.push_with_fields(time, Message { level, data, part }, fields);
        }
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
