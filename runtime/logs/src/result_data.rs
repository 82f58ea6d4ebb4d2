//! The job's result, as a child writes it: the last message of a result level.

use drover_api::Level;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::protocol::{Message, Part, Stream};

/// Collects the result of a job from the messages of its two streams.
///
/// It can be written down in the middle, for another process to go on.
///
/// The last complete message of level 20 (JSON), 21 (YAML), 22 (TOML), 23 (HRD)
/// or 30 (the whole result of a job) counts; those before it are forgotten.
#[derive(Debug, Serialize, Deserialize)]
pub struct ResultCollector {
    max_bytes: usize,
    /// Of each stream, the parts so far of a message that is not complete.
    unfinished: [Collected; 2],
    last: Option<(Level, Collected)>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Collected {
    #[serde(with = "in_base64")]
    data: Vec<u8>,
    /// Bytes that came, kept or not.
    length: usize,
}

mod in_base64 {
    use data_encoding::BASE64;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map_err(D::Error::custom)
    }
}

/// A job's data, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultData {
    /// The level that it was written with, which says in which format.
    pub level: Level,
    /// The data; of HRD the text as it stands.
    pub value: Value,
}

/// Why what a child wrote as its result is none.
#[derive(Debug, thiserror::Error)]
pub enum ResultDataError {
    /// It is larger than a result may be.
    #[error(
        "the result has {length} bytes, and may have {max_bytes}: write large results to a file, \
         and name it in the result"
    )]
    TooLarge {
        /// Bytes that the child wrote.
        length: usize,
        /// Bytes that it may write.
        max_bytes: usize,
    },
    /// It is not in the format of its level.
    #[error("the result of level {} is no {}: {reason}", level.0, level.name())]
    Malformed {
        /// The level that the child gave it.
        level: Level,
        /// What the format's parser says, with the place.
        reason: String,
    },
}

impl ResultCollector {
    /// The largest result in bytes, unless a caller chooses: what fits into
    /// one message of the link with room for its envelope.
    pub const MAX_BYTES: usize = 8 * 1024 * 1024;

    /// A collector that has seen nothing.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, unfinished: Default::default(), last: None }
    }

    /// Looks at a message of one stream; those of other levels are ignored.
    pub fn take(&mut self, stream: Stream, message: Message<'_>) {
        if !message.level.is_result() {
            return;
        }
        let unfinished = &mut self.unfinished[stream as usize];
        unfinished.length += message.data.len();
        if unfinished.length <= self.max_bytes {
            unfinished.data.extend_from_slice(message.data);
        }
        if matches!(message.part, Part::Whole | Part::Last) {
            self.last = Some((message.level, std::mem::take(unfinished)));
        }
    }

    /// Reads the result, if there was one, once both streams have ended.
    ///
    /// # Errors
    ///
    /// The result is too large, or is not in the format of its level.
    pub fn finish(self) -> Option<Result<ResultData, ResultDataError>> {
        let (level, collected) = self.last?;
        if collected.length > self.max_bytes {
            let (length, max_bytes) = (collected.length, self.max_bytes);
            return Some(Err(ResultDataError::TooLarge { length, max_bytes }));
        }
        let value = parse(level, &collected.data)
            .map_err(|reason| ResultDataError::Malformed { level, reason });
        Some(value.map(|value| ResultData { level, value }))
    }
}

