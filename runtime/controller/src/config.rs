//! The controller's configuration, read once from a TOML file.

mod access;
mod audit;
mod catalog;
mod drain;
mod error;
mod jobs;
mod logs;
pub(crate) mod reload;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use drover_signing::{TrustError, TrustedKeySettings, TrustedKeys};
use drover_vitals::LogFormat;
use drover_wamp::{HttpBridge, HttpConfig, RealmConfig, RouterConfig};
use serde::{Deserialize, Serialize};

pub use access::AccessSettings;
pub use audit::AuditSettings;
pub use catalog::CatalogSettings;
pub use drain::DrainSettings;
pub use error::ConfigError;
pub use jobs::JobSettings;
pub use logs::LogSettings;
pub use tls::TlsSettings;

use crate::access::{OwnRole, Policy, is_free_name};
use crate::nodes::Presences;
use crate::realms::Realm;
use crate::vitals::PAGES;

/// Settings of a controller. Every one has a default, so an empty file is a
/// complete configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port that agents and operators dial. Port 0 takes any free
    /// one. What other hosts can reach needs `tls`, and `access.required`.
    pub listen: SocketAddr,
    /// The WAMP realm that agents and operators join. Everybody may join it and
    /// do everything there, unless `access.required` is set or it is among `realms`.
    pub realm: String,
    /// Directory for what the controller keeps; made if missing.
    pub data_dir: PathBuf,
    /// A node without a heartbeat for this long is lost.
    #[serde(with = "humantime_serde")]
    pub lost_after: Duration,
    /// A node that is lost for this long is forgotten.
    #[serde(with = "humantime_serde")]
    pub forget_after: Duration,
    /// The form of the lines that it writes to standard error; a flag goes before it.
    pub log_format: LogFormat,
    /// The longest message on the link; longer ones end their session.
    pub max_message: ByteSize,
    /// What may wait for one slow reader before its session is ended.
    pub max_queued: ByteSize,
    /// Web pages that may open sessions and use the bridge, by origin, such as
    /// `https://console.example:8443`. Those of this machine always may.
    pub allowed_origins: Vec<String>,
    /// The session on whose behalf `POST /call` calls. By default one in
    /// `realm`, as somebody who proves nothing; if they are refused, there is
    /// no bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<Bridge>,
    /// What it proves itself with; without it the link is not encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
    /// Who may join.
    pub access: AccessSettings,
    /// The roles of operators, beside `viewer`, `operator` and `admin`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, OwnRole>,
    /// The audit log.
    pub audit: AuditSettings,
    /// The log of all nodes.
    pub logs: LogSettings,
    /// The catalog of plugins.
    pub catalog: CatalogSettings,
    /// Durable jobs.
    pub jobs: JobSettings,
    /// How it ends.
    pub drain: DrainSettings,
    /// The keys whose signatures let plugins and statements into the catalog.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub trusted_keys: BTreeMap<String, TrustedKeySettings>,
    /// Who may join which realm, and what they may do there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub realms: BTreeMap<String, Realm>,
}

