//! Write Drover plugins in Rust.
//!
//! A plugin is a library of plain functions. The ones that carry
//! [`#[task]`](task) or [`#[service]`](service) are its operations: operators
//! call them on every node of a site, by name, with a JSON object of arguments.
//! This is a complete plugin:
//!
//! ```
//! //! Greets.
//!
//! use drover_sdk::{Failure, data, log, plugin, task};
//!
//! plugin!(greet);
//!
//! /// Greets somebody.
//! ///
//! /// Text for people goes here, as long as it needs to be.
//! #[task]
//! fn greet(
//!     /// Who to greet.
//!     name: String,
//!     /// How often.
//!     #[default(1)]
//!     #[schemars(range(min = 1, max = 100))]
//!     times: u32,
//!     /// In which language; the node's own if it is left out.
//!     language: Option<String>,
//! ) -> Result<Greeting, Failure> {
//!     if language.is_some_and(|language| language != "en") {
//!         return Err(Failure::new("unknown-language", "there is only `en`"));
//!     }
//!     log::debug(format_args!("greeting {name}"));
//!     Ok(Greeting { text: format!("Hello, {name}! ").repeat(times as usize) })
//! }
//!
//! /// What a greeting looks like.
//! #[data]
//! struct Greeting {
//!     /// The words.
//!     text: String,
//! }
//!
//! # fn main() {
//! // What follows would be in `mod tests`.
//! let answer = PLUGIN.run("greet", r#"{"name": "Ada"}"#).unwrap();
//! assert_eq!(answer, r#"{"text":"Hello, Ada! "}"#);
//! # }
//! ```
//!
//! [`guide`] goes from nothing to a plugin that is shipped.
//!
//! ## Set-up
//!
//! `drover plugin new NAME` makes all of it:
//!
//! ```toml
//! [package]
//! name = "hello-plugin"
//! edition = "2024"
//!
//! [lib]
//! name = "hello"                    # operators will call `hello.greet`
//! crate-type = ["cdylib", "rlib"]
//!
//! [dependencies]
//! drover-sdk = { path = "…/drover/sdk/rust" }
//! ```
//!
//! - `cargo test` runs the plugin's unit tests natively, see [`testing`].
//! - `drover plugin build` makes the plugin, `hello.wasm`.
//! - `drover plugin run hello.wasm greet name=Ada` tries it without a controller.
//!
//! ## What the macros make of a function
//!
//! - **Name.** The function's, so `disk_usage` is called as
//!   `<plugin>.disk_usage`. No two operations of a plugin may share one.
//! - **Documentation.** The doc comment is what operators read. Doc comments of
//!   parameters and of the fields of [`#[data]`](data) types become
//!   descriptions in the schemas.
//! - **Arguments.** Each parameter is an argument of the same name. Its type is
//!   anything that `serde` can read and `schemars` can describe: numbers,
//!   `bool`, `String`, `Option`, `Vec`, maps, [`#[data]`](data) types,
//!   `serde_json::Value`. An `Option` may be left out. So may what has
//!   `#[default(value)]`, which callers see in the schema. `#[schemars(…)]`
//!   narrows what is allowed, and the host checks that before it calls.
//!   Arguments that the function does not have are refused.
//! - **Answer.** Whatever the function returns. If the type is called `Result`
//!   (an alias such as `io::Result` counts), an error is passed on as a
//!   [`Failure`]: `?` turns every [`std::error::Error`] into one, and
//!   [`OrFail`] adds a code and what was being done.
//! - **Panics.** One ends the job with an error that shows the message and the
//!   backtrace. Nothing else notices, but it is a bug: return a failure.
//!
//! A task has a fresh instance for every run, so statics start anew and nothing
//! is left over. Whatever it prints is part of the job's result.
//!
//! A service runs in an instance of its own until it is stopped, and is started
//! again as its operator wants. It idles by [`job::wait`] and returns when that
//! says so.
//!
//! ## What a plugin can call
//!
//! [`log`] writes records, [`job`] knows the job that is running, [`feed`] is where a
//! service publishes; [`config`] has
//! the admin's settings and secrets, [`sysinfo`] the machine; [`state`] keeps
//! values from one job to the next; [`streams`] are what a caller sends and receives
//! while the job runs; [`http`] sends requests, and [`channel`] opens streams by one;
//! [`process`] runs programs of the node, and [`metrics`] measures. Of `std`, clocks
//! and randomness work, and files and environment variables where they are granted.
//! There are no sockets and no threads.
//!
//! For what is not there for everybody, the plugin asks in a `plugin.toml` beside
//! its `Cargo.toml`, and the site's admin grants it. What is asked for and not
//! granted keeps the plugin from being loaded.
//!
//! ```toml
//! name = "backup"          # and then its file has to be called backup.wasm
//! min_host = "0.1.0"       # the oldest Drover that it runs on
//! # version, description, authors and license are those of Cargo.toml
//!
//! [asks]
//! sysinfo = { reason = "finds a quiet moment" }
//! state = { size = "1 MiB", reason = "remembers what was copied" }
//! env = [{ name = "TZ", reason = "names copies by local time" }]
//! settings = [{ name = "bucket", reason = "where copies go" }]
//! secrets = [{ name = "token", reason = "opens the bucket" }]
//! directories = [{ path = "/data", access = "read", reason = "what is copied" }]
//! programs = [{ program = "/usr/bin/git", args = [["log", "--oneline", "*"]], reason = "names copies by commit" }]
//!
//! [[asks.http]]
//! authority = "bucket.example.com"     # https, unless `scheme` says `http`
//! allow = ["PUT /copies/*"]
//! reason = "puts copies there"
//! ```
//!
//! The build puts it into the component, where `drover plugin inspect` shows it.
//!
//! ## Asynchronous operations
//!
//! With the feature `async`, a task may be an `async fn`, and `plugin!(async copy)`
//! lists it as one; its streams are those of `async_streams`, through which much data
//! goes in less time. It needs a host that knows the interface `async-operations`.
//!
//! ## Parsers of log lines
//!
//! `plugin!(…, parser = Parser)` makes events of log lines as well, with a type
//! that implements [`lines::LineParser`]; see [`lines`].
//!
//! A component imports only what it uses, so the list of its imports tells
//! the admin honestly what it can touch.

