//! What those who follow an update, and the node's log, are told of it.

use drover_api::{Level, UpdateEnd, UpdateOutcome};
use drover_plugin_host::Host;
use drover_update::{Record, Stage, short};

use super::Plugin;

impl Plugin {
    /// Tells what is new since the record was `before`.
    pub(super) fn tell(
        &mut self,
        host: &Host,
        name: &str,
        before: &Record,
        ended: Option<&UpdateEnd>,
    ) {
        if let Some(end) = ended {
            let (level, text) = in_words(name, end);
            host.tell(level, name, text);
            // Whoever waits for the same content waits for this very update.
            let is_its = |hash: &str| hash == end.hash;
            let followers = std::mem::take(&mut self.followers);
            let (its, others) =
                followers.into_iter().partition(|one| is_its(&one.hash.to_string()));
            self.followers = others;
            for follower in its {
                let _ = follower.end.send(end.clone());
            }
        }
        let stage = |record: &Record| record.update.as_ref().map(|update| update.stage.clone());
        if stage(before) != stage(&self.record) {
            self.tell_stage(host, name, before);
        }
        self.tell_step();
    }

    fn tell_stage(&self, host: &Host, name: &str, before: &Record) {
        let Some(update) = &self.record.update else { return };
        let target = &update.target;
        let what =
            format!("version {} of `{name}` (sha256 {})", target.version, short(target.hash));
        let is_new = before.update.as_ref().is_none_or(|before| before.target.hash != target.hash);
        if is_new {
            let by = target.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            host.tell(Level::OPERATOR, name, format!("{what} was asked for{by}"));
        }
        if let Stage::Held { reason } = &update.stage {
            host.tell(Level::WARNING, name, format!("{what} is held: {reason}"));
        }
    }

    /// Tells those who follow how far the update is.
    pub(super) fn tell_step(&mut self) {
        let Some(update) = &self.record.update else { return };
        let status = update.status(self.fetched);
        for follower in self.followers.iter().filter(|one| one.hash == update.target.hash) {
            let _ = follower.steps.try_send(status.clone());
        }
    }

    /// Notes why the active version does not serve, and tells it once.
    pub(super) fn set_trouble(&mut self, host: &Host, name: &str, reason: &str) {
        if self.trouble.as_deref() != Some(reason) {
            let text = format!("the pushed version of `{name}` does not serve: {reason}");
            host.tell(Level::ERROR, name, text);
            self.trouble = Some(reason.to_owned());
        }
    }
}

fn in_words(name: &str, end: &UpdateEnd) -> (Level, String) {
    let what = format!("version {} of `{name}`", end.version);
    let reason = end.reason.as_deref().unwrap_or_default();
    match end.outcome {
        UpdateOutcome::Active => (Level::OPERATOR, format!("{what} is active")),
        UpdateOutcome::FellBack => {
            let back = match &end.back_to {
                Some(back) => format!("version {back} serves again"),
                None => "nothing serves, as nothing did before".to_owned(),
            };
            (Level::CRITICAL, format!("{what} did badly, and {back}: {reason}"))
        }
        UpdateOutcome::Superseded => (Level::OPERATOR, format!("{what} is given up: {reason}")),
        UpdateOutcome::Refused | UpdateOutcome::Unknown => {
            (Level::ERROR, format!("{what} is refused at {}: {reason}", end.at.as_str()))
        }
    }
}
