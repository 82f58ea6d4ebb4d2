//! Durable jobs: what a controller accepted is done, once, and its result is there,
//! whatever dies in between.
//!
//! ```text
//!   submitter ──▶ ledger ──deliver──▶ inbox ──start──▶ job
//!                   ▲                   │
//!                   └──────report───────┘
//! ```
//!
//! [`Ledger`] is the controller's half of the protocol and [`Inbox`] the node's. Both
//! are pure: no I/O, and the clock is an argument. What happens to them gives a
//! [`Step`]: what has to be written, and what may be done once it is safe on disk.
//! [`Journal`] does the writing, many steps in one commit; it is the one part here
//! that does something. `tests/simulation` has both halves crash at every instant
//! while messages are lost, doubled and reordered.
//!
//! How the promises are kept:
//!
//! - *At least once to the node*: what is not confirmed is delivered again, when the
//!   node comes back and after a while.
//! - *Started once at most*: every attempt has a number, which only grows. The node
//!   has each on its disk before it starts, and remembers it until the controller
//!   says that everything below some number is settled; what is below is not taken.
//!   A job that was under way when its agent died is not run again, but ends as
//!   interrupted; the controller makes another attempt if the submission wants that.
//!   What is for any of several nodes goes to another one only while none was given it.
//! - *One result*: the node keeps it until the controller has it on its disk, and the
//!   controller takes the first one of each number.

#![forbid(unsafe_code)]

mod cause;
mod fair;
mod inbox;
mod journal;
mod ledger;
mod schedule;

pub use cause::cause_of;
pub use inbox::{
    Dropped, Held, Inbox, InboxEffect, InboxRules, InboxWrite, KeptJob, KeptPhase, SavedInbox,
    Work, size_of,
};
pub use journal::{Journal, JournalClosed, open_file};
pub use ledger::{
    Census, Effect, Ledger, NewJob, NewSubmission, Refusal, Rules, SavedJob, SavedSubmission,
    Stranded, Write,
};
pub use schedule::{KeptSchedule, ScheduleError, Timetable};

/// What follows from something that happened.
#[derive(Debug)]
#[must_use]
pub struct Step<W, E> {
    /// What has to be written, in this order and all together.
    pub writes: Vec<W>,
    /// What may be done when it is safe, and all that was to be written before.
    pub effects: Vec<E>,
}

impl<W, E> Default for Step<W, E> {
    fn default() -> Self {
        Self { writes: Vec::new(), effects: Vec::new() }
    }
}

impl<W, E> Step<W, E> {
    /// Whether nothing follows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.effects.is_empty()
    }
}
