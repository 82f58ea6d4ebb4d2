//! `wit/log.wit`: records into the job's result, to whoever takes down what the
//! job says, and into the host's own log for those who debug.

use drover_api::Level;

use crate::bindings::drover::plugin::log::{Host, Level as GuestLevel};
use crate::instance::State;

impl Host for State {
    async fn write(&mut self, level: GuestLevel, message: String) {
        let level = number(level);
        tracing::debug!(
            job = self.call.job,
            plugin = &*self.call.plugin,
            level = level.name(),
            message = crate::records::cut(&message, TRACED),
            "plugin record"
        );
        self.call.say(crate::records::record(level, &message)).await;
    }
}

/// As much of a message as goes into the host's log.
const TRACED: usize = 1024;

fn number(level: GuestLevel) -> Level {
    match level {
        GuestLevel::Public => Level::PUBLIC,
        GuestLevel::Operator => Level::OPERATOR,
        GuestLevel::Text => Level::TEXT,
        GuestLevel::Structured => Level::STRUCTURED,
        GuestLevel::Warning => Level::WARNING,
        GuestLevel::Error => Level::ERROR,
        GuestLevel::Critical => Level::CRITICAL,
        GuestLevel::Debug => Level::DEBUG,
    }
}
