//! One file of grants, as the admin writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::http::{Authority, HttpGrant};
use crate::pattern::ArgumentPattern;
use crate::text::{DirectoryPath, PluginName, ProgramPath, SettingName, VariableName};

/// What one file grants, by plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct GrantsFile {
    /// The tables of the file.
    pub plugins: BTreeMap<PluginName, PluginGrants>,
}

/// What a file grants to one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginGrants {
    /// Whether it may see what the node is made of.
    pub sysinfo: bool,
    /// How much it may keep.
    pub state: Option<ByteSize>,
    /// Environment variables of the agent that it may see.
    pub env: BTreeSet<VariableName>,
    /// Values for its settings.
    pub settings: BTreeMap<SettingName, String>,
    /// Where its secrets are.
    pub secrets: BTreeMap<SettingName, SecretSource>,
    /// Directories, by the path under which the plugin sees them.
    pub directories: BTreeMap<DirectoryPath, DirectoryGrant>,
    /// Where it may send HTTP requests, by the authority of its URLs.
    pub http: BTreeMap<Authority, HttpGrant>,
    /// Programs that it may run.
    pub programs: BTreeMap<ProgramPath, ProgramGrant>,
}

/// Where a secret is kept. The file of grants itself has none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// In a file of its own. A line end at its end does not count.
    File(AbsolutePath),
    /// In an environment variable of the agent.
    Env(VariableName),
}

/// A directory of the host that a plugin gets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryGrant {
    /// The directory itself.
    pub path: AbsolutePath,
    /// What the plugin may do there.
    pub access: Access,
}

/// How a plugin may run a program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramGrant {
    /// How it may be called: in any of these ways. Without arguments, if nothing
    /// is said.
    #[serde(default = "ArgumentPattern::without_arguments")]
    pub args: Vec<ArgumentPattern>,
    /// Environment variables that the plugin may set for it.
    #[serde(default)]
    pub env: BTreeSet<VariableName>,
    /// The user that it runs as, by name or number; the agent's own if nothing is
    /// said.
    #[serde(default)]
    pub user: Option<String>,
    /// What it and its descendants may use of the memory.
    #[serde(default)]
    pub memory: Option<ByteSize>,
    /// How many processes it and its descendants may be.
    #[serde(default)]
    pub processes: Option<u64>,
    /// How long one run may take.
    #[serde(default, with = "humantime_serde")]
    pub max_time: Option<Duration>,
}

/// What may be done in a directory. The later includes the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// List it and read its files.
    Read,
    /// Change, make and remove files as well.
    ReadWrite,
}

impl Access {
    /// The word for it in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadWrite => "read-write",
        }
    }
}

/// A path of the host that does not depend on where the agent was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PathBuf")]
pub struct AbsolutePath(PathBuf);

impl AbsolutePath {
    /// The path itself.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<PathBuf> for AbsolutePath {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        match path.is_absolute() {
            true => Ok(Self(path)),
            false => Err(format!("{path:?} is no absolute path: begin it with `/`")),
        }
    }
}

/// A file of grants that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct GrantsFileError(toml::de::Error);

