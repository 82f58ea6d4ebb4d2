//! What there is in an engine before anything is measured.

use anyhow::{Context, ensure};
use drover_engine_tests::archive;
use serde_json::{Value, json};

use super::ours::Ours;

/// Containers that run.
pub(super) const COUNT: usize = 50;

/// The container that has written a lot.
pub(super) const LOUD: &str = "loud";

/// A line of what it writes, in bytes.
const LINE: usize = 100;

/// How many lines it writes each time.
const LINES: usize = 52_000;

/// What is measured with.
pub(super) struct Work {
    /// The containers that run.
    pub(super) names: Vec<String>,
    /// How many bytes the loud one has written.
    pub(super) output: usize,
}

/// Starts the containers, and has one write 5.2 MB so many times.
///
/// # Errors
///
/// If the engine refuses.
pub(super) async fn prepare(ours: &Ours, times: usize) -> anyhow::Result<Work> {
    let names: Vec<String> = (0..COUNT).map(|number| format!("sleeper-{number}")).collect();
    for name in &names {
        let container = json!({ "image": "busybox:1", "command": ["sleep", "100000"] });
        ours.call("create", json!({ "name": name, "container": container })).await?;
        ours.call("start", json!({ "container": name })).await?;
    }
    let file: String =
        (0..LINES).map(|number| format!("{number:0width$}\n", width = LINE - 1)).collect();
    let mut command = vec!["cat"];
    command.extend(std::iter::repeat_n("/tmp/lines", times));
    let container = json!({ "image": "busybox:1", "command": command });
    ours.call("create", json!({ "name": LOUD, "container": container })).await?;
    let place = json!({ "container": LOUD, "path": "/tmp" });
    ours.call_with("copy_in", place, archive(&[("lines", &file)])).await?;
    ours.call("start", json!({ "container": LOUD })).await?;
    let ended = ours.call("wait", json!({ "container": LOUD })).await?;
    ensure!(ended["status"] == 0, "the container that writes failed: {ended}");
    Ok(Work { names, output: LINES * LINE * times })
}

/// The text in an answer's field.
///
/// # Errors
///
/// If it is not there.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    value[field].as_str().with_context(|| format!("there is no `{field}` in {value}"))
}
