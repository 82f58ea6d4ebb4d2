//! Which version of each plugin serves, which ones still have jobs, and what
//! is known of the files that do not serve.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use drover_api::{
    DrainingVersion, NextVersion, Plugin, PluginList, PluginState, PluginStatus, RefusedPlugin,
    ServingVersion, Timestamp,
};

use crate::plugin::Loaded;

/// Where a version came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    /// The file, as the plugin directory has it.
    pub(crate) file: String,
    /// None for a file that is not in a folder of versions.
    pub(crate) version: Option<String>,
    pub(crate) origin: Origin,
}

/// Who provides a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The plugin directory, or whoever loaded a file by itself.
    Directory,
    /// The controller.
    Pushed,
}

/// What the keeper of the plugin directory knows of files that do not serve.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DirectoryView {
    /// The names that have a file, whatever became of it; none before the first
    /// look.
    pub(crate) names: Option<BTreeSet<String>>,
    /// By plugin.
    pub(crate) pending: BTreeMap<String, NextVersion>,
    /// Files that lost their name to others.
    pub(crate) passed_over: Vec<RefusedPlugin>,
    /// Why the directory cannot be read.
    pub(crate) trouble: Option<String>,
}

/// All that is loaded.
#[derive(Default)]
pub(crate) struct Registry {
    serving: BTreeMap<Arc<str>, Serving>,
    draining: Vec<Draining>,
    directory: DirectoryView,
}

struct Serving {
    loaded: Arc<Loaded>,
    label: Label,
    since: Timestamp,
}

/// A version that gets no new jobs. The jobs that it has keep it alive.
struct Draining {
    name: Arc<str>,
    label: Label,
    hash: String,
    loaded: Weak<Loaded>,
}

impl Registry {
    /// The version that serves.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Loaded>> {
        self.serving.get(name).map(|serving| &serving.loaded)
    }

    /// What the version that serves is called, if it is in a folder of versions.
    pub(crate) fn version(&self, name: &str) -> Option<&str> {
        self.serving.get(name)?.label.version.as_deref()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.serving.keys().map(|name| &**name)
    }

    /// Has a version serve from now on, and gives back what served before.
    pub(crate) fn serve(&mut self, loaded: Arc<Loaded>, label: Label) -> Option<Label> {
        let name = loaded.name.clone();
        let new = Serving { loaded, label, since: Timestamp::now() };
        let old = self.serving.insert(name, new)?;
        let label = old.label.clone();
        self.drain(old);
        Some(label)
    }

    /// Has a plugin serve no longer that comes from there; false if it did not.
    pub(crate) fn unload(&mut self, name: &str, origin: Origin) -> bool {
        if self.serving.get(name).is_none_or(|serving| serving.label.origin != origin) {
            return false;
        }
        let old = self.serving.remove(name);
        old.map(|old| self.drain(old)).is_some()
    }

    /// The version that serves, if it was pushed.
    pub(crate) fn pushed(&self, name: &str) -> Option<&Arc<Loaded>> {
        let serving = self.serving.get(name)?;
        (serving.label.origin == Origin::Pushed).then_some(&serving.loaded)
    }

    /// Whether the plugin directory was looked at.
    pub(crate) fn knows_directory(&self) -> bool {
        self.directory.names.is_some()
    }

    /// Whether the plugin directory has a file of that name, whatever became of it.
    pub(crate) fn is_in_directory(&self, name: &str) -> bool {
        self.directory.names.as_ref().is_some_and(|names| names.contains(name))
    }

    /// Notes that the same version now comes from another file.
    pub(crate) fn relabel(&mut self, name: &str, label: Label) {
        if let Some(serving) = self.serving.get_mut(name) {
            serving.label = label;
        }
    }

    /// Takes what is known of the directory; false if it is nothing new.
    pub(crate) fn show_directory(&mut self, view: DirectoryView) -> bool {
        let is_new = self.directory != view;
        self.directory = view;
        is_new
    }

    /// What serves, by name.
    pub(crate) fn descriptions(&self) -> impl Iterator<Item = &Plugin> {
        self.serving.values().map(|serving| &serving.loaded.description)
    }

    /// The files that are refused, by name.
    pub(crate) fn refused(&self) -> Vec<RefusedPlugin> {
        let DirectoryView { pending, passed_over, .. } = &self.directory;
        let refused = |next: &NextVersion| {
            let reason = next.refusal.clone()?;
            Some(RefusedPlugin { file: next.file.clone(), reason })
        };
        let mut refused: Vec<_> =
            pending.values().filter_map(refused).chain(passed_over.iter().cloned()).collect();
        refused.sort_by(|one, other| one.file.cmp(&other.file));
        refused
    }

    pub(crate) fn statuses(&self) -> PluginList {
        let mut statuses: BTreeMap<String, PluginStatus> = BTreeMap::new();
        for (name, serving) in &self.serving {
            let status = status_of(&mut statuses, name);
            status.serving = Some(serving.status());
            status.quarantine = serving.loaded.account.quarantine();
        }
        for (name, next) in &self.directory.pending {
            status_of(&mut statuses, name).next = Some(next.clone());
        }
        for draining in &self.draining {
            if let Some(version) = draining.status() {
                status_of(&mut statuses, &draining.name).draining.push(version);
            }
        }
        let mut statuses: Vec<_> = statuses.into_values().collect();
        for status in &mut statuses {
            status.state = match (&status.serving, &status.next) {
                (Some(_), _) if status.quarantine.is_some() => PluginState::Quarantined,
                (Some(_), _) => PluginState::Serving,
                (None, Some(NextVersion { refusal: Some(_), .. })) => PluginState::Refused,
                (None, Some(_)) => PluginState::Loading,
                (None, None) => PluginState::Removed,
            };
        }
        PluginList {
            plugins: statuses,
            passed_over: self.directory.passed_over.clone(),
            trouble: self.directory.trouble.clone(),
        }
    }

    fn drain(&mut self, old: Serving) {
        self.draining.retain(|draining| draining.loaded.strong_count() > 0);
        self.draining.push(Draining {
            name: old.loaded.name.clone(),
            label: old.label,
            hash: old.loaded.description.hash.clone(),
            loaded: Arc::downgrade(&old.loaded),
        });
    }
}

fn status_of<'a>(
    statuses: &'a mut BTreeMap<String, PluginStatus>,
    name: &str,
) -> &'a mut PluginStatus {
    statuses.entry(name.to_owned()).or_insert_with(|| PluginStatus::new(name))
}

impl Serving {
    fn status(&self) -> ServingVersion {
        let formats = &self.loaded.description.formats;
        ServingVersion {
            file: self.label.file.clone(),
            version: self.label.version.clone(),
            is_pushed: self.label.origin == Origin::Pushed,
            hash: self.loaded.description.hash.clone(),
            since: self.since,
            // Each job holds the version that it began with; one hold is ours.
            jobs: jobs(Arc::strong_count(&self.loaded).saturating_sub(1)),
            formats: formats.iter().map(|format| format.name.clone()).collect(),
        }
    }
}

impl Draining {
    /// None once its last job has ended.
    fn status(&self) -> Option<DrainingVersion> {
        let holds = self.loaded.strong_count();
        (holds > 0).then(|| DrainingVersion {
            file: self.label.file.clone(),
            version: self.label.version.clone(),
            hash: self.hash.clone(),
            jobs: jobs(holds),
        })
    }
}

fn jobs(holds: usize) -> u32 {
    u32::try_from(holds).unwrap_or(u32::MAX)
}