#![forbid(clippy::print_stdout)]
#![deny(missing_docs)]

#[cfg(feature = "async")]
mod async_operation;
#[cfg(feature = "async")]
pub mod async_streams;
#[doc(hidden)]
mod binary;
pub mod bindings;
pub mod channel;
pub mod config;
mod failure;
pub mod feed;
#[doc = include_str!("../README.md")]
pub mod guide {}
pub mod http;
pub mod job;
mod json;
pub mod lines;
pub mod log;
pub mod metrics;
mod operation;
mod plugin;
pub mod process;
pub mod state;
pub mod streams;
pub mod sysinfo;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use binary::Binary;
pub use drover_sdk_macros::{data, plugin, service, task};
pub use failure::{Failure, OrFail};
pub use json::Json;
pub use plugin::{Description, Kind, Plugin, RunError};
pub use {schemars, serde, serde_json};

/// For the code that the macros generate; it may change in every version.
#[doc(hidden)]
pub mod __private {

    pub use crate::bindings::exports::drover::plugin::operations::Guest;
    pub use crate::bindings::packing::export as export_packed_lines;
    pub use crate::bindings::packing::exports::drover::plugin::packed_lines::Guest as PackedLinesGuest;
    pub use crate::bindings::parsing::export as export_line_parsing;
    pub use crate::bindings::parsing::exports::drover::plugin::line_parsing::Guest as LineParsingGuest;
    pub use crate::bindings::{export, packing, parsing};
    pub use crate::lines::{answer, describe_formats, open, packed_answer};
    pub use crate::operation::{
        Argument, Fallible, Operation, arguments_schema, decode, encode, encode_result,
        returns_schema,
    };

    #[cfg(feature = "async")]
    pub use crate::async_operation::{AsyncOperation, Running, describe, run};
    #[cfg(feature = "async")]
    pub use crate::bindings::concurrent;
    #[cfg(feature = "async")]
    pub use crate::bindings::concurrent::export as export_async_operations;
    #[cfg(feature = "async")]
    pub use crate::bindings::concurrent::exports::drover::plugin::async_operations::Guest as AsyncGuest;

    /// Makes the plugin that `plugin!` defines.
    #[must_use]
    pub const fn plugin(operations: &'static [&'static Operation]) -> crate::Plugin {
        crate::Plugin::new(operations)
    }

    /// The same with asynchronous operations.
    #[cfg(feature = "async")]
    #[must_use]
    pub const fn async_plugin(
        operations: &'static [&'static Operation],
        concurrent: &'static [&'static AsyncOperation],
    ) -> crate::Plugin {
        crate::Plugin::with_async(operations, concurrent)
    }
}
