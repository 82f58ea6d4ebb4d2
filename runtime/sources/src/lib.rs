//! Follows log files as they grow: over rotation, truncation and restarts.
//!
//! ```text
//!  patterns ──look──▶ Follower ──next──▶ events: lines, gaps, ends
//!                        ▲                   │
//!  positions ────────────┘ ◀──to be kept─────┘
//! ```
//!
//! A [`Follower`] is asked by one thread or task, knows no clock and waits for
//! nothing. Every event has the [`Position`] behind it; whoever stores an
//! event and its position together reads on after a crash without a line lost
//! or doubled. What is decided without touching a file is in the modules
//! `lines` and `position`; `pattern` finds the files.

#![forbid(unsafe_code)]

mod file;
mod follower;
mod lines;
mod pattern;
mod position;

pub use follower::{Beginning, Event, FileStatus, Follower, FollowerConfig, What};
pub use pattern::{PathPattern, PatternError};
pub use position::{FileId, Head, Position};

/// The most bytes of one [`What::Lines`], and so of one line with its end.
pub const CHUNK_BYTES: usize = 64 * 1024;
