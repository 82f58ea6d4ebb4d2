//! `wit/log.wit`: records into the job's result, to whoever takes down what the
//! job says, and into the host's own log for those who debug.

use drover_api::Level;

use crate::bindings::drover::plugin::log::{FieldValue, Host, Level as GuestLevel};
use crate::instance::State;
use crate::job::{RecordFields, RecordValue};
use crate::records::cut;

/// The most fields of a record, and the longest names and texts in them, in bytes;
/// see `wit/log.wit`.
const FIELDS: usize = 32;
const NAME: usize = 64;
const TEXT: usize = 1 << 10;

impl Host for State {
    async fn write(&mut self, level: GuestLevel, message: String) {
        self.write_down(level, &message, Vec::new()).await;
    }

    async fn write_with_fields(
        &mut self,
        level: GuestLevel,
        message: String,
        fields: Vec<(String, FieldValue)>,
    ) {
        self.write_down(level, &message, bounded(fields)).await;
    }
}

impl State {
    async fn write_down(&mut self, level: GuestLevel, message: &str, fields: RecordFields) {
        let level = number(level);
        tracing::debug!(
            job = self.call.job,
            plugin = &*self.call.plugin,
            level = level.name(),
            message = cut(message, TRACED),
            "plugin record"
        );
        self.call.say(crate::records::record(level, message), fields).await;
    }
}

/// As much of a message as goes into the host's log.
const TRACED: usize = 1024;

/// As many and as long as a record's fields may be.
fn bounded(fields: Vec<(String, FieldValue)>) -> RecordFields {
    let value = |value| match value {
        FieldValue::Text(text) => RecordValue::Text(cut(&text, TEXT).to_owned()),
        FieldValue::Integer(number) => RecordValue::Integer(number),
        FieldValue::Float(number) => RecordValue::Float(number),
    };
    let fields = fields.into_iter().take(FIELDS);
    fields.map(|(name, given)| (cut(&name, NAME).to_owned(), value(given))).collect()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_as_many_and_as_long_as_they_may_be() {
        let long = || ("ä".repeat(NAME), FieldValue::Text("ä".repeat(TEXT)));
        let kept = bounded(std::iter::repeat_with(long).take(FIELDS + 1).collect());
        assert_eq!(kept.len(), FIELDS);
        let expected = ("ä".repeat(NAME / 2), RecordValue::Text("ä".repeat(TEXT / 2)));
        assert!(kept.iter().all(|field| *field == expected));
    }
}
