//! Images: what they are, their names, and how the engine lists them.

mod archive;
mod build;
mod removal;

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub(crate) use build::Build;
pub(crate) use removal::Removed;

use super::filters::has_label;
use super::{Event, Files, Filters, Kind, Model, Outcome, Reference, defaults, digest, written};
use crate::engine::answer::Refusal;

/// The version that the simulated engine says it is.
pub(crate) const ENGINE_VERSION: &str = "20.10.24+dfsg1";

/// One image. Its id is the hash of `document`, as in the real engine.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) id: String,
    pub(crate) number: u64,
    /// The id of the image that it was built from; empty if there is none here.
    pub(crate) parent: String,
    pub(crate) tags: BTreeSet<Reference>,
    pub(crate) digests: BTreeSet<Reference>,
    /// The image's own description, which travels with it.
    document: Bytes,
    pub(crate) config: Value,
    created: Timestamp,
    comment: String,
    last_tagged: Option<Timestamp>,
    history: Vec<Value>,
    pub(crate) files: Files,
}

impl Image {
    /// An image of these files; `history` is how it came about, the oldest first.
    fn new(
        config: &Value,
        files: Files,
        history: &[Value],
        comment: &str,
        created: Timestamp,
    ) -> Self {
        let layer = layer_of(&files);
        let document = json!({
            "architecture": "amd64",
            "comment": comment,
            "config": config,
            "created": created.to_string(),
            "docker_version": ENGINE_VERSION,
            "history": history,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
        });
        Self::from_document(document.to_string().into(), &document, files, created)
    }

    fn from_document(document: Bytes, read: &Value, files: Files, now: Timestamp) -> Self {
        let created = read["created"].as_str().and_then(|time| time.parse().ok());
        Self {
            id: format!("sha256:{}", digest(&document)),
            number: 0,
            parent: String::new(),
            tags: BTreeSet::new(),
            digests: BTreeSet::new(),
            document,
            config: defaults::config(&read["config"]),
            created: created.unwrap_or(now),
            comment: read["comment"].as_str().unwrap_or_default().to_owned(),
            last_tagged: None,
            history: read["history"].as_array().cloned().unwrap_or_default(),
            files,
        }
    }

    /// The hash of its files.
    fn layer(&self) -> String {
        layer_of(&self.files)
    }

    fn layers(&self) -> Value {
        let read: Value = serde_json::from_slice(&self.document).unwrap_or_default();
        read["rootfs"]["diff_ids"].clone()
    }

    fn names(&self) -> Vec<String> {
        self.tags.iter().map(Reference::to_string).collect()
    }
}

impl Model {
    /// The id of the image with this name, id or beginning of an id.
    pub(crate) fn image_id(&self, key: &str) -> Option<String> {
        let hash = key.strip_prefix("sha256:").unwrap_or(key);
        let is_hash = hash.len() >= 2 && hash.chars().all(|c| c.is_ascii_hexdigit());
        let named = Reference::read(key).ok().and_then(|name| {
            let has = |image: &&Image| image.tags.contains(&name) || image.digests.contains(&name);
            self.images.values().find(has)
        });
        let by_id = || {
            let prefix = format!("sha256:{hash}");
            self.images.values().find(|image| is_hash && image.id.starts_with(&prefix))
        };
        named.or_else(by_id).map(|image| image.id.clone())
    }

    /// The image, or the refusal that most requests give.
    pub(crate) fn image(&self, key: &str) -> Outcome<&Image> {
        self.image_id(key).and_then(|id| self.images.get(&id)).ok_or_else(|| {
            let shown = Reference::read(key).map_or(key.to_owned(), |name| name.to_string());
            Refusal::not_found(format!("No such image: {shown}"))
        })
    }

    /// Adds an image unless it is there, and returns its id.
    pub(crate) fn add_image(&mut self, mut image: Image) -> String {
        let id = image.id.clone();
        image.number = self.new_number();
        image.tags.clear();
        self.images.entry(id.clone()).or_insert(image);
        id
    }

