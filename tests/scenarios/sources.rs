//! Log files are followed, and lines go through parsers into the log.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use drover_api::{SourceState, SourceStatus};
use drover_logs::store::{Filter, StoredRecord};
use drover_tests::{Agent, Site, component, records_in, wait_for};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::site;

/// A log in the site's directory, and the configuration that follows it.
struct Log {
    path: PathBuf,
    written: usize,
}

impl Log {
    fn of(site: &Site) -> Self {
        Self { path: site.path("app.log"), written: 0 }
    }

    /// `[sources.app]`, with `more` in it.
    fn source(&self, more: &str) -> String {
        format!("[sources.app]\nfiles = [{:?}]\nfrom = \"start\"\n{more}", self.path)
    }

    fn append(&mut self, lines: usize) {
        let numbers = self.written..self.written + lines;
        self.written += lines;
        let text: String = numbers.map(|number| format!("{number}\n")).collect();
        let file = OpenOptions::new().append(true).create(true).open(&self.path);
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, to: &str) {
        fs::rename(&self.path, self.path.with_file_name(to)).unwrap();
        File::create(&self.path).unwrap();
    }

    fn cut(&self) {
        OpenOptions::new().write(true).truncate(true).open(&self.path).unwrap();
    }
}

const PARSER: &str = "plugin = \"parse_lines\"\nformat = \"lines\"\n";

fn add_parser(site: &Site) {
    site.add_plugin("a", "parse_lines.wasm", &fs::read(component("parse_lines")).unwrap());
}

fn source(site: &Site) -> Box<SourceStatus> {
    let ran = site.drover(&["sources", "a", "--json"]);
    let sources: Vec<SourceStatus> = serde_json::from_str(&ran.stdout).unwrap_or_default();
    Box::new(sources.into_iter().next().unwrap_or_default())
}

/// Waits until all that is in the files has been read.
fn wait_until_read(site: &Site, log: &Log) {
    let size = fs::metadata(&log.path).unwrap().len();
    let path = log.path.display().to_string();
    wait_for("the lines", || {
        let status = source(site);
        let is_read = status.files.iter().all(|file| file.offset == file.size);
        let is_this = status.files.iter().any(|file| file.path == path && file.offset == size);
        if is_read && is_this { Ok(()) } else { Err(status) }
    });
}

fn kill(agent: Agent) {
    end(agent, Signal::SIGKILL);
}

fn end(mut agent: Agent, signal: Signal) {
    agent.process.signal(signal);
    agent.process.wait();
}

/// What the source said, in the log of an agent that has ended, but for what was
/// counted.
fn said(logs: &Path) -> Vec<StoredRecord> {
    let job = Some("source.app".parse().unwrap());
    let levels = "0-9".parse().unwrap();
    records_in(logs, &Filter { job, levels, ..Filter::default() })
}

fn assert_all_once(records: &[StoredRecord], written: usize) {
    let texts: Vec<_> = records.iter().map(|record| record.text().into_owned()).collect();
    let expected: Vec<_> = (0..written).map(|number| number.to_string()).collect();
    let differs = texts.iter().zip(&expected).position(|(one, other)| one != other);
    assert!(texts == expected, "{} of {written}, differing from {differs:?} on", texts.len());
}

#[test]
fn each_line_is_read_once_over_renaming_cutting_and_kill_9() {
    let site = site();
    add_parser(&site);
    let mut log = Log::of(&site);
    let config = log.source(PARSER);
    log.append(3000);
    for round in 0..4 {
        let agent = site.start_agent(1, "a", &config);
        site.wait_until_ready("a", 1);
        log.append(3000);
        if round % 2 == 0 {
            wait_until_read(&site, &log);
        }
        // In the midst of the reading, or after it.
        kill(agent);
        log.append(500);
        log.rename(&format!("app.log.{round}"));
        log.append(500);
    }
    let agent = site.start_agent(1, "a", &config);
    wait_until_read(&site, &log);
    // As copytruncate does it.
    log.cut();
    log.append(100);
    wait_until_read(&site, &log);
    end(agent, Signal::SIGTERM);
    // The parser itself logs too.
    let mut records = said(&site.path("a/logs"));
    records.retain(|record| record.fields.value("length").is_some());
    assert_all_once(&records, log.written);
    assert!(records.iter().all(|record| record.time.0 == 1_700_000_000_000));
}

#[test]
fn what_is_lost_is_a_record() {
    let site = site();
    let mut log = Log::of(&site);
    let config = log.source("");
    log.append(10);
    let agent = site.start_agent(1, "a", &config);
    site.wait_until_ready("a", 0);
    wait_until_read(&site, &log);
    end(agent, Signal::SIGTERM);
    log.append(10);
    log.cut();
    log.append(1);
    let agent = site.start_agent(1, "a", &config);
    wait_until_read(&site, &log);
    assert_eq!(source(&site).gaps, 1);
    end(agent, Signal::SIGTERM);
    let records = said(&site.path("a/logs"));
    let gaps: Vec<_> = records.iter().filter(|record| record.is_gap).collect();
    assert_eq!((records.len(), gaps.len()), (12, 1));
    assert!(gaps[0].text().contains("app.log was cut or replaced"), "{}", gaps[0].text());
}

