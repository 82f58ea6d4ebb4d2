//! What changes in a container that is there: its name, its limits, its files.

use std::io;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::files::absolute;
use super::limits::check_limits;
use super::{Container, Files, Model, Node, Outcome, defaults};
use crate::engine::answer::Refusal;

/// How a path differs from the image.
const MODIFIED: u8 = 0;
const ADDED: u8 = 1;

impl Model {
    pub(crate) fn rename(&mut self, key: &str, name: &str, now: Timestamp) -> Outcome<()> {
        if name.is_empty() {
            return Err(Refusal::bad_request("Neither old nor new names may be empty"));
        }
        let id = self.container_id(key)?;
        let old = self.containers[&id].name.clone();
        let new = name.strip_prefix('/').unwrap_or(name);
        if new == old {
            let text = "Renaming a container with the same name as its current name";
            return Err(Refusal::bad_request(text));
        }
        if let Err(refusal) = self.free_name(new) {
            // The engine keeps its slash in this one message.
            let shown =
                refusal.message.replace(&format!("name ({new})"), &format!("name (/{new})"));
            let text = format!("Error when allocating new name: {shown}");
            return Err(Refusal::new(refusal.status, text));
        }
        new.clone_into(&mut self.container_mut(&id)?.name);
        self.container_event(&id, "rename", &[("oldName", format!("/{old}"))], now);
        Ok(())
    }

    /// Changes limits and the restart policy.
    pub(crate) fn update(&mut self, key: &str, wanted: &Value, now: Timestamp) -> Outcome<()> {
        check_limits(wanted)?;
        let container = self.container_mut(key)?;
        let id = container.id.clone();
        let number = |value: &Value| value.as_i64().unwrap_or(0);
        let (memory, swap) = (number(&wanted["Memory"]), number(&wanted["MemorySwap"]));
        let old_swap = number(&container.host["MemorySwap"]);
        if memory > 0 && swap == 0 && memory > old_swap && old_swap != -1 {
            return Err(Refusal::conflict(format!(
                "Cannot update container {id}: Memory limit should be smaller than already set \
                 memoryswap limit, update the memoryswap at the same time"
            )));
        }
        let known = defaults::resources();
        for (name, value) in defaults::entries(wanted) {
            let is_set = known.get(&name).is_some_and(|default| value != *default);
            if is_set && !value.is_null() {
                container.host[name.as_str()] = value;
            }
        }
        let policy = &wanted["RestartPolicy"];
        if policy["Name"].as_str().is_some_and(|name| !name.is_empty()) {
            let most = policy["MaximumRetryCount"].as_i64().unwrap_or(0);
            container.host["RestartPolicy"] =
                json!({"Name": policy["Name"], "MaximumRetryCount": most});
        }
        self.container_event(&id, "update", &[], now);
        Ok(())
    }

    /// The answer to `GET /containers/{id}/changes`.
    pub(crate) fn changes(&self, key: &str) -> Outcome<Value> {
        let changes = &self.container(key)?.changes;
        if changes.is_empty() {
            return Ok(Value::Null);
        }
        Ok(changes.iter().map(|(path, kind)| json!({"Path": path, "Kind": kind})).collect())
    }

    /// A tar archive of what is at `path` in a container.
    pub(crate) fn copy_out(&mut self, key: &str, path: &str, now: Timestamp) -> Outcome<Vec<u8>> {
        let container = self.container(key)?;
        check_path(container, key, path)?;
        let id = container.id.clone();
        let archive = container.files.to_tar(path);
        self.container_event(&id, "archive-path", &[], now);
        archive.map_err(|error| Refusal::internal(error.to_string()))
    }

    /// A tar archive of all files of a container.
    pub(crate) fn export(&mut self, key: &str, now: Timestamp) -> Outcome<io::Result<Vec<u8>>> {
        let container = self.container(key)?;
        let id = container.id.clone();
        let archive = container.files.to_tar("/");
        self.container_event(&id, "export", &[], now);
        Ok(archive)
    }

    /// Unpacks a tar archive into a folder of a container.
    pub(crate) fn copy_in(
        &mut self,
        key: &str,
        path: &str,
        archive: &[u8],
        now: Timestamp,
    ) -> Outcome<()> {
        let container = self.container_mut(key)?;
        let id = container.id.clone();
        check_path(container, key, path)?;
        if !container.files.is_folder(path) {
            let text = "extraction point is not a directory";
            return Err(Refusal::internal(text));
        }
        let files = Files::from_tar(archive, path).map_err(|_| {
            Refusal::internal("Error processing tar file(exit status 1): unexpected EOF")
        })?;
        for (path, node) in files.0 {
            container.put(&path, node);
        }
        self.container_event(&id, "extract-to-dir", &[], now);
        Ok(())
    }
}

impl Container {
    pub(crate) fn write_file(&mut self, path: &str, content: Bytes) {
        self.put(path, Node::File(content));
    }

    fn put(&mut self, path: &str, node: Node) {
        let path = absolute(path);
        let was_there = self.files.0.insert(path.clone(), node).is_some();
        let kind = if was_there { MODIFIED } else { ADDED };
        if let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) {
            self.changes.entry(folder.to_owned()).or_insert(MODIFIED);
        }
        self.changes.entry(path).or_insert(kind);
    }
}

/// Refuses a path at which there is nothing.
pub(crate) fn check_path(container: &Container, key: &str, path: &str) -> Outcome<()> {
    if path.is_empty() {
        return Err(Refusal::bad_request("bad parameter: pathcannot be empty"));
    }
    let is_there = absolute(path) == "/" || container.files.0.contains_key(&absolute(path));
    if is_there {
        return Ok(());
    }
    let text = format!("Could not find the file {path} in container {key}");
    Err(Refusal::not_found(text))
}
