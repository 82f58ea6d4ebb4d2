//! The SDK that belongs to this program, as a folder of a plugin's project.
//!
//! It has the places that it has in our repository, so that nothing in it has
//! to be changed: `sdk/rust`, `wit`, and above them a workspace with what the
//! SDK's manifests take from it.

use anyhow::Context;
use toml::{Table, Value};

/// Where a project has it.
pub(super) const FOLDER: &str = "vendor/drover";

/// The sources: path from the repository's root, and text.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));

/// The versions that this program was built with. Cargo takes those of them
/// that it needs into the project's own.
pub(super) const LOCK: &str = include_str!("../../../../../../Cargo.lock");

const WORKSPACE: &str = include_str!("../../../../../../Cargo.toml");
const MEMBERS: [&str; 2] = ["sdk/rust", "sdk/rust/macros"];

/// The files of the folder.
pub(super) fn files() -> anyhow::Result<Vec<(String, String)>> {
    let manifests = MEMBERS.map(|member| text(&format!("{member}/Cargo.toml")));
    let workspace = workspace(WORKSPACE, &manifests).context("this program's SDK is damaged")?;
    let readme = format!(
        "The SDK of Drover {}, as `drover plugin new` has put it here.\n\
         `sdk/rust/README.md` is the author's guide, `wit/` the contract.\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut files = vec![("Cargo.toml".to_owned(), workspace), ("README.md".to_owned(), readme)];
    files.extend(FILES.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())));
    Ok(files)
}

fn text(name: &str) -> &'static str {
    FILES.iter().find(|(path, _)| *path == name).map_or("", |(_, text)| text)
}

/// The workspace's manifest with those of `members` alone, and with no more
/// dependencies than they have.
fn workspace(root: &str, manifests: &[&str]) -> anyhow::Result<String> {
    let root: Table = toml::from_str(root)?;
    let whole = root.get("workspace").and_then(Value::as_table).context("no workspace")?;
    let mut used = Vec::new();
    for manifest in manifests {
        let manifest: Table = toml::from_str(manifest)?;
        let targets = manifest.get("target").and_then(Value::as_table);
        let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
        for part in targets.chain([&manifest]) {
            for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
                let table = part.get(kind).and_then(Value::as_table);
                used.extend(table.into_iter().flat_map(Table::keys).cloned());
            }
        }
    }
    let dependencies = whole.get("dependencies").and_then(Value::as_table);
    let dependencies = dependencies.into_iter().flatten().filter(|(name, _)| used.contains(name));
    let dependencies: Table =
        dependencies.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut workspace = Table::new();
    for key in ["resolver", "package", "lints"] {
        if let Some(value) = whole.get(key) {
            workspace.insert(key.to_owned(), value.clone());
        }
    }
    workspace.insert("members".to_owned(), MEMBERS.map(Value::from).to_vec().into());
    workspace.insert("dependencies".to_owned(), dependencies.into());
    Ok(toml::to_string(&Table::from_iter([("workspace".to_owned(), workspace.into())]))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_has_what_its_members_take_from_it() {
        let root = "[workspace]\nresolver = \"3\"\nmembers = [\"x\"]\n\
            [workspace.package]\nversion = \"1.2.3\"\n\
            [workspace.dependencies]\nserde = \"1\"\nwasmtime = \"48\"\n\
            [profile.dev]\ndebug = false\n";
        let member = "[target.'cfg(unix)'.dependencies]\nserde = { workspace = true }\n";
        let text = workspace(root, &[member]).unwrap();
        let written: Table = toml::from_str(&text).unwrap();
        let workspace = written["workspace"].as_table().unwrap();
        assert_eq!(workspace["dependencies"].as_table().unwrap().len(), 1);
        assert_eq!(workspace["package"]["version"].as_str(), Some("1.2.3"));
        assert_eq!(workspace["members"].as_array().unwrap().len(), 2);
        assert!(!written.contains_key("profile"));
    }

    #[test]
    fn the_sdk_is_whole_and_has_no_tests() {
        let files = files().unwrap();
        let has = |name: &str| files.iter().any(|(path, _)| path == name);
        for member in MEMBERS {
            assert!(has(&format!("{member}/Cargo.toml")) && has(&format!("{member}/src/lib.rs")));
        }
        assert!(has("Cargo.toml") && has("wit/operations.wit"));
        assert!(files.iter().all(|(path, _)| !path.contains("/tests/")));
    }
}