    /// Makes an image of the files in an archive, as `docker import` does.
    pub(crate) fn import(
        &mut self,
        files: Files,
        name: Option<Reference>,
        comment: &str,
        now: Timestamp,
    ) -> String {
        let history = [json!({"created": now.to_string(), "comment": comment})];
        let config = defaults::config(&Value::Null);
        let id = self.add_image(Image::new(&config, files, &history, comment, now));
        if let Some(name) = name {
            self.tag(&id, name, now);
        }
        self.image_event(&id, "import", &id, now);
        id
    }

    /// Gives an image a name, which another one may lose.
    pub(crate) fn tag(&mut self, id: &str, name: Reference, now: Timestamp) {
        let shown = name.to_string();
        self.name_quietly(id, name);
        if let Some(image) = self.images.get_mut(id) {
            image.last_tagged = Some(now);
        }
        self.image_event(id, "tag", &shown, now);
    }

    /// Gives an image a name without an event of its own, as a pull does.
    pub(crate) fn name_quietly(&mut self, id: &str, name: Reference) {
        for image in self.images.values_mut() {
            image.tags.remove(&name);
        }
        if let Some(image) = self.images.get_mut(id) {
            image.tags.insert(name);
        }
    }

    /// Tells of a pull: of the name, not of the image.
    pub(crate) fn pulled(&mut self, name: &Reference, now: Timestamp) {
        self.transfer_event(name, "pull", now);
    }

    /// Tells of a push: of the name, not of the image.
    pub(crate) fn pushed(&mut self, name: &Reference, now: Timestamp) {
        self.transfer_event(name, "push", now);
    }

    fn transfer_event(&mut self, name: &Reference, action: &str, now: Timestamp) {
        self.image_event(&name.to_string(), action, &name.repository, now);
    }

    /// Tells what happened to an image, under a name.
    pub(crate) fn image_event(&mut self, id: &str, action: &str, name: &str, time: Timestamp) {
        let labels = self.images.get(id).map(|image| defaults::entries(&image.config["Labels"]));
        let mut attributes: Map<String, Value> = labels.unwrap_or_default();
        attributes.insert("name".to_owned(), json!(name));
        self.events.push(Event {
            kind: Kind::Image,
            action: action.to_owned(),
            subject: id.to_owned(),
            attributes,
            time,
        });
    }

    /// The answer to `GET /images/json`: the newest first, without what is only a
    /// step on the way to another one unless `all` is wanted.
    pub(crate) fn list_images(&self, all: bool, filters: &Filters) -> Outcome<Vec<Value>> {
        let dangling = filters.flag("dangling")?;
        let created = |key: &str| -> Outcome<Option<u64>> {
            let Some(name) = filters.values(key).first() else { return Ok(None) };
            Ok(Some(self.image(name)?.number))
        };
        let (before, since) = (created("before")?, created("since")?);
        let mut images: Vec<&Image> = self.images.values().collect();
        images.sort_by_key(|image| std::cmp::Reverse(image.number));
        let is_step = |image: &Image| {
            image.tags.is_empty() && self.images.values().any(|child| child.parent == image.id)
        };
        let shown = images.into_iter().filter(|image| {
            (all || !is_step(image))
                && dangling.is_none_or(|wanted| {
                    wanted == (image.tags.is_empty() && image.digests.is_empty())
                })
                && before.is_none_or(|before| image.number < before)
                && since.is_none_or(|since| image.number > since)
                && filters.all("label", |wanted| has_label(&image.config["Labels"], wanted))
                && filters.any("reference", |pattern| {
                    image.tags.iter().any(|name| matches_pattern(name, pattern))
                })
        });
        let rows = shown.map(|image| {
            let mut row = self.image_row(image, -1, -1);
            if filters.has("reference") {
                let names = image.tags.iter().filter(|name| {
                    filters.any("reference", |pattern| matches_pattern(name, pattern))
                });
                row["RepoTags"] = json!(names.map(Reference::to_string).collect::<Vec<_>>());
            }
            row
        });
        Ok(rows.collect())
    }

