//! Makes events with a time, a level and fields of the log lines of common
//! programs.
//!
//! [`Parser`] is what the host puts behind a source of lines; its formats and
//! their options are in the README beside this crate. The operations are for
//! people who look for the right format: `test` shows what becomes of lines.
//!
//! | what | file |
//! |---|---|
//! | which format it is, with its options | `parser.rs`, `options.rs` |
//! | access logs | `access.rs`, `access/template.rs` |
//! | error logs | `error_log.rs` |
//! | syslog, and the kernel's ring buffer | `syslog.rs`, `kernel.rs` |
//! | lines that name their values | `structured.rs`, `structured/` |
//! | a pattern of the admin's own | `pattern.rs` |
//! | records of several lines | `multiline.rs` |
//! | what they share: times, levels, quoted texts, numbers | `time.rs`, `levels.rs`, `values.rs` |
//!
//! Each format is a function of a line that says what it finds to an
//! [`Event`](drover_sdk::lines::Event), or that the line is not its own. It
//! copies nothing that is in the line as it is meant.

mod access;
mod error_log;
mod kernel;
mod levels;
mod multiline;
mod operations;
mod options;
mod parser;
mod pattern;
mod structured;
mod syslog;
mod time;
mod values;
mod zone;

use drover_sdk::plugin;

pub use parser::Parser;

plugin!(operations::test, operations::formats, parser = Parser);
