//! The test kit for Docker Engines, real and simulated.
//!
//! A [`RealEngine`] is a dockerd of the test's own, with its containers, mounts,
//! networks and a registry in namespaces of their own: nothing of it outlives the
//! test program, however that ends. A [`Client`] speaks plain HTTP over the socket,
//! so that a test sees what goes over the wire. [`agree`] tells a story to both
//! kinds of engine and compares what they answer.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on must fail")]

mod client;
mod image;
mod normal;
mod real;
mod simulated;
mod story;

pub use client::{Answer, Client, Framing, Reading};
pub use image::archive;
pub use real::{GUARDED, LOGIN, REGISTRY, RealEngine};
pub use simulated::simulated;
pub use story::{Story, agree};
