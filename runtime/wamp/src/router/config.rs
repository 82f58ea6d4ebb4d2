//! What a realm is made of: its roles, and who joins with which.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::auth::{KeyError, PublicKey, Secret, cra};
use crate::uri::{self, MatchPolicy};

/// One realm: names and sessions that know nothing of other realms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealmConfig {
    /// What clients name in their HELLO.
    pub name: String,
    /// What sessions may do there, by role.
    pub roles: Vec<RoleConfig>,
    /// The role of those who prove nothing of themselves; none: they are refused.
    pub anonymous: Option<String>,
    /// Those who can prove who they are.
    pub principals: Vec<PrincipalConfig>,
}

/// What sessions of one role may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleConfig {
    /// The `authrole` of its sessions.
    pub name: String,
    /// The rules; the best one for a name decides, and without one the name is denied.
    #[serde(default)]
    pub permissions: Vec<Permission>,
}

/// A rule: what a role may do with the names that `uri` matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// A name, or a pattern of names.
    pub uri: String,
    /// How `uri` matches names.
    #[serde(rename = "match", default)]
    pub policy: MatchPolicy,
    /// What is allowed; everything else is denied.
    #[serde(default)]
    pub allow: Allow,
    /// What others learn of who does it.
    #[serde(default)]
    pub disclose: Disclose,
}

/// What may be done with a name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allow {
    /// Calling the procedure.
    pub call: bool,
    /// Registering the procedure.
    pub register: bool,
    /// Publishing to the topic.
    pub publish: bool,
    /// Subscribing to the topic.
    pub subscribe: bool,
}

/// What others learn of who does something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disclose {
    /// What a callee learns of its caller.
    pub caller: Disclosure,
    /// What a subscriber learns of the publisher.
    pub publisher: Disclosure,
}

/// What a session's role lets others know of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disclosure {
    /// Nothing, whatever it asks for.
    Never,
    /// Its session id, authid and authrole, where it asks for that with `disclose_me`.
    #[default]
    OnRequest,
    /// The same, whatever it asks for.
    Always,
}

impl Disclosure {
    /// Whether others learn who sent a message with this `disclose_me`.
    pub(crate) fn allows(self, disclose_me: bool) -> bool {
        match self {
            Self::Never => false,
            Self::OnRequest => disclose_me,
            Self::Always => true,
        }
    }
}

/// Somebody who can prove who they are, by any of the methods that are set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalConfig {
    /// What clients name in their HELLO, and others see of them.
    pub authid: String,
    /// The role of its sessions.
    pub role: String,
    /// For the method `ticket`, which sends it as it is.
    pub ticket: Option<Secret>,
    /// For the method `wampcra`, which never sends it.
    pub cra: Option<CraSecret>,
    /// For the method `cryptosign`.
    pub public_keys: Vec<PublicKey>,
}

/// What a router knows of a WAMP-CRA secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CraSecret {
    /// The secret itself.
    Plain(Secret),
    /// The key that clients derive from the secret with the salt, in base64.
    Salted {
        /// PBKDF2-HMAC-SHA256 of the secret, in base64.
        key: Secret,
        /// Any text; clients are told.
        salt: String,
        /// Rounds of the derivation.
        iterations: u32,
        /// Length of the key in bytes.
        key_length: u32,
    },
}

/// A router's configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("realm `{realm}`: `{key}`: {rule}")]
pub struct RouterConfigError {
    /// The realm that is wrong.
    pub realm: String,
    /// Where in it.
    pub key: String,
    /// What should be there.
    pub rule: String,
}

impl RealmConfig {
    /// A realm that everybody joins as `anonymous` and may do everything in.
    #[must_use]
    pub fn open(name: impl Into<String>) -> Self {
        let role = RoleConfig {
            name: "anonymous".to_owned(),
            permissions: vec![Permission::everything()],
        };
        Self {
            name: name.into(),
            anonymous: Some(role.name.clone()),
            roles: vec![role],
            principals: Vec::new(),
        }
    }

