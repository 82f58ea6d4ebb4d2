//! The agent's configuration, read once from a TOML file.

mod drain;
mod error;
mod jobs;
mod limits;
mod logs;
mod metrics;
mod plugins;
mod processes;
mod rules;
mod sources;
mod startup;
mod updates;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use drover_api::NodeId;
use drover_process::{Places, SpecContext};
use drover_signing::TrustedKeySettings;
use drover_vitals::LogFormat;
use serde::{Deserialize, Serialize};

use crate::services::ServiceSpec;

pub use drain::DrainSettings;
pub use error::ConfigError;
pub use jobs::JobSettings;
pub use limits::Limits;
pub use logs::{LogSettings, StatsdSettings, WhenFull};
pub use metrics::MetricsSettings;
pub use plugins::PluginSettings;
pub use processes::ProcessSettings;
pub use sources::SourceSettings;
pub(crate) use sources::SourceTable;
pub use startup::Startup;
pub(crate) use startup::{PREFIX, StartupJob};
pub use updates::UpdateSettings;

/// Settings of an agent. Every one has a default, so an empty file is a
/// complete configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// WebSocket address of the controller.
    pub controller: String,
    /// The WAMP realm to join there.
    pub realm: String,
    /// PEM file of the certificates that may sign the controller's, for an
    /// address that begins with `wss://`; those of the platform by default.
    #[serde(skip_serializing_if = "is_unset")]
    pub ca_file: PathBuf,
    /// The SHA-256 of the controller's certificate in hexadecimal, for a
    /// `wss://` whose certificate nobody has signed who is trusted here.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
    /// PEM file of the agent's own certificate, for a controller that wants one.
    #[serde(skip_serializing_if = "is_unset")]
    pub certificate_file: PathBuf,
    /// PEM file of that certificate's private key.
    #[serde(skip_serializing_if = "is_unset")]
    pub certificate_key_file: PathBuf,
    /// File with the private key by which the controller knows the node: an
    /// Ed25519 key of 64 hexadecimal digits. Without one it joins as nobody in
    /// particular.
    #[serde(skip_serializing_if = "is_unset")]
    pub key_file: PathBuf,
    /// The grid that the node belongs to.
    pub gid: u32,
    /// The node's number, unique in its grid.
    pub nid: u32,
    /// What people call the node; the host's name by default.
    pub name: String,
    /// Free words by which operators will choose nodes.
    pub labels: Vec<String>,
    /// Directory for what the agent keeps; made if missing.
    pub data_dir: PathBuf,
    /// Directory of the plugins, one `.wasm` file each; made if missing.
    /// `plugins` in `data_dir` by default.
    #[serde(skip_serializing_if = "is_unset")]
    pub plugin_dir: PathBuf,
    /// What plugins may touch; more of it is in the `*.toml` of the directory
    /// that is called like this file with `.d` for `.toml`. `grants.toml`
    /// beside `plugin_dir` by default.
    #[serde(skip_serializing_if = "is_unset")]
    pub grants: PathBuf,
    /// Directory of compiled plugins; agents of one user may share it.
    /// `cache` in `data_dir` by default.
    #[serde(skip_serializing_if = "is_unset")]
    pub cache_dir: PathBuf,
    /// Time between two signs of life.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// The bound of the first wait before the controller is dialled again; it
    /// doubles up to `reconnect_longest`, and a wait is anything up to it.
    #[serde(with = "humantime_serde")]
    pub reconnect_first: Duration,
    /// See `reconnect_first`.
    #[serde(with = "humantime_serde")]
    pub reconnect_longest: Duration,
    /// The form of the lines that it writes to standard error; a flag goes before it.
    pub log_format: LogFormat,
    /// The longest message on the link, as the controller has it.
    pub max_message: ByteSize,
    /// What jobs may use.
    pub limits: Limits,
    /// What is different for single plugins, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub plugins: BTreeMap<String, PluginSettings>,
    /// The keys whose signatures count for what the controller pushes, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub trusted_keys: BTreeMap<String, TrustedKeySettings>,
    /// How what is pushed is fetched.
    pub updates: UpdateSettings,
    /// Durable jobs.
    pub jobs: JobSettings,
    /// How it ends.
    pub drain: DrainSettings,
    /// Child processes.
    pub processes: ProcessSettings,
    /// The record store.
    pub logs: LogSettings,
    /// Metrics in the format of statsd.
    pub statsd: StatsdSettings,
    /// What the agent tells of itself to Prometheus.
    #[serde(skip_serializing_if = "MetricsSettings::is_empty")]
    pub metrics: MetricsSettings,
    /// Services that run whenever the agent does, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, ServiceSpec>,
    /// Log files that are followed, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, SourceSettings>,
    /// Programs that run whenever the agent starts.
    #[serde(skip_serializing_if = "Startup::is_empty")]
    pub startup: Startup,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            controller: "ws://127.0.0.1:7117/ws".to_owned(),
            realm: drover_api::procedures::REALM.to_owned(),
            ca_file: PathBuf::new(),
            fingerprint: String::new(),
            certificate_file: PathBuf::new(),
            certificate_key_file: PathBuf::new(),
            key_file: PathBuf::new(),
            gid: 1,
            nid: 1,
            name: host_name(),
            labels: Vec::new(),
            data_dir: default_data_dir(),
            plugin_dir: PathBuf::new(),
            grants: PathBuf::new(),
            cache_dir: PathBuf::new(),
            heartbeat: Duration::from_secs(5),
            reconnect_first: Duration::from_millis(250),
            reconnect_longest: Duration::from_secs(30),
            log_format: LogFormat::default(),
            max_message: ByteSize::mib(16),
            limits: Limits::default(),
            plugins: BTreeMap::new(),
            trusted_keys: BTreeMap::new(),
            updates: UpdateSettings::default(),
            jobs: JobSettings::default(),
            drain: DrainSettings::default(),
            processes: ProcessSettings::default(),
            logs: LogSettings::default(),
            statsd: StatsdSettings::default(),
            metrics: MetricsSettings::default(),
            services: BTreeMap::new(),
            sources: BTreeMap::new(),
            startup: Startup::default(),
        }
    }
}