#[test]
fn a_source_waits_for_its_plugin_and_fields_choose_records() {
    let site = site();
    let mut log = Log::of(&site);
    let agent = site.start_agent(1, "a", &log.source(PARSER));
    site.wait_until_ready("a", 0);
    log.append(200);
    let waiting = wait_for("the source to wait", || {
        let status = source(&site);
        if status.state == SourceState::Waiting { Ok(status) } else { Err(status) }
    });
    assert!(waiting.waits_for.unwrap().contains("parse_lines"));
    assert!(site.drover(&["sources", "a"]).ok().contains("WAITING"));
    wait_for("the complaint", || {
        let nodes = site.drover(&["nodes"]).stderr;
        if nodes.contains("source `app` waits") { Ok(()) } else { Err(nodes) }
    });
    add_parser(&site);
    wait_until_read(&site, &log);
    let field = ["logs", "a", "--field", "length>=4", "--field", "first=1", "--show-fields"];
    let shown = site.drover(&field).ok();
    assert_eq!(shown.lines().count(), 100, "{shown}");
    assert!(shown.ends_with("app: 199 first=1 length=4\n"), "{shown}");
    let json = site.drover(&["logs", "a", "--field", "length<3", "--json"]).ok();
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["fields"], json!({ "first": "0", "length": 2 }));
    assert_eq!(json.lines().count(), 10);
    drop(agent);
}

#[test]
fn a_web_servers_log_is_searched_by_status() {
    let site = site();
    site.add_plugin("a", "logparse.wasm", &fs::read(component("logparse")).unwrap());
    let log = Log::of(&site);
    let line = |path: &str, status: u16| {
        format!(
            "192.0.2.7 - - [21/Nov/2026:08:00:00 +0000] \"GET {path} HTTP/1.1\" {status} 5 \"-\" \"-\"\n"
        )
    };
    let text = [line("/a", 200), line("/b", 502), "no such line\n".into(), line("/c", 503)];
    fs::write(&log.path, text.concat()).unwrap();
    let config = log.source("plugin = \"logparse\"\nformat = \"nginx\"\n");
    let agent = site.start_agent(1, "a", &config);
    site.wait_until_ready("a", 1);
    wait_until_read(&site, &log);
    let query = ["logs", "a", "--field", "status>=500", "--field", "path!=/c", "--json"];
    let shown = site.drover(&query).ok();
    let record: StoredRecord = serde_json::from_str(&shown).unwrap();
    assert_eq!((record.level, record.time.0), (drover_api::Level::ERROR, 1_795_248_000_000));
    assert_eq!((source(&site).lines, source(&site).unparsed), (4, 1));
    end(agent, Signal::SIGTERM);
    let job = Some("source.app".parse().unwrap());
    let counted = Filter { job, levels: "10".parse().unwrap(), ..Filter::default() };
    let counted = records_in(&site.path("a/logs"), &counted);
    assert!(counted.iter().any(|series| series.text().contains("status:502")), "{counted:?}");
}

#[test]
fn lines_of_a_parser_that_fails_are_kept_as_they_are() {
    let site = site();
    add_parser(&site);
    let mut log = Log::of(&site);
    log.append(20_000);
    let config = log.source("plugin = \"parse_lines\"\nformat = \"panic\"\n");
    let agent = site.start_agent(1, "a", &config);
    site.wait_until_ready("a", 1);
    wait_until_read(&site, &log);
    let status = source(&site);
    assert_eq!(status.unparsed, 20_000);
    assert!(status.last_error.unwrap().contains("parse_lines"));
    end(agent, Signal::SIGTERM);
    let records = said(&site.path("a/logs"));
    let (lines, notes): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|record| record.level == drover_api::Level::TEXT);
    assert_all_once(&lines, 20_000);
    assert!(notes.iter().any(|note| note.text().contains("a parser failed")));
}

#[test]
fn plain_lines_of_a_process_are_parsed_and_levels_stay() {
    let site = site();
    add_parser(&site);
    let agent = site.start_agent(1, "a", "");
    site.wait_until_ready("a", 1);
    // In one piece.
    let script = r#"printf 'one\n8::bad\ntwo\n20::{"n": 1}\nthree'"#;
    let arguments = |format: &str| {
        let parse = json!({ "plugin": "parse_lines", "format": format });
        json!({ "cmd": "/bin/sh", "args": ["-c", script], "name": format, "parse": parse })
            .to_string()
    };
    // It holds back what may not be whole yet; and there is none of the last name.
    for format in ["lines", "paragraphs", "panic", "missing"] {
        let arguments = arguments(format);
        let ran = site.drover(&["call", "a", "process.execute", "--json", "--args", &arguments]);
        assert_eq!(serde_json::from_str::<Value>(&ran.ok()).unwrap()["data"], json!({ "n": 1 }));
    }
    let logs = |name: &str| {
        let shown = site.drover(&["logs", "a", "--name", name, "--json"]).ok();
        let records = shown.lines().map(|line| serde_json::from_str::<StoredRecord>(line).unwrap());
        let mut records: Vec<_> = records.map(|r| (r.level.0, r.text().into_owned())).collect();
        records.sort();
        records
    };
    let of = |list: &[(u8, &str)]| -> Vec<(u8, String)> {
        list.iter().map(|(level, text)| (*level, (*text).to_owned())).collect()
    };
    let has = |name: &str, expected: &[(u8, &str)]| {
        let found = logs(name);
        assert!(of(expected).iter().all(|record| found.contains(record)), "{name}: {found:?}");
    };
    has("lines", &[(7, "one"), (7, "two"), (7, "three"), (8, "bad"), (20, "{\"n\": 1}")]);
    has("paragraphs", &[(7, "one\ntwo\nthree"), (8, "bad")]);
    has("panic", &[(1, "one"), (1, "two"), (1, "three"), (8, "bad")]);
    has("missing", &[(1, "one"), (1, "two"), (1, "three"), (8, "bad")]);
    drop(agent);
}
