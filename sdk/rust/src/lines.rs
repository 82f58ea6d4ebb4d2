//! Parsers of log lines: lines in, events with a time, a level and fields out.
//!
//! A plugin that lists one in [`plugin!`](crate::plugin), alone or beside
//! operations, can be put behind any source of lines on a node. Each source has
//! an instance of its own, with one parser in it.
//!
//! ```
//! use drover_sdk::lines::{Event, Format, LineParser, Name, OpenError, parse_all};
//! use drover_sdk::plugin;
//!
//! plugin!(parser = Sensors);
//!
//! /// Lines such as `1700000000 kitchen 21.5`.
//! struct Sensors;
//!
//! const ROOM: Name = Name::of(0);
//! const DEGREES: Name = Name::of(1);
//!
//! impl LineParser for Sensors {
//!     fn formats() -> Vec<Format> {
//!         vec![Format::new("sensors", "Lines of the house's sensors.")]
//!     }
//!
//!     fn open(_format: &str, _options: &str) -> Result<Self, OpenError> {
//!         Ok(Self)
//!     }
//!
//!     fn names(&self) -> Vec<String> {
//!         vec!["room".into(), "degrees".into()]
//!     }
//!
//!     fn parse_line(&mut self, line: &[u8], event: &mut Event<'_>) -> Option<()> {
//!         let text = std::str::from_utf8(line).ok()?;
//!         let (time, rest) = text.split_once(' ')?;
//!         let (room, degrees) = rest.split_once(' ')?;
//!         event.time_ms(time.parse::<u64>().ok()? * 1000);
//!         event.text(ROOM, room.as_bytes());
//!         event.float(DEGREES, degrees.parse().ok()?);
//!         Some(())
//!     }
//! }
//!
//! # fn main() {
//! // What follows would be in `mod tests`.
//! let events = parse_all::<Sensors>("sensors", "{}", b"1700000000 kitchen 21.5\n???\n").unwrap();
//! assert_eq!(events[0].fields["degrees"], 21.5);
//! assert!(!events[1].is_parsed);
//! # }
//! ```
//!
//! Texts that are handed over as parts of the line cost nothing: only their
//! place goes to the host. Anything else is copied.

mod batch;
mod ends;
mod marks;
mod packing;
mod trial;

use schemars::JsonSchema;

use crate::bindings::parsing::exports::drover::plugin::line_parsing as contract;
use crate::operation::arguments_schema;

pub use crate::bindings::packing::exports::drover::plugin::packed_lines::Packed;
pub use crate::bindings::parsing::exports::drover::plugin::line_parsing::{OpenError, Parsed};
pub use crate::log::Level;
pub use batch::{Batch, Event, Name};
pub use trial::{Tried, parse_all};

/// A form of log lines.
#[derive(Debug, Clone)]
pub struct Format {
    /// Lower-case letters, digits, `-` and `_`, starting with a letter.
    pub name: &'static str,
    /// For people: a first line that says which lines it is for, then details.
    pub doc: &'static str,
    /// A JSON Schema of the options.
    pub options: String,
}

impl Format {
    /// A format without options.
    #[must_use]
    pub fn new(name: &'static str, doc: &'static str) -> Self {
        let options = r#"{"type":"object","additionalProperties":false}"#.to_owned();
        Self { name, doc, options }
    }

    /// A format with the options that [`#[data]`](crate::data) describes.
    #[must_use]
    pub fn with_options<T: JsonSchema>(name: &'static str, doc: &'static str) -> Self {
        Self { name, doc, options: arguments_schema::<T>() }
    }
}

/// The parser of one source of lines.
pub trait LineParser: Sized {
    /// What it can parse, the same at each call.
    fn formats() -> Vec<Format>;

    /// Opens a format. `options` is a JSON object that fits its schema.
    ///
    /// # Errors
    ///
    /// If there is no such format, or the options are wrong all the same.
    fn open(format: &str, options: &str) -> Result<Self, OpenError>;

    /// The names of fields that are known beforehand: [`Name::of`] is the index
    /// in this list.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Parses one line, without its end, or says by `None` that it is none of
    /// its format; what was found so far is forgotten then.
    fn parse_line(&mut self, line: &[u8], event: &mut Event<'_>) -> Option<()>;

    /// Parses a batch: each line alone, unless this is overridden by who has
    /// events of several lines.
    fn parse(&mut self, batch: &mut Batch<'_>) {
        batch.each_line(|line, event| self.parse_line(line, event));
    }
}

/// For the code that the macros generate.
#[doc(hidden)]
#[must_use]
pub fn describe_formats<P: LineParser>() -> Vec<contract::Format> {
    let formats = P::formats().into_iter();
    let format = |Format { name, doc, options }: Format| contract::Format {
        name: name.to_owned(),
        doc: doc.to_owned(),
        options,
    };
    formats.map(format).collect()
}

/// For the code that the macros generate.
///
/// # Errors
///
/// See [`LineParser::open`].
#[doc(hidden)]
pub fn open<P: LineParser>(
    slot: &mut Option<P>,
    format: &str,
    options: &str,
) -> Result<(), OpenError> {
    *slot = Some(P::open(format, options)?);
    Ok(())
}

/// For the code that the macros generate. Without a parser, which the host
/// opens first, nothing is parsed.
#[doc(hidden)]
#[must_use]
pub fn answer<P: LineParser>(parser: Option<&mut P>, lines: &[u8], is_last: bool) -> Parsed {
    packing::unpacked(packed_answer(parser, lines, is_last))
}

/// The same in numbers.
#[doc(hidden)]
#[must_use]
pub fn packed_answer<P: LineParser>(parser: Option<&mut P>, lines: &[u8], is_last: bool) -> Packed {
    let names = parser.as_ref().map(|parser| parser.names()).unwrap_or_default();
    let mut batch = Batch::new(lines, is_last, names);
    if let Some(parser) = parser {
        parser.parse(&mut batch);
    }
    batch.into_answer()
}