impl Config {
    /// Parses and checks a configuration.
    ///
    /// # Errors
    ///
    /// If a key is unknown, or a value has the wrong type or is out of range.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut config: Self =
            toml::from_str(text).map_err(|error| ConfigError::of_text(text, error))?;
        for (dir, name) in [
            (&mut config.plugin_dir, "plugins"),
            (&mut config.cache_dir, "cache"),
            (&mut config.logs.dir, "logs"),
        ] {
            if is_unset(dir) {
                *dir = config.data_dir.join(name);
            }
        }
        if is_unset(&config.grants) {
            config.grants = config.plugin_dir.with_file_name("grants.toml");
        }
        config.check()?;
        config.startup_jobs()?;
        config.trusted_keys()?;
        Ok(config)
    }

    /// The configuration as TOML, every key included.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration has only what TOML can say")
    }

    /// The keys of `new` that count from the next start only, where it differs.
    pub(crate) fn needs_a_start(&self, new: &Self) -> Vec<String> {
        let table = |config| toml::Table::try_from(config).unwrap_or_default();
        let (old, new) = (table(self), table(new));
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let differs = |key: &&String| old.get(key.as_str()) != new.get(key.as_str());
        let mut differing: Vec<_> = keys.into_iter().filter(differs).cloned().collect();
        let at_once = ["limits", "plugins", "trusted_keys"];
        differing.retain(|key| !at_once.contains(&key.as_str()));
        let of_limits = |limits: &toml::Table, key| limits.get("limits")?.get(key).cloned();
        for key in Limits::MADE_AT_THE_START {
            if of_limits(&old, key) != of_limits(&new, key) {
                differing.push(format!("limits.{key}"));
            }
        }
        differing
    }

    /// The jobs that run whenever the agent starts.
    pub(crate) fn startup_jobs(&self) -> Result<Vec<StartupJob>, ConfigError> {
        self.startup.jobs(&self.spec_context())
    }

    /// What commands are read against.
    pub(crate) fn spec_context(&self) -> SpecContext {
        let settings = &self.processes;
        SpecContext {
            places: Places {
                agent_root: self.data_dir.clone(),
                root: settings.root.clone(),
                tmp: settings.tmp.clone(),
            },
            interpreters: settings.interpreters.clone(),
            grace: settings.grace,
            stats_interval: settings.stats_interval,
        }
    }

    /// The node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId::new(self.gid, self.nid)
    }

    /// The directory of further grants.
    #[must_use]
    pub fn grants_dir(&self) -> PathBuf {
        self.grants.with_extension("d")
    }

    pub(crate) fn max_message_bytes(&self) -> usize {
        usize::try_from(self.max_message.as_u64()).unwrap_or(usize::MAX)
    }

    /// The limits as the plugin host wants them.
    #[must_use]
    pub fn host_limits(&self) -> drover_plugin_host::Limits {
        self.limits.of_host(self.limit_overrides())
    }
}

/// `/var/lib/drover` for root, `drover` in the user's state directory for others.
#[must_use]
pub fn default_data_dir() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/drover");
    }
    let from_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(from_home)
        .unwrap_or_else(std::env::temp_dir)
        .join("drover")
}

fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "node".to_owned())
}

pub(crate) fn is_unset(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use drover_api::Restart;

    use super::*;

    #[test]
    fn an_empty_file_is_a_complete_configuration() {
        let config = Config::parse("").unwrap();
        assert_eq!(config.plugin_dir, config.data_dir.join("plugins"));
        assert_eq!(config.cache_dir, config.data_dir.join("cache"));
        assert_eq!(config.grants, config.data_dir.join("grants.toml"));
        assert_eq!(config.grants_dir(), config.data_dir.join("grants.d"));
        assert_eq!(config.logs.dir, config.data_dir.join("logs"));
        assert!(!config.name.is_empty());
    }

    #[test]
    fn a_service_is_started_again_when_it_fails_unless_it_says_otherwise() {
        let text = "[services.tick]\noperation = \"ticker.count\"\nargs = { from = 7 }\n\
                    [services.tock]\noperation = \"ticker.count\"\nrestart = \"always\"\n\
                    max_restart = 0\nlog_feed = true";
        let config = Config::parse(text).unwrap();
        let (tick, tock) = (&config.services["tick"], &config.services["tock"]);
        assert_eq!((tick.restart, tick.max_restart, tick.log_feed), (Restart::OnFailure, 5, false));
        assert_eq!(tick.args["from"], 7);
        assert_eq!((tock.restart, tock.max_restart, tock.log_feed), (Restart::Always, 0, true));
        assert_eq!(Config::parse(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        let config =
            Config::parse("nid = 7\ndata_dir = \"/d\"\n[limits]\ndeadline = \"90s\"").unwrap();
        assert_eq!(Config::parse(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_line() {
        let error =
            Config::parse("gid = 1\n[limits]\nmemroy = \"1 MiB\"\n").unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("`memroy`"), "{error}");
    }
}
