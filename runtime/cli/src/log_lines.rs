//! Log records as people read them: a line each, coloured by level on a
//! terminal.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use drover_api::{Level, NodeId, NodeStatus};
use drover_logs::Part;
use drover_logs::store::StoredRecord;

/// What lines look like.
pub(crate) struct LogLines {
    has_colours: bool,
    /// What nodes are called; lines name the node if there are any.
    nodes: HashMap<NodeId, String>,
    /// Whether they end with the fields of the record.
    has_fields: bool,
}

impl LogLines {
    /// Lines of one node's log.
    pub(crate) fn of_node(has_colours: bool) -> Self {
        Self { has_colours, nodes: HashMap::new(), has_fields: false }
    }

    /// Lines of a log of all nodes.
    pub(crate) fn of_nodes(has_colours: bool, nodes: &[NodeStatus]) -> Self {
        let name = |node: &NodeStatus| (node.description.id(), node.description.name.clone());
        Self { nodes: nodes.iter().map(name).collect(), ..Self::of_node(has_colours) }
    }

    /// Lines that end with the fields of the record, if it has some.
    pub(crate) fn with_fields(self, has_fields: bool) -> Self {
        Self { has_fields, ..self }
    }

    /// One record; several lines if its message has several.
    pub(crate) fn line(&self, record: &StoredRecord) -> String {
        let time = UNIX_EPOCH + Duration::from_millis(record.time.0.min(LAST_TIME));
        let mut line = format!("{} ", humantime::format_rfc3339_millis(time));
        let level = match record.level.is_known() {
            true => record.level.name().to_owned(),
            false => format!("level {}", record.level.0),
        };
        let (on, off) = self.colour(record.level);
        let _ = write!(line, "{on}{level:<10}{off} ");
        if let Some(sent) = record.sent {
            match self.nodes.get(&sent.node) {
                Some(name) => line.push_str(&plain(name)),
                None => line.push_str(&sent.node.to_string()),
            }
            line.push(' ');
        }
        let source = &record.source;
        let source = match (source.domain.as_str(), source.name.as_str()) {
            ("", "") => source.job.to_string(),
            ("", name) => name.to_owned(),
            (domain, "") => domain.to_owned(),
            (domain, name) => format!("{domain}.{name}"),
        };
        let (before, after) = match record.part {
            Part::Whole => ("", ""),
            Part::First => ("", "…"),
            Part::Middle => ("…", "…"),
            Part::Last => ("…", ""),
        };
        let text = plain(&record.text());
        let _ = write!(line, "{}: {on}{before}{text}{after}{off}", plain(&source));
        for (name, value) in record.fields.iter().filter(|_| self.has_fields) {
            let value = value.to_string();
            let _ = match value.is_empty() || value.contains([' ', '"', '=', '\n']) {
                true => write!(line, " {}={}", plain(name), plain(&format!("{value:?}"))),
                false => write!(line, " {}={}", plain(name), plain(&value)),
            };
        }
        line
    }

    /// What turns a level's colour on and off.
    fn colour(&self, level: Level) -> (&'static str, &'static str) {
        let on = match level {
            _ if !self.has_colours => return ("", ""),
            Level::WARNING => "\u{1b}[33m",
            Level::ERROR => "\u{1b}[31m",
            Level::CRITICAL => "\u{1b}[1;31m",
            Level::PUBLIC => "\u{1b}[32m",
            Level::OPERATOR => "\u{1b}[36m",
            Level::STDERR => "\u{1b}[35m",
            Level::STATSD | Level::DEBUG => "\u{1b}[2m",
            _ => return ("", ""),
        };
        (on, "\u{1b}[0m")
    }
}

/// The last millisecond that can be written as a date.
const LAST_TIME: u64 = 253_402_300_799_999;

/// A text that does nothing to the terminal: control characters are written
/// out, and lines after the first are indented.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.trim_end_matches(['\n', '\r']).chars() {
        match letter {
            '\n' => plain.push_str("\n    "),
            '\t' => plain.push('\t'),
            '\r' => {}
            control if control.is_control() => plain.extend(control.escape_unicode()),
            letter => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drover_api::Timestamp;
    use drover_logs::store::{RecordId, Sent};
    use drover_logs::{Fields, Source};

    use super::*;

    fn record(level: Level, data: &[u8]) -> StoredRecord {
        StoredRecord {
            id: RecordId(7),
            source: Arc::new(Source {
                job: "j1".parse().unwrap(),
                domain: "hello".into(),
                name: "greet".into(),
            }),
            time: Timestamp(1_700_000_000_123),
            level,
            data: data.to_vec(),
            fields: Fields::default(),
            part: Part::Whole,
            is_gap: false,
            sent: None,
        }
    }

    #[test]
    fn a_line_says_when_what_and_who() {
        let lines = LogLines::of_node(false);
        assert_eq!(
            lines.line(&record(Level::WARNING, b"disk\tis full\n")),
            "2023-11-14T22:13:20.123Z warning    hello.greet: disk\tis full"
        );
        let sent = Some(Sent { node: NodeId::new(1, 7), place: 1 });
        let unnamed = StoredRecord { sent, ..record(Level(42), b"x") };
        assert_eq!(lines.line(&unnamed), "2023-11-14T22:13:20.123Z level 42   1.7 hello.greet: x");
        let end_of_time = StoredRecord { time: Timestamp(u64::MAX), ..record(Level(1), b"x") };
        assert!(lines.line(&end_of_time).starts_with("9999-12-31T"));
    }

    #[test]
    fn a_record_does_nothing_to_the_terminal() {
        let lines = LogLines::of_node(false);
        let line = lines.line(&record(Level::STDOUT, b"a\x1b[2Jb\r\nc\xff\0"));
        assert!(line.ends_with(": a\\u{1b}[2Jb\n    c\u{fffd}\\u{0}"), "{line}");
    }

    #[test]
    fn fields_are_shown_when_asked_for() {
        let fields = r#"{"status":500,"agent":"a \"b\"","path":"/x"}"#;
        let fields = serde_json::from_str(fields).unwrap();
        let record = StoredRecord { fields, ..record(Level::ERROR, b"x") };
        let line = LogLines::of_node(false).with_fields(true).line(&record);
        assert!(line.ends_with(r#": x agent="a \"b\"" path=/x status=500"#), "{line}");
        assert!(LogLines::of_node(false).line(&record).ends_with(": x"));
    }

    #[test]
    fn levels_have_colours_on_a_terminal_only() {
        let critical = record(Level::CRITICAL, b"x");
        assert!(LogLines::of_node(true).line(&critical).contains("\u{1b}[1;31mcritical"));
        assert!(!LogLines::of_node(false).line(&critical).contains('\u{1b}'));
    }
}
