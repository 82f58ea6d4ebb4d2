//! What one job says, on its way into the log.

use std::sync::Arc;

use drover_api::{Level, Record, Timestamp};
use drover_logs::statsd::ScopeId;
use drover_logs::store::{Batch, LossyAppender, Origin, StoreClosed};
use drover_logs::{FieldRef, LevelSet, Message, OutputParser, Part, Stream, Unfinished};
use drover_plugin_host::RecordValue;

use super::{Logs, PlainLines};
use crate::config::WhenFull;

/// Who hears of messages beside the log.
pub(crate) type Also<'a> = &'a mut dyn FnMut(Stream, Message<'_>);

/// Takes down what one job says.
///
/// What is taken waits here until [`JobLog::write`]; what holds a job back is
/// that, and nothing is read from it meanwhile.
pub(crate) struct JobLog {
    logs: Logs,
    origin: Arc<Origin>,
    /// Levels that are looked at at all.
    heard: LevelSet,
    parsers: [OutputParser; 2],
    batch: Batch,
    /// Where the job does not wait.
    lossy: Option<LossyAppender>,
    /// The job's metrics, if there were any.
    scope: Option<ScopeId>,
    /// The beginning of a line of metrics whose end has not come.
    metric: Vec<u8>,
    /// Where a plugin parses plain lines.
    plain: Option<PlainLines>,
    /// Whether what a parser holds back is all that comes of it.
    is_pausing: bool,
}

/// What a parser of a stream is to do.
enum Work<'a> {
    Take(&'a [u8]),
    Finish,
    Resume(Unfinished),
}

impl JobLog {
    pub(super) fn new(logs: Logs, origin: Arc<Origin>, heard: LevelSet) -> Self {
        let longest = logs.shared.longest;
        let lossy = match logs.shared.when_full {
            WhenFull::Wait => None,
            WhenFull::Count => Some(logs.store().lossy_appender()),
        };
        Self {
            parsers: [Stream::Stdout, Stream::Stderr].map(|s| OutputParser::new(s, longest)),
            batch: Batch::new(Arc::clone(&origin)),
            origin,
            heard,
            logs,
            lossy,
            scope: None,
            metric: Vec::new(),
            plain: None,
            is_pausing: false,
        }
    }

    /// Has plain lines parsed: those of no level of their own.
    pub(crate) fn parse_plain(&mut self, plain: PlainLines) {
        self.plain = Some(plain);
    }

    /// Whether a parser holds lines back.
    pub(crate) fn is_holding(&self) -> bool {
        self.plain.as_ref().is_some_and(PlainLines::is_holding)
    }

    /// Has [`JobLog::write`] take what a parser holds back: nothing comes for
    /// now that could belong to it.
    pub(crate) fn pause(&mut self) {
        self.is_pausing = true;
    }

    /// Takes bytes of one stream, which say in the level protocol what they are.
    /// `also` is given every message that is looked at.
    pub(crate) fn output(&mut self, stream: Stream, bytes: &[u8], also: Also<'_>) {
        self.parse(stream, Work::Take(bytes), also);
    }

    /// Takes what a program left unfinished at its end: lines and blocks.
    pub(crate) fn end_output(&mut self, also: Also<'_>) {
        self.is_pausing = true;
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.parse(stream, Work::Finish, &mut *also);
        }
    }

    /// Takes out what has begun of lines and blocks, for the next agent.
    pub(crate) fn unfinished(&mut self) -> [Option<Unfinished>; 2] {
        self.is_pausing = true;
        self.parsers.each_mut().map(OutputParser::unfinished)
    }

    /// Goes on with what the agent before had of lines and blocks.
    pub(crate) fn resume(&mut self, unfinished: [Option<Unfinished>; 2], also: Also<'_>) {
        for (stream, begun) in [Stream::Stdout, Stream::Stderr].into_iter().zip(unfinished) {
            if let Some(begun) = begun {
                self.parse(stream, Work::Resume(begun), &mut *also);
            }
        }
    }

    fn parse(&mut self, stream: Stream, work: Work<'_>, also: Also<'_>) {
        let Self { logs, origin, heard, parsers, batch, scope, metric, plain, .. } = self;
        let time = Timestamp::now();
        let sink = |message: Message<'_>| match message.level {
            _ if plain.as_mut().is_some_and(|plain| plain.take(stream, message)) => {
                also(stream, message);
            }
            level if !heard.contains(level) => {}
            Level::STATSD => take_metrics(logs, origin, scope, metric, message),
            _ => {
                also(stream, message);
                batch.push(time, message);
            }
        };
        let parser = &mut parsers[stream as usize];
        match work {
            Work::Take(bytes) => parser.feed(bytes, sink),
            Work::Finish => parser.finish(sink),
            Work::Resume(begun) => parser.resume(begun, sink),
        }
    }

    /// Takes a whole record.
    pub(crate) fn record(&mut self, record: &Record) {
        self.record_with_fields(record, &[]);
    }

    /// Takes a whole record; each of its parts has the fields.
    pub(crate) fn record_with_fields(&mut self, record: &Record, fields: &[(String, RecordValue)]) {
        let longest = self.logs.shared.longest;
        let Record { time, level, data } = record;
        for (part, data) in parts(data, longest) {
            let message = Message { level: *level, data: data.as_bytes(), part };
            let fields = fields.iter().map(|(name, value)| (name.as_str(), value_of(value)));
            self.batch.push_with_fields(*time, message, fields);
        }
    }

    /// Takes lines of metrics about the job.
    pub(crate) fn measure(&mut self, lines: &str) {
        let metrics = &self.logs.shared.metrics;
        let source = &self.origin.source;
        let scope = *self.scope.get_or_insert_with(|| metrics.begin(source));
        metrics.add(scope, lines.as_bytes());
    }

    /// Hands over what was taken; waits for room in the log unless the job is
    /// not to wait.
    ///
    /// # Errors
    ///
    /// The log is closed.
    pub(crate) async fn write(&mut self) -> Result<(), StoreClosed> {
        let is_pausing = std::mem::take(&mut self.is_pausing);
        if let Some(plain) = &mut self.plain {
            let longest = self.logs.shared.longest;
            plain.parse(&mut self.batch, self.heard, longest, is_pausing).await;
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, Batch::new(Arc::clone(&self.origin)));
        match &mut self.lossy {
            None => self.logs.store().append(batch).await,
            Some(lossy) => lossy.append(batch).map(drop),
        }
    }
}

