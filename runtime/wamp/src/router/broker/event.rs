//! An event on its way to the subscribers of its topic.

use std::sync::Arc;

use super::audience::Filter;
use crate::id::SessionId;
use crate::message::{Audience, EventDetails, Principal};
use crate::payload::Payload;
use crate::uri::MatchPolicy;

/// What was published, and whom it is for.
#[derive(Debug, Clone)]
pub(in crate::router) struct Event {
    pub(in crate::router) publication: u64,
    pub(in crate::router) topic: String,
    pub(in crate::router) payload: Payload,
    /// Who published it, if subscribers may learn that.
    pub(in crate::router) publisher: Option<Arc<Principal>>,
    /// A session that does not get it.
    pub(in crate::router) except: Option<SessionId>,
    /// Who else does not.
    pub(in crate::router) audience: Option<Box<Audience>>,
}

impl Event {
    /// Whom it is for.
    pub(super) fn filter(&self) -> Filter<'_> {
        Filter::new(self.except, self.audience.as_deref())
    }

    /// What subscribers of a pattern of this policy are told of it.
    pub(super) fn details(&self, policy: MatchPolicy) -> EventDetails {
        let is_pattern = policy != MatchPolicy::Exact;
        EventDetails {
            topic: is_pattern.then(|| self.topic.clone()),
            retained: false,
            publisher: self.publisher.clone(),
        }
    }
}
