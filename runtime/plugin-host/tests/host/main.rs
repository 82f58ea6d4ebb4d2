//! The host with real components: those of `tests/guests`, built for WebAssembly
//! and compiled by a real child process.

#![expect(
    clippy::unwrap_used,
    reason = "clippy allows it in the test functions, and not beside them"
)]

mod cache;
mod components;
mod concurrent;
mod contract;
mod describing;
mod directory;
mod ending;
mod escaping;
mod granting;
mod hostile;
mod http;
mod kit;
mod limits;
mod loading;
mod measuring;
mod overload;
mod parsing;
mod programs;
mod quarantine;
mod running;
mod services;
