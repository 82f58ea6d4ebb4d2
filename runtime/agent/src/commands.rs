//! The host's own commands: the one table of them.
//!
//! A row has the name, its older names, what it does, the shape of its
//! arguments, and the function. Rows are described in `drover ops` like the
//! operations of plugins, checked against their schema like those, and called
//! in the same two ways. The first word of each name belongs to the host: no
//! plugin may have it.

mod agent;
mod job;
mod log;
mod old_names;
mod plugin;
mod process;
mod service;
mod source;
mod streams;
mod update;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use drover_api::{Command, Exit, HostCommand, JobError, JobState, Operation, OperationKind};
use drover_plugin_host::{ArgumentSchema, unknown};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::asker::Asker;
use crate::node::Node;
use crate::processes::Finished;

pub(crate) use old_names::{in_new_words, operation_of};
pub(crate) use process::go_on;

/// Every row.
const TABLE: &[&[Row]] = &[
    agent::ROWS,
    job::ROWS,
    log::ROWS,
    plugin::ROWS,
    process::ROWS,
    service::ROWS,
    source::ROWS,
    update::ROWS,
];

/// One of the host's own commands.
pub(crate) struct Row {
    /// `<group>.<command>`.
    pub(crate) name: &'static str,
    /// Older names.
    pub(crate) aliases: &'static [Alias],
    /// How it ends.
    pub(crate) kind: OperationKind,
    /// Who sees to it that it ends when it is to.
    pub(crate) ends: Ends,
    /// For people; the first line says what it does.
    pub(crate) doc: &'static str,
    /// The schema of its arguments.
    pub(crate) arguments: fn() -> Value,
    /// The schema of its answer.
    pub(crate) returns: fn() -> Value,
    /// Answers a request whose arguments fit the schema.
    pub(crate) run: for<'a> fn(Request<'a>) -> Running<'a>,
}

/// An older name, and what the arguments were called under it.
pub(crate) struct Alias {
    /// The name as it was, without a dot.
    pub(crate) name: &'static str,
    /// Arguments with another name: the old one, then ours.
    pub(crate) renamed: &'static [(&'static str, &'static str)],
    /// Arguments that the old name stands for.
    pub(crate) given: &'static [(&'static str, &'static str)],
}

/// Who sees to it that a command ends when it is cancelled, its time has passed
/// or the agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Nobody needs to: it is dropped.
    WhenDropped,
    /// The command itself, which has something to tidy up.
    ByItself,
}

impl Alias {
    /// An older name for the same arguments.
    const fn new(name: &'static str) -> Self {
        Self { name, renamed: &[], given: &[] }
    }
}

/// What a command's function is given.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) node: &'a Node,
    /// Tells whether the caller listens to progress, and takes it.
    pub(crate) call: Asker<'a>,
    pub(crate) command: &'a Command,
}

/// A command under way. Dropping it ends it.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<Answer, JobError>> + Send + 'a>>;

/// How a command ended that did its work; a process can have failed all the same.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) state: JobState,
    pub(crate) data: Value,
    pub(crate) error: Option<JobError>,
    pub(crate) streams: [String; 2],
    pub(crate) exit: Option<Exit>,
    pub(crate) critical: Option<String>,
}

impl From<Value> for Answer {
    fn from(data: Value) -> Self {
        let (error, streams, exit, critical) = Default::default();
        Self { state: JobState::Ok, data, error, streams, exit, critical }
    }
}

impl From<JobError> for Answer {
    fn from(error: JobError) -> Self {
        Self { state: JobState::Error, error: Some(error), ..Self::from(Value::Null) }
    }
}

impl From<Finished> for Answer {
    fn from(finished: Finished) -> Self {
        let Finished { state, data, error, streams, critical, exit, .. } = finished;
        Self { state, data, error, streams, exit, critical }
    }
}

/// A row, and its schema once it is needed: an idle agent has none compiled.
pub(crate) struct Ready {
    pub(crate) row: &'static Row,
    schema: OnceLock<ArgumentSchema>,
}

impl Ready {
    /// Checks the arguments of a command.
    ///
    /// # Errors
    ///
    /// If they do not fit: everything that is wrong with them.
    pub(crate) fn check(&self, arguments: &Value) -> Result<(), JobError> {
        let compile = || {
            let schema = ArgumentSchema::compile((self.row.arguments)());
            schema.expect("a test compiles every schema of the table")
        };
        self.schema.get_or_init(compile).check(self.row.name, arguments)
    }
}

