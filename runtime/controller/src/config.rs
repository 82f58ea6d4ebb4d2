//! The controller's configuration, read once from a TOML file.

use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::nodes::Presences;

/// Settings of a controller. Every one has a default, so an empty file is a
/// complete configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port that agents and operators dial. Port 0 takes any free
    /// one. Only loopback addresses, until the link can be encrypted.
    pub listen: SocketAddr,
    /// The WAMP realm that agents and operators join.
    pub realm: String,
    /// A node without a heartbeat for this long is lost.
    #[serde(with = "humantime_serde")]
    pub lost_after: Duration,
    /// A node that is lost for this long is forgotten.
    #[serde(with = "humantime_serde")]
    pub forget_after: Duration,
    /// The longest message on the link; longer ones end their session.
    pub max_message: ByteSize,
    /// What may wait for one slow reader before its session is ended.
    pub max_queued: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7117)),
            realm: drover_api::procedures::REALM.to_owned(),
            lost_after: Duration::from_secs(15),
            forget_after: Duration::from_secs(7 * 24 * 3600),
            max_message: ByteSize::mib(16),
            max_queued: ByteSize::mib(64),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is no TOML, has an unknown key or a value of the wrong type.
    #[error("{0}")]
    Syntax(toml::de::Error),
    /// The address could be reached from other hosts.
    #[error(
        "`listen = \"{0}\"` can be reached from other hosts, and this version has neither TLS nor \
         authentication: use a loopback address such as 127.0.0.1:7117"
    )]
    NotLoopback(SocketAddr),
    /// A value is out of range.
    #[error("`{key} = {value}`: {rule}")]
    Range {
        /// The key.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        rule: &'static str,
    },
}

impl Config {
    /// Parses and checks a configuration.
    ///
    /// # Errors
    ///
    /// If a key is unknown, a value has the wrong type or is out of range, or
    /// the controller would be open to other hosts.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(ConfigError::Syntax)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let range = |key, value: String, rule| Err(ConfigError::Range { key, value, rule });
        let text = |duration: Duration| {
            format!("\"{}\"", humantime_serde::re::humantime::format_duration(duration))
        };
        if !self.listen.ip().is_loopback() {
            return Err(ConfigError::NotLoopback(self.listen));
        }
        if self.lost_after < Duration::from_millis(100) {
            return range("lost_after", text(self.lost_after), "must be at least 100ms");
        }
        if self.forget_after < self.lost_after {
            return range(
                "forget_after",
                text(self.forget_after),
                "must not be below `lost_after`",
            );
        }
        if self.max_message < ByteSize::kib(64) || self.max_message > ByteSize::gib(1) {
            return range(
                "max_message",
                self.max_message.to_string(),
                "must be from 64 KiB to 1 GiB",
            );
        }
        if self.max_queued < self.max_message {
            return range(
                "max_queued",
                self.max_queued.to_string(),
                "must not be below `max_message`",
            );
        }
        Ok(())
    }

    /// The configuration as TOML, every key included.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration has only what TOML can say")
    }

    pub(crate) fn router_limits(&self) -> drover_wamp::Limits {
        drover_wamp::Limits {
            max_message_bytes: bytes(self.max_message),
            max_queued_bytes: bytes(self.max_queued),
            ..drover_wamp::Limits::default()
        }
    }

    pub(crate) fn presence(&self) -> Presences {
        Presences { lost_after: self.lost_after, forget_after: self.forget_after }
    }
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_a_complete_configuration() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        let config = Config { lost_after: Duration::from_millis(2500), ..Config::default() };
        assert_eq!(Config::parse(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_line() {
        let error = Config::parse("realm = \"r\"\nlisten_on = 1\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("`listen_on`"), "{error}");
    }

    #[test]
    fn values_out_of_range_are_refused_by_key() {
        for (text, key) in [
            ("lost_after = \"1ms\"", "lost_after"),
            ("forget_after = \"1s\"", "forget_after"),
            ("max_message = \"1 KiB\"", "max_message"),
            ("max_queued = \"1 MiB\"", "max_queued"),
            ("listen = \"0.0.0.0:7117\"", "listen"),
            ("listen = \"here\"", "listen"),
            ("lost_after = 5", "lost_after"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
