//! Options and details in the flat form in which they travel.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Audience, EventDetails, InvocationDetails, Principal, PublishDetails, is_default};
use crate::id::SessionId;

/// Options of PUBLISH.
#[derive(Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Publish {
    #[serde(skip_serializing_if = "is_default")]
    acknowledge: bool,
    #[serde(skip_serializing_if = "is_true")]
    exclude_me: bool,
    #[serde(skip_serializing_if = "is_default")]
    disclose_me: bool,
    #[serde(skip_serializing_if = "is_default")]
    retain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude: Option<Vec<SessionId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude_authid: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude_authrole: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eligible: Option<Vec<SessionId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eligible_authid: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eligible_authrole: Option<Vec<String>>,
}

impl Default for Publish {
    fn default() -> Self {
        PublishDetails::default().into()
    }
}

impl From<Publish> for PublishDetails {
    fn from(wire: Publish) -> Self {
        let audience = Audience {
            exclude: wire.exclude,
            exclude_authid: wire.exclude_authid,
            exclude_authrole: wire.exclude_authrole,
            eligible: wire.eligible,
            eligible_authid: wire.eligible_authid,
            eligible_authrole: wire.eligible_authrole,
        };
        Self {
            acknowledge: wire.acknowledge,
            exclude_me: wire.exclude_me,
            disclose_me: wire.disclose_me,
            retain: wire.retain,
            audience: (!is_default(&audience)).then(|| Box::new(audience)),
        }
    }
}

impl From<PublishDetails> for Publish {
    fn from(details: PublishDetails) -> Self {
        let audience = details.audience.map(|audience| *audience).unwrap_or_default();
        Self {
            acknowledge: details.acknowledge,
            exclude_me: details.exclude_me,
            disclose_me: details.disclose_me,
            retain: details.retain,
            exclude: audience.exclude,
            exclude_authid: audience.exclude_authid,
            exclude_authrole: audience.exclude_authrole,
            eligible: audience.eligible,
            eligible_authid: audience.eligible_authid,
            eligible_authrole: audience.eligible_authrole,
        }
    }
}

/// Details of EVENT.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    retained: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher_authid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher_authrole: Option<String>,
}

impl From<Event> for EventDetails {
    fn from(wire: Event) -> Self {
        let publisher = principal(wire.publisher, wire.publisher_authid, wire.publisher_authrole);
        Self { topic: wire.topic, retained: wire.retained, publisher }
    }
}

impl From<EventDetails> for Event {
    fn from(details: EventDetails) -> Self {
        let (publisher, publisher_authid, publisher_authrole) = parts(details.publisher);
        Self {
            topic: details.topic,
            retained: details.retained,
            publisher,
            publisher_authid,
            publisher_authrole,
        }
    }
}

/// Details of INVOCATION.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Invocation {
    #[serde(skip_serializing_if = "Option::is_none")]
    procedure: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    receive_progress: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_authid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_authrole: Option<String>,
}

impl From<Invocation> for InvocationDetails {
    fn from(wire: Invocation) -> Self {
        Self {
            procedure: wire.procedure,
            receive_progress: wire.receive_progress,
            timeout: wire.timeout,
            caller: principal(wire.caller, wire.caller_authid, wire.caller_authrole),
        }
    }
}

impl From<InvocationDetails> for Invocation {
    fn from(details: InvocationDetails) -> Self {
        let (caller, caller_authid, caller_authrole) = parts(details.caller);
        Self {
            procedure: details.procedure,
            receive_progress: details.receive_progress,
            timeout: details.timeout,
            caller,
            caller_authid,
            caller_authrole,
        }
    }
}

/// Whoever is disclosed has a session; some routers leave the rest out.
fn principal(
    session: Option<SessionId>,
    authid: Option<String>,
    authrole: Option<String>,
) -> Option<Arc<Principal>> {
    let (authid, authrole) = (authid.unwrap_or_default(), authrole.unwrap_or_default());
    session.map(|session| Arc::new(Principal { session, authid, authrole }))
}

fn parts(principal: Option<Arc<Principal>>) -> (Option<SessionId>, Option<String>, Option<String>) {
    principal.map_or((None, None, None), |principal| {
        let Principal { session, authid, authrole } = Arc::unwrap_or_clone(principal);
        (Some(session), Some(authid), Some(authrole))
    })
}

fn is_true(value: &bool) -> bool {
    *value
}
