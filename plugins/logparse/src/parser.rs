//! The parser of one source: one of the formats, with its options.

use std::time::{SystemTime, UNIX_EPOCH};

use drover_sdk::lines::{Batch, Event, Format, Level, LineParser, OpenError};
use drover_sdk::serde::de::DeserializeOwned;
use drover_sdk::serde_json;

use crate::access::{Dialect, StatusLevels, Template};
use crate::multiline::{Joiner, Multiline};
use crate::options::{Access, Kernel, Lines, Matching, Structured, Zoned};
use crate::pattern::Pattern;
use crate::structured::Keys;
use crate::time::Clock;
use crate::zone::Zone;
use crate::{error_log, kernel, structured, syslog, time};

/// A parser with all that it was told.
#[derive(Debug)]
pub struct Parser {
    form: Form,
    names: Vec<String>,
    joiner: Option<Joiner>,
    clock: Clock,
}

/// How lines are read.
#[derive(Debug)]
enum Form {
    Access { template: Template, levels: StatusLevels },
    NginxError,
    ApacheError,
    Syslog,
    Kernel { booted_ms: Option<u64> },
    Json(Keys),
    Logfmt(Keys),
    Pattern(Box<Pattern>),
    Lines(Level),
}

impl LineParser for Parser {
    fn formats() -> Vec<Format> {
        vec![
            Format::with_options::<Access>(
                "nginx",
                "Access log of nginx: `combined`, or any `log_format`.",
            ),
            Format::with_options::<Zoned>("nginx-error", "Error log of nginx."),
            Format::with_options::<Access>(
                "apache",
                "Access log of Apache: `combined`, `common`, `vhost_combined`, or any `LogFormat`.",
            ),
            Format::with_options::<Zoned>("apache-error", "Error log of Apache 2.2 and 2.4."),
            Format::with_options::<Zoned>(
                "syslog",
                "Lines of RFC 3164 and RFC 5424, and what syslog daemons write to files.",
            ),
            Format::with_options::<Kernel>(
                "kernel",
                "The kernel's ring buffer, as dmesg, /dev/kmsg and journals show it.",
            ),
            Format::with_options::<Structured>("json", "A JSON object in each line."),
            Format::with_options::<Structured>("logfmt", "Lines of `key=value` pairs."),
            Format::with_options::<Matching>(
                "regex",
                "Lines that match a regular expression with named groups.",
            ),
            Format::with_options::<Lines>(
                "lines",
                "Any lines, which may be joined to records; they have no fields.",
            ),
        ]
    }

    fn open(format: &str, options: &str) -> Result<Self, OpenError> {
        let parser = match format {
            "nginx" => Self::access(Dialect::Nginx, &read(options)?),
            "apache" => Self::access(Dialect::Apache, &read(options)?),
            "nginx-error" => Self::zoned(Form::NginxError, error_log::NAMES, &read(options)?),
            "apache-error" => Self::zoned(Form::ApacheError, error_log::NAMES, &read(options)?),
            "syslog" => Self::zoned(Form::Syslog, syslog::NAMES, &read(options)?),
            "kernel" => Self::kernel(&read(options)?),
            "json" => Self::structured(Form::Json, read(options)?),
            "logfmt" => Self::structured(Form::Logfmt, read(options)?),
            "regex" => Self::pattern(&read(options)?),
            "lines" => Self::lines(&read(options)?),
            _ => return Err(OpenError::UnknownFormat),
        };
        parser.map_err(OpenError::InvalidOptions)
    }

    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn parse_line(&mut self, line: &[u8], event: &mut Event<'_>) -> Option<()> {
        let clock = &self.clock;
        match &mut self.form {
            Form::Access { template, levels } => template.parse(line, *levels, event),
            Form::NginxError => error_log::nginx(line, clock, event),
            Form::ApacheError => error_log::apache(line, clock, event),
            Form::Syslog => syslog::parse(line, clock, event),
            Form::Kernel { booted_ms } => kernel::parse(line, *booted_ms, clock, event),
            Form::Json(keys) => structured::json(line, keys, clock, event),
            Form::Logfmt(keys) => structured::logfmt(line, keys, clock, event),
            Form::Pattern(pattern) => pattern.parse(line, clock, event),
            Form::Lines(level) => {
                event.level(*level);
                Some(())
            }
        }
    }

    fn parse(&mut self, batch: &mut Batch<'_>) {
        self.clock.now_ms = now_ms();
        // The longest of all logs have a loop of their own.
        if let (Form::Access { template, levels }, None) = (&self.form, &self.joiner) {
            return batch.each_line(|line, event| template.parse(line, *levels, event));
        }
        while let Some((line, line_length)) = batch.line() {
            let length = match &self.joiner {
                None => line_length,
                Some(joiner) => match joiner.next(batch) {
                    Some(length) => length,
                    None => return,
                },
            };
            let mut event = batch.event(length);
            match self.parse_line(line, &mut event) {
                Some(()) => event.finish(),
                None => event.unparsed(),
            }
        }
    }
}

impl Parser {
    fn new(form: Form, names: &[&str]) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self { form, names, joiner: None, clock: Clock::default() }
    }

    fn access(dialect: Dialect, options: &Access) -> Result<Self, String> {
        let template = Template::new(dialect, options.form.as_deref().unwrap_or("combined"))?;
        let levels = StatusLevels::new(options.client_errors, options.server_errors);
        let names = template.names.clone();
        Ok(Self { names, ..Self::new(Form::Access { template, levels }, &[]) })
    }

    fn zoned(form: Form, names: &[&str], options: &Zoned) -> Result<Self, String> {
        Self::new(form, names).in_zone(options.zone.as_deref())?.joining(options.multiline.as_ref())
    }

    fn kernel(options: &Kernel) -> Result<Self, String> {
        let booted = options.booted.as_ref().map(|text| {
            let found = time::iso(text.as_bytes(), &Clock::default());
            found.map(|(time, _)| time).ok_or_else(|| {
                format!("booted = `{text}` is no time: write it like 2026-11-21T10:00:00Z")
            })
        });
        let form = Form::Kernel { booted_ms: booted.transpose()? };
        Self::new(form, kernel::NAMES).in_zone(options.zone.as_deref())
    }

    fn structured(form: fn(Keys) -> Form, options: Structured) -> Result<Self, String> {
        let Structured { time, level, message, zone } = options;
        Self::new(form(Keys::new(time, level, message)), &[]).in_zone(zone.as_deref())
    }

    fn pattern(options: &Matching) -> Result<Self, String> {
        let pattern = Pattern::new(&options.pattern)?;
        let names = pattern.names.clone();
        let parser = Self::new(Form::Pattern(Box::new(pattern)), &[]);
        let parser = Self { names, ..parser };
        parser.in_zone(options.zone.as_deref())?.joining(options.multiline.as_ref())
    }

    fn lines(options: &Lines) -> Result<Self, String> {
        let level = options.level.map_or(Level::Text, Level::from);
        Self::new(Form::Lines(level), &[]).joining(options.multiline.as_ref())
    }

    fn in_zone(mut self, zone: Option<&str>) -> Result<Self, String> {
        if let Some(zone) = zone {
            self.clock.zone = Zone::parse(zone)?;
        }
        Ok(self)
    }

    fn joining(mut self, multiline: Option<&Multiline>) -> Result<Self, String> {
        self.joiner = multiline.map(Joiner::new).transpose()?;
        Ok(self)
    }
}

fn read<T: DeserializeOwned>(options: &str) -> Result<T, OpenError> {
    serde_json::from_str(options).map_err(|error| OpenError::InvalidOptions(error.to_string()))
}

fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or_default()
}
