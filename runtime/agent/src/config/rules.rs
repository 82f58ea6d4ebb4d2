//! What the values of a configuration may be.

use std::time::Duration;

use bytesize::ByteSize;
use drover_wamp::Fingerprint;

use super::{Config, ConfigError, is_unset};
use crate::services::{self, ServiceSpec};

/// Whether a rule is broken, of which key, by what value, and what it says.
pub(super) type Rule = (bool, &'static str, String, &'static str);

impl Config {
    /// Checks what a type does not say.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let quoted = |text: &str| format!("{text:?}");
        let rules: [Rule; 25] = [
            (
                !["ws://", "wss://"].iter().any(|scheme| self.controller.starts_with(scheme)),
                "controller",
                quoted(&self.controller),
                "must be a WebSocket address such as \"ws://127.0.0.1:7117/ws\" or \
                 \"wss://controller.example.org/ws\"",
            ),
            (
                !self.fingerprint.is_empty() && self.fingerprint.parse::<Fingerprint>().is_err(),
                "fingerprint",
                quoted(&self.fingerprint),
                "must be the SHA-256 of the controller's certificate: 64 hexadecimal digits",
            ),
            (
                is_unset(&self.certificate_file) != is_unset(&self.certificate_key_file),
                "certificate_file",
                quoted(&self.certificate_file.to_string_lossy()),
                "goes together with `certificate_key_file`",
            ),
            (
                self.grants.extension().is_none_or(|extension| extension != "toml"),
                "grants",
                quoted(&self.grants.to_string_lossy()),
                "must end in `.toml`; further files are in the directory that ends in `.d`",
            ),
            (self.name.trim().is_empty(), "name", quoted(&self.name), "must not be empty"),
            (
                self.name.chars().any(char::is_control) || self.name.len() > 255,
                "name",
                quoted(&self.name),
                "must have at most 255 characters, and no control characters",
            ),
            (
                self.heartbeat < Duration::from_millis(50),
                "heartbeat",
                duration_text(self.heartbeat),
                "must be at least 50ms",
            ),
            (
                self.reconnect_first < Duration::from_millis(10),
                "reconnect_first",
                duration_text(self.reconnect_first),
                "must be at least 10ms",
            ),
            (
                self.reconnect_longest < self.reconnect_first,
                "reconnect_longest",
                duration_text(self.reconnect_longest),
                "must not be below `reconnect_first`",
            ),
            (
                self.max_message < ByteSize::kib(64) || self.max_message > ByteSize::gib(1),
                "max_message",
                self.max_message.to_string(),
                "must be from 64 KiB to 1 GiB",
            ),
            (
                self.limits.answer > self.max_message,
                "limits.answer",
                self.limits.answer.to_string(),
                "must not be above `max_message`, which carries it",
            ),
            (
                self.updates.rate < ByteSize::kib(1),
                "updates.rate",
                self.updates.rate.to_string(),
                "must be at least 1 KiB",
            ),
            (
                !self.updates.has_source(),
                "updates.from",
                quoted(&self.updates.from),
                "must be \"link\", \"http\" or an address that begins with http:// or https://",
            ),
            (
                !self.updates.agent_keys.iter().all(|name| self.trusted_keys.contains_key(name)),
                "updates.agent_keys",
                format!("{:?}", self.updates.agent_keys),
                "must be names of keys in `[trusted_keys.NAME]`",
            ),
            (
                self.updates.patience < Duration::from_secs(1),
                "updates.patience",
                duration_text(self.updates.patience),
                "must be at least 1s",
            ),
            (
                self.processes.max_jobs == 0,
                "processes.max_jobs",
                self.processes.max_jobs.to_string(),
                "must be at least 1",
            ),
            (
                self.processes.stats_interval < Duration::from_secs(1),
                "processes.stats_interval",
                duration_text(self.processes.stats_interval),
                "must be at least 1s",
            ),
            (
                self.processes.interpreters.values().any(Vec::is_empty),
                "processes.interpreters",
                format!("{:?}", self.processes.interpreters.keys()),
                "each must have a program, such as [\"python3\"]",
            ),
            (
                self.logs.max_file < ByteSize::kb(100),
                "logs.max_file",
                self.logs.max_file.to_string(),
                "must be at least 100 kB",
            ),
            (
                self.logs.max_total.as_u64() < self.logs.max_file.as_u64().saturating_mul(3),
                "logs.max_total",
                self.logs.max_total.to_string(),
                "must be at least three times `logs.max_file`",
            ),
            (
                !(1..=100_000).contains(&self.logs.forward_records),
                "logs.forward_records",
                self.logs.forward_records.to_string(),
                "must be from 1 to 100000",
            ),
            (
                self.logs.forward_interval > Duration::from_secs(3600),
                "logs.forward_interval",
                duration_text(self.logs.forward_interval),
                "must be at most 1h",
            ),
            (
                self.statsd.interval < Duration::from_millis(100),
                "statsd.interval",
                duration_text(self.statsd.interval),
                "must be at least 100ms",
            ),
            (
                self.statsd.udp.is_some_and(|address| !address.ip().is_loopback()),
                "statsd.udp",
                self.statsd.udp.map(|address| quoted(&address.to_string())).unwrap_or_default(),
                "must be a loopback address such as \"127.0.0.1:8125\"",
            ),
            (
                self.metrics.listen.is_some_and(|address| !address.ip().is_loopback()),
                "metrics.listen",
                self.metrics.listen.map(|it| quoted(&it.to_string())).unwrap_or_default(),
                "must be a loopback address such as \"127.0.0.1:9464\", as an agent listens to \
                 nobody else: other hosts ask the controller, at /metrics/nodes/GID.NID",
            ),
        ];
        let rules = rules.into_iter().chain(self.jobs.rules());
        let mut rules = self.limits.rules().into_iter().chain(rules);
        match rules.find(|(is_broken, ..)| *is_broken) {
            Some((_, key, value, rule)) => {
                Err(ConfigError::Range { key: key.to_owned(), value, rule })
            }
            None => {
                self.plugins.iter().try_for_each(|(name, plugin)| plugin.check(name, self))?;
                self.services.iter().try_for_each(|(name, spec)| check_service(name, spec))?;
                self.sources.iter().try_for_each(|(name, source)| source.check(name))
            }
        }
    }
}

