//! What a plugin runs with when there is no agent: a host in this program.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use drover_grants::{
    Asks, Decision, Grants, GrantsFile, Manifest, Missing, PluginName, add_lines, decide,
};
use drover_plugin_host::{Host, HostConfig, Inspection, Limits, LoadError, Refusal};

use super::super::compile;
use super::trial;
use crate::exit::{Exit, Failure};

/// Who takes what plugins measure.
pub(super) type Meters = Option<Arc<dyn drover_plugin_host::Meters>>;

/// What a plugin runs with.
#[derive(Debug, Args)]
pub(super) struct Surroundings {
    #[command(flatten)]
    pub(super) cache: Cache,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    lines: Lines,
}

/// What a plugin is granted.
#[derive(Debug, Default, Args)]
pub(super) struct Lines {
    /// What the plugin may touch; by default what this user's agent grants
    #[arg(long, value_name = "FILE")]
    grants: Option<PathBuf>,
    /// One more line of the plugin's grants, such as `sysinfo=true` or
    /// `state="1 MiB"`; may be given again and again
    #[arg(long = "grant", value_name = "LINE")]
    lines: Vec<String>,
}

/// Where compiled plugins are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Cache {
    /// Directory for compiled plugins; by default the one of this user
    #[arg(long = "cache", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

/// Where plugins keep what they keep.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct State {
    /// Directory for what plugins keep; by default the one of this user
    #[arg(long = "state", value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl State {
    pub(super) fn dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| drover_agent::default_data_dir().join("state"))
    }
}

impl Surroundings {
    /// The host for the plugin in `file`.
    pub(super) fn host(&self, file: &Path, meters: Meters) -> Result<Host, Failure> {
        self.cache.host(self.lines.grants(file)?, self.state.dir(), meters)
    }

    /// The same with compiled plugins elsewhere.
    pub(super) fn host_with(&self, file: &Path, cache: &Cache) -> Result<Host, Failure> {
        cache.host(self.lines.grants(file)?, self.state.dir(), None)
    }
}

impl Lines {
    /// The grants for the plugin in `file`.
    pub(super) fn grants(&self, file: &Path) -> Result<Grants, Failure> {
        let plugin = plugin_of(file);
        let more = self.lines.iter().map(|line| {
            GrantsFile::parse(&format!("[{plugin}]\n{line}\n")).map_err(|error| {
                let message = format!("--grant '{line}' is no line of grants: {error}");
                Failure::text(Exit::Usage, message)
            })
        });
        let more = more.collect::<Result<Vec<_>, _>>()?;
        let usual = || drover_agent::default_data_dir().join("grants.toml");
        let grants = self.grants.clone().unwrap_or_else(usual);
        Ok(Grants::load_with(&grants, &grants.with_extension("d"), more)?)
    }
}

impl Cache {
    /// One in this directory.
    pub(crate) fn at(directory: PathBuf) -> Self {
        Self { cache_dir: Some(directory) }
    }

    /// A host with these grants that keeps state in `state_dir`.
    pub(super) fn host(
        &self,
        grants: Grants,
        state_dir: PathBuf,
        meters: Meters,
    ) -> Result<Host, Failure> {
        let usual = || drover_agent::default_data_dir().join("cache");
        let host = Host::start(HostConfig {
            cache_dir: self.cache_dir.clone().unwrap_or_else(usual),
            compiler: compile::compiler(),
            limits: Limits::default(),
            // So that an author hears what an agent will say.
            reserved: drover_agent::reserved(),
            grants,
            state_dir,
            surroundings: trial::around(meters),
        });
        Ok(host.context("cannot start the plugin host (--cache names another directory)")?)
    }
}

