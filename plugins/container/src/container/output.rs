//! What containers write: shown as it comes, and kept up to a bound.

use std::borrow::Cow;
use std::io::Read;

use drover_sdk::{Failure, data, job, task};

use super::{container_path, details};
use crate::engine::frames::{Frames, Stream};
use crate::engine::{Engine, broken_off};

/// The most output that an answer can have, in bytes.
pub(crate) const MOST: u32 = 8 << 20;
/// The longest piece of one report of progress: one has at most 64 KiB, and
/// JSON makes six bytes of some.
const REPORT: usize = 10 << 10;

/// What was written.
#[data]
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Output {
    /// To standard output; of a container with a terminal, everything. Bytes
    /// that are no UTF-8 are replaced.
    pub(crate) stdout: String,
    /// To standard error.
    pub(crate) stderr: String,
    /// How many bytes more were written than `keep` allows to be here. With
    /// `follow` they were all reported as progress.
    pub(crate) omitted: u64,
}

/// A piece of output, as it is reported while it comes.
#[derive(serde::Serialize)]
struct Piece<'a> {
    /// Where it was written to.
    stream: Stream,
    /// What was written.
    text: &'a str,
}

/// Collects output and reports it.
pub(crate) struct Collector {
    is_live: bool,
    /// What came last and was not reported yet.
    pending: (Stream, String),
    keep: usize,
    stdout: Text,
    stderr: Text,
    output: Output,
}

impl Collector {
    /// Keeps at most `keep` bytes; reports everything as progress if it
    /// `is_live`.
    pub(crate) fn new(keep: u32, is_live: bool) -> Self {
        let keep = keep.min(MOST) as usize;
        let (stdout, stderr) = (Text::default(), Text::default());
        let pending = (Stream::Stdout, String::new());
        Self { is_live, pending, keep, stdout, stderr, output: Output::default() }
    }

    /// Takes everything that is written until the end. `what` completes
    /// "cannot …". What has come together is reported together.
    pub(crate) fn take_all(
        &mut self,
        reader: impl Read,
        has_terminal: bool,
        what: &str,
    ) -> Result<(), Failure> {
        let mut frames = Frames::new(reader, has_terminal);
        while let Some((stream, piece)) = frames.next().map_err(|e| broken_off(what, &e))? {
            self.take(stream, piece);
            if frames.has_to_read() {
                self.flush();
            }
        }
        Ok(())
    }

    /// Takes one piece.
    pub(crate) fn take(&mut self, stream: Stream, piece: &[u8]) {
        let text = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let text = text.push(piece);
        self.put(stream, &text);
    }

    /// All that was taken.
    pub(crate) fn finish(mut self) -> Output {
        let rest = self.stdout.end();
        self.put(Stream::Stdout, &rest);
        let rest = self.stderr.end();
        self.put(Stream::Stderr, &rest);
        self.flush();
        self.output
    }

    /// Reports what was taken.
    fn flush(&mut self) {
        let (stream, text) = &mut self.pending;
        if !text.is_empty() {
            report(*stream, text);
            text.clear();
        }
    }

    fn put(&mut self, stream: Stream, text: &str) {
        if self.is_live {
            if self.pending.0 != stream || self.pending.1.len() + text.len() > REPORT {
                self.flush();
            }
            if text.len() > REPORT {
                parts(text, REPORT).for_each(|part| report(stream, part));
            } else {
                self.pending.0 = stream;
                self.pending.1.push_str(text);
            }
        }
        let output = &mut self.output;
        let room = self.keep - output.stdout.len() - output.stderr.len();
        // Once something was left out, what follows is left out too.
        let kept =
            if output.omitted > 0 { "" } else { parts(text, room).next().unwrap_or_default() };
        match stream {
            Stream::Stdout => output.stdout.push_str(kept),
            Stream::Stderr => output.stderr.push_str(kept),
        }
        output.omitted += (text.len() - kept.len()) as u64;
    }
}

