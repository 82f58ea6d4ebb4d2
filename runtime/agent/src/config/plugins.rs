//! The part of the configuration that is about single plugins.

use std::collections::BTreeMap;
use std::time::Duration;

use bytesize::ByteSize;
use drover_plugin_host::{LimitOverrides, Pins};
use serde::{Deserialize, Serialize};

use super::limits::{HANDLES, SHARE, is_handles, is_memory, is_share};
use super::{Config, ConfigError};

/// What is different for one plugin: `[plugins.NAME]`. What is left out is as
/// `[limits]` says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginSettings {
    /// The version that serves of those in the plugin's folder, whatever its
    /// link `active` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Memory of one job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// How long a job may take if its command does not say.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// How long a job may take whatever its command says.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub max_deadline: Option<Duration>,
    /// Jobs of this plugin that run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_jobs: Option<u32>,
    /// Jobs of this plugin that wait for their turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_jobs: Option<u32>,
    /// The longest answer of a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<ByteSize>,
    /// What a job holds open at the same time: files, streams and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handles: Option<u32>,
    /// What all its jobs together may use of the processors, in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<f64>,
    /// Programs that one job of it runs at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programs: Option<u32>,
    /// Programs that all its jobs together run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_programs: Option<u32>,
}

impl PluginSettings {
    /// What the plugin host wants to know of it.
    pub(super) fn limits(&self) -> LimitOverrides {
        LimitOverrides {
            memory_bytes: self.memory.map(|memory| memory.as_u64()),
            deadline: self.deadline,
            max_deadline: self.max_deadline,
            running_jobs: self.running_jobs,
            waiting_jobs: self.waiting_jobs,
            answer_bytes: self
                .answer
                .map(|answer| usize::try_from(answer.as_u64()).unwrap_or(usize::MAX)),
            handles: self.handles,
            cores: self.cores,
            programs: self.programs,
            plugin_programs: self.plugin_programs,
        }
    }

    /// Checks what was set, of the plugin `name`.
    pub(super) fn check(&self, name: &str, config: &Config) -> Result<(), ConfigError> {
        let deadline = self.deadline.unwrap_or(config.limits.deadline);
        let rules = [
            (
                self.version.as_ref().is_some_and(|version| !is_file_name(version)),
                "version",
                format!("{:?}", self.version),
                "must be the name of a file in the plugin's folder, without `.wasm`",
            ),
            (
                self.memory.is_some_and(|memory| !is_memory(memory)),
                "memory",
                format!("{:?}", self.memory),
                "must be from 1 MiB to 4 GiB",
            ),
            (
                self.deadline.is_some_and(|deadline| deadline.is_zero()),
                "deadline",
                format!("{:?}", self.deadline),
                "must not be zero",
            ),
            (
                self.max_deadline.is_some_and(|longest| longest < deadline),
                "max_deadline",
                format!("{:?}", self.max_deadline),
                "must not be below the plugin's `deadline`",
            ),
            (self.running_jobs == Some(0), "running_jobs", "0".to_owned(), "must be at least 1"),
            (
                self.answer.is_some_and(|answer| answer > config.max_message),
                "answer",
                format!("{:?}", self.answer),
                "must not be above `max_message`, which carries it",
            ),
            (
                self.handles.is_some_and(|handles| !is_handles(handles)),
                "handles",
                format!("{:?}", self.handles),
                HANDLES,
            ),
            (
                self.cores.is_some_and(|cores| !is_share(cores)),
                "cores",
                format!("{:?}", self.cores),
                SHARE,
            ),
        ];
        match rules.into_iter().find(|(is_broken, ..)| *is_broken) {
            Some((_, key, value, rule)) => {
                Err(ConfigError::Range { key: format!("plugins.{name}.{key}"), value, rule })
            }
            None => Ok(()),
        }
    }
}

impl Config {
    /// The versions of plugins that are pinned.
    #[must_use]
    pub fn pins(&self) -> Pins {
        let pin = |(name, plugin): (&String, &PluginSettings)| {
            Some((name.clone(), plugin.version.clone()?))
        };
        self.plugins.iter().filter_map(pin).collect()
    }

    /// The limits of single plugins.
    pub(super) fn limit_overrides(&self) -> BTreeMap<String, LimitOverrides> {
        self.plugins.iter().map(|(name, plugin)| (name.clone(), plugin.limits())).collect()
    }
}

fn is_file_name(version: &str) -> bool {
    !version.is_empty() && !version.starts_with('.') && !version.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_its_own_limits_and_a_pin() {
        let text = "[plugins.hello]\nversion = \"1.2.0\"\nmemory = \"256 MiB\"\ncores = 0.5";
        let config = Config::parse(text).unwrap();
        assert_eq!(config.pins()["hello"], "1.2.0");
        let own = &config.host_limits().overrides["hello"];
        assert_eq!((own.memory_bytes, own.cores, own.deadline), (Some(256 << 20), Some(0.5), None));
        assert_eq!(Config::parse(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_the_plugins_name() {
        for (line, key) in [
            ("version = \"../1\"", "plugins.a.version"),
            ("memory = \"1 kB\"", "plugins.a.memory"),
            ("deadline = \"0s\"", "plugins.a.deadline"),
            ("max_deadline = \"1s\"", "plugins.a.max_deadline"),
            ("running_jobs = 0", "plugins.a.running_jobs"),
            ("answer = \"17 MiB\"", "plugins.a.answer"),
            ("handles = 100001", "plugins.a.handles"),
            ("cores = 0.0", "plugins.a.cores"),
            ("cores = nan", "plugins.a.cores"),
            ("memroy = \"1 MiB\"", "memroy"),
        ] {
            let error = Config::parse(&format!("[plugins.a]\n{line}")).unwrap_err().to_string();
            assert!(error.contains(key), "{line}: {error}");
        }
    }
}
