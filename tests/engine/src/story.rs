//! Stories that both kinds of engine must answer alike.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Framing, Reading};
use crate::normal::{Normal, shape};
use crate::{Answer, Client, RealEngine};

/// What a story is told to: an engine, and the notes of what it said.
pub struct Story {
    client: Client,
    normal: Normal,
    notes: String,
}

/// Tells a story to the simulated engine at `simulated`, then to a real one, and
/// compares the notes.
///
/// The real one has many stories to listen to at once, and a busy engine now and then
/// reports something twice or late, or hangs. So what differs or fails is told again,
/// to an engine that has nothing else to do.
///
/// # Panics
///
/// If they differ then; the message shows the first difference.
pub fn agree(simulated: &Path, story: impl Fn(&mut Story)) {
    static REAL: OnceLock<RealEngine> = OnceLock::new();
    let ours = tell(Client::new(simulated), &story);
    let busy = REAL.get_or_init(RealEngine::start);
    if catch_unwind(AssertUnwindSafe(|| tell(busy.client(), &story))).is_ok_and(|it| it == ours) {
        return;
    }
    let theirs = tell(RealEngine::start().client(), &story);
    if ours == theirs {
        return;
    }
    let (mut differing, mut last) = (String::new(), "");
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        if ours.starts_with("> ") {
            last = ours;
        }
        if ours != theirs {
            differing = format!("{last}\n  simulated: {ours}\n  real:      {theirs}");
            break;
        }
    }
    panic!("the engines differ:\n{differing}\n\nsimulated:\n{ours}\nreal:\n{theirs}");
}

fn tell(client: Client, story: &impl Fn(&mut Story)) -> String {
    let mut telling = Story { client, normal: Normal::new(), notes: String::new() };
    story(&mut telling);
    telling.notes
}

impl Story {
    /// Makes a request, and notes the status and the body.
    pub fn ask(&mut self, method: &str, path: &str) -> Answer {
        self.noted(method, path, "", b"")
    }

