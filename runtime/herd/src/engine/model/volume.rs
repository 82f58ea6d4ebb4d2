//! Volumes, and where containers have them.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::defaults::{entries, strings};
use super::filters::has_label;
use super::{Event, Filters, Kind, Model, Outcome};
use crate::engine::answer::Refusal;

/// One volume.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) labels: Value,
    pub(crate) options: Value,
    /// Made for one container that asked for a folder without a name.
    pub(crate) anonymous: bool,
}

/// A volume, a folder of the host, or memory in a container.
#[derive(Debug, Clone)]
pub(crate) struct Mount {
    /// None for a folder of the host and for memory.
    pub(crate) volume: Option<String>,
    /// Empty for memory.
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) mode: String,
    pub(crate) is_writable: bool,
}

impl Mount {
    pub(crate) fn describe(&self) -> Value {
        match &self.volume {
            Some(name) => json!({
                "Type": "volume",
                "Name": name,
                "Source": self.source,
                "Destination": self.destination,
                "Driver": "local",
                "Mode": self.mode,
                "RW": self.is_writable,
                "Propagation": "",
            }),
            None => {
                let is_memory = self.source.is_empty();
                json!({
                    "Type": if is_memory { "tmpfs" } else { "bind" },
                    "Source": self.source,
                    "Destination": self.destination,
                    "Mode": self.mode,
                    "RW": self.is_writable,
                    "Propagation": if is_memory { "" } else { "rprivate" },
                })
            }
        }
    }
}

impl Model {
    /// Makes a volume unless there is one of that name.
    pub(crate) fn create_volume(&mut self, wanted: &Value, now: Timestamp) -> Outcome<Value> {
        let mut name = wanted["Name"].as_str().unwrap_or_default().to_owned();
        let anonymous = name.is_empty();
        if anonymous {
            name = self.new_id();
        }
        let mut letters = name.chars();
        let begins_well = letters.next().is_some_and(|c| c.is_ascii_alphanumeric());
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !begins_well || name.len() < 2 || !letters.all(is_letter) {
            return Err(Refusal::bad_request(format!(
                "create {name}: \"{name}\" includes invalid characters for a local volume name, \
                 only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host \
                 directory, use absolute path"
            )));
        }
        let driver = wanted["Driver"].as_str().unwrap_or_default();
        if !["", "local"].contains(&driver) {
            return Err(Refusal::not_found(format!("plugin \"{driver}\" not found")));
        }
        self.volumes.entry(name.clone()).or_insert_with(|| Volume {
            name: name.clone(),
            created: now,
            labels: wanted["Labels"].clone(),
            options: wanted["DriverOpts"].clone(),
            anonymous,
        });
        self.volume_event(&name, "create", Map::new(), now);
        self.inspect_volume(&name)
    }

    /// The answer to `GET /volumes/{name}`.
    pub(crate) fn inspect_volume(&self, name: &str) -> Outcome<Value> {
        let volume = self.volumes.get(name);
        let volume =
            volume.ok_or_else(|| Refusal::not_found(format!("get {name}: no such volume")))?;
        Ok(json!({
            "CreatedAt": volume.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "Driver": "local",
            "Labels": volume.labels,
            "Mountpoint": self.mountpoint(name),
            "Name": name,
            "Options": volume.options,
            "Scope": "local",
        }))
    }

    fn mountpoint(&self, name: &str) -> String {
        self.root.join("volumes").join(name).join("_data").display().to_string()
    }

    /// The volumes that pass, for `GET /volumes` and the disk's use.
    pub(crate) fn list_volumes(&self, filters: &Filters) -> Vec<Value> {
        let shown = self.volumes.values().filter(|volume| {
            filters.any("name", |wanted| volume.name.contains(wanted))
                && filters.any("driver", |wanted| wanted == "local")
                && filters.all("label", |wanted| has_label(&volume.labels, wanted))
                && filters.any("dangling", |wanted| {
                    ["true", "1"].contains(&wanted) == self.users_of(&volume.name).is_empty()
                })
        });
        shown.filter_map(|volume| self.inspect_volume(&volume.name).ok()).collect()
    }

    /// The containers, running or not, that have a volume.
    pub(crate) fn users_of(&self, name: &str) -> Vec<String> {
        let has = |mounts: &[Mount]| mounts.iter().any(|one| one.volume.as_deref() == Some(name));
        let users = self.containers.values().filter(|container| has(&container.mounts));
        users.map(|container| container.id.clone()).collect()
    }

    pub(crate) fn remove_volume(&mut self, name: &str, force: bool, now: Timestamp) -> Outcome<()> {
        if force && !self.volumes.contains_key(name) {
            return Ok(());
        }
        self.inspect_volume(name)?;
        let users = self.users_of(name);
        if !users.is_empty() {
            return Err(Refusal::conflict(format!(
                "remove {name}: volume is in use - [{}]",
                users.join(", ")
            )));
        }
        self.volumes.remove(name);
        self.volume_event(name, "destroy", Map::new(), now);
        Ok(())
    }

