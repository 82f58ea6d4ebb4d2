//! The part of the configuration that is about what the controller pushes.

use std::time::Duration;

use bytesize::ByteSize;
use drover_signing::{TrustError, TrustedKeys};
use serde::{Deserialize, Serialize};

use super::Config;

/// How pushed plugins are fetched: `[updates]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateSettings {
    /// The most that is fetched in a second.
    pub rate: ByteSize,
    /// Where content comes from: `link`, the controller's session; `http`, the same
    /// port by HTTP; or the `http://` or `https://` address of a directory with a
    /// file for each content, named by its SHA-256. What HTTP does not give comes
    /// over the link.
    pub from: String,
    /// The names of those of `trusted_keys` whose signatures count for the agent's own
    /// program, which runs with all its rights; without any it is never replaced.
    pub agent_keys: Vec<String>,
    /// How long a new version of the agent may take to start, to join, and to be heard
    /// of while it is watched.
    #[serde(with = "humantime_serde")]
    pub patience: Duration,
}

impl Default for UpdateSettings {
    fn default() -> Self {
        Self {
            rate: ByteSize::mib(8),
            from: LINK.to_owned(),
            agent_keys: Vec::new(),
            patience: Duration::from_secs(30),
        }
    }
}

const LINK: &str = "link";
const HTTP: &str = "http";

impl UpdateSettings {
    /// Whether `from` says where content comes from.
    pub(super) fn has_source(&self) -> bool {
        [LINK, HTTP].contains(&self.from.as_str()) || is_http(&self.from)
    }
}

fn is_http(address: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| address.starts_with(scheme))
}

impl Config {
    /// The keys whose signatures count.
    pub(crate) fn trusted_keys(&self) -> Result<TrustedKeys, TrustError> {
        TrustedKeys::new(&self.trusted_keys)
    }

    /// What comes before the hash in the address of content; none if it comes over
    /// the link alone.
    pub(crate) fn content_address(&self) -> Option<String> {
        match self.updates.from.as_str() {
            LINK => None,
            HTTP => {
                let (scheme, rest) = self.controller.split_once("://")?;
                let host = rest.split('/').next()?;
                let scheme = if scheme == "wss" { "https" } else { "http" };
                Some(format!("{scheme}://{host}/catalog/"))
            }
            address => Some(format!("{}/", address.trim_end_matches('/'))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trusted_key_that_is_none_is_refused_by_name() {
        for (text, words) in [
            ("[trusted_keys.ada]\npublic_key = \"key\"", "trusted_keys.ada"),
            ("[trusted_keys.ada]", "public_key"),
            ("[updates]\nrate = \"10 B\"", "updates.rate"),
            ("[updates]\nkeys = []", "keys"),
            ("[updates]\nfrom = \"ftp://mirror\"", "updates.from"),
            ("[updates]\nagent_keys = [\"ada\"]", "updates.agent_keys"),
            ("[updates]\npatience = \"0s\"", "updates.patience"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn content_comes_from_the_controllers_port_or_from_a_directory_of_the_web() {
        let address = |text: &str| Config::parse(text).unwrap().content_address();
        assert_eq!(address(""), None);
        for (controller, from, expected) in [
            ("ws://127.0.0.1:7117/ws", "http", "http://127.0.0.1:7117/catalog/"),
            ("wss://drover.example/ws", "http", "https://drover.example/catalog/"),
            ("ws://[::1]:7/ws", "http", "http://[::1]:7/catalog/"),
            ("ws://a/ws", "https://mirror.example/plugins", "https://mirror.example/plugins/"),
        ] {
            let text = format!("controller = {controller:?}\n[updates]\nfrom = {from:?}");
            assert_eq!(address(&text).as_deref(), Some(expected));
        }
    }
}
