//! Simulated nodes and their surroundings, for tests and load.
//!
//! [`Engine`] is a Docker Engine that runs nothing: an in-memory model of
//! containers, images, volumes and networks behind the real HTTP interface on a
//! unix socket. What a client sees agrees with the real engine; the table in
//! `tests/engine` runs against both and says so. [`Fault`]s make it slow, broken
//! or gone.

mod engine;

pub use engine::{Engine, Fault, FaultKind};
