//! What one job may use up.

use serde::{Deserialize, Serialize};

/// What the caller of an operation allows its job, as a part of the command. What is
/// absent is as the node allows the plugin; more than that is refused. How long the
/// job may take is `timeout_ms` of the command.
///
/// On the link: `{memory_bytes, cores, answer_bytes}`, of which each may be left
/// out; any other key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobLimits {
    /// Linear memory of its instance, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// What it may use of the processors, in cores; at least 0.01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<f64>,
    /// Its longest answer, in bytes of JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_bytes: Option<u64>,
}

impl JobLimits {
    /// Whether nothing is less than what the plugin may have.
    #[must_use]
    pub fn are_those_of_the_plugin(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Command;

    #[test]
    fn limits_are_spoken_of_only_where_there_are_some() {
        assert!(json!(Command::new("a.b")).get("limits").is_none());
        let limits = JobLimits { cores: Some(0.5), ..JobLimits::default() };
        let command = Command { limits, ..Command::new("a.b") };
        assert_eq!(json!(command)["limits"], json!({ "cores": 0.5 }));
    }

    #[test]
    fn a_limit_that_is_not_known_is_refused_and_not_left_out() {
        let command = json!({ "cmd": "a.b", "limits": { "memory": 5 } });
        let error = serde_json::from_value::<Command>(command).unwrap_err();
        assert!(error.to_string().contains("unknown field `memory`"), "{error}");
    }
}