/// The bridge from HTTP to the router: `[bridge]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// The realm that it joins.
    pub realm: String,
    /// The role in it; its permissions say what can be called.
    pub role: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7117)),
            realm: drover_api::procedures::REALM.to_owned(),
            data_dir: logs::default_data_dir(),
            lost_after: Duration::from_secs(15),
            forget_after: Duration::from_secs(7 * 24 * 3600),
            log_format: LogFormat::default(),
            max_message: ByteSize::mib(16),
            max_queued: ByteSize::mib(64),
            allowed_origins: Vec::new(),
            bridge: None,
            tls: None,
            access: AccessSettings::default(),
            roles: BTreeMap::new(),
            audit: AuditSettings::default(),
            logs: LogSettings::default(),
            catalog: CatalogSettings::default(),
            jobs: JobSettings::default(),
            drain: DrainSettings::default(),
            trusted_keys: BTreeMap::new(),
            realms: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Parses and checks a configuration.
    ///
    /// # Errors
    ///
    /// If a key is unknown, a value has the wrong type or is out of range, a
    /// file with a secret cannot be read, or the controller would be open to
    /// other hosts.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut config: Self =
            toml::from_str(text).map_err(|error| ConfigError::of_text(text, error))?;
        if logs::is_unset(&config.logs.dir) {
            config.logs.dir = config.data_dir.join("logs");
        }
        if logs::is_unset(&config.catalog.dir) {
            config.catalog.dir = config.data_dir.join("catalog");
        }
        if logs::is_unset(&config.jobs.dir) {
            config.jobs.dir = config.data_dir.join("jobs");
        }
        config.check()?;
        config.router()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let range = |key, value: String, rule| Err(ConfigError::Range { key, value, rule });
        let text = |duration: Duration| {
            format!("\"{}\"", humantime_serde::re::humantime::format_duration(duration))
        };
        self.check_open()?;
        if let Some(name) = self.roles.keys().find(|name| !is_free_name(name)) {
            return Err(ConfigError::RoleName(name.clone()));
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
        if self.audit.max_file < ByteSize::kb(100) {
            return range(
                "audit.max_file",
                self.audit.max_file.to_string(),
                "must be at least 100 kB",
            );
        }
        if self.logs.max_file < ByteSize::kb(100) {
            return range(
                "logs.max_file",
                self.logs.max_file.to_string(),
                "must be at least 100 kB",
            );
        }
        if self.logs.max_total.as_u64() < self.logs.max_file.as_u64().saturating_mul(3) {
            return range(
                "logs.max_total",
                self.logs.max_total.to_string(),
                "must be at least three times `logs.max_file`",
            );
        }
        if self.catalog.max_rate < ByteSize::kib(64) {
            return range(
                "catalog.max_rate",
                self.catalog.max_rate.to_string(),
                "must be at least 64 KiB",
            );
        }
        if let Some((key, value, rule)) = self.jobs.broken() {
            return range(key, value.to_string(), rule);
        }
        self.trusted()?;
        let is_origin = |text: &String| {
            let host = text.split_once("://").map_or("", |(_, host)| host);
            !host.is_empty() && !host.contains('/')
        };
        if let Some(wrong) = self.allowed_origins.iter().find(|text| !is_origin(text)) {
            let rule = "an origin is a scheme, a host and perhaps a port, without a path";
            return range("allowed_origins", format!("[\"{wrong}\"]"), rule);
        }
        Ok(())
    }

    /// What other hosts can reach is encrypted, and nobody joins it unknown.
    fn check_open(&self) -> Result<(), ConfigError> {
        if self.listen.ip().is_loopback() {
            return Ok(());
        }
        let open =
            |fault: String, cure| Err(ConfigError::Open { listen: self.listen, fault, cure });
        if self.tls.is_none() {
            let cure = "add [tls] with `certificate` and `key` (`drover controller init` makes both \
                        for a trial)";
            return open("there is no TLS".to_owned(), cure);
        }
        if !self.access.required && !self.realms.contains_key(&self.realm) {
            let fault = format!("everybody may do everything in the realm `{}`", self.realm);
            return open(fault, "add [access] with `required = true`");
        }
        let unknown = self.realms.iter().find(|(_, realm)| realm.anonymous.is_some());
        if let Some((name, _)) = unknown {
            let fault = format!("`realms.{name}.anonymous` lets in whoever proves nothing");
            return open(fault, "take it out");
        }
        if self.bridge.is_some() {
            let fault = "`bridge` calls for whoever proves nothing".to_owned();
            return open(fault, "take it out: requests with a token need none");
        }
        Ok(())
    }

    /// What the guard goes by.
    pub(crate) fn policy(&self) -> Policy {
        Policy { claims: self.access.claims, roles: self.roles.clone() }
    }

    /// The configuration as TOML, every key included.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration has only what TOML can say")
    }

    /// What the router is made of, with the files read that hold secrets.
    pub(crate) fn router(&self) -> Result<RouterConfig, ConfigError> {
        let realms = self.router_realms()?;
        // Whoever reaches the port can use the bridge, so it does what they
        // could do as well in a session.
        let own = realms.iter().find(|realm| realm.name == self.realm);
        let anonymous = own.and_then(|realm| realm.anonymous.clone());
        let bridge = match &self.bridge {
            Some(Bridge { realm, role }) => Some((realm.clone(), role.clone())),
            None => anonymous.map(|role| (self.realm.clone(), role)),
        };
        let config = RouterConfig {
            realms,
            limits: self.router_limits(),
            http: HttpConfig {
                bridge: bridge.map(|(realm, role)| HttpBridge { realm, role }),
                allowed_origins: self.allowed_origins.clone(),
                // They are added when the catalog is open.
                files: None,
                pages: PAGES.to_vec(),
            },
            // It is added when it has read whom it knows.
            guarded: None,
        };
        config.check()?;
        Ok(config)
    }

    /// The controller's own realm is open unless it is listed, or everybody has to
    /// prove who they are.
    fn router_realms(&self) -> Result<Vec<RealmConfig>, ConfigError> {
        let listed = self.realms.iter().map(|(name, realm)| realm.resolve(name));
        let mut realms = listed.collect::<Result<Vec<_>, _>>()?;
        if !self.realms.contains_key(&self.realm) {
            let mut own = RealmConfig::open(&self.realm);
            if self.access.required {
                own.anonymous = None;
                own.roles.clear();
            }
            realms.push(own);
        } else if self.access.required {
            let own = realms.iter_mut().find(|realm| realm.name == self.realm);
            own.into_iter().for_each(|realm| realm.anonymous = None);
        }
        Ok(realms)
    }

    fn router_limits(&self) -> drover_wamp::Limits {
        drover_wamp::Limits {
            max_message_bytes: bytes(self.max_message),
            max_queued_bytes: bytes(self.max_queued),
            ..drover_wamp::Limits::default()
        }
    }

    /// What one answer may hold, with room for what is around it.
    pub(crate) fn answer_bytes(&self) -> usize {
        bytes(self.max_message) / 4 * 3
    }

    /// The keys whose signatures count.
    pub(crate) fn trusted(&self) -> Result<TrustedKeys, TrustError> {
        TrustedKeys::new(&self.trusted_keys)
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
        let config = Config::parse("").unwrap();
        assert_eq!(config.logs.dir, config.data_dir.join("logs"));
        assert_eq!(config.catalog.dir, config.data_dir.join("catalog"));
        assert_eq!(config.jobs.dir, config.data_dir.join("jobs"));
        let (logs, catalog) = (LogSettings::default(), CatalogSettings::default());
        let jobs = JobSettings::default();
        assert_eq!(Config { logs, catalog, jobs, ..config }, Config::default());
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        let config = Config::parse("lost_after = \"2500ms\"").unwrap();
        assert_eq!(Config::parse(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn the_bridge_does_what_somebody_who_proves_nothing_could_do() {
        let bridge = |text: &str| Config::parse(text).unwrap().router().unwrap().http.bridge;
        let named = |realm: &str, role: &str| {
            Some(HttpBridge { realm: realm.to_owned(), role: role.to_owned() })
        };
        assert_eq!(bridge(""), named("drover", "anonymous"));
        let closed = "[realms.drover.roles]\nguest = []\n";
        assert_eq!(bridge(closed), None);
        assert_eq!(
            bridge(&format!("{closed}[realms.drover]\nanonymous = \"guest\"\n")),
            named("drover", "guest")
        );
        let told = format!("bridge = {{ realm = \"drover\", role = \"guest\" }}\n{closed}");
        assert_eq!(bridge(&told), named("drover", "guest"));
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_line() {
        let error = Config::parse("realm = \"r\"\nlisten_on = 1\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("`listen_on`"), "{error}");
    }

    #[test]
    fn what_other_hosts_can_reach_is_encrypted_and_lets_nobody_in_unknown() {
        let open = "listen = \"0.0.0.0:7117\"\n";
        let tls = "[tls]\ncertificate = \"a.pem\"\nkey = \"b.pem\"\n";
        let known = "[access]\nrequired = true\n";
        let refused = |text: &str| Config::parse(text).unwrap_err().to_string();
        assert!(refused(open).contains("[tls]"));
        assert!(refused(&format!("{open}{known}")).contains("drover controller init"));
        assert!(refused(&format!("{open}{tls}")).contains("required = true"));
        let guests = "[realms.site]\nanonymous = \"guest\"\n[realms.site.roles]\nguest = []\n";
        let error = refused(&format!("{open}{tls}{known}{guests}"));
        assert!(error.contains("realms.site.anonymous"), "{error}");

        let safe = Config::parse(&format!("{open}{tls}{known}")).unwrap();
        let router = safe.router().unwrap();
        assert_eq!((router.realms[0].anonymous.as_ref(), router.http.bridge), (None, None));
        assert_eq!(Config::parse(&safe.to_toml()).unwrap(), safe);
    }

    #[test]
    fn values_out_of_range_are_refused_by_key() {
        for (text, key) in [
            ("lost_after = \"1ms\"", "lost_after"),
            ("forget_after = \"1s\"", "forget_after"),
            ("max_message = \"1 KiB\"", "max_message"),
            ("max_queued = \"1 MiB\"", "max_queued"),
            ("listen = \"0.0.0.0:7117\"", "listen"),
            ("[roles.admin]", "roles.admin"),
            ("[roles.\"a b\"]", "roles.a b"),
            ("[[roles.web.run]]\nnodes = \"(web\"", "(web"),
            ("[tls]\ncertificate = \"a.pem\"", "key"),
            ("listen = \"here\"", "listen"),
            ("lost_after = 5", "lost_after"),
            ("[logs]\nmax_file = \"1 kB\"", "logs.max_file"),
            ("[logs]\nmax_total = \"200 MB\"", "logs.max_total"),
            ("[catalog]\nmax_rate = \"1 KiB\"", "catalog.max_rate"),
            ("[jobs]\nmax_sent = 0", "jobs.max_sent"),
            ("[jobs]\nmax_queued_per_node = 0", "jobs.max_queued_per_node"),
            ("[jobs]\nmax_queued = 10", "jobs.max_queued"),
            ("[trusted_keys.ci]\npublic_key = \"RWx\"", "trusted_keys.ci.public_key"),
            ("[trusted_keys.ci]\npublic_key = 5", "public_key"),
            ("[trusted_keys.ci]\nrevoke = true", "revoke"),
            ("allowed_origins = [\"https://a.example/\"]", "allowed_origins"),
            ("allowed_origins = [\"a.example\"]", "allowed_origins"),
            ("bridge = { realm = \"x\", role = \"y\" }", "http.bridge.realm"),
            ("bridge = { realm = \"drover\", role = \"y\" }", "http.bridge.role"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
