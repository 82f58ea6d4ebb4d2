//! The log of the two programs that run for long, on standard error: lines for people,
//! which journald takes at the right level, or one JSON object a line for programs.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;

use drover_vitals::LogFormat;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Sends what the filter lets through to standard error.
pub(crate) fn start(filter: EnvFilter, format: LogFormat) {
    let is_terminal = io::IsTerminal::is_terminal(&io::stderr());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(is_terminal && format == LogFormat::Text)
        .with_target(false);
    match format {
        LogFormat::Json => log.event_format(Json).init(),
        LogFormat::Text if is_journal() => log.event_format(Journal::default()).init(),
        LogFormat::Text => log.init(),
    }
}

/// Whether journald reads standard error, which it says by the device and inode of it.
fn is_journal() -> bool {
    let told = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stream = std::fs::metadata("/dev/stderr");
    stream.is_ok_and(|stream| told == format!("{}:{}", stream.dev(), stream.ino()))
}

/// Lines as journald takes them: the level in front, and no time, as it has its own.
struct Journal(Format<Full, ()>);

impl Default for Journal {
    fn default() -> Self {
        Self(Format::default().without_time().with_target(false).with_level(false))
    }
}

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", severity(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// The level as syslog counts it.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// One JSON object a line: `time` (RFC 3339, UTC), `level`, `target` (the module),
/// `message`, and the fields of the event under their own names.
struct Json;

/// What every line has.
const OWN: [&str; 3] = ["time", "level", "target"];

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let Fields(mut line) = fields;
        let level = metadata.level().as_str().to_ascii_lowercase();
        let values = [jiff::Timestamp::now().to_string(), level, metadata.target().to_owned()];
        line.extend(OWN.iter().map(|name| (*name).to_owned()).zip(values.map(Value::from)));
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// The fields of an event.
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let name = if OWN.contains(&name) { format!("{name}_") } else { name.to_owned() };
        self.0.insert(name, value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(
            field,
            u64::try_from(value).map_or_else(|_| value.to_string().into(), Value::from),
        );
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::from(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, Value::from(value.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is logged by `work` with a format.
    fn logged<F>(format: F, work: impl FnOnce()) -> String
    where
        F: FormatEvent<
                tracing_subscriber::Registry,
                tracing_subscriber::fmt::format::DefaultFields,
            > + Send
            + Sync
            + 'static,
    {
        use tracing_subscriber::layer::SubscriberExt;

        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (sink, of_layer) = (Sink::default(), Sink::default());
        let writer = Sink(Arc::clone(&of_layer.0));
        drop(sink);
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .event_format(format)
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, work);
        let bytes = of_layer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_of_json_has_the_time_the_level_the_module_and_every_field_in_its_type() {
        let text = logged(Json, || {
            tracing::warn!(node = %"1.7", jobs = 3, is_late = true, level = "x", "a \"note\"\nmore");
        });
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
        assert!(jiff::Timestamp::now().as_second() - time.as_second() < 60, "{line}");
        assert!(line["target"].as_str().unwrap().starts_with("drover_cli::log"), "{line}");
        for (name, value) in [
            ("level", Value::from("warn")),
            ("message", Value::from("a \"note\"\nmore")),
            ("node", Value::from("1.7")),
            ("jobs", Value::from(3)),
            ("is_late", Value::from(true)),
            ("level_", Value::from("x")),
        ] {
            assert_eq!(line[name], value, "{line}");
        }
    }

    #[test]
    fn journald_is_told_the_level_and_no_time() {
        let text = logged(Journal::default(), || {
            tracing::error!(node = %"1.7", "it broke");
            tracing::info!("all is well");
        });
        assert_eq!(text, "<3>it broke node=1.7\n<6>all is well\n");
    }
}
