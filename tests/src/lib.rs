//! The test kit: a site of real processes in a temporary directory.
//!
//! A scenario makes a [`Site`], starts agents on it, and runs `drover` as an
//! operator would. Everything listens on a port of its own choice, and ends
//! with the value that started it. [`wait_for`] waits for what must become
//! true and shows what was last seen when it does not. A [`Peer`] is a WAMP
//! client that is not ours, a [`Crossbar`] is a router that is not ours, and [`Ocs`]
//! is a site of programs that know nothing of us.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on must fail")]

mod components;
mod crossbar;
mod disk;
mod http;
mod ocs;
mod peer;
mod process;
mod records;
mod site;
mod stamp;
mod wait;

pub use components::{built_in, compiled, component, installed};
pub use crossbar::Crossbar;
pub use disk::SmallDisk;
pub use http::{HttpAnswer, http};
pub use ocs::Ocs;
pub use peer::{Peer, PeerError, PeerSession};
pub use process::{Process, Ran, run};
pub use records::records_in;
pub use site::{Agent, Site};
pub use stamp::stamp;
pub use wait::{wait_at_most, wait_for};
