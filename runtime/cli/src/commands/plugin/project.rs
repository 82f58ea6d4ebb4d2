//! The project of a plugin: where it is, what its `plugin.toml` says, and the
//! component that cargo makes of it.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Args;
use drover_grants::{Manifest, embed, read_manifest};
use drover_plugin_host::Inspection;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use super::surroundings::{Cache, inspect_with_everything};
use crate::exit::{Exit, Failure};

/// The target of plugins.
const TARGET: &str = "wasm32-wasip2";
/// The file that says what the plugin asks for.
pub(super) const MANIFEST: &str = "plugin.toml";

/// Which project, and how it is built.
#[derive(Debug, Clone, Args)]
pub(super) struct ProjectFlags {
    /// The project
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// Cargo's profile for the component; one that the project does not define
    /// is like `release`
    #[arg(long, value_name = "NAME", default_value = "plugin")]
    profile: String,
    #[command(flatten)]
    pub(super) cache: Cache,
}

/// A project in Rust.
#[derive(Debug)]
pub(super) struct Project {
    /// Its folder, by the full path.
    pub(super) dir: PathBuf,
    profile: String,
    cache: Cache,
}

/// A component that was built, and what an agent would say to it.
#[derive(Debug)]
pub(super) struct Built {
    /// What it is called.
    pub(super) name: String,
    /// The component with its manifest, under the name that it has to have.
    pub(super) file: PathBuf,
    pub(super) inspection: Inspection,
    /// The folder of the file.
    _scratch: TempDir,
}

/// What cargo tells of something that it has made.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    target: Target,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
struct Target {
    kind: Vec<String>,
}

impl Project {
    /// The project in the folder that the command line says.
    pub(super) fn open(flags: &ProjectFlags) -> Result<Self, Failure> {
        let ProjectFlags { path, profile, cache } = flags.clone();
        if !path.join("Cargo.toml").is_file() {
            let message = format!(
                "there is no Cargo.toml in {}: `drover plugin new NAME` makes a project, and \
                 `drover plugin pack` takes components of other languages",
                path.display()
            );
            return Err(Failure::text(Exit::Usage, message));
        }
        let dir = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
        Ok(Self { dir, profile, cache })
    }

    /// What `plugin.toml` says; none if there is none.
    pub(super) fn manifest(&self) -> anyhow::Result<Option<Manifest>> {
        let path = self.dir.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let manifest = Manifest::from_toml(&text);
        manifest.map(Some).with_context(|| format!("{} is wrong", path.display()))
    }

    /// Runs the project's unit tests; what they print goes to the terminal.
    pub(super) async fn unit_tests(&self) -> anyhow::Result<ExitStatus> {
        let status = self.cargo().arg("test").status().await;
        status.context(NO_CARGO)
    }

    /// Builds the component and has a host look at it. What the compiler says
    /// goes to standard error.
    ///
    /// # Errors
    ///
    /// If it does not build. That an agent would refuse it is no error; the
    /// inspection says so.
    pub(super) async fn build(&self) -> Result<Built, Failure> {
        let manifest = self.manifest()?;
        let component = self.compile().await?;
        let bytes = fs::read(&component)
            .with_context(|| format!("cannot read the component {}", component.display()))?;
        let own = read_manifest(io::Cursor::new(&bytes))
            .with_context(|| format!("cannot read the manifest of {}", component.display()))?;
        // The SDK has put it there, with more than the file alone says.
        let (packed, manifest) = match (own, manifest) {
            (Some(own), _) => (bytes, own),
            (None, None) => (bytes, Manifest::default()),
            (None, Some(manifest)) => (embed(&bytes, &manifest)?, manifest),
        };
        let stem = component.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = manifest.name.as_ref().map_or(stem, |name| name.as_str().to_owned());
        let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
        let file = scratch.path().join(format!("{name}.wasm"));
        fs::write(&file, packed).with_context(|| format!("cannot write {}", file.display()))?;
        let any_file = self.dir.join("Cargo.toml");
        let cache = &self.cache;
        let inspection = inspect_with_everything(cache, &name, &manifest, &file, &any_file).await?;
        Ok(Built { name, file, inspection, _scratch: scratch })
    }

    /// Has cargo make the component, and says where it is.
    async fn compile(&self) -> anyhow::Result<PathBuf> {
        self.check_target().await?;
        let mut build = self.cargo();
        build.args(["build", "--lib", "--target", TARGET, "--profile", &self.profile]);
        build.args(["--message-format", "json-render-diagnostics"]);
        if !matches!(self.profile.as_str(), "dev" | "release") {
            // Cargo knows only what somebody defines.
            build.args(["--config", &format!("profile.{}.inherits='release'", self.profile)]);
        }
        let output = build.stdout(Stdio::piped()).spawn().context(NO_CARGO)?.wait_with_output();
        let output = output.await.context("cannot hear cargo")?;
        ensure!(output.status.success(), "{} does not build", self.dir.display());
        match component(&String::from_utf8_lossy(&output.stdout)) {
            Some(component) => Ok(component),
            None => bail!(
                "{} makes no component: have `crate-type = [\"cdylib\", \"rlib\"]` under [lib]",
                self.dir.join("Cargo.toml").display()
            ),
        }
    }

    async fn check_target(&self) -> anyhow::Result<()> {
        let mut rustc = Command::new("rustc");
        rustc.args(["--print", "sysroot"]).current_dir(&self.dir).stdin(Stdio::null());
        let output = rustc.output().await;
        let output = output.context("cannot run rustc: install Rust from https://rustup.rs")?;
        let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        ensure!(
            sysroot.join("lib/rustlib").join(TARGET).exists(),
            "the Rust in {} has no target {TARGET}, which plugins are built for: run `rustup \
             target add {TARGET}` in {}",
            sysroot.display(),
            self.dir.display()
        );
        Ok(())
    }

    fn cargo(&self) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&self.dir).stdin(Stdio::null()).kill_on_drop(true);
        cargo
    }
}

const NO_CARGO: &str = "cannot run cargo: install Rust from https://rustup.rs";

/// The component among what cargo has made.
fn component(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let made = messages.filter(|message| {
        message.reason == "compiler-artifact" && message.target.kind.iter().any(|k| k == "cdylib")
    });
    let mut files = made.flat_map(|message| message.filenames);
    files.rfind(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_found_in_what_cargo_tells() {
        let told = concat!(
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"]},"filenames":["/t/a.rlib"]}"#,
            "\n",
            r#"{"reason":"compiler-message","message":{}}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["cdylib","rlib"]},"filenames":["/t/x.wasm","/t/x.rlib"],"fresh":true}"#,
            "\nno JSON\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(component(told), Some("/t/x.wasm".into()));
        assert_eq!(component(r#"{"reason":"build-finished","success":true}"#), None);
    }

    #[test]
    fn a_wrong_manifest_is_told_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(MANIFEST), "name = \"x\"\n[asks]\nsysinf = {}\n").unwrap();
        let cache = Cache::default();
        let project = Project { dir: dir.path().to_owned(), profile: String::new(), cache };
        let error = format!("{:#}", project.manifest().unwrap_err());
        assert!(error.contains("plugin.toml") && error.contains("line 3"), "{error}");
    }

    #[test]
    fn where_there_is_no_project_it_is_said_how_to_make_one() {
        let path = "/nowhere".into();
        let flags = ProjectFlags { path, profile: String::new(), cache: Cache::default() };
        let failure = Project::open(&flags).unwrap_err();
        assert!(failure.error.to_string().contains("drover plugin new"));
    }
}