impl Drop for JobLog {
    fn drop(&mut self) {
        if let Some(scope) = self.scope {
            self.logs.shared.metrics.end(scope);
        }
    }
}

/// Adds up the metrics in a message, line by line.
fn take_metrics(
    logs: &Logs,
    origin: &Origin,
    scope: &mut Option<ScopeId>,
    metric: &mut Vec<u8>,
    message: Message<'_>,
) {
    let metrics = &logs.shared.metrics;
    let scope = *scope.get_or_insert_with(|| metrics.begin(&origin.source));
    let is_end = matches!(message.part, Part::Whole | Part::Last);
    if is_end && metric.is_empty() {
        metrics.add(scope, message.data);
        return;
    }
    metric.extend_from_slice(message.data);
    let lines = match is_end {
        true => metric.len(),
        // No line of metrics is as long as a part; such a one is dropped when
        // it is read.
        false => metric.iter().rposition(|&byte| byte == b'\n').map_or(metric.len(), |at| at + 1),
    };
    metrics.add(scope, &metric[..lines]);
    metric.drain(..lines);
}

/// A text in parts of at most `longest` bytes, no character cut.
fn parts(text: &str, longest: usize) -> impl Iterator<Item = (Part, &str)> {
    let mut rest = Some(text);
    let mut is_first = true;
    std::iter::from_fn(move || {
        let text = rest?;
        let (piece, after) = text.split_at(text.floor_char_boundary(longest));
        let is_last = after.is_empty();
        rest = (!is_last).then_some(after);
        let part = match (std::mem::replace(&mut is_first, false), is_last) {
            (true, true) => Part::Whole,
            (true, false) => Part::First,
            (false, false) => Part::Middle,
            (false, true) => Part::Last,
        };
        Some((part, piece))
    })
}

fn value_of(value: &RecordValue) -> FieldRef<'_> {
    match value {
        RecordValue::Text(text) => FieldRef::Text(text),
        RecordValue::Integer(number) => FieldRef::Integer(*number),
        RecordValue::Float(number) => FieldRef::Float(*number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_comes_in_parts_and_no_character_is_cut() {
        let whole = |text| parts(text, 16).collect::<Vec<_>>();
        assert_eq!(whole(""), [(Part::Whole, "")]);
        assert_eq!(whole("sixteen letters!"), [(Part::Whole, "sixteen letters!")]);
        assert_eq!(
            whole("fifteen lettersäand twelve more, and some"),
            [
                (Part::First, "fifteen letters"),
                (Part::Middle, "äand twelve mor"),
                (Part::Last, "e, and some"),
            ]
        );
    }
}
