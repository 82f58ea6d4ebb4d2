//! All grants of a host: its files merged, and the secrets that they point to.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::grant::{GrantsFile, GrantsFileError, PluginGrants, SecretSource};
use crate::http::{Authority, HttpGrant, HttpRule, HttpTarget};
use crate::secret::Secret;
use crate::text::{PluginName, SettingName, VariableName};

/// The longest file of grants, in bytes.
const MOST_BYTES: u64 = 1 << 20;
/// The longest secret, in bytes.
const MOST_SECRET: u64 = 64 << 10;

/// What the admin grants, by plugin. The default grants nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    plugins: BTreeMap<PluginName, Granted>,
}

/// What is granted to one plugin, with the values that it leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) grants: PluginGrants,
    /// Each secret, or why it cannot be had.
    pub(crate) secrets: BTreeMap<SettingName, Result<Secret, String>>,
    /// The variables that are set.
    pub(crate) env: BTreeMap<VariableName, Secret>,
    /// Each place for requests, or why it cannot be used.
    pub(crate) http: BTreeMap<Authority, Result<GrantedHttp, String>>,
}

/// A place for requests, in the form in which all jobs share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantedHttp {
    pub(crate) target: Arc<HttpTarget>,
    pub(crate) allow: Arc<[HttpRule]>,
}

/// Why the grants cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    /// A file or the directory cannot be read.
    #[error("cannot read the grants {path}")]
    Read {
        /// What cannot be read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is wrong.
    #[error("the grants {path} are wrong")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        source: GrantsFileError,
    },
    /// Two files disagree.
    #[error("{path} grants `{what}` to `{plugin}`, and so does another file: grant it once")]
    Twice {
        /// The file that was read last.
        path: PathBuf,
        /// The plugin.
        plugin: PluginName,
        /// What is granted twice.
        what: String,
    },
}

impl Grants {
    /// Reads `file` and every `*.toml` of `directory`, and what they point to.
    /// What is not there grants nothing. A secret that cannot be read is a
    /// matter between its plugin and the admin, and no error.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, is wrong, or grants what another does.
    pub fn load(file: &Path, directory: &Path) -> Result<Self, GrantsError> {
        Self::load_with(file, directory, [])
    }

    /// The file in which a plugin has its grants: the first that has some for it,
    /// and `file` if none has.
    ///
    /// # Errors
    ///
    /// Those of [`Grants::load`].
    pub fn file_of(
        plugin: &PluginName,
        file: &Path,
        directory: &Path,
    ) -> Result<PathBuf, GrantsError> {
        for path in paths(file, directory)? {
            if read_file(&path)?.is_some_and(|grants| grants.plugins.contains_key(plugin)) {
                return Ok(path);
            }
        }
        Ok(file.to_owned())
    }

    /// The same with `more`, which was said on a command line.
    ///
    /// # Errors
    ///
    /// Those of [`Grants::load`]; and if `more` grants what a file does.
    pub fn load_with(
        file: &Path,
        directory: &Path,
        more: impl IntoIterator<Item = GrantsFile>,
    ) -> Result<Self, GrantsError> {
        let mut merged = BTreeMap::new();
        for path in paths(file, directory)? {
            if let Some(grants) = read_file(&path)? {
                merge(&mut merged, grants, &path)?;
            }
        }
        for grants in more {
            merge(&mut merged, grants, Path::new("the command line"))?;
        }
        Ok(Self {
            plugins: merged.into_iter().map(|(name, grants)| (name, resolve(grants))).collect(),
        })
    }

    /// The grants of one file, without any other.
    #[must_use]
    pub fn of_file(file: GrantsFile) -> Self {
        let plugins = file.plugins.into_iter();
        Self { plugins: plugins.map(|(name, grants)| (name, resolve(grants))).collect() }
    }

    pub(crate) fn of(&self, plugin: &str) -> Option<&Granted> {
        self.plugins.get(plugin)
    }
}

/// All files of grants, in the order in which they are read.
fn paths(file: &Path, directory: &Path) -> Result<Vec<PathBuf>, GrantsError> {
    let mut paths = list(directory)
        .map_err(|source| GrantsError::Read { path: directory.to_owned(), source })?;
    paths.insert(0, file.to_owned());
    Ok(paths)
}

/// What a file grants; none if it is not there.
fn read_file(path: &Path) -> Result<Option<GrantsFile>, GrantsError> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(GrantsError::Read { path: path.to_owned(), source }),
    };
    let grants = GrantsFile::parse(&text);
    grants.map(Some).map_err(|source| GrantsError::Wrong { path: path.to_owned(), source })
}

