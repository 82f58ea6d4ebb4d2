//! Options of requests, and the details of what comes of them.
//!
//! Structs here are as small as they can be, for every message that waits has
//! room for the largest: what is rare is boxed, and [`wire`] knows the flat
//! form in which it travels.

mod wire;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::SessionId;
use crate::uri::MatchPolicy;

/// Options of REGISTER.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RegisterDetails {
    #[serde(rename = "match", skip_serializing_if = "is_default")]
    pub(crate) policy: MatchPolicy,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) invoke: InvocationPolicy,
    /// Whether whoever has registered the procedure loses it.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) force_reregister: bool,
}

/// Which of several callees of one procedure gets a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InvocationPolicy {
    /// There is only one.
    #[default]
    Single,
    /// Each in turn.
    RoundRobin,
    /// Any.
    Random,
    /// The one that registered first.
    First,
    /// The one that registered last.
    Last,
}

impl fmt::Display for InvocationPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::RoundRobin => "roundrobin",
            Self::Random => "random",
            Self::First => "first",
            Self::Last => "last",
        })
    }
}

/// Options of SUBSCRIBE.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SubscribeDetails {
    #[serde(rename = "match", skip_serializing_if = "is_default")]
    pub(crate) policy: MatchPolicy,
    /// Whether to begin with the retained events.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) get_retained: bool,
}

/// Beside an UNREGISTERED or UNSUBSCRIBED that the router sent of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Revocation {
    /// The registration that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) registration: Option<u64>,
    /// The subscription that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subscription: Option<u64>,
    /// Why, as an URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Options of PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "wire::Publish", into = "wire::Publish")]
pub(crate) struct PublishDetails {
    pub(crate) acknowledge: bool,
    pub(crate) exclude_me: bool,
    pub(crate) disclose_me: bool,
    /// Whether later subscribers get the event as well.
    pub(crate) retain: bool,
    /// Who of the subscribers gets the event; none is all.
    pub(crate) audience: Option<Box<Audience>>,
}

impl Default for PublishDetails {
    fn default() -> Self {
        Self {
            acknowledge: false,
            exclude_me: true,
            disclose_me: false,
            retain: false,
            audience: None,
        }
    }
}

/// Black- and whitelists of an event: whoever is on a blacklist does not get
/// it, and whoever is not on each whitelist that there is does not either.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audience {
    /// Sessions that do not get it.
    pub exclude: Option<Vec<SessionId>>,
    /// Whoever is called so does not get it.
    pub exclude_authid: Option<Vec<String>>,
    /// Whoever has such a role does not get it.
    pub exclude_authrole: Option<Vec<String>>,
    /// Only these sessions get it.
    pub eligible: Option<Vec<SessionId>>,
    /// Only those who are called so get it.
    pub eligible_authid: Option<Vec<String>>,
    /// Only those who have such a role get it.
    pub eligible_authrole: Option<Vec<String>>,
}

impl Audience {
    /// About how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        let sessions = [&self.exclude, &self.eligible].into_iter().flatten();
        let names = [
            &self.exclude_authid,
            &self.exclude_authrole,
            &self.eligible_authid,
            &self.eligible_authrole,
        ];
        let names = names.into_iter().flatten().flatten();
        size_of::<Self>()
            + sessions.map(|list| size_of_val(list.as_slice())).sum::<usize>()
            + names.map(|name| size_of::<String>() + name.len()).sum::<usize>()
    }
}

/// A session that is disclosed to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its id.
    pub session: SessionId,
    /// Who it is; empty where the router does not say.
    pub authid: String,
    /// In which role; empty where the router does not say.
    pub authrole: String,
}

/// Details of EVENT.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "wire::Event", into = "wire::Event")]
pub(crate) struct EventDetails {
    /// Sent when the subscription is a pattern.
    pub(crate) topic: Option<String>,
    /// Whether it was published before the subscription was made.
    pub(crate) retained: bool,
    pub(crate) publisher: Option<Arc<Principal>>,
}

/// Options of CALL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CallDetails {
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) receive_progress: bool,
    /// Milliseconds until the call is cancelled; none and zero are never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) disclose_me: bool,
}

/// Details of INVOCATION.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "wire::Invocation", into = "wire::Invocation")]
pub(crate) struct InvocationDetails {
    /// Sent when the registration is a pattern.
    pub(crate) procedure: Option<String>,
    pub(crate) receive_progress: bool,
    /// Milliseconds, where the callee sees to the timeout itself.
    pub(crate) timeout: Option<u64>,
    pub(crate) caller: Option<Arc<Principal>>,
}

/// Details of RESULT, options of YIELD.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ProgressDetails {
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) progress: bool,
}

/// Options of CANCEL and INTERRUPT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CancelDetails {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<CancelMode>,
}

/// Who hears of a cancelled call, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CancelMode {
    /// The caller at once, the callee never.
    Skip,
    /// The callee at once, the caller when the callee has answered.
    Kill,
    /// Both at once.
    KillNoWait,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
