//! What the keeper does otherwise where it keeps the agent's own program.

use drover_api::{ErrorCode, JobError, OWN_PROGRAM};
use drover_update::{Effect, Event, Stage, told};

use super::{Keeper, Plugin, StrandName, write};
use crate::node::Node;

impl Plugin {
    /// The highest version of the program that did well here; this one does.
    pub(super) fn newest_own(&self) -> Option<semver::Version> {
        let own = semver::Version::parse(drover_api::version()).ok();
        self.newest().into_iter().chain(own).max()
    }
}

impl Keeper {
    /// Whether another version may take the place of this one at all.
    pub(super) fn check_own(&self) -> Result<(), JobError> {
        if self.own.is_none() {
            let reason = "this agent is not a program of its own, which could be replaced";
            return Err(JobError::new(ErrorCode::Denied, reason));
        }
        let trust = self.means.trust.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if trust.has_agent_keys() {
            return Ok(());
        }
        let reason = "no key counts for the agent itself, so it cannot be replaced: add \
                      `agent_keys = [\"NAME\"]` to `[updates]` of the agent's configuration, with \
                      the name of a key of `[trusted_keys.NAME]`";
        Err(JobError::new(ErrorCode::Denied, reason))
    }

    /// Goes on where the launcher left off, and tells what it could not.
    pub(super) async fn take_up_own(&mut self, node: &Node) {
        let Some(running) = self.own.as_ref().map(|own| own.program.pushed) else { return };
        let host = self.means.host.clone();
        let Some(plugin) = self.plugins.get_mut(OWN_PROGRAM) else { return };
        if plugin.record.program.as_ref().is_some_and(|program| program.is_untold) {
            let (before, ended) = (plugin.record.clone(), plugin.record.last.clone());
            plugin.tell(&host, OWN_PROGRAM, &before, ended.as_ref());
            let record = told(&plugin.record);
            match write(&plugin.files, &record).await {
                Ok(()) => plugin.record = record,
                // It is told once more then.
                Err(error) => tracing::warn!(%error, "the record of the agent cannot be written"),
            }
        }
        let update = plugin.record.update.as_ref();
        let watched = update.filter(|update| matches!(update.stage, Stage::Watching { .. }));
        let event = match (watched, running) {
            (Some(update), Some(running)) if update.target.hash == running => {
                Event::Served(running, None)
            }
            // The launcher starts what is watched; this is somebody else's start.
            (Some(_), _) => return,
            (None, _) => Event::Started,
        };
        self.happened(node, OWN_PROGRAM, event).await;
    }

    pub(super) fn begin_own(&mut self, node: &Node, effect: Effect) {
        let (Some(own), Some(plugin)) = (self.own.clone(), self.plugins.get(OWN_PROGRAM)) else {
            return;
        };
        let node = node.clone();
        match effect {
            Effect::Prepare(version) => {
                let path = plugin.files.version(&version);
                self.update(OWN_PROGRAM, own.prepare(path, version));
            }
            Effect::Test(version) => {
                let path = plugin.files.version(&version);
                self.update(OWN_PROGRAM, own.test(path));
            }
            Effect::Watch(_, _, time) => self.update(OWN_PROGRAM, own.watch(node, time)),
            Effect::Serve(version) if own.program.pushed == Some(version.hash) => {}
            Effect::Serve(_) | Effect::Withdraw => {
                self.spawn(OWN_PROGRAM, StrandName::Serving, None, own.hand_over(node));
            }
            Effect::Fetch(_) | Effect::Verify(_) | Effect::Sweep => {}
        }
    }
}