    /// Says what is wrong with a set of realms, if something is.
    ///
    /// # Errors
    /// When something is named twice, a role is unknown, or a secret is empty.
    pub(super) fn check_all(realms: &[Self]) -> Result<(), RouterConfigError> {
        for (index, realm) in realms.iter().enumerate() {
            if realms[..index].iter().any(|earlier| earlier.name == realm.name) {
                return Err(realm.wrong("name", "there is another realm of this name"));
            }
            realm.check()?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), RouterConfigError> {
        if uri::check(&self.name).is_err() {
            return Err(self.wrong("name", "write words between single dots"));
        }
        let mut roles = HashSet::new();
        for role in &self.roles {
            let key = format!("roles.{}", role.name);
            if role.name.is_empty() {
                return Err(self.wrong(key, "a role needs a name"));
            }
            if !roles.insert(role.name.as_str()) {
                return Err(self.wrong(key, "there is another role of this name"));
            }
            role.check().map_err(|(uri, rule)| {
                self.wrong(format!("{key}.permissions, uri = \"{uri}\""), rule)
            })?;
        }
        let known = |key: String, role: &str| {
            if roles.contains(role) {
                return Ok(());
            }
            let names: Vec<_> = self.roles.iter().map(|role| role.name.as_str()).collect();
            let rule = match names.is_empty() {
                true => format!("there is no role `{role}`: the realm has none, so define it"),
                false => format!("there is no role `{role}`, only {}", names.join(", ")),
            };
            Err(self.wrong(key, rule))
        };
        if let Some(role) = &self.anonymous {
            known("anonymous".to_owned(), role)?;
        }
        let (mut authids, mut keys) = (HashSet::new(), HashSet::new());
        for principal in &self.principals {
            let key = format!("principals.{}", principal.authid);
            if !authids.insert(&principal.authid) {
                return Err(self.wrong(key, "there is another principal of this name"));
            }
            known(format!("{key}.role"), &principal.role)?;
            principal.check().map_err(|(field, rule)| self.wrong(format!("{key}{field}"), rule))?;
            if let Some(twice) = principal.public_keys.iter().find(|key| !keys.insert(**key)) {
                let rule = format!("somebody has the key {twice} already");
                return Err(self.wrong(format!("{key}.public_keys"), rule));
            }
        }
        Ok(())
    }

    fn wrong(&self, key: impl Into<String>, rule: impl Into<String>) -> RouterConfigError {
        RouterConfigError { realm: self.name.clone(), key: key.into(), rule: rule.into() }
    }
}

impl RoleConfig {
    fn check(&self) -> Result<(), (&str, String)> {
        let mut seen = HashSet::new();
        for rule in &self.permissions {
            uri::check_pattern(&rule.uri, rule.policy)
                .map_err(|error| (rule.uri.as_str(), error.to_string()))?;
            if !seen.insert((&rule.uri, rule.policy)) {
                return Err((&rule.uri, "there is another rule for it".to_owned()));
            }
        }
        Ok(())
    }
}

impl PrincipalConfig {
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.authid.is_empty() {
            return Err(("", "a principal needs a name"));
        }
        if self.ticket.is_none() && self.cra.is_none() && self.public_keys.is_empty() {
            return Err(("", "set a ticket, a secret or public keys, or nobody can join with it"));
        }
        if self.ticket.as_ref().is_some_and(|ticket| ticket.reveal().is_empty()) {
            return Err((".ticket", "must not be empty"));
        }
        match &self.cra {
            Some(CraSecret::Plain(secret)) if secret.reveal().is_empty() => {
                Err((".secret", "must not be empty"))
            }
            Some(CraSecret::Salted { key, salt, .. })
                if key.reveal().is_empty() || salt.is_empty() =>
            {
                Err((".secret", "neither the key nor the salt may be empty"))
            }
            _ => Ok(()),
        }
    }
}

impl CraSecret {
    /// Derives the key of a secret, after which the secret is not needed any more.
    ///
    /// # Errors
    /// When the rounds or the length are outside of what is safe to compute.
    pub fn salted(
        secret: &Secret,
        salt: impl Into<String>,
        iterations: u32,
        key_length: u32,
    ) -> Result<Self, KeyError> {
        let salt = salt.into();
        let key = cra::derive_key(secret, &salt, iterations, key_length)?;
        Ok(Self::Salted { key, salt, iterations, key_length })
    }
}

impl Permission {
    /// The rule that allows everything with every name, those of the router's
    /// own procedures and topics included.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            uri: String::new(),
            policy: MatchPolicy::Prefix,
            allow: Allow { call: true, register: true, publish: true, subscribe: true },
            disclose: Disclose::default(),
        }
    }
}
