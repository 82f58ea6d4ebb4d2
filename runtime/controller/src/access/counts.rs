//! How often somebody was let in, or not.

use drover_vitals::Counter;
use drover_wamp::Proof;

/// What is counted of those who join, and of what they may not do.
#[derive(Debug, Default)]
pub(crate) struct AccessCounts {
    pub(crate) by_key: OfWay,
    /// By password or token.
    pub(crate) by_ticket: OfWay,
    /// Calls that the caller's role allows by name, and not with what they are about.
    pub(crate) denied_calls: Counter,
}

/// Those who prove who they are in one way.
#[derive(Debug, Default)]
pub(crate) struct OfWay {
    pub(crate) admitted: Counter,
    pub(crate) refused: Counter,
}

impl AccessCounts {
    pub(super) fn of(&self, proof: &Proof) -> &OfWay {
        match proof {
            Proof::Key(_) => &self.by_key,
            Proof::Ticket(_) => &self.by_ticket,
        }
    }
}
