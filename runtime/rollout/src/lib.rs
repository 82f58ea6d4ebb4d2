//! What becomes of a rollout: a plugin's version on its way over the nodes of a
//! site, a wave after the other, and back if it does badly.
//!
//! Pure: no I/O, and the clock is an argument. A [`Machine`] is fed with [`Event`]s
//! by whoever calls the nodes, which is the controller; it answers with [`Effect`]s.
//! What [`Machine::take_changes`] gives has to be on disk before the effects are
//! begun: then a controller that is killed takes up from there whatever nodes did
//! meanwhile, as every effect can be had twice.
//!
//! A wave's gate is open when each of its nodes has confirmed the version, failed, or
//! was away when its turn came; when no more failed in all than may; and when one of
//! its nodes at least has confirmed the version, or all are away and one of an earlier
//! wave has. A closed gate is never passed. A rollout whose gate cannot open any more
//! goes back or is given up: everything has a time in which it ends.
//!
//! A [`Mender`] decides which nodes are brought to what rules say that they are to
//! have.

#![forbid(unsafe_code)]

mod machine;
mod mender;
mod waves;

pub use machine::{Effect, Event, Machine, OrderError, Outcome, SETTLE};
pub use mender::{Mender, Wish};
pub use waves::{Candidate, PlanError, check, plan};