/// The `*.toml` of a directory, in the order of their names.
fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    Ok(paths)
}

fn read_text(path: &Path) -> io::Result<String> {
    read_bounded(path, MOST_BYTES)
}

fn read_bounded(path: &Path, limit: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    file.by_ref().take(limit + 1).read_to_string(&mut text)?;
    match text.len() as u64 > limit {
        true => Err(io::Error::other(format!("it has more than {limit} bytes"))),
        false => Ok(text),
    }
}

fn merge(
    merged: &mut BTreeMap<PluginName, PluginGrants>,
    file: GrantsFile,
    path: &Path,
) -> Result<(), GrantsError> {
    for (plugin, more) in file.plugins {
        let into = merged.entry(plugin.clone()).or_default();
        merge_plugin(into, more).map_err(|what| GrantsError::Twice {
            path: path.to_owned(),
            plugin,
            what,
        })?;
    }
    Ok(())
}

/// Adds grants to others; names what both have with a value of its own.
fn merge_plugin(into: &mut PluginGrants, more: PluginGrants) -> Result<(), String> {
    let PluginGrants { sysinfo, state, env, settings, secrets, directories, http, programs } = more;
    into.sysinfo |= sysinfo;
    into.env.extend(env);
    if into.state.is_some() && state.is_some() {
        return Err("state".to_owned());
    }
    into.state = into.state.or(state);
    add(&mut into.settings, settings, "settings")?;
    add(&mut into.secrets, secrets, "secrets")?;
    add(&mut into.directories, directories, "directories")?;
    add(&mut into.http, http, "http")?;
    add(&mut into.programs, programs, "programs")
}

fn add<K: Ord + std::fmt::Display, V>(
    into: &mut BTreeMap<K, V>,
    more: BTreeMap<K, V>,
    kind: &str,
) -> Result<(), String> {
    for (key, value) in more {
        if into.contains_key(&key) {
            return Err(format!("{kind}.{key}"));
        }
        into.insert(key, value);
    }
    Ok(())
}

fn resolve(grants: PluginGrants) -> Granted {
    let secrets = grants.secrets.iter().map(|(name, source)| (name.clone(), read_secret(source)));
    let env = grants.env.iter().filter_map(|name| {
        let value = std::env::var(name.as_str()).ok()?;
        Some((name.clone(), Secret::new(value)))
    });
    let http = grants
        .http
        .iter()
        .map(|(authority, grant)| (authority.clone(), resolve_http(authority, grant)));
    Granted { secrets: secrets.collect(), env: env.collect(), http: http.collect(), grants }
}

fn resolve_http(authority: &Authority, grant: &HttpGrant) -> Result<GrantedHttp, String> {
    let headers = grant.headers.iter().map(|(name, source)| {
        let no_header =
            |why| format!("the header `{name}` for {authority} is not to be had: {why}");
        let value = read_secret(source).map_err(no_header)?;
        let is_fit = |letter: char| letter == '\t' || letter == ' ' || letter.is_ascii_graphic();
        match value.reveal().chars().all(is_fit) {
            true => Ok((name.clone(), value)),
            false => Err(no_header("it is not one line of ASCII".to_owned())),
        }
    });
    let headers = headers.collect::<Result<_, _>>()?;
    let (authority, place) = (authority.clone(), grant.place.clone());
    let target = HttpTarget { authority, place, headers };
    Ok(GrantedHttp { target: Arc::new(target), allow: grant.allow.as_slice().into() })
}

