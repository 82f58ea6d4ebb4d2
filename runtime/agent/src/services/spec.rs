//! What a service is to do, as the configuration and commands say it.

use std::time::Duration;

use drover_api::Restart;
use drover_process::RestartPolicy;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::life::Rules;

/// How often a service is started again within five minutes, unless it says
/// otherwise.
const MAX_RESTART: u32 = 5;
/// The waits before that.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// The longest name.
const NAME: usize = 64;

/// One service: `[services.NAME]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// `<plugin>.<operation>`.
    pub operation: String,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub args: Map<String, Value>,
    /// Whether it is started again when it ends.
    #[serde(default)]
    pub restart: Restart,
    /// How many failures within five minutes are followed by a restart.
    #[serde(default = "max_restart")]
    pub max_restart: u32,
    /// Whether what it publishes goes into the log too, as records of level 6.
    #[serde(default)]
    pub log_feed: bool,
}

fn max_restart() -> u32 {
    MAX_RESTART
}

impl ServiceSpec {
    /// One with the usual rules.
    pub(crate) fn new(operation: String, args: Map<String, Value>) -> Self {
        let (restart, max_restart, log_feed) = (Restart::default(), MAX_RESTART, false);
        Self { operation, args, restart, max_restart, log_feed }
    }

    /// The plugin and its operation.
    ///
    /// # Errors
    ///
    /// If it does not have both.
    pub(crate) fn target(&self) -> Result<(&str, &str), String> {
        let target = self.operation.split_once('.');
        let target = target.filter(|(plugin, name)| !plugin.is_empty() && !name.is_empty());
        target.ok_or_else(|| {
            format!(
                "`operation`: {:?} is none: write <plugin>.<operation>, such as \"ticker.count\"",
                self.operation
            )
        })
    }

    pub(super) fn rules(&self) -> Rules {
        let failures = RestartPolicy {
            max: Some(self.max_restart),
            first: FIRST_DELAY,
            longest: LONGEST_DELAY,
        };
        Rules { restart: self.restart, failures }
    }
}

/// Checks what a service is called: it becomes part of a job's id and of a topic.
///
/// # Errors
///
/// If it cannot be called so: what it may be.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    let has_empty_part = name.split('.').any(str::is_empty);
    match name.len() <= NAME && name.chars().all(is_allowed) && !has_empty_part {
        true => Ok(()),
        false => Err(format!(
            "{name:?} is no name for a service: use letters, digits, `-`, `_` and single `.`, at \
             most {NAME}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_part_of_a_topic() {
        for name in ["a", "ticker.count", "A-1_x", &"a".repeat(NAME)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", ".", "a.", "a..b", "a b", "ä", "a/b", &"a".repeat(NAME + 1)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn an_operation_names_its_plugin() {
        let target = |operation: &str| {
            let spec = ServiceSpec::new(operation.to_owned(), Map::new());
            spec.target().map(|(plugin, name)| format!("{plugin} {name}"))
        };
        assert_eq!(target("ticker.count").unwrap(), "ticker count");
        for operation in ["", "ticker", ".count", "ticker."] {
            assert!(target(operation).unwrap_err().contains("<plugin>.<operation>"));
        }
    }
}
