//! Containers: what there is, and what is going on in them.

pub(crate) mod archive;
pub(crate) mod exec;
pub(crate) mod life_cycle;
pub(crate) mod output;
pub(crate) mod stats;

use std::collections::BTreeMap;

use drover_sdk::{Failure, Json, data, task};

use crate::engine::{Engine, path};
use crate::models::{ContainerDetails, ContainerSummary};

/// What a list is narrowed to: values by the name of a filter.
pub(crate) type Filters = BTreeMap<String, Vec<String>>;

/// Whether an operation had to do anything.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    /// Whether something was changed; if not, it was so already.
    pub(crate) changed: bool,
}

/// The path of a container and what is below it.
pub(crate) fn container_path(container: &str, below: &str) -> Result<String, Failure> {
    Ok(format!("/containers/{}{below}", path::segment("container", container)?))
}

/// Lists containers.
///
/// Those that run; with `all` the others too. Changes nothing.
#[task]
pub(crate) fn list(
    /// Whether to list those that do not run as well.
    #[default(false)]
    all: bool,
    /// The most that are listed, the newest first.
    limit: Option<u32>,
    /// Whether to measure their sizes, which takes long.
    #[default(false)]
    size: bool,
    /// Which ones, as in `{"label": ["team=web"], "status": ["exited"]}`: each
    /// filter must fit with one of its values. Filters of the engine are
    /// `ancestor`, `before`, `exited`, `health`, `id`, `label`, `name`,
    /// `network`, `publish`, `since`, `status`, `volume` and more.
    #[serde(default)]
    filters: Filters,
) -> Result<Json<Vec<ContainerSummary>>, Failure> {
    let engine = Engine::connect()?;
    let call = engine.get("/containers/json", "list containers");
    let call = call.query_if("all", all.then_some(true)).query_if("limit", limit);
    call.query_if("size", size.then_some(true)).query_json("filters", &filters)?.send()?.pass()
}

/// Shows everything of one container.
///
/// Changes nothing. `State.Health` tells how it is if it has a health check,
/// `State.OOMKilled` whether it wanted too much memory.
#[task]
pub(crate) fn inspect(
    /// Its name or id; the first digits of an id will do.
    container: String,
    /// Whether to measure its size, which takes long.
    #[default(false)]
    size: bool,
) -> Result<Json<ContainerDetails>, Failure> {
    let engine = Engine::connect()?;
    let path = container_path(&container, "/json")?;
    let call = engine.get(path, format_args!("inspect container {container}"));
    call.query_if("size", size.then_some(true)).send()?.pass()
}

/// What a container is like now.
pub(crate) fn details(engine: &Engine, container: &str) -> Result<ContainerDetails, Failure> {
    let what = format!("inspect container {container}");
    engine.get(container_path(container, "/json")?, what).send()?.read()
}

/// Shows the processes of a container that runs.
///
/// Changes nothing. A container that does not run is a `conflict`.
#[task]
pub(crate) fn top(
    /// Its name or id.
    container: String,
    /// Options of `ps` on the host, such as `aux`.
    options: Option<String>,
) -> Result<Json<Processes>, Failure> {
    let engine = Engine::connect()?;
    let what = format!("list the processes of container {container}");
    let call = engine.get(container_path(&container, "/top")?, what);
    call.query_if("ps_args", options).send()?.pass()
}

/// The processes of a container.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "callers see it as a schema")]
pub(crate) struct Processes {
    /// What the columns are.
    titles: Vec<String>,
    /// For each process a text for each column.
    processes: Vec<Vec<String>>,
}

/// Shows which files of a container differ from its image's.
///
/// Changes nothing.
#[task]
pub(crate) fn changes(
    /// Its name or id.
    container: String,
) -> Result<Vec<FileChange>, Failure> {
    let engine = Engine::connect()?;
    let what = format!("list the changed files of container {container}");
    let call = engine.get(container_path(&container, "/changes")?, what);
    let changes: Option<Vec<EngineChange>> = call.send()?.read()?;
    Ok(changes.unwrap_or_default().into_iter().map(FileChange::from).collect())
}

/// A file that differs from the image's.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct FileChange {
    /// The file or directory.
    path: String,
    /// What happened to it.
    kind: ChangeKind,
}

/// What happened to a file.
#[data]
#[derive(Debug, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeKind {
    /// It has other content, or something in it has.
    Modified,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineChange {
    path: String,
    kind: u8,
}

impl From<EngineChange> for FileChange {
    fn from(change: EngineChange) -> Self {
        let kind = match change.kind {
            1 => ChangeKind::Added,
            2 => ChangeKind::Deleted,
            _ => ChangeKind::Modified,
        };
        Self { path: change.path, kind }
    }
}

/// Waits until a container ends, and tells its status.
///
/// Answers at once if it does not run; may be called as often as you like.
/// The job's deadline ends the waiting, not the container.
#[task]
pub(crate) fn wait(
    /// Its name or id.
    container: String,
    /// What is waited for.
    #[serde(default)]
    condition: Condition,
) -> Result<Ended, Failure> {
    let engine = Engine::connect()?;
    let what = format!("wait for container {container}");
    let call = engine.post(container_path(&container, "/wait")?, what);
    let ended: EngineEnded = call.query("condition", condition.word()).send()?.read()?;
    let error = ended.error.map(|error| error.message).filter(|message| !message.is_empty());
    Ok(Ended { status: ended.status_code, error })
}

/// What `wait` waits for.
#[data]
#[derive(Debug, Clone, Copy, Default)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Condition {
    /// That it does not run.
    #[default]
    NotRunning,
    /// That it ends the next time, also if it does not run yet.
    NextExit,
    /// That it is removed.
    Removed,
}

impl Condition {
    fn word(self) -> &'static str {
        match self {
            Self::NotRunning => "not-running",
            Self::NextExit => "next-exit",
            Self::Removed => "removed",
        }
    }
}

/// How a container ended.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Ended {
    /// The status of its program; above 128 it is mostly a signal's number and
    /// 128.
    pub(crate) status: i64,
    /// What went wrong with waiting.
    pub(crate) error: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineEnded {
    status_code: i64,
    #[serde(default)]
    error: Option<EngineEndedError>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineEndedError {
    #[serde(default)]
    message: String,
}

/// Removes containers that do not run.
///
/// Doing it again finds nothing more to remove.
#[task]
pub(crate) fn prune(
    /// Which ones, as in `{"until": ["24h"], "label": ["team=web"]}`.
    #[serde(default)]
    filters: Filters,
) -> Result<Json<crate::models::Pruned>, Failure> {
    let engine = Engine::connect()?;
    let call = engine.post("/containers/prune", "remove containers that do not run");
    call.query_json("filters", &filters)?.send()?.pass()
}
