//! Answers that come piece by piece: how far a pull, a push or a build is.
//!
//! The engine has answered with success long before it knows whether it will
//! succeed, so an error may be in any message.

use std::io::{BufReader, Read};
use std::time::{Duration, Instant};

use drover_sdk::{Failure, job};
use serde::{Deserialize, Serialize};
use serde_json::{StreamDeserializer, Value};

use super::{broken_off, failure};

/// The shortest time between two reports of the same status.
const PACE: Duration = Duration::from_millis(250);

/// A message of the engine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Message {
    /// What it is doing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) status: String,
    /// To which layer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) id: String,
    /// How far it is, in bytes.
    #[serde(rename(deserialize = "progressDetail"), skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<Amount>,
    /// What a build says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) stream: String,
    #[serde(skip_serializing)]
    error: String,
    #[serde(skip_serializing)]
    aux: Value,
}

/// How far something is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Amount {
    pub(crate) current: u64,
    pub(crate) total: u64,
}

/// The messages of one answer.
pub(crate) struct Messages {
    messages:
        StreamDeserializer<'static, serde_json::de::IoRead<BufReader<Box<dyn Read>>>, Message>,
    what: String,
}

impl Messages {
    pub(super) fn new(body: Box<dyn Read>, what: String) -> Self {
        let messages = serde_json::Deserializer::from_reader(BufReader::new(body)).into_iter();
        Self { messages, what }
    }

    /// The next message; none at the end.
    ///
    /// # Errors
    ///
    /// If it is one, or the answer ends within a message.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, Failure> {
        let what = &self.what;
        match self.messages.next() {
            None => Ok(None),
            Some(Ok(message)) if message.error.is_empty() => Ok(Some(message)),
            Some(Ok(message)) => {
                let words = message.error;
                let code = failure::message_code(&words).unwrap_or(failure::ENGINE_FAILED);
                Err(Failure::new(code, format!("cannot {what}: the engine says: {words}")))
            }
            Some(Err(error)) => Err(broken_off(what, &error)),
        }
    }

    /// Reports all messages as progress, and gives what the engine attached to
    /// them for programs.
    ///
    /// A status that stays the same is reported four times a second, with how
    /// far it is then. The job may be cancelled between messages.
    pub(crate) fn report(self) -> Result<Vec<Value>, Failure> {
        // A report that nobody can read is not worth the job.
        self.each(|message| drop(job::progress(message)))
    }

    /// Gives all messages to `tell`, and those that repeat themselves four times
    /// a second; gives back what the engine attached for programs.
    pub(crate) fn each(mut self, tell: impl Fn(&Message)) -> Result<Vec<Value>, Failure> {
        let mut attached = Vec::new();
        let mut last: Option<(String, String, Instant)> = None;
        while let Some(message) = self.next()? {
            if !message.aux.is_null() {
                attached.push(message.aux);
                continue;
            }
            let is_repeated = last.as_ref().is_some_and(|(id, status, at)| {
                message.stream.is_empty()
                    && *id == message.id
                    && *status == message.status
                    && at.elapsed() < PACE
            });
            if !is_repeated {
                tell(&message);
                last = Some((message.id, message.status, Instant::now()));
            }
        }
        Ok(attached)
    }
}

#[cfg(test)]
mod tests {
    use drover_sdk::testing::{Host, with_host};

    use super::*;

    fn messages(text: &'static str) -> Messages {
        Messages::new(Box::new(text.as_bytes()), "pull image a".to_owned())
    }

    #[test]
    fn what_is_said_is_progress_and_what_is_attached_is_kept() {
        let text = concat!(
            r#"{"status":"Downloading","id":"a","progressDetail":{"current":1,"total":9}}"#,
            "\r\n",
            r#"{"status":"Downloading","id":"a","progressDetail":{"current":2,"total":9}}"#,
            r#"{"stream":"Step 1/1 : FROM scratch\n"}{"aux":{"ID":"sha256:0a"}}"#,
        );
        let (attached, heard) = with_host(Host::default(), || messages(text).report().unwrap());
        assert_eq!(attached, [serde_json::json!({ "ID": "sha256:0a" })]);
        let first = serde_json::json!({
            "status": "Downloading", "id": "a", "progress": { "current": 1, "total": 9 }
        });
        let second = serde_json::json!({ "stream": "Step 1/1 : FROM scratch\n" });
        assert_eq!(heard.progress, [first, second]);
    }

    #[test]
    fn an_error_in_the_middle_is_the_answer() {
        let text = r#"{"status":"a"}{"error":"manifest for a not found: manifest unknown"}"#;
        let failure = messages(text).report().unwrap_err();
        assert_eq!(failure.code, failure::NOT_FOUND);
        assert!(failure.message.contains("manifest unknown"), "{failure:?}");
    }

    #[test]
    fn half_a_message_is_an_error() {
        let failure = messages(r#"{"status":"a"}{"sta"#).report().unwrap_err();
        assert_eq!(failure.code, failure::ENGINE_BROKEN);
    }
}
