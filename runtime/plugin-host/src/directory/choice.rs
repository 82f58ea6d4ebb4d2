//! Which file stands for which plugin.
//!
//! - `NAME.wasm` is the plugin `NAME`.
//! - `NAME/VERSION.wasm` is a version of it. Of several, the one is used that
//!   the configuration pins; else the one that the link `NAME/active` points
//!   to; else the highest, as versions are ordered (1.10.0 after 1.9.0, and
//!   1.0.0 after 1.0.0-rc.1).
//! - Where both `NAME.wasm` and versions in `NAME/` are there, the versions
//!   have the name, and the file is refused.
//!
//! The rules look at nothing but what is in the directory and the pins, so an
//! agent that is started again chooses the same.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_api::RefusedPlugin;
use semver::Version;

use super::listing::{ACTIVE, Folder, Identity, Listing, SeenFile};

/// The file that stands for a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) name: String,
    /// Its path from the plugin directory.
    pub(crate) path: String,
    /// None for a file that is not in a folder of versions.
    pub(crate) version: Option<String>,
    /// What is there, or why nothing is.
    pub(crate) found: Result<Identity, String>,
    /// How long ago it was changed.
    pub(crate) age: Duration,
}

impl Choice {
    /// Whether it is the same file with the same content.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.path == other.path && self.found == other.found
    }
}

/// What a look at the directory comes to.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    /// By name.
    pub(crate) chosen: BTreeMap<String, Choice>,
    /// The files that lost their name to others.
    pub(crate) passed_over: Vec<RefusedPlugin>,
}

/// Chooses a file for every name. `pins` are versions by name.
pub(crate) fn choose(listing: &Listing, pins: &BTreeMap<String, String>) -> Choices {
    let mut choices = Choices::default();
    for folder in &listing.folders {
        let pin = pins.get(&folder.name).map(String::as_str);
        let choice = of_folder(folder, pin);
        choices.chosen.insert(folder.name.clone(), choice);
    }
    for file in &listing.files {
        let name = file.stem.clone();
        if choices.chosen.contains_key(&name) {
            let reason = format!(
                "the name `{name}` belongs to the versions in `{name}/`: remove the file, or \
                 the folder"
            );
            choices.passed_over.push(RefusedPlugin { file: file.path.clone(), reason });
            continue;
        }
        let mut choice = of_file(&name, file, None);
        if let Some(pin) = pins.get(&name) {
            choice.found = Err(format!(
                "version {pin} of `{name}` is pinned, and this file has no version: move it to \
                 `{name}/{pin}.wasm`, or remove the pin from the configuration"
            ));
        }
        choices.chosen.insert(name, choice);
    }
    choices
}

fn of_file(name: &str, file: &SeenFile, version: Option<String>) -> Choice {
    let SeenFile { path, found, age, .. } = file;
    Choice { name: name.to_owned(), path: path.clone(), version, found: found.clone(), age: *age }
}

fn of_folder(folder: &Folder, pin: Option<&str>) -> Choice {
    let Folder { name, versions, active } = folder;
    let nothing = |path: &str, reason: String| Choice {
        name: name.clone(),
        path: format!("{name}/{path}"),
        version: None,
        found: Err(reason),
        age: Duration::MAX,
    };
    let named = |wanted: &str, who: &str| {
        let file = versions.iter().find(|file| file.stem == wanted);
        match file {
            Some(file) => of_file(name, file, Some(wanted.to_owned())),
            None => nothing(
                &format!("{wanted}.wasm"),
                format!("{who} names it, and it is not there; there are: {}", list(versions)),
            ),
        }
    };
    match (pin, active) {
        (Some(pin), _) => named(pin, "the pin in the configuration"),
        (None, Some(Ok(version))) => named(version, "the link `active`"),
        (None, Some(Err(reason))) => nothing(ACTIVE, reason.clone()),
        (None, None) => match newest(versions) {
            Some(file) => of_file(name, file, Some(file.stem.clone())),
            None => nothing(
                ACTIVE,
                format!(
                    "no file here is named like a version, such as 1.2.0.wasm, and no link \
                     `active` chooses one of: {}",
                    list(versions)
                ),
            ),
        },
    }
}

