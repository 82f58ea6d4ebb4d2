//! A value in one JSON file that outlives its program.
//!
//! The file is always whole: a new one is written beside it, synchronised and
//! renamed over it. Only its owner may read it: what is remembered can be secret.
//! It says its version:
//!
//! - one of an earlier version is brought up to date, step by step, as it is read,
//!   and stays beside the one that is written next, as `NAME.before-vN`;
//! - one of a later version is refused and stays as it is: a program that went on
//!   without it would lose what is in it;
//! - one that is damaged is put aside and kept, so that a program starts whatever
//!   became of its files.
//!
//! A field that earlier programs may overlook needs no new version, only a default.
//!
//! Everything here blocks, and nothing logs: who calls knows what is lost with the
//! file, and what to do about that.

#![forbid(unsafe_code)]

mod format;

pub use format::{Aside, Format, Found, ReadError, Step};