/// The name that a file gives to its plugin.
pub(super) fn plugin_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Says why a plugin does not load. What is asked for and not granted comes as
/// the options that grant it.
pub(super) fn explain(error: LoadError) -> Failure {
    match &error {
        LoadError::Refused { path, source: Refusal::NotGranted(missing) } => {
            let mut text = format!(
                "{} asks for what is not granted; look at it, and grant it with",
                path.display()
            );
            for option in options(missing) {
                text.push_str("\n    ");
                text.push_str(&option);
            }
            for trouble in missing.troubles() {
                text.push('\n');
                text.push_str(trouble);
            }
            Failure::text(Exit::Failed, text)
        }
        _ => error.into(),
    }
}

/// What is missing, as options for a shell.
fn options(missing: &Missing) -> Vec<String> {
    let option = |(line, reason): (String, &str)| {
        format!("--grant '{}'   # {reason}", line.replace('\'', "'\\''"))
    };
    missing.lines().each().into_iter().map(option).collect()
}

/// Grants everything that a plugin asks for, with values that mean nothing: for
/// a host in which it describes itself and runs nothing.
fn everything(plugin: &str, asks: &Asks, any_file: &Path) -> Result<Grants, Failure> {
    let Decision::Missing(missing) = decide(plugin, asks, &Grants::default()) else {
        return Ok(Grants::default());
    };
    let mut lines = missing.lines().clone();
    for ask in &asks.settings {
        lines.set(ask.name.as_str(), "");
    }
    for ask in &asks.secrets {
        lines.set_secret_file(ask.name.as_str(), any_file);
    }
    let name: PluginName = plugin.parse()?;
    let text = add_lines("", &name, &lines)?;
    Ok(Grants::of_file(GrantsFile::parse(&text)?))
}

/// Looks at a plugin in a host that grants it all that it asks for. `any_file`
/// is one that can be read.
pub(crate) async fn inspect_with_everything(
    cache: &Cache,
    name: &str,
    manifest: &Manifest,
    file: &Path,
    any_file: &Path,
) -> Result<Inspection, Failure> {
    let grants = everything(name, &manifest.asks, any_file)?;
    let host = cache.host(grants, file.with_extension("state"), None)?;
    let inspection = host.inspect(file).await;
    host.shutdown().await;
    inspection.map_err(|error: LoadError| error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKS: &str = "[asks]\n\
        sysinfo = { reason = \"finds a quiet moment\" }\n\
        settings = [{ name = \"bucket\", reason = \"where copies go\" }]\n\
        secrets = [{ name = \"token\", reason = \"opens the bucket\" }]\n\
        directories = [{ path = \"/data\", access = \"read\", reason = \"what is copied\" }]\n";

    fn asks() -> Asks {
        Manifest::from_toml(ASKS).unwrap().asks
    }

    #[test]
    fn what_is_missing_is_shown_as_options_that_are_right() {
        let Decision::Missing(missing) = decide("p", &asks(), &Grants::default()) else {
            panic!("nothing is missing");
        };
        let options = options(&missing);
        assert_eq!(options[0], "--grant 'sysinfo = true'   # finds a quiet moment");
        assert_eq!(options.len(), 4);
        let lines = options.iter().map(|option| {
            let (line, _) = option.split_once("'   # ").unwrap();
            line.strip_prefix("--grant '").unwrap().to_owned()
        });
        let lines = Lines { grants: Some("/nowhere/grants.toml".into()), lines: lines.collect() };
        let grants = lines.grants(Path::new("x/p.wasm")).unwrap();
        let Decision::Missing(rest) = decide("p", &asks(), &grants) else { return };
        assert!(rest.lines().is_empty(), "{rest}");
    }

    #[test]
    fn a_line_that_grants_nothing_is_a_wrong_command_line() {
        let lines = Lines { grants: None, lines: vec!["all=true".into()] };
        let failure = lines.grants(Path::new("p.wasm")).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.error.to_string().contains("`all`"), "{:?}", failure.error);
    }

    #[test]
    fn everything_is_granted_to_one_who_only_describes_itself() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let grants = everything("p", &asks(), file.path()).unwrap();
        assert!(matches!(decide("p", &asks(), &grants), Decision::Allowed { .. }));
    }
}
