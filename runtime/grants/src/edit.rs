//! Writing grants into a file without losing anything that is in it.

use std::fmt;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, value};

use crate::grant::{AbsolutePath, Access, GrantsFile, GrantsFileError};
use crate::http::HttpAsk;
use crate::pattern::ArgumentPattern;
use crate::text::{DirectoryPath, PluginName, ProgramPath, SettingName, VariableName};

/// Lines to add to the grants of one plugin, each with the reason for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(Vec<(Value, String)>);

/// What one line grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Sysinfo,
    State(ByteSize),
    Env(VariableName),
    /// None: the admin has to say which value.
    Setting(SettingName, Option<String>),
    /// None: the admin has to say where it is.
    Secret(SettingName, Option<PathBuf>),
    /// None: the directory of the same path.
    Directory(DirectoryPath, Option<PathBuf>, Access),
    /// All that is asked for there.
    Http(HttpAsk),
    /// These ways to call it and these variables, beside those that are granted.
    Program(ProgramPath, Vec<ArgumentPattern>, Vec<VariableName>),
}

/// Why lines cannot be added to a file.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file is wrong as it is.
    #[error("the grants are wrong as they are: mend them first")]
    Wrong(#[source] GrantsFileError),
    /// The lines need values that only the admin knows.
    #[error("say {}", .0.join(" and "))]
    Unknown(Vec<String>),
}

impl Lines {
    pub(crate) fn push(&mut self, value: Value, reason: &str) {
        self.0.push((value, reason.to_owned()));
    }

    /// Whether there is nothing to add.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Chooses the value of a setting. Whether it is one of these lines.
    pub fn set(&mut self, name: &str, text: &str) -> bool {
        self.0.iter_mut().any(|(value, _)| match value {
            Value::Setting(setting, chosen) if setting.as_str() == name => {
                *chosen = Some(text.to_owned());
                true
            }
            _ => false,
        })
    }

    /// Chooses the file of a secret. Whether it is one of these lines.
    pub fn set_secret_file(&mut self, name: &str, file: &Path) -> bool {
        self.0.iter_mut().any(|(value, _)| match value {
            Value::Secret(secret, chosen) if secret.as_str() == name => {
                *chosen = Some(file.to_owned());
                true
            }
            _ => false,
        })
    }

    /// Chooses the directory that the plugin sees as `seen_as`. Whether it is
    /// one of these lines.
    pub fn set_directory(&mut self, seen_as: &str, path: &Path) -> bool {
        self.0.iter_mut().any(|(value, _)| match value {
            Value::Directory(directory, chosen, _) if directory.as_str() == seen_as => {
                *chosen = Some(path.to_owned());
                true
            }
            _ => false,
        })
    }

    /// Chooses the unix socket that the plugin reaches as `authority`. Whether
    /// it is one of these lines.
    pub fn set_socket(&mut self, authority: &str, socket: &AbsolutePath) -> bool {
        self.0.iter_mut().any(|(value, _)| match value {
            Value::Http(ask) if ask.authority.as_str() == authority => {
                (ask.socket, ask.scheme) = (Some(socket.clone()), None);
                true
            }
            _ => false,
        })
    }

    /// Each line by itself, with the reason for it.
    #[must_use]
    pub fn each(&self) -> Vec<(String, &str)> {
        let each = self.0.iter().map(|line| {
            let text = Self(vec![line.clone()]).assignments();
            (text, line.1.as_str())
        });
        each.collect()
    }

    /// The lines without their reasons.
    fn assignments(&self) -> String {
        let mut table = Table::new();
        for (value, _) in &self.0 {
            value.add_to(&mut table);
        }
        let mut document = DocumentMut::new();
        document.insert("plugin", Item::Table(table));
        document.to_string().trim_start_matches("[plugin]\n").trim_end().to_owned()
    }

