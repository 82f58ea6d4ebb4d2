//! The output of one container, as it comes.

use drover_sdk::http::Incoming;
use drover_sdk::{Failure, job, state};

use super::levels::Levels;
use super::time;
use crate::container::container_path;
use crate::container::output::has_terminal;
use crate::engine::frames::Stream;
use crate::engine::{Engine, broken_off};

/// The longest piece of output that is waited for whole, in bytes: engines cut
/// longer lines.
const LONGEST: usize = 1 << 20;

/// Whether there is more to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Open,
    Ended,
}

/// A container that is followed.
pub(super) struct Source {
    id: String,
    name: String,
    body: Incoming,
    has_terminal: bool,
    /// What is not a whole piece yet.
    rest: Vec<u8>,
    stdout: Levels,
    stderr: Levels,
    mark: Mark,
    /// Whether it has started again since it is followed.
    is_started_again: bool,
}

/// How far the output of a container was written, by the engine's time.
struct Mark {
    key: String,
    /// What is no later was written before it was followed.
    since: String,
    time: String,
    is_saved: bool,
}

impl Source {
    /// Follows a container from where it was left.
    pub(super) fn open(engine: &Engine, id: &str, name: &str) -> Result<Self, Failure> {
        let has_terminal = has_terminal(engine, id)?;
        let key = format!("capture/{}/{id}", job::id());
        let known = state::get(&key)?.and_then(|time| String::from_utf8(time).ok());
        let since = known.as_deref().and_then(time::seconds);
        let what = format!("read the output of container {name}");
        let call = engine.get(container_path(id, "/logs")?, what).query("stdout", true);
        let call = call.query("stderr", true).query("follow", true).query("timestamps", true);
        let body = call.query_if("since", since).send()?.into_incoming();
        Ok(Self {
            id: id.to_owned(),
            name: name.to_owned(),
            body,
            has_terminal,
            rest: Vec::new(),
            stdout: Levels::of(Stream::Stdout),
            stderr: Levels::of(Stream::Stderr),
            mark: Mark {
                key,
                since: known.clone().unwrap_or_default(),
                time: known.unwrap_or_default(),
                is_saved: true,
            },
            is_started_again: false,
        })
    }

    pub(super) fn body(&self) -> &Incoming {
        &self.body
    }

    pub(super) fn is_of(&self, id: &str) -> bool {
        self.id == id
    }

    /// Has the container followed again when its output ends.
    pub(super) fn open_again(&mut self) {
        self.is_started_again = true;
    }

    /// Writes what has come.
    pub(super) fn go_on(&mut self) -> Result<Progress, Failure> {
        let what = format!("read the output of container {}", self.name);
        let read = self.body.read_now().map_err(|error| broken_off(&what, &error))?;
        let Some(bytes) = read else { return Ok(Progress::Open) };
        if bytes.is_empty() {
            return Ok(Progress::Ended);
        }
        self.rest.extend(bytes);
        let all = std::mem::take(&mut self.rest);
        let mut rest = all.as_slice();
        while let Some((stream, piece, after)) = first_piece(rest, self.has_terminal) {
            self.write(stream, piece);
            rest = after;
        }
        self.rest = rest.to_vec();
        if self.rest.len() > LONGEST {
            return Err(broken_off(&what, &"a piece of it is too long"));
        }
        Ok(Progress::Open)
    }

    /// Writes what is left, and remembers it. The container, if it has to be
    /// followed again.
    pub(super) fn end(mut self) -> Result<Option<(String, String)>, Failure> {
        for levels in [&mut self.stdout, &mut self.stderr] {
            levels.end(&self.name);
        }
        self.save()?;
        Ok(self.is_started_again.then_some((self.id, self.name)))
    }

    pub(super) fn save(&mut self) -> Result<(), Failure> {
        if !self.mark.is_saved {
            state::set(&self.mark.key, self.mark.time.as_bytes())?;
            self.mark.is_saved = true;
        }
        Ok(())
    }

    /// Writes a piece, unless it was before. It begins with its time.
    fn write(&mut self, stream: Stream, piece: &[u8]) {
        let text = String::from_utf8_lossy(piece);
        let (time, text) = match text.split_once(' ') {
            Some((time, text)) if time::seconds(time).is_some() => (time, text),
            _ => ("", &*text),
        };
        if !time.is_empty() {
            // Times of the engine have the same length, so they compare as text.
            if time <= self.mark.since.as_str() {
                return;
            }
            if time > self.mark.time.as_str() {
                time.clone_into(&mut self.mark.time);
                self.mark.is_saved = false;
            }
        }
        let levels = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        levels.take(text, &self.name);
    }
}

/// The first piece that has come whole, a frame or a line of a terminal, and what
/// follows it.
fn first_piece(bytes: &[u8], has_terminal: bool) -> Option<(Stream, &[u8], &[u8])> {
    if has_terminal {
        let end = bytes.iter().position(|byte| *byte == b'\n')? + 1;
        return Some((Stream::Stdout, &bytes[..end], &bytes[end..]));
    }
    let (header, rest) = bytes.split_first_chunk::<8>()?;
    let [stream, _, _, _, length @ ..] = *header;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    let (piece, after) = rest.split_at_checked(length)?;
    Some((if stream == 2 { Stream::Stderr } else { Stream::Stdout }, piece, after))
}
