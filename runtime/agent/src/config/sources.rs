//! The part of the configuration that says which log files are followed.

use std::collections::BTreeMap;

use drover_api::JobId;
use drover_logs::{LevelSet, Source};
use drover_plugin_host::ParserSpec;
use drover_sources::{Beginning, PathPattern};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ConfigError;

/// What the ids of the jobs begin with to which records of files belong; the
/// source's name follows.
const PREFIX: &str = "source.";

/// Files whose lines go into the log: `[sources.NAME]`. That they are named here
/// is the grant: a plugin is shown their lines, and never the files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// Their paths, with `*` and `?` for what differs.
    pub files: Vec<PathPattern>,
    /// The plugin that parses the lines; they are kept as they are without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// The format that they have, one of the plugin's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// What the plugin wants to know of the format.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// The domain of the records.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// The name of the records; that of the source by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where files begin that are there when the source is new.
    #[serde(default)]
    pub from: Beginning,
    /// The levels that go to the controller; what `logs.forward` says if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<LevelSet>,
    /// Whether what is read is counted: lines by status, level and host.
    #[serde(default = "yes")]
    pub counters: bool,
}

fn yes() -> bool {
    true
}

impl SourceSettings {
    /// Checks a source.
    pub(super) fn check(&self, name: &str) -> Result<(), ConfigError> {
        let refuse = |key: &str, value: String, rule| {
            Err(ConfigError::Range { key: format!("sources.{name}{key}"), value, rule })
        };
        if job_of(name).is_none() || name.contains('/') {
            let rule = "the name becomes a job's id: use letters, digits, `-`, `_`, `.` and `:`, \
                        120 at most";
            return refuse("", "{ … }".to_owned(), rule);
        }
        if self.files.is_empty() {
            let rule = "must name a file at least, such as [\"/var/log/app/*.log\"]";
            return refuse(".files", "[]".to_owned(), rule);
        }
        match (&self.plugin, &self.format) {
            (Some(plugin), None) => {
                refuse(".plugin", format!("{plugin:?}"), "needs `format`, one of the plugin's")
            }
            (None, Some(format)) => {
                refuse(".format", format!("{format:?}"), "needs `plugin`, which parses it")
            }
            _ => Ok(()),
        }
    }

    /// Where the records come from.
    pub(crate) fn source(&self, name: &str) -> Option<Source> {
        Some(Source {
            job: job_of(name)?,
            domain: self.domain.clone(),
            name: self.name.clone().unwrap_or_else(|| name.to_owned()),
        })
    }

    /// The parser of the lines, if there is one.
    pub(crate) fn parser(&self) -> Option<ParserSpec> {
        let (plugin, format) = self.plugin.clone().zip(self.format.clone())?;
        Some(ParserSpec { plugin, format, options: Value::Object(self.options.clone()) })
    }
}

/// The sources of a configuration, by name.
pub(crate) type SourceTable = BTreeMap<String, SourceSettings>;

fn job_of(name: &str) -> Option<JobId> {
    format!("{PREFIX}{name}").parse().ok()
}

#[cfg(test)]
mod tests {
    use crate::Config;

    #[test]
    fn a_source_needs_its_files_and_reads_back_as_it_is_printed() {
        let text = "[sources.nginx]\nfiles = [\"/var/log/nginx/*.log\"]\n";
        let config = Config::parse(text).unwrap();
        let source = &config.sources["nginx"];
        assert!(source.counters && source.parser().is_none());
        assert_eq!(source.source("nginx").unwrap().job.as_str(), "source.nginx");
        assert_eq!(Config::parse(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn a_bad_source_is_refused_with_its_name_and_the_cure() {
        for (text, parts) in [
            ("[sources.a]\nfiles = []", ["sources.a.files", "must name a file"]),
            ("[sources.a]\nfiles = [\"log\"]", ["`log`", "full path"]),
            ("[sources.a]\nfiles = [\"/l\"]\nplugin = \"p\"", ["sources.a.plugin", "`format`"]),
            ("[sources.a]\nfiles = [\"/l\"]\nformat = \"f\"", ["sources.a.format", "`plugin`"]),
            ("[sources.\"a b\"]\nfiles = [\"/l\"]", ["sources.a b", "letters"]),
            ("[sources.a]\nfiles = [\"/l\"]\nform = \"f\"", ["`form`", "unknown"]),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }
}