    /// What the admin still has to choose, as options of `drover plugin grant`.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        let unknown = self.0.iter().filter_map(|(value, _)| match value {
            Value::Setting(name, None) => Some(format!("`--set {name}=VALUE`")),
            Value::Secret(name, None) => Some(format!("`--secret-file {name}=FILE`")),
            _ => None,
        });
        unknown.collect()
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reason in self.0.iter().map(|(value, reason)| format!("# {}: {reason}", value.what())) {
            writeln!(f, "{reason}")?;
        }
        f.write_str(&self.assignments())
    }
}

impl Value {
    /// What it is, as in the grants.
    fn what(&self) -> String {
        match self {
            Self::Sysinfo => "sysinfo".to_owned(),
            Self::State(_) => "state".to_owned(),
            Self::Env(name) => format!("env {name}"),
            Self::Setting(name, _) => format!("settings.{name}"),
            Self::Secret(name, _) => format!("secrets.{name}"),
            Self::Directory(path, ..) => format!("directories.{path}"),
            Self::Http(ask) => format!("http.{}", ask.authority),
            Self::Program(path, ..) => format!("programs.{path}"),
        }
    }

    fn add_to(&self, table: &mut Table) {
        match self {
            Self::Sysinfo => {
                table.insert("sysinfo", value(true));
            }
            Self::State(size) => {
                table.insert("state", value(exact(*size)));
            }
            Self::Env(name) => {
                let list = table.entry("env").or_insert_with(|| value(Array::new()));
                if let Some(list) = list.as_array_mut() {
                    list.push(name.as_str());
                }
            }
            Self::Setting(name, chosen) => {
                let chosen = chosen.clone().unwrap_or_default();
                insert(table, "settings", name.as_str(), value(chosen));
            }
            Self::Secret(name, chosen) => {
                let usual = || PathBuf::from(format!("/etc/drover/{name}.secret"));
                let file = chosen.clone().unwrap_or_else(usual);
                let mut source = InlineTable::new();
                source.insert("file", file.to_string_lossy().into_owned().into());
                insert(table, "secrets", name.as_str(), value(source));
            }
            Self::Directory(seen_as, chosen, access) => {
                let path = chosen.clone().unwrap_or_else(|| seen_as.as_str().into());
                let mut grant = InlineTable::new();
                grant.insert("path", path.to_string_lossy().into_owned().into());
                grant.insert("access", access.word().into());
                insert(table, "directories", seen_as.as_str(), value(grant));
            }
            Self::Http(ask) => {
                insert(table, "http", ask.authority.as_str(), value(http_grant(ask)));
            }
            Self::Program(path, args, env) => {
                let granted =
                    table.get("programs").and_then(|programs| programs.get(path.as_str()));
                let mut grant = granted.cloned().unwrap_or_else(|| value(InlineTable::new()));
                if let Some(grant) = grant.as_table_like_mut() {
                    extend(grant, "args", args.iter().map(|args| words(args).into()));
                    extend(grant, "env", env.iter().map(|name| name.as_str().into()));
                }
                insert(table, "programs", path.as_str(), grant);
            }
        }
    }
}

/// A grant of all that is asked for.
fn http_grant(ask: &HttpAsk) -> InlineTable {
    let mut grant = InlineTable::new();
    if let Some(socket) = &ask.socket {
        grant.insert("socket", socket.as_path().to_string_lossy().into_owned().into());
    }
    if let Some(scheme) = ask.scheme {
        grant.insert("scheme", scheme.word().into());
    }
    let rules = ask.allow.iter().map(|rule| {
        let rule = toml::Value::try_from(rule).expect("a rule is texts, numbers and lists of them");
        rule.to_string().parse::<toml_edit::Value>().expect("TOML is written as it is read")
    });
    grant.insert("allow", rules.collect::<Array>().into());
    grant
}