/// Reads `data` in the format of `level`. The parsers themselves bound how deep
/// it nests, and YAML's how much its aliases may repeat.
fn parse(level: Level, data: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(data).map_err(|error| error.to_string())?;
    match level {
        Level::RESULT_JSON => serde_json::from_str(text).map_err(|error| error.to_string()),
        Level::RESULT_YAML => parse_yaml(text),
        Level::RESULT_TOML => parse_toml(text),
        Level::RESULT_JOB => serde_json::from_str::<Map<String, Value>>(text)
            .map(Value::Object)
            .map_err(|error| error.to_string()),
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn parse_yaml(text: &str) -> Result<Value, String> {
    // As YAML 1.2 has it, `yes` is text; and an error becomes one line.
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

/// TOML's dates have no kind of their own in JSON and become text.
fn parse_toml(text: &str) -> Result<Value, String> {
    let table = toml::Table::deserialize(
        toml::Deserializer::parse(text).map_err(|error| one_line(&error))?,
    )
    .map_err(|error| one_line(&error))?;
    Ok(toml_to_json(toml::Value::Table(table)))
}

fn one_line(error: &toml::de::Error) -> String {
    let mut text = error.message().to_owned();
    if let Some(span) = error.span() {
        text.push_str(&format!(" at byte {}", span.start));
    }
    text
}

fn toml_to_json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(toml_to_json).collect(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(key, value)| (key, toml_to_json(value))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::OutputParser;

    fn result_of(output: &str) -> Option<Result<Value, String>> {
        let mut collector = ResultCollector::new(1000);
        // Short parts, so that results of some length come in several.
        let mut parser = OutputParser::new(Stream::Stdout, 16);
        parser.feed(output.as_bytes(), |message| collector.take(Stream::Stdout, message));
        parser.finish(|message| collector.take(Stream::Stdout, message));
        let result = collector.finish()?;
        Some(result.map(|data| data.value).map_err(|error| error.to_string()))
    }

    #[test]
    fn every_format_becomes_the_jobs_data() {
        for (output, data) in [
            ("20::{\"free\": [1, 2.5, null], \"name\": \"a longer text\"}", {
                json!({"free": [1, 2.5, null], "name": "a longer text"})
            }),
            ("21:::\nfree: [1, yes]\nat:\n  - {disk: sda}\n:::", {
                json!({"free": [1, "yes"], "at": [{"disk": "sda"}]})
            }),
            ("22:::\nfree = 1\nat = 2026-11-21T05:00:00Z\n[disk]\nname = 'sda'\n:::", {
                json!({"free": 1, "at": "2026-11-21T05:00:00Z", "disk": {"name": "sda"}})
            }),
            ("23:::\nnode.name = 'a'\nnode.disks = 1, 2\n:::", {
                json!("node.name = 'a'\nnode.disks = 1, 2")
            }),
            ("30::{\"state\": \"OK\", \"data\": 1}", json!({"state": "OK", "data": 1})),
        ] {
            assert_eq!(result_of(output), Some(Ok(data)), "{output}");
        }
    }

    #[test]
    fn the_last_complete_result_counts() {
        assert_eq!(result_of("20::1\nlog\n20::2\n7::careful"), Some(Ok(json!(2))));
        assert_eq!(result_of("20::1\n21::[a]"), Some(Ok(json!(["a"]))));
        assert_eq!(result_of("just output\n8::failed"), None);
    }

    #[test]
    fn parts_of_two_streams_do_not_mix() {
        let mut collector = ResultCollector::new(100);
        let part = |data, part| Message { level: Level::RESULT_JSON, data, part };
        collector.take(Stream::Stdout, part(b"[1", Part::First));
        collector.take(Stream::Stderr, part(b"2", Part::Whole));
        collector.take(Stream::Stdout, part(b"]", Part::Last));
        assert_eq!(collector.finish().unwrap().unwrap().value, json!([1]));
    }

    #[test]
    fn what_is_no_result_is_refused_with_its_cause() {
        let error = |output: &str| result_of(output).unwrap().unwrap_err();
        assert!(error("20::{\"a\":").contains("level 20 is no json: EOF"));
        assert!(error("22::a = ").contains("level 22 is no toml"));
        assert!(error("21::[a").contains("level 21 is no yaml"));
        assert!(error("30::[1]").contains("level 30 is no job"));
        let large = format!("20::\"{}\"", "x".repeat(2000));
        assert!(error(&large).contains("2002 bytes, and may have 1000"));
    }

    #[test]
    fn a_bomb_is_refused_and_costs_nothing() {
        let mut collector = ResultCollector::new(ResultCollector::MAX_BYTES);
        let mut yaml = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for i in 1..12 {
            let aliases = vec![format!("*a{}", i - 1); 9].join(",");
            yaml.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
        }
        for (level, data) in [
            (Level::RESULT_YAML, yaml),
            (Level::RESULT_JSON, "[".repeat(100_000)),
            (Level::RESULT_TOML, format!("a = {}", "[".repeat(100_000))),
            (Level::RESULT_YAML, "[".repeat(100_000)),
        ] {
            let message = Message { level, data: data.as_bytes(), part: Part::Whole };
            collector.take(Stream::Stdout, message);
            assert!(collector.finish().unwrap().is_err());
            collector = ResultCollector::new(ResultCollector::MAX_BYTES);
        }
    }
}
