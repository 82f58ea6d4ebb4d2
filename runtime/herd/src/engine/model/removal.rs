//! The end of containers.

use jiff::Timestamp;

use super::filters::has_label;
use super::{Filters, Model, Outcome, State};
use crate::engine::answer::Refusal;

const SIGKILL: i32 = 9;

/// How many removed containers those who wait for them can still learn of.
const REMEMBERED: usize = 1024;

/// How a container is removed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Removal {
    /// Kill it if it runs.
    pub(crate) force: bool,
    /// Its anonymous volumes too.
    pub(crate) volumes: bool,
}

impl Model {
    pub(crate) fn remove(&mut self, key: &str, how: Removal, now: Timestamp) -> Outcome<()> {
        let container = self.container_mut(key)?;
        let id = container.id.clone();
        if container.state.is_running() && !how.force {
            let (state, cure) = match container.state {
                State::Paused => ("paused", "Unpause and then stop"),
                State::Restarting { .. } => ("restarting", "Stop"),
                _ => ("running", "Stop"),
            };
            return Err(Refusal::conflict(format!(
                "You cannot remove a {state} container {id}. {cure} the container before \
                 attempting removal or force remove"
            )));
        }
        match container.state {
            State::Running | State::Paused => {
                container.rests = true;
                container.state = State::Running;
                self.signal(&id, SIGKILL, now);
                self.advance_containers(now);
            }
            _ => {}
        }
        self.destroy(&id, how.volumes, now);
        Ok(())
    }

    /// Removes a container that does not run.
    pub(super) fn destroy(&mut self, id: &str, with_volumes: bool, now: Timestamp) {
        self.container_event(id, "destroy", &[], now);
        let Some(container) = self.containers.remove(id) else { return };
        for exec in container.execs {
            self.execs.remove(&exec);
        }
        self.gone.push_back((container.id, container.exit_code));
        if self.gone.len() > REMEMBERED {
            self.gone.pop_front();
        }
        if with_volumes {
            for name in container.mounts.into_iter().filter_map(|mount| mount.volume) {
                let is_anonymous = self.volumes.get(&name).is_some_and(|one| one.anonymous);
                if is_anonymous {
                    // Somebody else may have it.
                    let _ = self.remove_volume(&name, false, now);
                }
            }
        }
    }

    /// Removes the containers that do not run, and returns their ids.
    pub(crate) fn prune_containers(&mut self, filters: &Filters, now: Timestamp) -> Vec<String> {
        let stopped = self.containers.values().filter(|container| {
            let labels = &container.config["Labels"];
            !container.state.is_running()
                && filters.all("label", |wanted| has_label(labels, wanted))
                && filters.all("label!", |unwanted| !has_label(labels, unwanted))
        });
        let stopped: Vec<String> = stopped.map(|container| container.id.clone()).collect();
        for id in &stopped {
            self.destroy(id, false, now);
        }
        stopped
    }
}
