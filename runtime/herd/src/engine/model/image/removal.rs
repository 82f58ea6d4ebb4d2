//! The end of names and images.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::engine::answer::Refusal;
use crate::engine::model::filters::has_label;
use crate::engine::model::{Filters, Model, Outcome, Reference, State, short};

/// What a removal took away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Removed {
    Name(String),
    Image(String),
}

impl Removed {
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Name(name) => json!({"Untagged": name}),
            Self::Image(id) => json!({"Deleted": id}),
        }
    }
}

impl Model {
    /// Takes a name from an image, and the image with its last one.
    pub(crate) fn remove_image(
        &mut self,
        key: &str,
        force: bool,
        prune: bool,
        now: Timestamp,
    ) -> Outcome<Vec<Removed>> {
        let id = self.image(key)?.id.clone();
        let image = &self.images[&id];
        let name = Reference::read(key)
            .ok()
            .filter(|name| image.tags.contains(name) || image.digests.contains(name));
        let user = self.containers.values().find(|container| container.image == id);
        let names = image.tags.len();
        let mut removed = Vec::new();
        if let Some(name) = name {
            if let Some(user) = user.filter(|_| names <= 1 && !force) {
                return Err(Refusal::conflict(format!(
                    "conflict: unable to remove repository reference \"{key}\" (must force) - \
                     container {} is using its referenced image {}",
                    short(&user.id),
                    short(&id)
                )));
            }
            let is_used = user.is_some();
            self.untag(&id, &name, &mut removed, now);
            if is_used || !self.images[&id].tags.is_empty() {
                return Ok(removed);
            }
        } else {
            if let Some(user) = user.filter(|user| user.state.is_running() || !force) {
                let (kind, state) = match user.state {
                    State::Running | State::Paused => ("cannot be forced", "running"),
                    _ => ("must be forced", "stopped"),
                };
                return Err(Refusal::conflict(format!(
                    "conflict: unable to delete {} ({kind}) - image is being used by {state} \
                     container {}",
                    short(&id),
                    short(&user.id)
                )));
            }
            let repositories = image.tags.iter().map(|name| &name.repository);
            let repositories: std::collections::BTreeSet<_> = repositories.collect();
            if repositories.len() > 1 && !force {
                return Err(Refusal::conflict(format!(
                    "conflict: unable to delete {} (must be forced) - image is referenced in \
                     multiple repositories",
                    short(&id)
                )));
            }
            for name in image.tags.clone() {
                self.untag(&id, &name, &mut removed, now);
            }
        }
        self.delete(&id, prune, &mut removed, now);
        Ok(removed)
    }

    /// Takes a name away, and the digests that came with its repository.
    fn untag(&mut self, id: &str, name: &Reference, removed: &mut Vec<Removed>, now: Timestamp) {
        let Some(image) = self.images.get_mut(id) else { return };
        image.tags.remove(name);
        removed.push(Removed::Name(name.to_string()));
        if !image.tags.iter().any(|other| other.repository == name.repository) {
            let of_repository = |digest: &Reference| digest.repository == name.repository;
            let digests = image.digests.iter().filter(|digest| of_repository(digest));
            removed.extend(digests.map(|digest| Removed::Name(digest.to_string())));
            image.digests.retain(|digest| !of_repository(digest));
        }
        self.image_event(id, "untag", id, now);
    }

    /// Removes an image, and the nameless images that it was built on.
    fn delete(&mut self, id: &str, prune: bool, removed: &mut Vec<Removed>, now: Timestamp) {
        let is_used = |model: &Self| {
            model.images.values().any(|image| image.parent == id)
                || model.containers.values().any(|container| container.image == id)
        };
        if is_used(self) {
            return;
        }
        let Some(image) = self.images.remove(id) else { return };
        removed.push(Removed::Image(id.to_owned()));
        self.image_event(id, "delete", id, now);
        // Each layer that nobody has any more is listed too.
        let is_kept = self.images.values().any(|other| other.files == image.files);
        if !is_kept && !image.files.0.is_empty() {
            removed.push(Removed::Image(format!("sha256:{}", image.layer())));
        }
        let parent = image.parent;
        if prune && self.images.get(&parent).is_some_and(|image| image.tags.is_empty()) {
            self.delete(&parent, prune, removed, now);
        }
    }

    /// Removes what no container uses: nameless images, or all of them.
    pub(crate) fn prune_images(
        &mut self,
        filters: &Filters,
        now: Timestamp,
    ) -> Outcome<(Vec<Removed>, usize)> {
        let only_nameless = filters.flag("dangling")?.unwrap_or(true);
        let before: usize = self.images.values().map(|image| image.files.size()).sum();
        let unused = self.images.values().filter(|image| {
            (image.tags.is_empty() || !only_nameless)
                && !self.containers.values().any(|container| container.image == image.id)
                && !self.images.values().any(|child| child.parent == image.id)
                && filters.all("label", |wanted| has_label(&image.config["Labels"], wanted))
        });
        let unused: Vec<String> = unused.map(|image| image.id.clone()).collect();
        let mut removed = Vec::new();
        for id in unused {
            let names = self.images.get(&id).map(|image| image.tags.clone()).unwrap_or_default();
            for name in names {
                self.untag(&id, &name, &mut removed, now);
            }
            self.delete(&id, true, &mut removed, now);
        }
        let after: usize = self.images.values().map(|image| image.files.size()).sum();
        Ok((removed, before.saturating_sub(after)))
    }
}
