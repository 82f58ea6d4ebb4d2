//! The part of the configuration that says who may join which realm, and what
//! they may do there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use drover_wamp::{
    CraSecret, Permission, PrincipalConfig, PublicKey, RealmConfig, RoleConfig, Secret,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ConfigError;

/// What `--print-config` shows instead of a secret.
const HIDDEN: &str = "(hidden)";

/// The longest file that is read as a secret.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// One realm: `[realms.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Realm {
    /// The role of those who prove nothing of themselves; without it they are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<String>,
    /// The rules of each role; what no rule allows is denied.
    pub roles: BTreeMap<String, Vec<Permission>>,
    /// Those who can prove who they are.
    pub principals: BTreeMap<String, Principal>,
}

/// Somebody who can prove who they are: `[realms.NAME.principals.AUTHID]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// One of the realm's roles.
    pub role: String,
    /// For the method `ticket`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Hidden>,
    /// A file with the ticket instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket_file: Option<PathBuf>,
    /// For the method `wampcra`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Hidden>,
    /// A file with the secret instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// For the method `wampcra` as well: the secret is salted, or already
    /// derived and only its key known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salted: Option<Salted>,
    /// For the method `cryptosign`: Ed25519 keys in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public_keys: Vec<String>,
}

/// How clients derive their key from a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Salted {
    /// Any text; clients are told.
    pub salt: String,
    /// Rounds of PBKDF2-HMAC-SHA256.
    #[serde(default = "default_iterations")]
    pub iterations: u32,
    /// Bytes of the derived key.
    #[serde(default = "default_key_length")]
    pub key_length: u32,
    /// The derived key in base64, where the secret itself is not kept here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Hidden>,
}

fn default_iterations() -> u32 {
    100_000
}

fn default_key_length() -> u32 {
    32
}

/// A secret in a configuration; written out, it is hidden.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub Secret);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == HIDDEN {
            let text = "`(hidden)` is what --print-config shows: write the secret itself";
            return Err(de::Error::custom(text));
        }
        Ok(Self(Secret::new(text)))
    }
}

impl Realm {
    /// The realm for the router, with the files read that it names.
    pub(crate) fn resolve(&self, name: &str) -> Result<RealmConfig, ConfigError> {
        let roles = self.roles.iter();
        let roles = roles.map(|(name, permissions)| RoleConfig {
            name: name.clone(),
            permissions: permissions.clone(),
        });
        let principals = self.principals.iter();
        let principals = principals.map(|(authid, principal)| {
            principal.resolve(authid, &format!("realms.{name}.principals.{authid}"))
        });
        Ok(RealmConfig {
            name: name.to_owned(),
            roles: roles.collect(),
            anonymous: self.anonymous.clone(),
            principals: principals.collect::<Result<_, _>>()?,
        })
    }
}

impl Principal {
    fn resolve(&self, authid: &str, key: &str) -> Result<PrincipalConfig, ConfigError> {
        let ticket = secret(&self.ticket, &self.ticket_file, &format!("{key}.ticket"))?;
        let secret = secret(&self.secret, &self.secret_file, &format!("{key}.secret"))?;
        let wrong = |field: &str, rule: String| ConfigError::Principal {
            key: format!("{key}.{field}"),
            rule,
        };
        let public_key = |text: &String| {
            text.parse::<PublicKey>().map_err(|error| wrong("public_keys", error.to_string()))
        };
        let cra = match (&self.salted, secret) {
            (None, secret) => secret.map(CraSecret::Plain),
            (Some(Salted { key: Some(Hidden(key)), salt, iterations, key_length }), None) => {
                Some(CraSecret::Salted {
                    key: key.clone(),
                    salt: salt.clone(),
                    iterations: *iterations,
                    key_length: *key_length,
                })
            }
            (Some(Salted { key: None, salt, iterations, key_length }), Some(secret)) => {
                let salted = CraSecret::salted(&secret, salt, *iterations, *key_length);
                Some(salted.map_err(|error| wrong("salted", error.to_string()))?)
            }
            (Some(_), _) => {
                let rule = "set either the secret beside it or the key in it".to_owned();
                return Err(wrong("salted", rule));
            }
        };
        Ok(PrincipalConfig {
            authid: authid.to_owned(),
            role: self.role.clone(),
            ticket,
            cra,
            public_keys: self.public_keys.iter().map(public_key).collect::<Result<_, _>>()?,
        })
    }
}

/// The secret that is given, or that is in the file that is given.
fn secret(
    given: &Option<Hidden>,
    file: &Option<PathBuf>,
    key: &str,
) -> Result<Option<Secret>, ConfigError> {
    match (given, file) {
        (Some(_), Some(_)) => Err(ConfigError::Principal {
            key: key.to_owned(),
            rule: format!("set either this or `{key}_file`"),
        }),
        (Some(Hidden(secret)), None) => Ok(Some(secret.clone())),
        (None, Some(path)) => Ok(Some(read_secret(path, key)?)),
        (None, None) => Ok(None),
    }
}

