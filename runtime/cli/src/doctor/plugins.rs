//! Whether the plugins of an agent load, and are granted what they ask for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use drover_agent::Config;
use drover_grants::{Decision, Grants, decide, read_manifest};
use drover_plugin_host::Inspection;

use super::finding::Finding;
use crate::commands::{Cache, inspect_with_everything};

/// Looks at every plugin file of the directory, in a host of its own.
pub(super) async fn all(config: &Config) -> Vec<Finding> {
    let grants = match Grants::load(&config.grants, &config.grants_dir()) {
        Ok(grants) => grants,
        Err(error) => {
            return vec![Finding::fail(
                "plugins.grants",
                format!("{:#}", anyhow::Error::new(error)).replace('\n', "; "),
                format!("correct {}; until then nothing is granted", config.grants.display()),
            )];
        }
    };
    let files = files_in(&config.plugin_dir);
    if files.is_empty() {
        let what = format!("there are no plugins in {}", config.plugin_dir.display());
        return vec![Finding::ok("plugins.load", what)];
    }
    // What is compiled here is nobody's; the agent's own cache stays as it is.
    let Ok(scratch) = tempfile::tempdir() else {
        let what = "the plugins are not looked at: there is no room for temporary files";
        return vec![Finding::warn("plugins.load", what, "make room, or set TMPDIR")];
    };
    let mut findings = Vec::new();
    for (name, file) in files {
        findings.extend(one(&name, &file, &grants, scratch.path()).await);
    }
    findings
}

/// The plugins of a directory by name: a file for each, or a folder with `active`.
fn files_in(dir: &Path) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let file = if path.is_dir() { path.join("active") } else { path.clone() };
        let is_one = path.is_dir() || path.extension().is_some_and(|found| found == "wasm");
        if let Some(name) = path.file_stem().and_then(|name| name.to_str())
            && is_one
            && file.exists()
            && !name.starts_with('.')
        {
            files.push((name.to_owned(), file));
        }
    }
    files.sort();
    files
}

async fn one(name: &str, file: &Path, grants: &Grants, scratch: &Path) -> Vec<Finding> {
    let manifest = File::open(file)
        .map_err(anyhow::Error::new)
        .and_then(|open| Ok(read_manifest(open)?.unwrap_or_default()));
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(error) => return vec![broken(name, &format!("{error:#}"))],
    };
    let mut findings = vec![granted(name, &decide(name, &manifest.asks, grants))];
    let cache = Cache::at(scratch.join("cache"));
    let any_file = scratch.join("any");
    let copy = scratch.join(format!("{name}.wasm"));
    let looked = match fs::write(&any_file, "").and_then(|()| fs::copy(file, &copy)) {
        Err(error) => Err(format!("it cannot be copied: {error}")),
        Ok(_) => inspect_with_everything(&cache, name, &manifest, &copy, &any_file)
            .await
            .map_err(|failure| format!("{:#}", failure.error)),
    };
    findings.push(match looked {
        Ok(Inspection { refusal: None, operations, formats, .. }) => {
            let offers = operations.len() + formats.len();
            Finding::ok(
                "plugins.load",
                format!("`{name}` loads, and offers {offers} operations or formats"),
            )
        }
        Ok(Inspection { refusal: Some(reason), .. }) | Err(reason) => broken(name, &reason),
    });
    findings
}

fn broken(name: &str, reason: &str) -> Finding {
    Finding::fail(
        "plugins.load",
        format!("`{name}` does not load: {}", reason.trim_end().replace('\n', "; ")),
        format!("put another build of `{name}` in its place; `drover plugin inspect` says more"),
    )
}

fn granted(name: &str, decision: &Decision) -> Finding {
    let check = "plugins.grants";
    match decision {
        Decision::Allowed { unasked, .. } if unasked.is_empty() => {
            Finding::ok(check, format!("`{name}` is granted all that it asks for"))
        }
        Decision::Allowed { unasked, .. } => Finding::warn(
            check,
            format!("`{name}` is granted what it does not ask for: {}", unasked.join(", ")),
            format!("take that out of [{name}] in the grants"),
        ),
        Decision::Missing(missing) => {
            let mut lines = format!("drover plugin grant {name}, or add\n[{name}]");
            for (line, reason) in missing.lines().each() {
                lines.push_str(&format!("\n{line}   # {reason}"));
            }
            for trouble in missing.troubles() {
                lines.push_str(&format!("\n# {trouble}"));
            }
            Finding::fail(
                check,
                format!("`{name}` is held: it asks for what is not granted"),
                lines,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use drover_grants::{GrantsFile, Manifest};

    use super::super::finding::State;
    use super::*;

    #[test]
    fn what_is_missing_comes_as_lines_to_add() {
        let asks = "[asks]\nsysinfo = { reason = \"looks around\" }\n";
        let asks = Manifest::from_toml(asks).unwrap().asks;
        let held = granted("p", &decide("p", &asks, &Grants::default()));
        assert_eq!(held.state, State::Fail);
        let cure = held.cure.unwrap();
        assert!(cure.contains("[p]\nsysinfo = true   # looks around"), "{cure}");
        let grants = |text: &str| Grants::of_file(GrantsFile::parse(text).unwrap());
        let all = decide("p", &asks, &grants("[p]\nsysinfo = true\n"));
        assert_eq!(granted("p", &all).state, State::Ok);
        let more = decide("p", &asks, &grants("[p]\nsysinfo = true\nstate = \"1 MiB\"\n"));
        assert_eq!(granted("p", &more).state, State::Warn);
    }

    #[test]
    fn plugins_are_files_and_folders() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b.wasm"), "").unwrap();
        fs::write(dir.path().join("notes.txt"), "").unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::create_dir(dir.path().join("empty")).unwrap();
        fs::write(dir.path().join("a/active"), "").unwrap();
        let names: Vec<_> = files_in(dir.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(files_in(&dir.path().join("nowhere")).is_empty());
    }
}
