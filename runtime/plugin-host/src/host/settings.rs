//! What a host is told while it runs: grants, limits and pinned versions.

use std::sync::Arc;

use drover_api::{ErrorCode, JobError};
use drover_grants::{Allowance, Grants};
use tokio::sync::watch;

use super::Host;
use crate::Limits;
use crate::directory::Pins;
use crate::plugin::Loaded;

impl Host {
    /// Grants something else from now on: jobs that begin later get that, and
    /// plugins are loaded by it; what is refused in a kept directory is tried again.
    /// Jobs under way keep what they have. A loaded
    /// plugin that is no longer granted what it asks for gets no more jobs,
    /// until it is again.
    pub fn set_grants(&self, grants: Grants) {
        self.0.shared.grants.send_replace(Arc::new(grants));
        self.changed();
    }

    /// Has other limits from now on, for jobs that begin later; services and parsers
    /// that feel them are to begin anew. What is made at the start stays: how many
    /// jobs run and wait in all, and how many services there are.
    pub fn set_limits(&self, limits: Limits) {
        let shared = &self.0.shared;
        let Limits { running_jobs, waiting_jobs, services, .. } = *shared.limits();
        let limits = Limits { running_jobs, waiting_jobs, services, ..limits };
        shared.limits.send_replace(Arc::new(limits));
        let limits = shared.limits();
        for (name, account) in shared.accounts().iter() {
            account.set_limits(limits.of(name));
        }
        self.changed();
    }

    /// What plugins may use up at present.
    #[must_use]
    pub fn limits(&self) -> Arc<Limits> {
        self.0.shared.limits()
    }

    /// Wants these versions of plugins from now on, by plugin: the directory that is
    /// kept is looked at again. At first none is wanted before others.
    pub fn set_pins(&self, pins: Pins) {
        self.0.shared.pins.send_replace(pins);
    }

    /// The versions that [`Host::set_pins`] wants.
    #[must_use]
    pub fn pins(&self) -> Pins {
        self.0.shared.pins.borrow().clone()
    }

    /// The limits in force, and what tells when they change.
    pub(crate) fn watch_limits(&self) -> watch::Receiver<Arc<Limits>> {
        self.0.shared.limits.subscribe()
    }

    /// The versions that are wanted, and what tells when they change.
    pub(crate) fn watch_pins(&self) -> watch::Receiver<Pins> {
        self.0.shared.pins.subscribe()
    }

    /// The grants in force, and what tells when they change.
    pub(crate) fn grants(&self) -> watch::Receiver<Arc<Grants>> {
        self.0.shared.grants.subscribe()
    }

    /// What the plugin may touch at present.
    pub(crate) fn allowance(&self, plugin: &Loaded) -> Result<Arc<Allowance>, JobError> {
        let grants = Arc::clone(&self.0.shared.grants.borrow());
        plugin.allowance(&grants).map_err(|missing| {
            let message = format!("`{}` cannot run: {missing}", plugin.name);
            JobError::new(ErrorCode::Denied, message)
        })
    }
}