fn report(stream: Stream, text: &str) {
    // A report that nobody can read is not worth the job.
    let _ = job::progress(&Piece { stream, text });
}

/// Pieces of at most `length` bytes, of whole characters.
fn parts(mut text: &str, length: usize) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (part, rest) = text.split_at(text.floor_char_boundary(length));
        text = rest;
        (!part.is_empty()).then_some(part)
    })
}

/// Makes text of bytes that may be cut within a character.
#[derive(Default)]
struct Text {
    /// The beginning of a character.
    rest: Vec<u8>,
}

impl Text {
    fn push<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, str> {
        if self.rest.is_empty()
            && let Ok(text) = str::from_utf8(bytes)
        {
            return Cow::Borrowed(text);
        }
        self.rest.extend_from_slice(bytes);
        let mut whole = self.rest.len();
        if let Some(last) = self.rest.utf8_chunks().last()
            && is_cut(last.invalid())
        {
            whole -= last.invalid().len();
        }
        let rest = self.rest.split_off(whole);
        let text = String::from_utf8_lossy(&self.rest).into_owned();
        self.rest = rest;
        Cow::Owned(text)
    }

    fn end(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()
    }
}

/// Whether these bytes at the end of a text could become a character.
fn is_cut(bytes: &[u8]) -> bool {
    !bytes.is_empty() && str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// Shows what a container wrote.
///
/// Changes nothing. With `follow` it goes on until the container ends or the
/// job does, and everything is reported as progress as it comes:
/// `{"stream": "stdout", "text": "…"}`. At most `keep` bytes are in the answer.
#[task]
#[expect(clippy::too_many_arguments, reason = "each is an argument of the operation")]
pub(crate) fn logs(
    /// Its name or id.
    container: String,
    /// Whether to go on with what it will write.
    #[default(false)]
    follow: bool,
    /// How many lines from the end to begin with; all if it is left out.
    tail: Option<u32>,
    /// From when on, in seconds since 1970, such as `1700000000.25`.
    #[schemars(regex(pattern = r"^\d{1,12}(\.\d{1,9})?$"))]
    since: Option<String>,
    /// Until when, in seconds since 1970.
    #[schemars(regex(pattern = r"^\d{1,12}(\.\d{1,9})?$"))]
    until: Option<String>,
    /// Whether each line begins with its time.
    #[default(false)]
    timestamps: bool,
    /// Of which stream; both if it is left out.
    stream: Option<Stream>,
    /// How many bytes the answer may have, at most 8 MiB.
    #[default(1 << 20)]
    #[schemars(range(max = 8_388_608))]
    keep: u32,
) -> Result<Output, Failure> {
    let engine = Engine::connect()?;
    let has_terminal = has_terminal(&engine, &container)?;
    let what = format!("read the output of container {container}");
    let call = engine.get(container_path(&container, "/logs")?, &what);
    let call = call.query("stdout", stream != Some(Stream::Stderr));
    let call = call.query("stderr", stream != Some(Stream::Stdout));
    let call = call.query_if("follow", follow.then_some(true)).query_if("tail", tail);
    let call = call.query_if("since", since).query_if("until", until);
    let reply = call.query_if("timestamps", timestamps.then_some(true)).send()?;
    let mut collector = Collector::new(keep, follow);
    collector.take_all(reply.into_body(), has_terminal, &what)?;
    Ok(collector.finish())
}

/// Whether a container has a terminal, and so one raw stream of output.
pub(crate) fn has_terminal(engine: &Engine, container: &str) -> Result<bool, Failure> {
    let config = details(engine, container)?.config;
    Ok(config.get("Tty").and_then(serde_json::Value::as_bool).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use drover_sdk::testing::{Host, with_host};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::engine::failure;
    use crate::engine::frames::tests::framed;
    use crate::testing::{on, run};

    const LOGS: &str = "GET /containers/web/logs?stdout=true&stderr=true";

    #[test]
    fn output_of_both_streams_is_told_apart() {
        let body = framed(&[(Stream::Stdout, b"out\n"), (Stream::Stderr, b"err\n")]);
        let exchanges = vec![on("GET /containers/web/json", 200, "{}"), on(LOGS, 200, body)];
        let outcome = run("logs", &json!({ "container": "web" }), exchanges);
        let expected = json!({ "stdout": "out\n", "stderr": "err\n", "omitted": 0 });
        assert_eq!(outcome.answer.unwrap(), expected);
        assert_eq!(outcome.heard.progress, Vec::<serde_json::Value>::new());
    }

    #[test]
    fn what_is_followed_is_reported_and_what_is_too_much_is_counted() {
        let request =
            "GET /containers/web/logs?stdout=true&stderr=false&follow=true&tail=5&since=7.5";
        let exchanges = vec![
            on("GET /containers/web/json", 200, r#"{"Config":{"Tty":true}}"#),
            on(request, 200, "line\n"),
        ];
        let arguments = json!({
            "container": "web", "follow": true, "tail": 5, "since": "7.5", "stream": "stdout",
            "keep": 3,
        });
        let outcome = run("logs", &arguments, exchanges);
        let expected = json!({ "stdout": "lin", "stderr": "", "omitted": 2 });
        assert_eq!(outcome.answer.unwrap(), expected);
        assert_eq!(outcome.heard.progress, [json!({ "stream": "stdout", "text": "line\n" })]);
    }

    #[test]
    fn lines_that_come_together_are_reported_together_and_in_order() {
        let body = framed(&[
            (Stream::Stdout, b"a\n"),
            (Stream::Stdout, b"b\n"),
            (Stream::Stderr, b"c\n"),
            (Stream::Stdout, b""),
            (Stream::Stdout, &[b'd'; REPORT + 1]),
        ]);
        let exchanges = vec![
            on("GET /containers/web/json", 200, "{}"),
            on(format!("{LOGS}&follow=true"), 200, body),
        ];
        let outcome = run("logs", &json!({ "container": "web", "follow": true }), exchanges);
        let expected = [
            json!({ "stream": "stdout", "text": "a\nb\n" }),
            json!({ "stream": "stderr", "text": "c\n" }),
            json!({ "stream": "stdout", "text": "d".repeat(REPORT) }),
            json!({ "stream": "stdout", "text": "d" }),
        ];
        assert_eq!(outcome.heard.progress, expected);
    }

    #[test]
    fn output_that_breaks_off_is_an_error() {
        let mut body = framed(&[(Stream::Stdout, b"out\n")]);
        body.pop();
        let exchanges = vec![on("GET /containers/web/json", 200, "{}"), on(LOGS, 200, body)];
        let outcome = run("logs", &json!({ "container": "web" }), exchanges);
        assert_eq!(outcome.code(), failure::ENGINE_BROKEN);
    }

    proptest! {
        #[test]
        fn text_is_the_same_however_it_is_cut(
            text in "\\PC{0,40}", cuts in prop::collection::vec(1usize..5, 1..9), keep in 0u32..60,
        ) {
            let ((), heard) = with_host(Host::default(), || {
                let mut collector = Collector::new(keep, true);
                let (mut bytes, mut cuts) = (text.as_bytes(), cuts.iter().cycle());
                while !bytes.is_empty() {
                    let (piece, rest) = bytes.split_at(bytes.len().min(*cuts.next().unwrap()));
                    collector.take(Stream::Stdout, piece);
                    bytes = rest;
                }
                let output = collector.finish();
                assert!(text.starts_with(&output.stdout));
                assert!(output.stdout.len() <= keep as usize);
                assert_eq!(output.stdout.len() as u64 + output.omitted, text.len() as u64);
            });
            let told: String =
                heard.progress.iter().map(|piece| piece["text"].as_str().unwrap()).collect();
            prop_assert_eq!(told, text);
        }
    }
}