fn read_secret(source: &SecretSource) -> Result<Secret, String> {
    match source {
        SecretSource::File(path) => {
            let path = path.as_path();
            let text = read_bounded(path, MOST_SECRET)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let value = text.strip_suffix('\n').unwrap_or(&text);
            Ok(Secret::new(value.strip_suffix('\r').unwrap_or(value).to_owned()))
        }
        SecretSource::Env(name) => std::env::var(name.as_str())
            .map(Secret::new)
            .map_err(|_| format!("the agent has no environment variable {name}")),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    struct Fixture(TempDir);

    impl Fixture {
        fn new(files: &[(&str, &str)]) -> Self {
            let fixture = Self(TempDir::new().unwrap());
            fs::create_dir(fixture.0.path().join("grants.d")).unwrap();
            for (name, text) in files {
                fs::write(fixture.0.path().join(name), text).unwrap();
            }
            fixture
        }

        fn load(&self) -> Result<Grants, GrantsError> {
            Grants::load(&self.0.path().join("grants.toml"), &self.0.path().join("grants.d"))
        }
    }

    #[test]
    fn nothing_there_grants_nothing() {
        let nowhere = Path::new("/nowhere");
        let grants = Grants::load(&nowhere.join("grants.toml"), &nowhere.join("grants.d"));
        assert_eq!(grants.unwrap(), Grants::default());
    }

    #[test]
    fn files_are_merged_by_plugin() {
        let fixture = Fixture::new(&[
            ("grants.toml", "[a]\nsysinfo = true\nenv = [\"A\"]\nsettings.x = \"1\""),
            ("grants.d/one.toml", "[a]\nenv = [\"B\"]\nsettings.y = \"2\"\n[b]\n"),
            ("grants.d/ignored.toml~", "nonsense"),
        ]);
        let grants = fixture.load().unwrap();
        let a = &grants.of("a").unwrap().grants;
        assert_eq!((a.sysinfo, a.env.len(), a.settings.len()), (true, 2, 2));
        assert!(grants.of("b").is_some() && grants.of("c").is_none());
    }

    #[test]
    fn a_plugin_has_its_grants_in_the_file_that_names_it() {
        let fixture = Fixture::new(&[
            ("grants.toml", "[a]\nsysinfo = true"),
            ("grants.d/one.toml", "[b]\n[c]"),
            ("grants.d/two.toml", "[a]\n[c]"),
        ]);
        for (plugin, file) in [
            ("a", "grants.toml"),
            ("b", "grants.d/one.toml"),
            ("c", "grants.d/one.toml"),
            ("d", "grants.toml"),
        ] {
            let path = |name: &str| fixture.0.path().join(name);
            let plugin = plugin.parse().unwrap();
            let found = Grants::file_of(&plugin, &path("grants.toml"), &path("grants.d"));
            assert_eq!(found.unwrap(), path(file), "{plugin}");
        }
    }

    #[test]
    fn what_two_files_grant_is_granted_by_none() {
        for (line, what) in [
            ("state = \"1 kB\"", "state"),
            ("settings.x = \"1\"", "settings.x"),
            ("secrets.x = { env = \"X\" }", "secrets.x"),
            ("directories.\"/d\" = { path = \"/d\", access = \"read\" }", "directories./d"),
            ("http.b = { allow = [] }", "http.b"),
            ("programs.\"/p\" = {}", "programs./p"),
        ] {
            let text = format!("[a]\n{line}");
            let fixture = Fixture::new(&[("grants.toml", &text), ("grants.d/2.toml", &text)]);
            let error = fixture.load().unwrap_err().to_string();
            assert!(error.contains(&format!("`{what}`")) && error.contains("2.toml"), "{error}");
        }
    }

    #[test]
    fn what_the_command_line_says_is_added() {
        let fixture = Fixture::new(&[("grants.toml", "[a]\nsysinfo = true\nsettings.x = \"1\"")]);
        let directory = fixture.0.path();
        let load = |lines: &[&str]| {
            let more = lines.iter().map(|line| GrantsFile::parse(&format!("[a]\n{line}")).unwrap());
            Grants::load_with(&directory.join("grants.toml"), Path::new("/nowhere"), more)
        };
        let grants = load(&["env = [\"A\"]", "env = [\"B\"]", "settings.y = \"2\""]).unwrap();
        let a = &grants.of("a").unwrap().grants;
        assert_eq!((a.sysinfo, a.env.len(), a.settings.len()), (true, 2, 2));
        let error = load(&["settings.x = \"2\""]).unwrap_err().to_string();
        assert!(error.starts_with("the command line grants `settings.x`"), "{error}");
    }

    #[test]
    fn a_wrong_file_is_named() {
        let fixture = Fixture::new(&[("grants.d/x.toml", "[a]\nall = true")]);
        let error = fixture.load().unwrap_err();
        assert!(error.to_string().contains("x.toml"), "{error}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("line 2") && source.contains("`all`"), "{source}");
    }

    #[test]
    fn secrets_are_read_and_shown_to_nobody() {
        let fixture = Fixture::new(&[("token", "hunter2\n")]);
        let token = fixture.0.path().join("token");
        let text = format!(
            "[a]\nsecrets.token = {{ file = {token:?} }}\nsecrets.gone = {{ file = \"/nowhere/x\" }}"
        );
        fs::write(fixture.0.path().join("grants.toml"), text).unwrap();
        let grants = fixture.load().unwrap();
        let secrets = &grants.of("a").unwrap().secrets;
        assert_eq!(secrets["token"].as_ref().unwrap().reveal(), "hunter2");
        assert!(secrets["gone"].as_ref().unwrap_err().contains("/nowhere/x"));
        assert!(!format!("{grants:?}").contains("hunter2"));

        fs::write(&token, "changed").unwrap();
        assert_ne!(fixture.load().unwrap(), grants);
    }
}