/// Reads a secret; the end of the last line is none of it.
fn read_secret(path: &Path, key: &str) -> Result<Secret, ConfigError> {
    let wrong = |reason: String| ConfigError::SecretFile {
        key: format!("{key}_file"),
        path: path.to_owned(),
        reason,
    };
    let metadata = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    // A device or a pipe could go on for ever.
    if !metadata.is_file() || metadata.len() > MAX_SECRET_BYTES {
        return Err(wrong(format!("it is no file of up to {MAX_SECRET_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use crate::{Config, ConfigError};

    const SITE: &str = r#"
        [realms.site]
        anonymous = "guest"

        [realms.site.roles]
        guest = [{ uri = "news.", match = "prefix", allow = { subscribe = true } }]
        operator = [
            { uri = "", match = "prefix", allow = { call = true, subscribe = true } },
            { uri = "audit..x", match = "wildcard", disclose = { caller = "always" } },
        ]

        [realms.site.principals.tina]
        role = "operator"
        ticket = "hunter2"

        [realms.site.principals.sally]
        role = "operator"
        secret = "hunter3"
        salted = { salt = "pepper", iterations = 10 }

        [realms.site.principals.sam]
        role = "guest"
        salted = { salt = "pepper", key = "hunter4" }

        [realms.site.principals.kim]
        role = "guest"
        public_keys = ["545efb0a2192db8d43f118e9bf9aee081466e1ef36c708b96ee6f62dddad9122"]
    "#;

    fn realms(text: &str) -> Vec<drover_wamp::RealmConfig> {
        Config::parse(text).unwrap().router().unwrap().realms
    }

    fn error(text: &str) -> String {
        Config::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn realms_are_what_the_router_is_made_of_and_the_own_one_is_open_unless_it_is_among_them() {
        let all = realms(SITE);
        let names: Vec<_> = all.iter().map(|realm| realm.name.as_str()).collect();
        assert_eq!(names, ["site", "drover"]);
        assert_eq!(all[1], drover_wamp::RealmConfig::open("drover"));
        let site = &all[0];
        assert_eq!(site.anonymous.as_deref(), Some("guest"));
        assert_eq!((site.roles.len(), site.principals.len()), (2, 4));

        let own = format!("realm = \"site\"\n{SITE}");
        assert_eq!(realms(&own), std::slice::from_ref(site));
    }

    #[test]
    fn a_secret_can_be_in_a_file_without_its_end_of_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "hunter2\n").unwrap();
        let text = |path: &std::path::Path| {
            let given = "ticket = \"hunter2\"";
            SITE.replace(given, &format!("ticket_file = {path:?}"))
        };
        assert_eq!(realms(&text(&path)), realms(SITE));

        let missing = dir.path().join("missing");
        for path in [missing.as_path(), dir.path()] {
            let error = error(&text(path));
            assert!(error.contains("realms.site.principals.tina.ticket_file"), "{error}");
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn no_secret_is_ever_shown_and_what_is_shown_instead_is_none() {
        let config = Config::parse(SITE).unwrap();
        let printed = config.to_toml();
        let shown = format!("{printed} {config:?} {:?}", config.router().unwrap());
        assert!(!shown.contains("hunter"), "{shown}");
        assert!(printed.contains("salt = \"pepper\"") && printed.contains("(hidden)"), "{printed}");
        let error = Config::parse(&printed).unwrap_err();
        assert!(matches!(error, ConfigError::SecretSyntax { .. }), "{error}");
    }

    #[test]
    fn a_mistake_beside_a_secret_does_not_show_it() {
        for (right, wrong) in [
            ("ticket = \"hunter2\"", "ticket = \"hunter2"),
            ("ticket = \"hunter2\"", "ticket = hunter2"),
            ("ticket = \"hunter2\"", "ticket = \"\"\"\nhunter2\\q\n\"\"\""),
            ("ticket = \"hunter2\"", "ticket = '''\nhunter2\u{1}\n'''"),
            ("ticket = \"hunter2\"", "ticket = \"\"\"\nhunter2"),
            ("key = \"hunter4\" }", "key = \"hunter4\", size = 1 }"),
            ("secret = \"hunter3\"", "secret = [\"hunter3\"]"),
            ("secret = \"hunter3\"", "secrets = \"hunter3\""),
        ] {
            let error = error(&SITE.replace(right, wrong));
            assert!(!error.contains("hunter"), "{error}");
            assert!(error.contains("line "), "{error}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_key() {
        for (right, wrong, key) in [
            ("anonymous = \"guest\"", "anonymous = \"gast\"", "no role `gast`"),
            ("role = \"operator\"", "role = \"boss\"", "principals.sally.role"),
            ("role = \"operator\"", "", "`role`"),
            ("ticket = \"hunter2\"", "ticket = \"\"", "principals.tina.ticket"),
            ("ticket = \"hunter2\"", "", "principals.tina"),
            ("ticket = \"hunter2\"", "ticket = \"a\"\nticket_file = \"b\"", "tina.ticket"),
            ("secret = \"hunter3\"", "", "principals.sally.salted"),
            ("iterations = 10", "iterations = 0", "principals.sally.salted"),
            ("[\"545e", "[\"54", "principals.kim.public_keys"),
            ("\"audit..x\"", "\"audit x\"", "roles.operator"),
            ("subscribe = true } },", "subscrib = true } },", "`subscrib`"),
            ("realms.site]", "realms.\"a b\"]", "name"),
        ] {
            let error = error(&SITE.replace(right, wrong));
            assert!(error.contains(key), "{wrong}: {error}");
        }
    }
}
