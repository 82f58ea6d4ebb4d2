//! What a plugin asks for, each with the reason that the admin reads.

use std::collections::HashSet;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize, Serializer};

use crate::grant::Access;
use crate::http::HttpAsk;
use crate::manifest::ManifestError;
use crate::pattern::ArgumentPattern;
use crate::text::{DirectoryPath, ProgramPath, SettingName, VariableName};

/// Things of one kind that a plugin may ask for.
const MOST: usize = 64;
/// The longest reason, in bytes.
const REASON: usize = 500;

/// Everything that a plugin asks for. The default asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asks {
    /// To see what the node is made of and how busy it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysinfo: Option<SysinfoAsk>,
    /// To keep values from one job to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateAsk>,
    /// To see environment variables of the agent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<NamedAsk<VariableName>>,
    /// To be given values that the admin chooses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<NamedAsk<SettingName>>,
    /// To be given values that nobody else gets to see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<NamedAsk<SettingName>>,
    /// To read or change files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<DirectoryAsk>,
    /// To send HTTP requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpAsk>,
    /// To run programs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<ProgramAsk>,
}

/// Asks for what the node tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SysinfoAsk {
    /// Why the plugin wants it.
    pub reason: String,
}

/// Asks for one thing with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedAsk<Name> {
    /// Its name.
    pub name: Name,
    /// Why the plugin wants it.
    pub reason: String,
}

/// Asks for room to keep values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateAsk {
    /// How much room it needs.
    #[serde(serialize_with = "bytes")]
    pub size: ByteSize,
    /// Why the plugin wants it.
    pub reason: String,
}

/// Asks for a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryAsk {
    /// The path under which the plugin opens it.
    pub path: DirectoryPath,
    /// What it does there.
    pub access: Access,
    /// Why the plugin wants it.
    pub reason: String,
}

/// Asks for a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramAsk {
    /// The program.
    pub program: ProgramPath,
    /// How it is called: any of these ways. Without arguments, if nothing is said.
    #[serde(default = "ArgumentPattern::without_arguments")]
    pub args: Vec<ArgumentPattern>,
    /// Environment variables that the plugin sets for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<VariableName>,
    /// Why the plugin wants it.
    pub reason: String,
}

impl Asks {
    /// Every ask, with its reason, in words.
    #[must_use]
    pub fn describe(&self) -> Vec<(String, String)> {
        let mut asked = Vec::new();
        let mut add = |what: String, reason: &str| asked.push((what, reason.to_owned()));
        if let Some(ask) = &self.sysinfo {
            add("what the node is made of".to_owned(), &ask.reason);
        }
        if let Some(ask) = &self.state {
            add(format!("{} of state", ask.size), &ask.reason);
        }
        for ask in &self.env {
            add(format!("environment variable {}", ask.name), &ask.reason);
        }
        for ask in &self.settings {
            add(format!("setting {}", ask.name), &ask.reason);
        }
        for ask in &self.secrets {
            add(format!("secret {}", ask.name), &ask.reason);
        }
        for ask in &self.directories {
            let access = match ask.access {
                Access::Read => "reading",
                Access::ReadWrite => "reading and writing",
            };
            add(format!("{access} {}", ask.path), &ask.reason);
        }
        for ask in &self.http {
            let rules: Vec<_> = ask.allow.iter().map(ToString::to_string).collect();
            add(format!("HTTP to {}: {}", ask.authority, rules.join(", ")), &ask.reason);
        }
        for ask in &self.programs {
            let ways: Vec<_> =
                ask.args.iter().map(|args| format!("`{} {args}`", ask.program)).collect();
            let env: String = ask.env.iter().map(|name| format!(" with {name}")).collect();
            add(format!("running {}{env}", ways.join(" or ")), &ask.reason);
        }
        asked
    }

    /// Checks what the types do not: reasons, and that nothing is there twice.
    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        let sysinfo = self.sysinfo.iter().map(|ask| ("", &*ask.reason));
        check_kind("sysinfo", sysinfo)?;
        check_kind("state", self.state.iter().map(|ask| ("", &*ask.reason)))?;
        check_kind("env", self.env.iter().map(NamedAsk::named))?;
        let settings = self.settings.iter().chain(&self.secrets);
        // A setting and a secret are read by the same call, so names are shared.
        check_kind("settings", settings.map(NamedAsk::named))?;
        let directories = self.directories.iter();
        check_kind("directories", directories.map(|ask| (ask.path.as_str(), &*ask.reason)))?;
        let programs = self.programs.iter();
        check_kind("programs", programs.map(|ask| (ask.program.as_str(), &*ask.reason)))?;
        let http = self.http.iter();
        check_kind("http", http.map(|ask| (ask.authority.as_str(), &*ask.reason)))?;
        match self.http.iter().find(|ask| ask.socket.is_some() && ask.scheme.is_some()) {
            None => Ok(()),
            Some(ask) => Err(ManifestError::Rule {
                of: format!("asks.http {}", ask.authority),
                rule: "say `socket` or `scheme`, not both",
            }),
        }
    }
}

impl<Name: std::borrow::Borrow<str>> NamedAsk<Name> {
    fn named(&self) -> (&str, &str) {
        (self.name.borrow(), &self.reason)
    }
}

fn check_kind<'a>(
    kind: &'static str,
    asks: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), ManifestError> {
    let mut seen = HashSet::new();
    for (name, reason) in asks {
        let of = || format!("asks.{kind} {name}").trim_end().to_owned();
        if reason.trim().is_empty() || reason.len() > REASON || reason.contains(char::is_control) {
            return Err(ManifestError::Rule {
                of: of() + ": reason",
                rule: "say in one line of at most 500 bytes what it is for",
            });
        }
        if !seen.insert(name) {
            return Err(ManifestError::Rule { of: of(), rule: "ask for it once" });
        }
    }
    match seen.len() > MOST {
        true => Err(ManifestError::Rule {
            of: format!("asks.{kind}"),
            rule: "ask for at most 64 of a kind",
        }),
        false => Ok(()),
    }
}

/// The exact number, where the usual way rounds to three digits.
fn bytes<S: Serializer>(size: &ByteSize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(size.as_u64())
}