    /// Asks for something.
    pub fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path)
    }

    /// Posts without a body.
    pub fn post(&mut self, path: &str) -> Answer {
        self.ask("POST", path)
    }

    /// Posts JSON.
    pub fn post_json(&mut self, path: &str, body: &Value) -> Answer {
        let json = "Content-Type: application/json\r\n";
        self.noted("POST", path, json, body.to_string().as_bytes())
    }

    /// Sends a tar archive.
    pub fn send_tar(&mut self, method: &str, path: &str, archive: &[u8]) -> Answer {
        self.noted(method, path, "Content-Type: application/x-tar\r\n", archive)
    }

    /// Makes a request with other headers, and notes the status and the body.
    pub fn noted(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let answer = self.quietly(method, path, headers, body);
        let kind = answer.header("content-type").unwrap_or("-").to_owned();
        let noted = self.body(&answer.body);
        let path = self.normal.text(path);
        writeln!(self.notes, "> {method} {path}: {} {kind}\n{noted}", answer.status).unwrap();
        answer
    }

    /// Makes a request of which nothing is noted, for what only one engine does.
    pub fn quietly(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.client.ask(method, &format!("/v1.41{path}"), headers, body)
    }

    /// Makes a request with a path that has no version or another one.
    pub fn ask_plainly(&mut self, method: &str, path: &str) -> Answer {
        let answer = self.client.ask(method, path, "", b"");
        let noted = self.body(&answer.body);
        writeln!(self.notes, "> {method} {path}: {}\n{noted}", answer.status).unwrap();
        answer
    }

    /// Asks for JSON, and notes its shape: the kinds of the values.
    pub fn shape(&mut self, path: &str) -> Answer {
        let answer = self.quietly("GET", path, "", b"");
        let shape = pretty(&shape(&answer.json()));
        let path = self.normal.text(path);
        writeln!(self.notes, "> GET {path}: {}\n{shape}", answer.status).unwrap();
        answer
    }

    /// Makes a request, notes the status, and leaves the body to read.
    pub fn open(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reading {
        let reading = self.client.open(method, &format!("/v1.41{path}"), headers, body);
        let path = self.normal.text(path);
        writeln!(self.notes, "> {method} {path}: {}", reading.status).unwrap();
        reading
    }

    /// Opens a stream of bytes in both directions, as attach and exec do. Attach
    /// has no body: a real engine may take one for the first bytes of the stream.
    pub fn upgrade(&mut self, path: &str, body: Option<&Value>) -> Reading {
        let headers = "Content-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n";
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut reading = self.open("POST", path, headers, body.as_bytes());
        reading.framing = Framing::Close;
        reading
    }

    /// Reads output with frame headers to its end, and notes what came on which
    /// stream; how it was cut into frames is not the engine's promise.
    pub fn note_output(&mut self, reading: Reading) {
        let mut streams: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        let all = reading.rest();
        let mut rest = all.as_slice();
        while let [stream, 0, 0, 0, a, b, c, d, after @ ..] = rest {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            assert!(after.len() >= length, "a frame of {length} bytes ends after {}", after.len());
            let (text, next) = after.split_at(length);
            streams.entry(*stream).or_default().extend(text);
            rest = next;
        }
        for (stream, text) in streams {
            let text = self.normal.text(&String::from_utf8_lossy(&text));
            writeln!(self.notes, "stream {stream}: {text:?}").unwrap();
        }
        if !rest.is_empty() {
            let text = self.normal.text(&String::from_utf8_lossy(rest));
            writeln!(self.notes, "plain: {text:?}").unwrap();
        }
    }

    /// Notes something that the story found out.
    pub fn note(&mut self, what: &str) {
        let what = self.normal.text(what);
        writeln!(self.notes, "{what}").unwrap();
    }

    /// Asks quietly until the answer is as wanted.
    ///
    /// # Panics
    ///
    /// If that takes 30 seconds.
    #[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition")]
    pub fn wait_until(&mut self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.quietly("GET", path, "", b"");
            if answer.status == 200 && is_so(&answer.json()) {
                return answer.json();
            }
            let last = String::from_utf8_lossy(&answer.body);
            assert!(Instant::now() < deadline, "waited in vain for {path}; last seen: {last}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes a container of `busybox:1` that runs a shell script, and notes
    /// nothing. Its label `story` has its name.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn container(&mut self, name: &str, script: &str) -> String {
        self.container_with(name, script, &json!({}))
    }

    /// The same with more fields.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn container_with(&mut self, name: &str, script: &str, more: &Value) -> String {
        let mut wanted = json!({
            "Image": "busybox:1",
            "Cmd": ["sh", "-c", script],
            "Labels": {"story": name},
        });
        if let (Some(wanted), Some(more)) = (wanted.as_object_mut(), more.as_object()) {
            wanted.extend(more.clone());
        }
        let path = format!("/containers/create?name={name}");
        let json = "Content-Type: application/json\r\n";
        let made = self.quietly("POST", &path, json, wanted.to_string().as_bytes());
        assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
        made.json()["Id"].as_str().unwrap().to_owned()
    }

    /// Starts a container, and notes nothing.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn start(&mut self, name: &str) {
        let started = self.quietly("POST", &format!("/containers/{name}/start"), "", b"");
        assert_eq!(started.status, 204, "{}", String::from_utf8_lossy(&started.body));
    }

    /// Removes a container, whatever it does, and notes nothing.
    pub fn remove(&mut self, name: &str) {
        let _ = self.quietly("DELETE", &format!("/containers/{name}?force=1&v=1"), "", b"");
    }

    /// Notes the events of a container, or of anything else that `filters` let
    /// pass, up to now.
    ///
    /// # Panics
    ///
    /// If the engine refuses.
    pub fn note_events(&mut self, filters: &Value) {
        let filters: String =
            filters.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
        let path = format!("/events?since=1&until={until}&filters={filters}");
        let answer = self.quietly("GET", &path, "", b"");
        assert_eq!(answer.status, 200);
        let events = serde_json::Deserializer::from_slice(&answer.body).into_iter();
        let events: Vec<Value> = events.collect::<Result<_, _>>().unwrap();
        let told = events.iter().enumerate().filter(|(at, event)| !is_echo(event, &events[..*at]));
        let noted: Vec<_> = told.map(|(_, event)| pretty(&self.normal.json(event))).collect();
        writeln!(self.notes, "> events\n{}", noted.join("\n")).unwrap();
    }

    /// A body as it is noted: JSON by lines, or text.
    fn body(&mut self, body: &[u8]) -> String {
        let values: Result<Vec<Value>, _> =
            serde_json::Deserializer::from_slice(body).into_iter().collect();
        match values {
            Ok(values) => {
                let texts = values.iter().map(|value| pretty(&self.normal.json(value)));
                texts.collect::<Vec<_>>().join("\n")
            }
            Err(_) => self.normal.text(&String::from_utf8_lossy(body)),
        }
    }
}

/// Whether an event repeats one before it. A busy engine may tell of a pause both when
/// it was asked for it and when what runs its containers reports it; no story that
/// notes events pauses a container twice.
fn is_echo(event: &Value, before: &[Value]) -> bool {
    let is_same = |earlier: &Value| {
        earlier["Action"] == event["Action"] && earlier["Actor"]["ID"] == event["Actor"]["ID"]
    };
    (event["Action"] == "pause" || event["Action"] == "unpause") && before.iter().any(is_same)
}

/// Indented, so that each difference is on a line of its own.
fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}
