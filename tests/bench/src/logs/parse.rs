//! From chunks of output to messages.

use std::hint::black_box;
use std::time::Instant;

use drover_logs::{OutputParser, Stream};
use memchr::memchr;

/// What is read at once.
pub(super) const CHUNK: usize = 64 * 1024;

/// Lines of the text that is read over and over: more than a cache holds.
const LINES: u64 = 200_000;

/// Lines a second of a loop that does nothing but find their ends.
pub(super) fn bare(count: u64) -> f64 {
    rate(count, |chunk| {
        let mut rest = chunk;
        while let Some(end) = memchr(b'\n', rest) {
            black_box(&rest[..end]);
            rest = &rest[end + 1..];
        }
    })
}

/// Lines a second that become messages with a level.
pub(super) fn ours(count: u64) -> f64 {
    let mut parser = OutputParser::new(Stream::Stdout, OutputParser::LONGEST_MESSAGE);
    rate(count, |chunk| {
        parser.feed(chunk, |message| {
            black_box(message.data);
        });
    })
}

fn rate(count: u64, mut read: impl FnMut(&[u8])) -> f64 {
    let text = super::lines(LINES);
    let started = Instant::now();
    for _ in 0..count / LINES {
        text.chunks(CHUNK).for_each(&mut read);
    }
    (count / LINES * LINES) as f64 / started.elapsed().as_secs_f64()
}
