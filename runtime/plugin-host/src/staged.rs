//! Versions that somebody else than the plugin directory provides: loaded without
//! serving, tried, and swapped in between two calls.
//!
//! The plugin directory is the admin's, so it goes first: a name that has a file
//! there, whatever became of it, is not taken from it, and a file that comes later
//! takes its name when it is loaded.

use std::path::Path;
use std::sync::Arc;

use drover_api::{Level, Operation, OperationKind};

use crate::compiler::Haste;
use crate::host::{Host, LoadError};
use crate::job::{Job, Outcome};
use crate::notice::Notice;
use crate::plugin::{Loaded, Refusal, name_as};
use crate::registry::{Label, Origin};
use crate::run::check_kind;
use crate::tally::Tally;

/// A version of a plugin that could serve, and does not.
#[derive(Clone)]
pub struct Staged {
    loaded: Arc<Loaded>,
    label: Label,
}

/// A name that the plugin directory has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the plugin directory has the name `{0}`: remove the file or folder there to have pushed \
     versions serve"
)]
pub struct Taken(String);

impl Staged {
    /// The SHA-256 of its file, in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.loaded.description.hash
    }

    /// The version that its manifest has, if it has one.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.loaded.version.as_deref()
    }

    /// What it offers to operators.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.loaded.description.operations
    }
}

impl Host {
    /// Checks that a plugin may be called so.
    ///
    /// # Errors
    ///
    /// If the name is none, or belongs to whoever runs the host.
    pub fn check_name(&self, name: &str) -> Result<(), Refusal> {
        name_as(name, &self.shared().reserved).map(drop)
    }

    /// Loads a file as the version `version` of the plugin `name`, compiled at low
    /// priority, and does not have it serve. `file` is what people are told that it
    /// comes from.
    ///
    /// # Errors
    ///
    /// If the file is no plugin that this host can run, or it is shutting down.
    pub async fn stage(
        &self,
        path: &Path,
        name: &str,
        file: &str,
        version: &str,
    ) -> Result<Staged, LoadError> {
        let loaded = self.load_as(path, name, Haste::Low).await?;
        let loaded =
            loaded.map_err(|source| LoadError::Refused { path: path.to_owned(), source })?;
        let label = Label {
            file: file.to_owned(),
            version: Some(version.to_owned()),
            origin: Origin::Pushed,
        };
        Ok(Staged { loaded: Arc::new(loaded), label })
    }

    /// Runs a task of a version that does not serve. It gets what a job of that
    /// plugin would get, and its failures count for nothing.
    pub async fn try_out(&self, staged: &Staged, job: Job) -> Outcome {
        let plugin = staged.loaded.clone();
        match check_kind(&plugin, &job.operation, OperationKind::Task) {
            Ok(()) => self.run_on(plugin, job).await,
            Err(error) => Outcome::refused(error),
        }
    }

    /// Has a version serve from now on: jobs under way keep the one that they began
    /// with. Gives back how the one before did, if there was one.
    ///
    /// # Errors
    ///
    /// If the plugin directory has its name, as far as it was looked at.
    pub fn swap(&self, staged: Staged) -> Result<Option<Tally>, Taken> {
        let Staged { loaded, label } = staged;
        let name = loaded.name.clone();
        let registry = self.registry();
        if registry.is_in_directory(&name) {
            return Err(Taken(name.to_string()));
        }
        loaded.begins_to_serve();
        let before = registry.find(&name).map(|before| before.tally());
        self.serve_in(registry, loaded, label);
        Ok(before)
    }

    /// Has the pushed version of a plugin serve no longer; false if none did.
    pub fn withdraw(&self, name: &str) -> bool {
        let was_there = self.unload(name, Origin::Pushed);
        if was_there {
            let text = format!("plugin `{name}` serves no longer: its version was withdrawn");
            self.notify(Notice::new(Level::OPERATOR, name, text));
        }
        was_there
    }

    /// The hash of the pushed version that serves, and how its jobs ended since it
    /// was loaded.
    #[must_use]
    pub fn pushed(&self, name: &str) -> Option<(String, Tally)> {
        let registry = self.registry();
        let loaded = registry.pushed(name)?;
        Some((loaded.description.hash.clone(), loaded.tally()))
    }

    /// Whether the plugin directory was looked at, and so swaps can be made.
    #[must_use]
    pub fn knows_directory(&self) -> bool {
        self.registry().knows_directory()
    }

    /// Whether the plugin directory has a file of that name, whatever became of it.
    #[must_use]
    pub fn is_in_directory(&self, name: &str) -> bool {
        self.registry().is_in_directory(name)
    }

    /// Writes something about a plugin where the host's own news go.
    pub fn tell(&self, level: Level, name: &str, text: String) {
        self.notify(Notice::new(level, name, text));
    }
}
