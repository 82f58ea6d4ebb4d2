//! Operations for people who look for the format of their lines.

use drover_sdk::lines::{LineParser, OpenError, parse_all};
use drover_sdk::serde_json::{Map, Value};
use drover_sdk::{Failure, data, job, task};

use crate::parser::Parser;

/// The longest line, in bytes, as at the host.
const LINE: usize = 64 << 10;

/// One event.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Tested {
    /// The line, or the lines that belong together.
    text: String,
    /// Whether they are of the format.
    parsed: bool,
    /// When it was, in milliseconds since 1970 (UTC).
    time: Option<u64>,
    /// Who it is for and how bad it is, in the numbers of the level protocol.
    level: u8,
    /// What was found in it.
    fields: Map<String, Value>,
}

/// Shows what a format makes of lines.
///
/// To be tried until the options are right, and then written into the
/// configuration.
#[task]
pub(crate) fn test(
    /// The name of the format, of those that `formats` lists.
    format: String,
    /// The options of the format.
    options: Option<Map<String, Value>>,
    /// The lines; without them the data beside the command is taken.
    lines: Option<Vec<String>>,
) -> Result<Vec<Tested>, Failure> {
    let text = match lines {
        Some(lines) => lines.join("\n").into_bytes(),
        None => job::data(),
    };
    if text.split(|byte| *byte == b'\n').any(|line| line.len() >= LINE) {
        let message = format!("a line has more than {LINE} bytes, which the host cuts before");
        return Err(Failure::new("long-line", message));
    }
    let options = Value::Object(options.unwrap_or_default()).to_string();
    let events = parse_all::<Parser>(&format, &options, &text).map_err(|error| match error {
        OpenError::UnknownFormat => {
            let names: Vec<_> = Parser::formats().iter().map(|format| format.name).collect();
            let message = format!("there is no format `{format}`; there are: {}", names.join(", "));
            Failure::new("unknown-format", message)
        }
        OpenError::InvalidOptions(reason) => Failure::new(
            "invalid-options",
            format!("the options of `{format}` are wrong: {reason}"),
        ),
    })?;
    let tested = events.into_iter().map(|event| Tested {
        text: String::from_utf8_lossy(&event.text).trim_end_matches(['\n', '\r']).to_owned(),
        parsed: event.is_parsed,
        time: (event.time_ms != 0).then_some(event.time_ms),
        level: event.level,
        fields: event.fields,
    });
    Ok(tested.collect())
}

/// A format of log lines.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Described {
    /// Its name.
    name: String,
    /// Which lines it is for.
    doc: String,
    /// A JSON Schema of its options.
    options: Value,
}

/// Lists the formats with their options.
#[task]
pub(crate) fn formats() -> Vec<Described> {
    let described = |format: drover_sdk::lines::Format| Described {
        name: format.name.to_owned(),
        doc: format.doc.to_owned(),
        options: format.options.parse().unwrap_or_default(),
    };
    Parser::formats().into_iter().map(described).collect()
}
