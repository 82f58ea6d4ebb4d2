//! Streams of a job: bytes that go in and come out while it runs.

use serde::{Deserialize, Serialize};

/// What streams the caller of an operation has for it, as a part of the command.
///
/// On the link: `{input, window}`, both of which may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Streaming {
    /// Whether the caller sends more input by `job.input`, until it says that
    /// this was all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub input: bool,
    /// How many bytes of output may be on their way to the caller; it makes room
    /// for more by `job.taken`. Absent: it takes no output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
}

/// What a caller is told of the streams of its job.
///
/// On the link: `"accepted"`, `{"output": text}`, `{"output_base64": text}` or
/// `"ended"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamPart {
    /// Input is taken from now on. Always the first.
    Accepted,
    /// Output that is text.
    Output(String),
    /// Output that is no text, in base64.
    OutputBase64(String),
    /// There is no more output. Whether it is whole, the result says.
    Ended,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Command, Progress};

    #[test]
    fn streams_are_spoken_of_only_where_there_are_some() {
        let command = json!({ "cmd": "a.b", "streaming": { "window": 7 } });
        let command: Command = serde_json::from_value(command).unwrap();
        assert_eq!(command.streaming, Some(Streaming { input: false, window: Some(7) }));
        assert!(json!(Command::new("a.b")).get("streaming").is_none());
        let report = Progress { id: command.id, progress: json!(1), stream: None };
        assert!(json!(report).get("stream").is_none());
    }

    #[test]
    fn a_part_is_known_by_its_name() {
        for (part, written) in [
            (StreamPart::Accepted, json!("accepted")),
            (StreamPart::Output("a".to_owned()), json!({ "output": "a" })),
            (StreamPart::OutputBase64("/w==".to_owned()), json!({ "output_base64": "/w==" })),
            (StreamPart::Ended, json!("ended")),
        ] {
            assert_eq!(json!(part), written);
        }
    }
}