/// Puts `<kind>.<key> = <item>` into a table, in the form that `kind` has there.
fn insert(table: &mut Table, kind: &str, key: &str, item: Item) {
    let group = table.entry(kind).or_insert_with(|| {
        let mut group = Table::new();
        group.set_dotted(true);
        Item::Table(group)
    });
    if let Some(group) = group.as_table_like_mut() {
        group.insert(key, item);
    }
}

/// Adds to a list that may not be there yet.
fn extend(table: &mut dyn TableLike, key: &str, more: impl Iterator<Item = toml_edit::Value>) {
    let mut more = more.peekable();
    if more.peek().is_none() {
        return;
    }
    let list = table.entry(key).or_insert_with(|| value(Array::new()));
    if let Some(list) = list.as_array_mut() {
        list.extend(more);
    }
}

fn words(args: &ArgumentPattern) -> Array {
    Vec::from(args.clone()).into_iter().collect()
}

/// A size in words if they are exact, else in bytes.
fn exact(size: ByteSize) -> String {
    let bytes = size.as_u64();
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} B")
}

/// The text of a file of grants with lines added for one plugin. Everything
/// else stays as it is, comments included; a smaller grant is replaced.
///
/// # Errors
///
/// If the file is wrong, or the lines need values that only the admin knows.
pub fn add_lines(text: &str, plugin: &PluginName, lines: &Lines) -> Result<String, EditError> {
    GrantsFile::parse(text).map_err(EditError::Wrong)?;
    let unknown = lines.unknown();
    if !unknown.is_empty() {
        return Err(EditError::Unknown(unknown));
    }
    let mut document: DocumentMut = text.parse().expect("it was parsed as TOML just now");
    let table = document.entry(plugin.as_str()).or_insert_with(|| Item::Table(Table::new()));
    if let Some(inline) = table.as_inline_table_mut() {
        *table = Item::Table(std::mem::take(inline).into_table());
    }
    if let Some(table) = table.as_table_mut() {
        for (value, _) in &lines.0 {
            value.add_to(table);
        }
    }
    let edited = document.to_string();
    GrantsFile::parse(&edited).map_err(EditError::Wrong)?;
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Decision, decide};
    use crate::load::Grants;
    use crate::manifest::Manifest;

    const ASKS: &str = r#"
[asks]
sysinfo = { reason = "r" }
state = { size = "1 MiB", reason = "r" }
env = [{ name = "A", reason = "r" }, { name = "B", reason = "r" }]
settings = [{ name = "bucket", reason = "where copies go" }]
secrets = [{ name = "token", reason = "r" }]
directories = [{ path = "/data", access = "read-write", reason = "r" }]
programs = [
    { program = "/usr/bin/df", reason = "r" },
    { program = "/usr/bin/git", args = [["log", "*"], ["status"]], env = ["LANG"], reason = "r" },
]

