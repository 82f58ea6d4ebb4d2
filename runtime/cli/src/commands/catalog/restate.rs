//! What the next statement says: pure.

use std::collections::BTreeMap;

use drover_api::{CatalogPlugin, CatalogVersion};
use drover_signing::{FORMAT, HashError, PluginStatement, Statement, VersionStatement};
use jiff::Timestamp;

/// What statements say of plugins, by name.
pub(super) type Plugins = BTreeMap<String, PluginStatement>;

/// One change, by whoever signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A version came.
    Version { version: String, stated: VersionStatement },
    /// A channel stands for another version, or is gone.
    Channel { channel: String, version: Option<String> },
    /// A version was withdrawn, or that was taken back.
    Yank { version: String, is_yanked: bool },
}

/// All that is in the catalog.
pub(super) fn all(list: &[CatalogPlugin]) -> Result<Plugins, HashError> {
    let plugin = |plugin: &CatalogPlugin| {
        let channels = plugin.channels.iter();
        let channels = channels.map(|one| (one.name.clone(), one.version.clone())).collect();
        let versions = plugin.versions.iter();
        let versions = versions.map(|version| Ok((version.version.clone(), stated(version)?)));
        let versions = versions.collect::<Result<_, HashError>>()?;
        Ok((plugin.name.clone(), PluginStatement { channels, versions }))
    };
    list.iter().map(plugin).collect()
}

/// What is stated of a version.
pub(super) fn stated(version: &CatalogVersion) -> Result<VersionStatement, HashError> {
    Ok(VersionStatement {
        hash: version.hash.parse()?,
        length: version.length,
        is_yanked: version.yanked.is_some(),
    })
}

/// What was stated before, with changes to one plugin and to nothing else.
pub(super) fn with(mut plugins: Plugins, name: &str, changes: &[Change]) -> Plugins {
    let plugin = plugins.entry(name.to_owned()).or_default();
    for change in changes {
        match change {
            Change::Version { version, stated } => {
                plugin.versions.insert(version.clone(), *stated);
            }
            Change::Channel { channel, version: Some(version) } => {
                plugin.channels.insert(channel.clone(), version.clone());
            }
            Change::Channel { channel, version: None } => {
                plugin.channels.remove(channel);
            }
            Change::Yank { version, is_yanked } => {
                if let Some(stated) = plugin.versions.get_mut(version) {
                    stated.is_yanked = *is_yanked;
                }
            }
        }
    }
    plugins
}

/// The statement that follows one with this serial.
///
/// Serials are the seconds since 1970 where that is more than the last one:
/// when a controller has lost its catalog, nodes still take the next statement
/// for a newer one.
pub(super) fn next(
    previous: Option<u64>,
    plugins: Plugins,
    now: Timestamp,
    lifetime: std::time::Duration,
) -> Result<Statement, jiff::Error> {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let serial = previous.map_or(seconds, |serial| seconds.max(serial.saturating_add(1)));
    let whole = |time: Timestamp| Timestamp::from_second(time.as_second());
    Ok(Statement {
        format: FORMAT.to_owned(),
        serial,
        issued: whole(now)?,
        expires: whole(now.checked_add(lifetime)?)?,
        plugins,
    })
}

/// What is different between two statements, a line each.
pub(super) fn differences(old: &Plugins, new: &Plugins) -> Vec<String> {
    let nothing = PluginStatement::default();
    let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .flat_map(|name| {
            let (before, after) = (old.get(name), new.get(name));
            of_one(name, before.unwrap_or(&nothing), after.unwrap_or(&nothing))
        })
        .collect()
}

