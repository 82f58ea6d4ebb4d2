//! Services: how a node runs them, and what they tell.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Timestamp;

/// Whether a service that ended without being told to is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// It is not.
    Never,
    /// If it failed or crashed.
    #[default]
    OnFailure,
    /// However it ended.
    Always,
}

/// What there is to know of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// What it is called on its node.
    pub name: String,
    /// `<plugin>.<operation>`.
    pub operation: String,
    /// How it is.
    pub state: ServiceState,
    /// Since when.
    pub since: Timestamp,
    /// How often it was started again by itself since somebody started it.
    pub restarts: u64,
    /// Whether it is started again.
    pub restart: Restart,
    /// Whether it is in the agent's configuration.
    pub is_configured: bool,
    /// Why it does not run, or what its last run ended in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The version of the plugin's file; none of one that is not in a folder of
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// SHA-256 of the plugin's file that it runs, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// How much memory its instance has, in bytes; none while it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// When it last published a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Timestamp>,
}

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// It has an instance.
    Running,
    /// It has been told to stop, and has not yet.
    Stopping,
    /// Its plugin cannot run it at present.
    Waiting,
    /// It failed, and is started again soon.
    BackingOff,
    /// Nobody wants it to run, or it has ended by itself.
    Stopped,
    /// It failed, and is not started again.
    Failed,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

/// What a service tells on the topic of its feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedEvent {
    /// How many values before these were lost, as the link was slow or absent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
    /// In the order in which they were published.
    pub values: Vec<FeedValue>,
}

/// One value that a service published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedValue {
    /// Counts from 1 since the agent started, those that were lost included. The
    /// same number again is the same value, sent once more after an outage.
    pub number: u64,
    /// When it was published.
    pub time: Timestamp,
    /// What was published.
    pub value: Value,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_and_policies_are_written_in_small_letters_with_dashes() {
        assert_eq!(json!(Restart::OnFailure), "on-failure");
        assert_eq!(json!(ServiceState::BackingOff), "backing-off");
        let later: ServiceState = serde_json::from_str("\"dreaming\"").unwrap();
        assert_eq!(later, ServiceState::Unknown);
    }

    #[test]
    fn an_event_says_what_was_missed_only_if_something_was() {
        let value = FeedValue { number: 3, time: Timestamp(7), value: json!({ "a": 1 }) };
        let event = FeedEvent { missed: 0, values: vec![value] };
        let text = json!({ "values": [{ "number": 3, "time": 7, "value": { "a": 1 } }] });
        assert_eq!(json!(event), text);
        assert_eq!(serde_json::from_value::<FeedEvent>(text).unwrap(), event);
    }
}