    /// One image as a list shows it.
    pub(crate) fn image_row(&self, image: &Image, containers: i64, shared: i64) -> Value {
        let digests: Vec<_> = image.digests.iter().map(Reference::to_string).collect();
        let mut names = json!(image.names());
        let mut digest_names = json!(digests);
        if image.tags.is_empty() && image.digests.is_empty() {
            names = json!(["<none>:<none>"]);
            digest_names = json!(["<none>@<none>"]);
        } else if image.digests.is_empty() {
            digest_names = Value::Null;
        }
        json!({
            "Containers": containers,
            "Created": image.created.as_second(),
            "Id": image.id,
            "Labels": image.config["Labels"],
            "ParentId": image.parent,
            "RepoDigests": digest_names,
            "RepoTags": names,
            "SharedSize": shared,
            "Size": image.files.size(),
            "VirtualSize": image.files.size(),
        })
    }

    /// The answer to `GET /images/{name}/json`.
    pub(crate) fn inspect_image(&self, key: &str) -> Outcome<Value> {
        let image = self.image(key).map_err(|refusal| {
            Refusal::not_found(format!("no such image: {key}: {}", refusal.message))
        })?;
        let folder = self.root.join("overlay2").join(super::short(&image.id));
        let folder = folder.display();
        let digests: Vec<_> = image.digests.iter().map(Reference::to_string).collect();
        Ok(json!({
            "Id": image.id,
            "RepoTags": image.names(),
            "RepoDigests": digests,
            "Parent": image.parent,
            "Comment": image.comment,
            "Created": image.created.to_string(),
            "Container": "",
            "ContainerConfig": defaults::config(&Value::Null),
            "DockerVersion": ENGINE_VERSION,
            "Author": "",
            "Config": image.config,
            "Architecture": "amd64",
            "Os": "linux",
            "Size": image.files.size(),
            "VirtualSize": image.files.size(),
            "GraphDriver": {"Name": "overlay2", "Data": {
                "MergedDir": format!("{folder}/merged"),
                "UpperDir": format!("{folder}/diff"),
                "WorkDir": format!("{folder}/work"),
            }},
            "RootFS": {"Type": "layers", "Layers": image.layers()},
            "Metadata": {"LastTagTime": written(image.last_tagged)},
        }))
    }

    /// The answer to `GET /images/{name}/history`, the newest step first.
    pub(crate) fn image_history(&self, key: &str) -> Outcome<Value> {
        let image = self.image(key)?;
        let last = image.history.len().saturating_sub(1);
        let steps = image.history.iter().enumerate().rev().map(|(index, step)| {
            let created = step["created"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
            let text = |name: &str| step[name].as_str().unwrap_or_default().to_owned();
            json!({
                "Comment": text("comment"),
                "Created": created.map_or(0, Timestamp::as_second),
                "CreatedBy": text("created_by"),
                "Id": if index == last { image.id.as_str() } else { "<missing>" },
                "Size": if index == last { image.files.size() } else { 0 },
                "Tags": if index == last { json!(image.names()) } else { Value::Null },
            })
        });
        Ok(steps.collect())
    }
}

fn layer_of(files: &Files) -> String {
    digest(format!("{files:?}").as_bytes())
}

/// Whether a name fits a pattern such as `busy*` or `*:1`.
fn matches_pattern(name: &Reference, pattern: &str) -> bool {
    let regex = regex::escape(pattern).replace("\\*", "[^/]*").replace("\\?", "[^/]");
    let regex = regex::Regex::new(&format!("^{regex}$"));
    regex.is_ok_and(|regex| regex.is_match(&name.repository) || regex.is_match(&name.to_string()))
}