static COMMANDS: LazyLock<BTreeMap<&'static str, Ready>> = LazyLock::new(|| {
    rows().map(|row| (row.name, Ready { row, schema: OnceLock::new() })).collect()
});

fn rows() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().copied().flatten()
}

/// The command of that name; none if it is not for the host itself to answer.
///
/// # Errors
///
/// If the name is in the host's hands and there is no such command.
pub(crate) fn find(name: &str) -> Result<Option<&'static Ready>, JobError> {
    if let Some(ready) = COMMANDS.get(name) {
        return Ok(Some(ready));
    }
    match name.split_once('.') {
        Some((group, command)) if reserved().iter().any(|reserved| reserved == group) => {
            let in_group = |name: &&'static str| name.strip_prefix(group)?.strip_prefix('.');
            let known = COMMANDS.keys().filter_map(in_group).collect();
            Err(unknown(&format!("`{group}` has no command `{command}`"), command, known))
        }
        _ => Ok(None),
    }
}

/// Whether a command is one of the host's own, by its name or an older one.
pub(crate) fn is_own(name: &str) -> bool {
    COMMANDS.contains_key(name)
        || rows().any(|row| row.aliases.iter().any(|alias| alias.name == name))
}

/// The names that no plugin may have.
pub fn reserved() -> Vec<String> {
    let groups = rows().filter_map(|row| row.name.split_once('.'));
    let mut groups: Vec<_> = groups.map(|(group, _)| group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.into_iter().map(str::to_owned).collect()
}

/// The table as a node tells of it: all of it, or the command named `cmd`.
pub(crate) fn describe(cmd: Option<&str>) -> Vec<HostCommand> {
    let describe = |row: &Row| HostCommand {
        cmd: row.name.to_owned(),
        aliases: row.aliases.iter().map(|alias| alias.name.to_owned()).collect(),
        operation: Operation {
            name: row.name.to_owned(),
            kind: row.kind,
            doc: row.doc.to_owned(),
            arguments: (row.arguments)(),
            returns: (row.returns)(),
        },
    };
    let rows = COMMANDS.values().map(|ready| ready.row);
    rows.filter(|row| cmd.is_none_or(|cmd| row.name == cmd)).map(describe).collect()
}

/// The schema of a struct of arguments: what it has no field for is refused.
fn arguments_of<T: JsonSchema>() -> Value {
    let mut schema = schema_of::<T>();
    schema["additionalProperties"] = Value::Bool(false);
    schema
}

fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None);
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<T>().to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("title");
    }
    schema
}

fn no_arguments() -> Value {
    json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

/// Resolves when the time has passed, if there is a limit.
pub(crate) async fn passed(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

impl Request<'_> {
    /// The arguments, which fit the schema.
    fn arguments<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        let arguments = Value::Object(self.command.args.clone());
        serde_json::from_value(arguments).map_err(|error| {
            let message =
                format!("`{}` cannot run with these arguments: {error}", self.command.cmd);
            JobError::new(drover_api::ErrorCode::InvalidArguments, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_is_whole_and_every_name_is_there_once() {
        let mut names = HashSet::new();
        for row in rows() {
            assert!(row.name.split_once('.').is_some(), "{} has no group", row.name);
            assert!(!row.doc.is_empty() && names.insert(row.name), "{}", row.name);
            ArgumentSchema::compile((row.arguments)()).unwrap();
            ArgumentSchema::compile((row.returns)()).unwrap();
            assert_eq!((row.arguments)()["additionalProperties"], false, "{}", row.name);
            for alias in row.aliases {
                assert!(!alias.name.contains('.') && names.insert(alias.name), "{}", alias.name);
                for (_, ours) in alias.renamed {
                    let known = (row.arguments)()["properties"].get(ours).is_some();
                    assert!(known, "{} has no argument {ours}", row.name);
                }
            }
        }
    }

    #[test]
    fn a_command_that_the_host_does_not_have_is_answered_with_those_it_has() {
        assert!(find("log.query").unwrap().is_some());
        assert!(find("sysinfo.cpu").unwrap().is_none());
        assert!(find("nonsense").unwrap().is_none());
        let Err(error) = find("log.qurey") else { panic!("it is known") };
        assert_eq!(error.message, "`log` has no command `qurey`; there are: query, delete, follow");
    }

    #[test]
    fn the_hosts_names_are_reserved() {
        assert_eq!(reserved(), ["agent", "job", "log", "plugin", "process", "service", "source"]);
    }
}