/// Checks what can be checked of a service before its plugin is there.
fn check_service(name: &str, spec: &ServiceSpec) -> Result<(), ConfigError> {
    services::check_name(name)
        .and_then(|()| spec.target().map(drop))
        .map_err(|reason| ConfigError::Service { name: name.to_owned(), reason })
}

pub(super) fn duration_text(duration: Duration) -> String {
    format!("{:?}", humantime_serde::re::humantime::format_duration(duration).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused_by_key() {
        for (text, key) in [
            ("controller = \"http://x\"", "controller"),
            ("name = \" \"", "name"),
            ("fingerprint = \"abc\"", "fingerprint"),
            ("certificate_file = \"/c.pem\"", "certificate_key_file"),
            ("heartbeat = \"1ms\"", "heartbeat"),
            ("heartbeat = 5", "heartbeat"),
            ("reconnect_first = \"0s\"", "reconnect_first"),
            ("reconnect_longest = \"1ms\"", "reconnect_longest"),
            ("max_message = \"1 TiB\"", "max_message"),
            ("grants = \"/etc/drover\"", "grants"),
            ("nid = -1", "nid"),
            ("[limits]\nmemory = \"1 kB\"", "limits.memory"),
            ("[limits]\ndeadline = \"0s\"", "limits.deadline"),
            ("[limits]\nmax_deadline = \"1s\"", "limits.max_deadline"),
            ("[limits]\nrunning_jobs = 0", "limits.running_jobs"),
            ("[limits]\nanswer = \"17 MiB\"", "limits.answer"),
            ("[limits]\nhandles = 1", "limits.handles"),
            ("[limits]\nservices = 5000", "limits.services"),
            ("[services.\"a b\"]\noperation = \"a.b\"", "services.a b"),
            ("[services.a]\noperation = \"a\"", "<plugin>.<operation>"),
            ("[services.a]\nargs = {}", "operation"),
            ("[services.a]\noperation = \"a.b\"\nrestart = \"often\"", "often"),
            ("[limits]\ncores = -1.0", "limits.cores"),
            ("[limits]\nquarantine_longest = \"1s\"", "limits.quarantine_longest"),
            ("[processes]\nmax_jobs = 0", "processes.max_jobs"),
            ("[processes]\nstats_interval = \"1ms\"", "processes.stats_interval"),
            ("[processes]\ninterpreters = { sh = [] }", "processes.interpreters"),
            ("[logs]\nmax_file = \"1 kB\"", "logs.max_file"),
            ("[logs]\nmax_total = \"200 MB\"", "logs.max_total"),
            ("[logs]\nforward_records = 0", "logs.forward_records"),
            ("[logs]\nforward_interval = \"2h\"", "logs.forward_interval"),
            ("[logs]\nforward = \"9-7\"", "9-7"),
            ("[logs]\nwhen_full = \"drop\"", "when_full"),
            ("[statsd]\ninterval = \"0s\"", "statsd.interval"),
            ("[statsd]\nudp = \"0.0.0.0:8125\"", "statsd.udp"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