fn of_one(name: &str, old: &PluginStatement, new: &PluginStatement) -> Vec<String> {
    let mut lines = Vec::new();
    for (version, stated) in &new.versions {
        let what = format!("{name}@{version}");
        match old.versions.get(version) {
            None => lines.push(format!(
                "+ {what}  {} bytes, sha256 {}{}",
                stated.length,
                stated.hash,
                if stated.is_yanked { ", yanked" } else { "" }
            )),
            Some(before) if before.hash != stated.hash || before.length != stated.length => {
                lines.push(format!("~ {what}  OTHER CONTENT: sha256 {}", stated.hash));
            }
            Some(before) if before.is_yanked != stated.is_yanked => {
                let word = if stated.is_yanked { "yanked" } else { "no longer yanked" };
                lines.push(format!("~ {what}  {word}"));
            }
            Some(_) => {}
        }
    }
    let went = old.versions.keys().filter(|version| !new.versions.contains_key(*version));
    lines.extend(went.map(|version| format!("- {name}@{version}")));
    for (channel, version) in &new.channels {
        match old.channels.get(channel) {
            Some(before) if before == version => {}
            Some(before) => lines.push(format!("~ {name} {channel}: {before} -> {version}")),
            None => lines.push(format!("+ {name} {channel}: {version}")),
        }
    }
    let went = old.channels.keys().filter(|channel| !new.channels.contains_key(*channel));
    lines.extend(went.map(|channel| format!("- {name} {channel}")));
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use drover_signing::ContentHash;

    use super::*;

    fn version(content: &[u8]) -> VersionStatement {
        let (hash, length) = (ContentHash::of(content), content.len() as u64);
        VersionStatement { hash, length, is_yanked: false }
    }

    fn pushed() -> Plugins {
        let changes = [
            Change::Version { version: "1.0.0".to_owned(), stated: version(b"one") },
            Change::Channel { channel: "stable".to_owned(), version: Some("1.0.0".to_owned()) },
        ];
        with(Plugins::new(), "hello", &changes)
    }

    #[test]
    fn whoever_changes_one_plugin_signs_nothing_else_anew() {
        let both = with(
            pushed(),
            "backup",
            &[Change::Version { version: "2.0.0".to_owned(), stated: version(b"two") }],
        );
        assert_eq!(both["hello"], pushed()["hello"]);
        let yanked = with(
            both.clone(),
            "hello",
            &[
                Change::Channel { channel: "stable".to_owned(), version: None },
                Change::Yank { version: "1.0.0".to_owned(), is_yanked: true },
            ],
        );
        assert_eq!(yanked["backup"], both["backup"]);
        assert_eq!(differences(&both, &yanked), ["~ hello@1.0.0  yanked", "- hello stable"]);
    }

    #[test]
    fn every_difference_has_its_line_and_other_content_cries_out() {
        let mut new = pushed();
        let hello = new.get_mut("hello").unwrap();
        hello.versions.insert("1.0.0".to_owned(), version(b"else"));
        hello.versions.insert("1.1.0".to_owned(), version(b"new"));
        hello.channels.insert("stable".to_owned(), "1.1.0".to_owned());
        let lines = differences(&pushed(), &new);
        assert!(lines[0].starts_with("~ hello@1.0.0  OTHER CONTENT"), "{lines:?}");
        assert!(lines[1].starts_with("+ hello@1.1.0  3 bytes"), "{lines:?}");
        assert_eq!(lines[2..], ["~ hello stable: 1.0.0 -> 1.1.0"]);
        assert_eq!(differences(&new, &new), Vec::<String>::new());
        assert_eq!(differences(&pushed(), &Plugins::new()), ["- hello@1.0.0", "- hello stable"]);
    }

    #[test]
    fn serials_always_go_up_and_survive_a_lost_catalog() {
        let now: Timestamp = "2026-06-01T12:00:00.5Z".parse().unwrap();
        let next =
            |previous| next(previous, Plugins::new(), now, Duration::from_secs(86_400)).unwrap();
        let seconds = u64::try_from(now.as_second()).unwrap();
        assert_eq!(next(None).serial, seconds);
        assert_eq!(next(Some(5)).serial, seconds);
        assert_eq!(next(Some(seconds)).serial, seconds + 1);
        assert_eq!(next(Some(u64::MAX)).serial, u64::MAX);
        assert_eq!(next(None).expires.to_string(), "2026-06-02T12:00:00Z");
    }
}