impl GrantsFile {
    /// Parses and checks a file of grants.
    ///
    /// # Errors
    ///
    /// If the text is no TOML, has an unknown key, or a value is wrong; the
    /// error shows the line.
    pub fn parse(text: &str) -> Result<Self, GrantsFileError> {
        toml::from_str(text).map_err(GrantsFileError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
# Copies files away every night.
[backup]
sysinfo = true
state = "1 MiB"
env = ["TZ"]
settings.bucket = "nightly"
secrets.token = { file = "/etc/drover/token" }
secrets.key = { env = "BACKUP_KEY" }
directories."/data" = { path = "/srv/data", access = "read" }
http."api.example.com" = { headers.authorization = { env = "TOKEN" }, allow = ["GET /v1/**"] }
programs."/usr/bin/df" = {}
programs."/usr/bin/git" = { args = [["log", "*"], ["status"]], env = ["LANG"], user = "git", memory = "64 MiB", processes = 8, max_time = "30s" }

[container]
"#;

    #[test]
    fn a_file_grants_to_each_plugin_by_name() {
        let file = GrantsFile::parse(WHOLE).unwrap();
        let backup = &file.plugins["backup"];
        assert!(backup.sysinfo);
        assert_eq!(backup.state, Some(ByteSize::mib(1)));
        assert_eq!(backup.settings["bucket"], "nightly");
        assert_eq!(backup.directories["/data"].path.as_path(), Path::new("/srv/data"));
        assert_eq!(backup.http["api.example.com"].allow.len(), 1);
        let git = &backup.programs["/usr/bin/git"];
        assert!(git.args[1].permits(&["status".to_owned()]) && git.env.contains("LANG"));
        assert_eq!((git.user.as_deref(), git.processes), (Some("git"), Some(8)));
        assert_eq!(git.memory, Some(ByteSize::mib(64)));
        assert_eq!(git.max_time, Some(Duration::from_secs(30)));
        let df = &backup.programs["/usr/bin/df"].args;
        assert!(df[0].permits(&[]) && !df[0].permits(&["-h".to_owned()]));
        assert_eq!(file.plugins["container"], PluginGrants::default());
        assert_eq!(GrantsFile::parse("").unwrap(), GrantsFile::default());
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_line() {
        for (text, words) in [
            ("[a]\nsockets = true", ["line 2", "`sockets`"]),
            ("[A]\nsysinfo = true", ["line 1", "no name for a plugin"]),
            ("[a]\nsysinfo = 1", ["line 2", "boolean"]),
            ("[a]\n\nenv = [\"A=B\"]", ["line 3", "environment variable"]),
            ("[a]\nstate = \"much\"", ["line 2", "state"]),
            ("[a]\nsettings.X = \"\"", ["line 2", "no name for a setting"]),
            ("[a]\nsettings.x = 1", ["line 2", "string"]),
            ("[a]\nsecrets.x = \"hunter2\"", ["line 2", "secret"]),
            ("[a]\nsecrets.x = { file = \"token\" }", ["line 2", "absolute"]),
            ("[a]\nsecrets.x = { file = \"/a\", env = \"B\" }", ["line 2", ""]),
            (
                "[a]\ndirectories.\"/d\" = { path = \"srv\", access = \"read\" }",
                ["line 2", "absolute"],
            ),
            (
                "[a]\ndirectories.\"../d\" = { path = \"/srv\", access = \"read\" }",
                ["line 2", "no directory"],
            ),
            ("[a]\ndirectories.\"/d\" = { path = \"/srv\" }", ["line 2", "access"]),
            ("[a]\nhttp.\"A.com\" = { allow = [] }", ["line 2", "no place"]),
            ("[a]\nhttp.b = { scheme = \"http\" }", ["line 2", "`allow`"]),
            ("[a]\nhttp.b = { allow = [\"GET\"] }", ["line 2", "no rule for requests"]),
            ("[a]\nhttp.b = { socket = \"/s\", private = true, allow = [] }", ["line 2", "socket"]),
            (
                "[a]\nhttp.b = { headers.host = { env = \"H\" }, allow = [] }",
                ["line 2", "no header"],
            ),
            (
                "[a]\nhttp.b = { allow = [{ request = \"GET /\", body = [{ at = \"x\" }] }] }",
                ["line 2", "no place in a JSON body"],
            ),
            ("[a]\nprograms.git = {}", ["line 2", "path of a program"]),
            ("[a]\nprograms.\"/a/../b\" = {}", ["line 2", "path of a program"]),
            ("[a]\nprograms.\"/a\" = { args = [\"log\"] }", ["line 2", "sequence"]),
            ("[a]\nprograms.\"/a\" = { args = [[\"a*b\"]] }", ["line 2", "a*b"]),
            ("[a]\nprograms.\"/a\" = { max_time = 3 }", ["line 2", ""]),
            ("[a]\nprograms.\"/a\" = { shell = true }", ["line 2", "`shell`"]),
            ("[a]\n[a]", ["line 2", "duplicate"]),
        ] {
            let error = GrantsFile::parse(text).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
        }
    }
}