/// The highest version; a file that is alone need not be named like one.
fn newest(files: &[SeenFile]) -> Option<&SeenFile> {
    if let [only] = files {
        return Some(only);
    }
    let versions = files.iter().filter_map(|file| Some((Version::parse(&file.stem).ok()?, file)));
    versions.max_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, file)| file)
}

fn list(versions: &[SeenFile]) -> String {
    match versions {
        [] => "none".to_owned(),
        versions => versions.iter().map(|v| v.stem.as_str()).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(stem: &str, path: &str) -> SeenFile {
        let identity = Identity { device: 1, inode: 1, size: 1, modified: 1, changed: 1 };
        SeenFile { stem: stem.into(), path: path.into(), found: Ok(identity), age: Duration::ZERO }
    }

    fn folder(versions: &[&str], active: Option<Result<&str, &str>>) -> Listing {
        let versions = versions.iter().map(|v| file(v, &format!("a/{v}.wasm"))).collect();
        let active = active.map(|active| active.map(str::to_owned).map_err(str::to_owned));
        let folders = vec![Folder { name: "a".into(), versions, active }];
        Listing { files: vec![], folders }
    }

    fn pins(pin: Option<&str>) -> BTreeMap<String, String> {
        pin.map(|pin| ("a".to_owned(), pin.to_owned())).into_iter().collect()
    }

    #[test]
    fn of_several_versions_the_pinned_the_active_or_the_highest_is_chosen() {
        for (versions, active, pin, expected) in [
            (&["1.9.0", "1.10.0"][..], None, None, "1.10.0"),
            (&["1.0.0-rc.1", "1.0.0"], None, None, "1.0.0"),
            (&["1.0.0", "nightly"], None, None, "1.0.0"),
            (&["nightly"], None, None, "nightly"),
            (&["1.0.0", "2.0.0"], Some(Ok("1.0.0")), None, "1.0.0"),
            (&["1.0.0", "nightly"], Some(Ok("nightly")), None, "nightly"),
            (&["1.0.0", "2.0.0"], Some(Ok("1.0.0")), Some("2.0.0"), "2.0.0"),
            (&["1.0.0", "2.0.0"], Some(Err("broken")), Some("2.0.0"), "2.0.0"),
        ] {
            let choices = choose(&folder(versions, active), &pins(pin));
            let choice = &choices.chosen["a"];
            assert_eq!(choice.version.as_deref(), Some(expected), "{versions:?}");
            assert!(choice.path == format!("a/{expected}.wasm") && choice.found.is_ok());
        }
    }

    #[test]
    fn where_none_can_be_chosen_the_reason_says_what_there_is() {
        for (versions, active, pin, words) in [
            (&["1.0.0"][..], Some(Ok("2.0.0")), None, "the link `active` names it"),
            (&["1.0.0"], Some(Err("it points to /")), None, "it points to /"),
            (&["1.0.0"], None, Some("3.0.0"), "there are: 1.0.0"),
            (&["one", "two"], None, None, "chooses one of: one, two"),
            (&[], Some(Ok("1.0.0")), None, "there are: none"),
        ] {
            let choices = choose(&folder(versions, active), &pins(pin));
            let reason = choices.chosen["a"].found.clone().unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
    }

    #[test]
    fn a_folder_of_versions_has_the_name_before_a_file() {
        let mut listing = folder(&["1.0.0"], None);
        listing.files = vec![file("a", "a.wasm"), file("b", "b.wasm")];
        let choices = choose(&listing, &BTreeMap::new());
        assert_eq!(choices.chosen["a"].path, "a/1.0.0.wasm");
        assert_eq!(choices.chosen["b"].path, "b.wasm");
        let [refused] = &choices.passed_over[..] else { panic!("{choices:?}") };
        assert!(refused.file == "a.wasm" && refused.reason.contains("`a/`"), "{refused:?}");
    }

    #[test]
    fn a_pin_is_not_met_by_a_file_without_a_version() {
        let listing = Listing { files: vec![file("a", "a.wasm")], folders: vec![] };
        let choices = choose(&listing, &pins(Some("1.0.0")));
        let reason = choices.chosen["a"].found.clone().unwrap_err();
        assert!(reason.contains("version 1.0.0 of `a` is pinned"), "{reason}");
    }
}
