//! What follows from the controller's statement, and what somebody has to see to.

use drover_signing::{Statement, StatementError};
use drover_update::{Event, Stage, Version};

use super::{Keeper, Plugin};
use crate::node::Node;
use crate::update::news::Heard;
use crate::update::{Concern, ConcernKind};

impl Keeper {
    /// Ends updates to versions that are there no more. One that was asked for after the
    /// statement may be newer than it, and asks for one of its own.
    pub(super) async fn take_heard(&mut self, node: &Node, heard: Heard) {
        let Heard { statement, asked } = heard;
        let withdrawn = |(name, plugin): (&String, &Plugin)| {
            if plugin.asked.is_some_and(|update| update >= asked) {
                return None;
            }
            let update = plugin.record.update.as_ref()?;
            let error = withdrawn(&statement, name, &update.target)?;
            Some((name.clone(), format!("it was withdrawn meanwhile: {error}")))
        };
        let gone: Vec<_> = self.plugins.iter().filter_map(withdrawn).collect();
        self.stated = Some(statement);
        for (name, reason) in gone {
            self.happened(node, &name, Event::Refused(reason)).await;
        }
    }

    /// Finds out what somebody has to see to; whether that is something else now.
    pub(super) fn find_concerns(&self) -> bool {
        let concerns = self.plugins.iter().flat_map(|(name, plugin)| {
            let held = plugin.record.update.as_ref().and_then(|update| match &update.stage {
                Stage::Held { reason } => Some((&update.target, ConcernKind::Held(reason.clone()))),
                _ => None,
            });
            let active = plugin.record.active().and_then(|active| {
                let error = withdrawn(self.stated.as_ref()?, name, active)?;
                Some((active, ConcernKind::Withdrawn(error.to_string())))
            });
            let concern = |(of, what): (&Version, ConcernKind)| Concern {
                name: name.clone(),
                version: of.version.to_string(),
                what,
            };
            held.into_iter().chain(active).map(concern)
        });
        let concerns: Vec<_> = concerns.collect();
        self.concerns.send_if_modified(|now| {
            let is_new = *now != concerns;
            *now = concerns;
            is_new
        })
    }
}

/// Why nobody is to run a version any more; none if that is not stated.
fn withdrawn(statement: &Statement, name: &str, version: &Version) -> Option<StatementError> {
    statement.version(name, &version.version.to_string()).err()
}
