//! Files of containers, as tar archives.

use data_encoding::BASE64;
use serde_json::json;

use crate::engine::answer::{Answer, Refusal};
use crate::engine::call::Call;
use crate::engine::model::{Container, Node, Outcome, absolute, check_path};
use crate::engine::shared::Shared;

/// Go's bits for what is no regular file.
const FOLDER: u32 = 1 << 31;
const LINK: u32 = 1 << 27;

/// The archive of a path, or for `HEAD` only what is there.
pub(super) fn get(method: &str, id: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let path = call.query.text("path").unwrap_or_default();
    let stat = shared.look(|model, _| {
        let container = model.container(id)?;
        check_path(container, id, path)?;
        Ok(stat(container, path))
    })?;
    let header = BASE64.encode(stat.as_bytes());
    let answer = if method == "HEAD" {
        Answer::empty(200)
    } else {
        let archive = shared.with(|model, now| model.copy_out(id, path, now))?;
        Answer::whole(200, Some("application/x-tar"), archive)
    };
    Ok(answer.with_header("X-Docker-Container-Path-Stat", header))
}

pub(super) fn put(id: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let path = call.query.text("path").unwrap_or_default();
    shared.with(|model, now| model.copy_in(id, path, &call.body, now))?;
    Ok(Answer::empty(200))
}

pub(super) fn export(id: &str, shared: &Shared) -> Outcome<Answer> {
    let archive = shared.with(|model, now| model.export(id, now))?;
    let archive = archive.map_err(|error| Refusal::internal(error.to_string()))?;
    Ok(Answer::whole(200, Some("application/octet-stream"), archive))
}

fn stat(container: &Container, path: &str) -> String {
    let path = absolute(path);
    let name = path.rsplit('/').next().unwrap_or_default();
    let (size, mode, target) = match container.files.0.get(&path) {
        Some(Node::File(content)) => (content.len(), 0o644, ""),
        Some(Node::Link(target)) => (target.len(), LINK | 0o777, target.as_str()),
        Some(Node::Folder) | None => (4096, FOLDER | 0o755, ""),
    };
    json!({
        "name": if name.is_empty() { "/" } else { name },
        "size": size,
        "mode": mode,
        "mtime": container.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "linkTarget": target,
    })
    .to_string()
}
