//! The plain lines of a program, on their way through a plugin's parser.

use bytes::{Bytes, BytesMut};
use drover_api::{Level, Timestamp};
use drover_logs::store::Batch;
use drover_logs::{LevelSet, Message, Part, Stream};
use drover_plugin_host::{Host, ParserSpec};

use crate::sources::{Parsing, Taken};

/// Lines that the level protocol knows nothing of, until they are parsed.
///
/// A program is not held up by a parser that is not there: its lines are kept as
/// they are then.
pub(crate) struct PlainLines {
    host: Host,
    streams: [(Parsing, BytesMut); 2],
}

/// The longest batch of a parser.
const BATCH_BYTES: usize = 64 << 10;

impl PlainLines {
    pub(crate) fn new(host: Host, spec: &ParserSpec) -> Self {
        let stream = |_| (Parsing::new(Some(spec.clone())), BytesMut::new());
        Self { host, streams: [Stream::Stdout, Stream::Stderr].map(stream) }
    }

    /// Takes a message if it is a plain line, and one that a parser can be given.
    pub(crate) fn take(&mut self, stream: Stream, message: Message<'_>) -> bool {
        let is_plain = message.level == stream.default_level() && message.part == Part::Whole;
        let is_line = !message.data.contains(&b'\n') && message.data.len() < BATCH_BYTES;
        if is_plain && is_line {
            let (_, lines) = &mut self.streams[stream as usize];
            lines.extend_from_slice(message.data);
            lines.extend_from_slice(b"\n");
        }
        is_plain && is_line
    }

    /// Whether a parser holds lines back, to be parsed when no others come.
    pub(crate) fn is_holding(&self) -> bool {
        self.streams.iter().any(|(parsing, _)| parsing.held() > 0)
    }

    /// Parses what was taken; and what is held back, if nothing more comes for
    /// now.
    pub(crate) async fn parse(
        &mut self,
        batch: &mut Batch,
        heard: LevelSet,
        longest: usize,
        is_last: bool,
    ) {
        for (stream, (parsing, lines)) in
            [Stream::Stdout, Stream::Stderr].into_iter().zip(&mut self.streams)
        {
            let add = |batch: &mut Batch, taken: &Taken| add(batch, taken, stream, heard, longest);
            while let Some(lines) = next_batch(lines) {
                let taken = parsing.take_or_keep(&self.host, lines).await;
                add(batch, &taken);
            }
            if is_last && let Some(taken) = parsing.flush_or_keep().await {
                add(batch, &taken);
            }
        }
    }
}

/// As many whole lines as a parser takes at once.
fn next_batch(lines: &mut BytesMut) -> Option<Bytes> {
    if lines.is_empty() {
        return None;
    }
    let most = lines.len().min(BATCH_BYTES);
    let end = memchr::memrchr(b'\n', &lines[..most]).map_or(most, |end| end + 1);
    Some(lines.split_to(end).freeze())
}

fn add(batch: &mut Batch, taken: &Taken, stream: Stream, heard: LevelSet, longest: usize) {
    let now = Timestamp::now();
    for mut line in taken.lines() {
        if !line.is_parsed {
            line.level = stream.default_level();
        }
        if heard.contains(line.level) {
            line.add_to(batch, longest, now);
        }
    }
    let note = |batch: &mut Batch, time, level, text: &str| {
        batch.push(time, Message { level, data: text.as_bytes(), part: Part::Whole });
    };
    for record in taken.records() {
        note(batch, record.time, record.level, &record.data);
    }
    if let Some(failure) = taken.failure() {
        let level = if failure.is_critical { Level::CRITICAL } else { Level::WARNING };
        let text = format!(
            "lines are kept as they are until their parser is tried again: {}",
            failure.error.message
        );
        note(batch, now, level, &text);
    }
}