    /// Removes the volumes that no container has, and returns their names.
    pub(crate) fn prune_volumes(&mut self, filters: &Filters, now: Timestamp) -> Vec<String> {
        let unused = self.volumes.values().filter(|volume| {
            self.users_of(&volume.name).is_empty()
                && filters.all("label", |wanted| has_label(&volume.labels, wanted))
        });
        let unused: Vec<String> = unused.map(|volume| volume.name.clone()).collect();
        for name in &unused {
            self.volumes.remove(name);
            self.volume_event(name, "destroy", Map::new(), now);
        }
        unused
    }

    /// The mounts that a new container asks for, with volumes made on the way.
    pub(super) fn mounts_for(
        &mut self,
        config: &Value,
        host: &Value,
        now: Timestamp,
    ) -> Outcome<Vec<Mount>> {
        let mut mounts = Vec::new();
        for bind in strings(&host["Binds"]) {
            let mut parts = bind.splitn(3, ':');
            let (source, destination) = (parts.next().unwrap_or_default(), parts.next());
            let mode = parts.next().unwrap_or_default();
            let Some(destination) = destination.filter(|path| path.starts_with('/')) else {
                let text = format!("invalid volume specification: '{bind}'");
                return Err(Refusal::bad_request(text));
            };
            let is_writable = !mode.split(',').any(|word| word == "ro");
            mounts.push(self.mount(source, destination, mode, is_writable, now)?);
        }
        for wanted in host["Mounts"].as_array().into_iter().flatten() {
            let (source, target) = wanted_mount(wanted)?;
            let is_writable = wanted["ReadOnly"] != true;
            if wanted["Type"] == "tmpfs" {
                mounts.push(Mount {
                    volume: None,
                    source: String::new(),
                    destination: target.to_owned(),
                    mode: String::new(),
                    is_writable,
                });
                continue;
            }
            mounts.push(self.mount(source, target, "", is_writable, now)?);
        }
        for destination in entries(&config["Volumes"]).keys() {
            if !mounts.iter().any(|mount| mount.destination == *destination) {
                mounts.push(self.mount("", destination, "", true, now)?);
            }
        }
        Ok(mounts)
    }

    fn mount(
        &mut self,
        source: &str,
        destination: &str,
        mode: &str,
        is_writable: bool,
        now: Timestamp,
    ) -> Outcome<Mount> {
        let destination = destination.to_owned();
        if source.starts_with('/') {
            let mode = mode.to_owned();
            return Ok(Mount {
                volume: None,
                source: source.to_owned(),
                destination,
                mode,
                is_writable,
            });
        }
        let made = self.create_volume(&json!({"Name": source}), now)?;
        let name = made["Name"].as_str().unwrap_or_default().to_owned();
        let mode = if mode.is_empty() { "z".to_owned() } else { mode.to_owned() };
        let source = self.mountpoint(&name);
        Ok(Mount { volume: Some(name), source, destination, mode, is_writable })
    }

    /// Tells that a container that starts or ends uses or leaves its volumes.
    pub(super) fn volume_events_of(&mut self, container: &str, action: &str, now: Timestamp) {
        let Some(user) = self.containers.get(container) else { return };
        for mount in user.mounts.clone() {
            let Some(name) = mount.volume else { continue };
            let mut attributes = Map::new();
            attributes.insert("container".to_owned(), json!(container));
            if action == "mount" {
                attributes.insert("destination".to_owned(), json!(mount.destination));
                attributes.insert("propagation".to_owned(), json!(""));
                attributes.insert("read/write".to_owned(), json!(mount.is_writable.to_string()));
            }
            self.volume_event(&name, action, attributes, now);
        }
    }

    fn volume_event(
        &mut self,
        name: &str,
        action: &str,
        mut attributes: Map<String, Value>,
        time: Timestamp,
    ) {
        attributes.insert("driver".to_owned(), json!("local"));
        self.events.push(Event {
            kind: Kind::Volume,
            action: action.to_owned(),
            subject: name.to_owned(),
            attributes,
            time,
        });
    }
}

/// The source and the target of one of `HostConfig.Mounts`.
fn wanted_mount(wanted: &Value) -> Outcome<(&str, &str)> {
    let text = |name: &str| wanted[name].as_str().unwrap_or_default();
    let (kind, source, target) = (text("Type"), text("Source"), text("Target"));
    let wrong = match kind {
        "volume" | "bind" | "tmpfs" if target.is_empty() => "field Target must not be empty",
        "bind" if source.is_empty() => "field Source must not be empty",
        "tmpfs" if !source.is_empty() => "field Source must not be specified",
        "volume" | "bind" | "tmpfs" => return Ok((source, target)),
        _ => "mount type unknown",
    };
    Err(Refusal::bad_request(format!("invalid mount config for type \"{kind}\": {wrong}")))
}