[[asks.http]]
authority = "docker"
socket = "/run/docker.sock"
allow = ["GET /**", { request = "POST /create", body = [{ at = "/a\"b", one_of = [1] }] }]
reason = "r"
"#;

    fn decision(text: &str) -> Decision {
        let asks = Manifest::from_toml(ASKS).unwrap().asks;
        decide("backup", &asks, &Grants::of_file(GrantsFile::parse(text).unwrap()))
    }

    fn lines(text: &str) -> Lines {
        let Decision::Missing(missing) = decision(text) else { panic!("nothing is missing") };
        missing.lines().clone()
    }

    fn granted(text: &str) -> String {
        let mut lines = lines(text);
        assert!(lines.set("bucket", "nightly") && !lines.set("bukcet", "x"));
        assert!(lines.set_secret_file("token", Path::new("/proc/self/comm")));
        assert!(lines.set_directory("/data", Path::new("/srv/data")));
        add_lines(text, &"backup".parse().unwrap(), &lines).unwrap()
    }

    #[test]
    fn what_is_added_is_what_was_missing() {
        for text in ["", "[backup]", "backup = {}", "[other]\nsysinfo = true\n"] {
            let edited = granted(text);
            assert!(matches!(decision(&edited), Decision::Allowed { .. }), "{edited}");
        }
    }

    #[test]
    fn a_socket_is_the_one_asked_for_or_another() {
        let mut lines = lines("");
        let text = lines.to_string();
        assert!(text.contains("http.docker = { socket = \"/run/docker.sock\", allow ="), "{text}");
        let other = PathBuf::from("/run/podman.sock").try_into().unwrap();
        assert!(lines.set_socket("docker", &other) && !lines.set_socket("podman", &other));
        assert!(lines.to_string().contains("/run/podman.sock"), "{lines}");
    }

    #[test]
    fn comments_order_and_other_plugins_stay() {
        let text = "# ours\n\n[backup]   # at night\nenv = [\n  \"A\", # one\n]\n\n# theirs\n\
                    [other]\nsysinfo = true # why not\n";
        let edited = granted(text);
        for kept in ["# ours\n", "# at night", "# one\n", "# theirs\n[other]", "# why not"] {
            assert!(edited.contains(kept), "{kept} is not in {edited}");
        }
        assert!(matches!(decision(&edited), Decision::Allowed { .. }), "{edited}");
        assert!(edited.find("bucket").unwrap() < edited.find("[other]").unwrap(), "{edited}");
    }

    #[test]
    fn a_smaller_grant_is_replaced() {
        let text = "[backup]\nstate = \"1 kB\"\n\
                    directories.\"/data\" = { path = \"/here\", access = \"read\" }\n\
                    [backup.settings]\nbucket = \"kept\"\n";
        let mut lines = lines(text);
        assert!(!lines.set("bucket", "nightly"));
        assert!(lines.set_secret_file("token", Path::new("/proc/self/comm")));
        let edited = add_lines(text, &"backup".parse().unwrap(), &lines).unwrap();
        let grants = &GrantsFile::parse(&edited).unwrap().plugins["backup"];
        assert_eq!(grants.state, Some(ByteSize::mib(1)));
        assert_eq!(grants.directories["/data"].path.as_path(), Path::new("/here"));
        assert_eq!(grants.directories["/data"].access, Access::ReadWrite);
        assert_eq!(grants.settings["bucket"], "kept");
    }

    #[test]
    fn what_is_granted_of_a_program_stays_beside_what_is_added() {
        for text in [
            "[backup]\nprograms.\"/usr/bin/git\" = { args = [[\"status\"]], user = \"git\" }\n",
            "[backup.programs.\"/usr/bin/git\"]\nargs = [[\"status\"]]\nuser = \"git\"\n",
        ] {
            let edited = granted(text);
            assert!(matches!(decision(&edited), Decision::Allowed { .. }), "{edited}");
            let grants = &GrantsFile::parse(&edited).unwrap().plugins["backup"];
            let git = &grants.programs["/usr/bin/git"];
            assert_eq!((git.args.len(), git.user.as_deref()), (2, Some("git")), "{edited}");
        }
    }

    #[test]
    fn values_that_only_the_admin_knows_are_asked_for() {
        let error = add_lines("", &"backup".parse().unwrap(), &lines("")).unwrap_err().to_string();
        assert_eq!(error, "say `--set bucket=VALUE` and `--secret-file token=FILE`");
    }

    #[test]
    fn lines_are_shown_with_their_reasons() {
        let text = lines("").to_string();
        assert!(text.contains("# settings.bucket: where copies go\n"), "{text}");
        assert!(text.contains("env = [\"A\", \"B\"]"), "{text}");
        assert!(text.contains("directories.\"/data\" = { path = \"/data\""), "{text}");
    }

    #[test]
    fn a_wrong_file_is_not_touched() {
        let error = add_lines("[a]\nx = 1", &"backup".parse().unwrap(), &Lines::default());
        assert!(matches!(error, Err(EditError::Wrong(_))));
    }
}
