//! Loads plugins, which are WASI components, and runs their operations.
//!
//! A [`Host`] has threads of its own, a tokio runtime that only plugins and
//! what is done for them run on. Callers ask from their own runtime and wait;
//! what has proved to be short begins on their thread, see `threads`:
//!
//! - [`Host::load_directory`] and [`Host::load_file`] turn files into plugins;
//!   [`Host::keep_directory`] goes on doing so while files come, change and go.
//!   Code that is not in the cache is compiled in a child process, which runs
//!   [`compile`]; the host maps the result and never compiles itself.
//! - [`Host::stage`] loads a version that does not serve yet, [`Host::try_out`] runs
//!   one of its tasks, and [`Host::swap`] has it serve.
//! - [`Host::run`] runs one [`Job`] in a fresh instance and answers with its
//!   [`Outcome`]. Waiting for a turn, the deadline, cancelling and the limits
//!   on memory and output are all behind this one call.
//! - [`Host::start_service`] does the same without a deadline, for what runs until
//!   it is stopped; whether it runs again is the caller's business.
//! - [`Host::open_parser`] opens a [`Parser`], an instance that is kept for the
//!   log lines of one source and makes events of them.
//! - [`Host::shutdown`] ends it all.
//!
//! Beside the runtime there is one thread that moves the engine's epoch while
//! instances exist, so that a plugin that computes for long gives way.
//!
//! No other crate knows of wasmtime.

#![deny(unsafe_code)]

mod account;
mod anatomy;
mod bindings;
mod cache;
mod call;
mod capture;
mod children;
mod compile;
mod compiler;
mod component;
mod denials;
mod describe;
mod deserialize;
mod directory;
mod engine;
mod epoch;
mod failure;
mod feed;
mod formats;
mod host;
mod imports;
mod inspect;
mod instance;
mod job;
mod keep;
mod limits;
mod measuring;
mod names;
mod network;
mod notice;
mod operations;
mod pace;
mod packing;
mod parsed;
mod parser;
mod pipe;
mod plugin;
mod programs;
mod quarantine;
mod queue;
mod records;
mod registry;
mod run;
mod schema;
mod sealed;
mod service;
mod share;
mod staged;
mod surroundings;
mod system;
mod tally;
mod terms;
mod threads;
mod watch;

pub use account::KeptQuarantine;
pub use anatomy::Part;
pub use cache::CacheError;
pub use compile::{CompileError, compile};
pub use compiler::{CompilerCommand, CompilerError};
pub use component::NotAComponent;
pub use describe::DescribeError;
pub use directory::Pins;
pub use feed::Published;
pub use host::{Host, HostConfig, HostError, LoadError};
pub use inspect::Inspection;
pub use job::{Caller, Job, JobStreams, Outcome, RecordFields, RecordValue, Said};
pub use limits::{LimitOverrides, Limits};
pub use names::unknown;
pub use notice::Notice;
pub use parsed::{Event, FieldValue, Parsed};
pub use parser::{Parser, ParserSpec};
pub use pipe::{Gone, PipeReader, PipeWriter, pipe};
pub use plugin::Refusal;
pub use programs::{
    Doing, Ending, NotStarted, Program, ProgramControl, ProgramOutput, ProgramStream, Programs,
    Started,
};
pub use quarantine::Patience;
pub use schema::ArgumentSchema;
pub use service::{Footing, Memory, RunningService};
pub use staged::{Staged, Taken};
pub use surroundings::{Meter, Meters, NodeInfo, Surroundings};
pub use tally::Tally;
