//! `drover plugin new`: makes a project that builds, and whose tests pass.

mod sdk;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use drover_grants::PluginName;

use crate::exit::{Exit, Failure};
use crate::output;

/// Makes a project for a new plugin in Rust: an operation, tests of both kinds,
/// and all that its build needs but the crates of others.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// What operators will call it: lower-case letters, digits, `-` and `_`
    name: PluginName,
    /// What to begin with
    #[arg(long, value_enum, default_value = "task")]
    template: Template,
    /// Where to make it; by default a folder of the plugin's name
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// A drover-sdk to depend on, such as one that you work on; by default the
    /// project gets a copy of the one that belongs to this program
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// What a project begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Template {
    /// An operation that ends by itself
    Task,
    /// An operation that runs until it is stopped, and publishes values
    Service,
    /// A parser of log lines
    Parser,
}

/// The files of every project: name and text.
const COMMON: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("../../../templates/Cargo.toml.txt")),
    ("plugin.toml", include_str!("../../../templates/plugin.toml.txt")),
    ("README.md", include_str!("../../../templates/README.md.txt")),
    (".gitignore", include_str!("../../../templates/gitignore.txt")),
];

/// Names that are no crate's, or that a crate of the standard library has.
const TAKEN: [&str; 13] = [
    "alloc",
    "box",
    "build",
    "core",
    "deps",
    "drover_sdk",
    "enum",
    "examples",
    "proc_macro",
    "std",
    "super",
    "test",
    "union",
];

impl Template {
    fn files(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Task => vec![
                ("src/lib.rs", include_str!("../../../templates/task/lib.rs.txt")),
                ("tests/count.toml", include_str!("../../../templates/task/count.toml.txt")),
            ],
            Self::Service => {
                vec![("src/lib.rs", include_str!("../../../templates/service/lib.rs.txt"))]
            }
            Self::Parser => {
                vec![("src/lib.rs", include_str!("../../../templates/parser/lib.rs.txt"))]
            }
        }
    }
}

pub(crate) fn run(command: &New) -> Result<Exit, Failure> {
    let name = command.name.as_str();
    check(name).map_err(|reason| Failure::text(Exit::Usage, reason))?;
    let path = command.path.clone().unwrap_or_else(|| PathBuf::from(name));
    if path.symlink_metadata().is_ok() {
        let message = format!(
            "{} is there already: choose another name, or another folder with --path",
            path.display()
        );
        return Err(Failure::text(Exit::Usage, message));
    }
    let sdk = command.sdk.as_deref().map(sdk_at).transpose()?;
    let files = files(name, command.template, sdk.as_deref())?;
    write(&path, &files).with_context(|| format!("cannot make {}", path.display()))?;
    output::answer(&format!(
        "{} is a plugin now; what to do next:\n    cd {0}\n    drover plugin test\n    \
         drover plugin build\n    drover plugin dev",
        path.display()
    ))?;
    Ok(Exit::Done)
}

/// What keeps a plugin's name from being that of a library in Rust, or from
/// being answered by nodes.
fn check(name: &str) -> Result<(), String> {
    let library = library(name);
    let is_keyword = TAKEN.contains(&library.as_str()) || is_keyword(&library);
    if is_keyword {
        return Err(format!("`{name}` means something to Rust or cargo: choose another name"));
    }
    if drover_agent::reserved().iter().any(|reserved| reserved == name) {
        return Err(format!("`{name}` is a name of the host's own commands: choose another one"));
    }
    Ok(())
}

/// Rust's words, as far as they are names of plugins.
fn is_keyword(word: &str) -> bool {
    const WORDS: &str = " abstract as async await become break const continue crate do dyn else \
        extern false final fn for gen if impl in let loop macro match mod move mut override priv \
        pub ref return self static struct trait true try type typeof unsafe unsized use virtual \
        where while yield ";
    WORDS.contains(&format!(" {word} "))
}

/// The name of the plugin's library.
fn library(name: &str) -> String {
    name.replace('-', "_")
}

