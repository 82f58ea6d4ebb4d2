//! Events and replies, as they are on the wire.

use std::time::{SystemTime, UNIX_EPOCH};

use drover_sdk::{Failure, job};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An event of the controller.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) reply_to: Option<String>,
    pub(crate) resource_id: Option<Value>,
    pub(crate) resource_type: Option<String>,
    pub(crate) data: Value,
}

/// What is published in answer to an event.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reply {
    /// An id of its own.
    pub(crate) id: String,
    /// Where it goes: the event's `replyTo`.
    pub(crate) name: String,
    /// What was asked for. A key with a `+` in front is merged, not replaced.
    pub(crate) data: Value,
    /// That of the event.
    pub(crate) resource_type: Option<String>,
    /// That of the event.
    pub(crate) resource_id: Option<Value>,
    /// The id of the event.
    pub(crate) previous_ids: Vec<String>,
    /// The name of the event.
    pub(crate) previous_names: Vec<String>,
    /// When it was made, in milliseconds since 1970.
    pub(crate) time: u64,
    /// `yes` while it goes on, `error` if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transitioning: Option<&'static str>,
    /// What is going on, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transitioning_message: Option<String>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transitioning_internal_message: Option<String>,
    /// How far it is, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transitioning_progress: Option<u8>,
}

impl Event {
    /// What it is, without the agent that it was meant for.
    pub(crate) fn kind(&self) -> &str {
        self.name.split(';').next().unwrap_or_default()
    }

    /// The object that it is about; events of one object follow each other.
    pub(crate) fn object(&self) -> String {
        let id = self
            .resource_id
            .as_ref()
            .map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        let kind = self.resource_type.as_deref().unwrap_or("event");
        format!("{kind}-{}", id.unwrap_or_else(|| self.id.clone()))
    }

    /// The value at a path of keys in the data.
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.data.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The event's parameters for how it is to be handled.
    pub(crate) fn process_data(&self, key: &str) -> &Value {
        self.at("/processData").get(key).unwrap_or(&Value::Null)
    }

    /// The reply with this data.
    pub(crate) fn reply(&self, data: Value) -> Reply {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Reply {
            id: uuid::Uuid::now_v7().to_string(),
            name: self.reply_to.clone().unwrap_or_default(),
            data,
            resource_type: self.resource_type.clone(),
            resource_id: self.resource_id.clone(),
            previous_ids: vec![self.id.clone()],
            previous_names: vec![self.name.clone()],
            time: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            transitioning: None,
            transitioning_message: None,
            transitioning_internal_message: None,
            transitioning_progress: None,
        }
    }

    /// The reply that says what went wrong.
    pub(crate) fn error(&self, failure: &Failure) -> Reply {
        Reply {
            transitioning: Some("error"),
            transitioning_internal_message: Some(failure.message.clone()),
            ..self.reply(json!({}))
        }
    }

    /// Tells the controller how far it is, if it listens.
    pub(crate) fn progress(&self, message: &str, percent: Option<u8>) {
        if self.reply_to.is_none() {
            return;
        }
        let reply = Reply {
            transitioning: Some("yes"),
            transitioning_message: Some(message.to_owned()),
            transitioning_progress: percent,
            ..self.reply(json!({}))
        };
        // A report that nobody can read is not worth the job.
        let _ = job::progress(&reply);
    }
}
