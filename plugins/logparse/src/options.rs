//! The options of each format, as admins write them and `drover ops` shows them.

use drover_sdk::data;

use crate::levels::LevelName;
use crate::multiline::Multiline;

/// Options of access logs.
#[data]
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// The form of the lines: `combined`, for Apache also `common` and
    /// `vhost_combined`, or the text of `log_format` or `LogFormat` as it is in
    /// the server's configuration.
    #[serde(default)]
    pub(crate) form: Option<String>,
    /// The level of answers with a status from 400 to 499; `text` unless given.
    #[serde(default)]
    pub(crate) client_errors: Option<LevelName>,
    /// The level of answers with a status from 500 on; `error` unless given.
    #[serde(default)]
    pub(crate) server_errors: Option<LevelName>,
}

/// Options of lines whose times have no zone.
#[data]
#[derive(Debug, Default)]
pub(crate) struct Zoned {
    /// The zone of times that do not say theirs, such as `Europe/Berlin` or
    /// `+02:00`; UTC unless given.
    #[serde(default)]
    pub(crate) zone: Option<String>,
    /// Which lines are one record; each is one of its own unless given.
    #[serde(default)]
    pub(crate) multiline: Option<Multiline>,
}

/// Options of lines of the kernel.
#[data]
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    /// When the machine started, such as `2026-11-21T10:00:00Z`, for lines that
    /// only say how long after that they were written. Without it such lines
    /// have no time, and the seconds in `uptime`.
    #[serde(default)]
    pub(crate) booted: Option<String>,
    /// The zone of times that do not say theirs, such as `Europe/Berlin` or
    /// `+02:00`; UTC unless given.
    #[serde(default)]
    pub(crate) zone: Option<String>,
}

/// Options of lines that name their values.
#[data]
#[derive(Debug, Default)]
pub(crate) struct Structured {
    /// The name of the value that says when it was; `time`, `timestamp`, `ts`,
    /// `@timestamp` and such unless given.
    #[serde(default)]
    pub(crate) time: Option<String>,
    /// The name of the value that says how bad it is; `level`, `severity`, `lvl`
    /// and such unless given.
    #[serde(default)]
    pub(crate) level: Option<String>,
    /// The name of the value that becomes the field `message`; `message` or
    /// `msg` unless given.
    #[serde(default)]
    pub(crate) message: Option<String>,
    /// The zone of times that do not say theirs, such as `Europe/Berlin` or
    /// `+02:00`; UTC unless given.
    #[serde(default)]
    pub(crate) zone: Option<String>,
}

/// Options of lines that match a pattern.
#[data]
#[derive(Debug)]
pub(crate) struct Matching {
    /// A regular expression with named groups, such as
    /// `^(?<time>\S+) (?<level>\w+) (?<message>.*)`. Each group becomes a field;
    /// `time` and `level` say when it was and how bad.
    pub(crate) pattern: String,
    /// The zone of times that do not say theirs, such as `Europe/Berlin` or
    /// `+02:00`; UTC unless given.
    #[serde(default)]
    pub(crate) zone: Option<String>,
    /// Which lines are one record; each is one of its own unless given. The
    /// pattern is matched with the first of them.
    #[serde(default)]
    pub(crate) multiline: Option<Multiline>,
}

/// Options of any lines.
#[data]
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The level of all lines; `text` unless given.
    #[serde(default)]
    pub(crate) level: Option<LevelName>,
    /// Which lines are one record; each is one of its own unless given.
    #[serde(default)]
    pub(crate) multiline: Option<Multiline>,
}