/// The SDK in a directory, as another project names it.
fn sdk_at(path: &Path) -> Result<PathBuf, Failure> {
    let manifest = fs::read_to_string(path.join("Cargo.toml")).unwrap_or_default();
    if !manifest.contains("name = \"drover-sdk\"") {
        let message = format!("there is no drover-sdk in {}", path.display());
        return Err(Failure::text(Exit::Usage, message));
    }
    Ok(path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?)
}

/// The files of a project. Without an SDK elsewhere, they include one.
fn files(
    name: &str,
    template: Template,
    sdk: Option<&Path>,
) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    let dependency = match sdk {
        Some(path) => path.to_string_lossy().into_owned(),
        None => {
            let vendored = sdk::files()?.into_iter();
            files.extend(vendored.map(|(path, text)| (Path::new(sdk::FOLDER).join(path), text)));
            format!("{}/sdk/rust", sdk::FOLDER)
        }
    };
    let library = library(name);
    let words = [
        ("{{name}}", name),
        ("{{library}}", library.as_str()),
        ("{{sdk}}", dependency.as_str()),
        ("{{version}}", env!("CARGO_PKG_VERSION")),
    ];
    for (path, text) in COMMON.into_iter().chain(template.files()) {
        let fill = |text: String, (word, value): &(&str, &str)| text.replace(word, value);
        files.push((path.into(), words.iter().fold(text.to_owned(), fill)));
    }
    files.push(("Cargo.lock".into(), sdk::LOCK.to_owned()));
    Ok(files)
}

/// Writes a folder that is there as a whole or not at all.
fn write(path: &Path, files: &[(PathBuf, String)]) -> anyhow::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent)?;
    let scratch = tempfile::Builder::new().prefix(".drover-new-").tempdir_in(parent)?;
    for (name, text) in files {
        let file = scratch.path().join(name);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(file, text)?;
    }
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o755))?;
    fs::rename(scratch.path(), path)?;
    // There is nothing left of it to remove.
    let _ = scratch.keep();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_template_is_filled_in() {
        for template in Template::value_variants() {
            for (path, text) in files("disk-check", *template, None).unwrap() {
                let is_template = !path.starts_with(sdk::FOLDER);
                assert!(!is_template || !text.contains("{{"), "{}: {text}", path.display());
            }
        }
    }

    #[test]
    fn a_project_has_a_manifest_and_the_sdk() {
        let files = files("disk-check", Template::Task, None).unwrap();
        let text = |name: &str| {
            let found = files.iter().find(|(path, _)| path == Path::new(name));
            found.unwrap_or_else(|| panic!("no {name}")).1.as_str()
        };
        assert!(text("Cargo.toml").contains("name = \"disk_check\""));
        let manifest = drover_grants::Manifest::from_toml(text("plugin.toml")).unwrap();
        assert_eq!(manifest.name.unwrap().as_str(), "disk-check");
        for name in ["sdk/rust/src/lib.rs", "sdk/rust/macros/Cargo.toml", "wit/package.wit"] {
            text(&format!("{}/{name}", sdk::FOLDER));
        }
    }

    #[test]
    fn an_sdk_elsewhere_is_not_copied() {
        let sdk = Path::new("/somewhere/sdk/rust");
        let files = files("count", Template::Task, Some(sdk)).unwrap();
        assert!(files.iter().all(|(path, _)| !path.starts_with(sdk::FOLDER)));
        assert!(files[0].1.contains("path = \"/somewhere/sdk/rust\""), "{}", files[0].1);
    }

    #[test]
    fn what_is_no_librarys_name_is_refused() {
        for name in ["test", "std", "fn", "self", "log", "process"] {
            assert!(check(name).is_err(), "{name}");
        }
        for name in ["count", "disk-check", "a_1"] {
            assert!(check(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_project_that_cannot_be_written_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("x");
        let bad = [("a".into(), String::new()), ("a/b".into(), String::new())];
        assert!(write(&path, &bad).is_err());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
