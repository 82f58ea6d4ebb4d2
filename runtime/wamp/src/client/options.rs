//! What a client can be asked for, and the defaults.

use std::time::Duration;

use super::authentication::Authentication;
use super::dial::TlsOptions;
use crate::Serializer;
use crate::id::MAX_ID;
use crate::message::{
    Audience, CallDetails, InvocationPolicy, PublishDetails, RegisterDetails, SubscribeDetails,
};
use crate::uri::MatchPolicy;

/// Where a router is, and how to talk to it.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Its WebSocket, such as `ws://127.0.0.1:8080/ws` or `wss://router.example.org/ws`.
    pub url: String,
    /// The realm to join.
    pub realm: String,
    /// Who to be there; anonymous by default.
    pub authentication: Authentication,
    /// The role to insist on; any that the router gives by default.
    pub role: Option<String>,
    /// How to know the router, for `wss://`.
    pub tls: TlsOptions,
    /// What to offer, the preferred one first.
    pub serializers: Vec<Serializer>,
    /// The longest message that is sent or taken.
    pub max_message_bytes: usize,
    /// How much may wait to be sent; whoever sends more waits.
    pub max_queued_bytes: usize,
    /// How long it may take from the address to the open session.
    pub connect_timeout: Duration,
    /// How long the router may be silent before it is pinged; silent for three
    /// intervals, it is taken for dead. Zero: never.
    pub ping_interval: Duration,
}

impl ClientConfig {
    /// A router with our defaults: every serializer, msgpack first; messages up to 16 MiB;
    /// 10 s to connect; pings after 10 s of silence.
    #[must_use]
    pub fn new(url: impl Into<String>, realm: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            realm: realm.into(),
            authentication: Authentication::default(),
            role: None,
            tls: TlsOptions::default(),
            serializers: Serializer::ALL.to_vec(),
            max_message_bytes: 16 << 20,
            max_queued_bytes: 1 << 20,
            connect_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(10),
        }
    }
}

/// Options of [`Client::call`](super::Client::call).
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// How long to wait for the answer; for ever if there is none. Then the
    /// call is cancelled, by the router as well if it counts the time.
    pub timeout: Option<Duration>,
    /// Whether to ask the router to tell the callee who calls.
    pub disclose_me: bool,
}

impl CallOptions {
    /// An answer within `timeout`.
    #[must_use]
    pub fn within(timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..Self::default() }
    }

    pub(super) fn details(&self, receive_progress: bool) -> CallDetails {
        // Zero is never on the wire, so an instant is a millisecond.
        let milliseconds = |timeout: Duration| u64::try_from(timeout.as_millis()).ok();
        let timeout = self.timeout.and_then(milliseconds).map(|ms| ms.clamp(1, MAX_ID));
        CallDetails { receive_progress, timeout, disclose_me: self.disclose_me }
    }
}

/// Options of [`Client::register`](super::Client::register).
#[derive(Debug, Clone)]
pub struct RegisterOptions {
    /// Which names are meant.
    pub policy: MatchPolicy,
    /// Whether others may register the same, and who of them gets a call.
    pub invoke: InvocationPolicy,
    /// Whether whoever has registered the same loses it.
    pub force_reregister: bool,
    /// How many bytes of calls may wait for [`Registration::next`](super::Registration::next); when they
    /// do, further calls are answered with `wamp.error.unavailable`.
    pub max_queued_bytes: usize,
}

impl Default for RegisterOptions {
    fn default() -> Self {
        Self {
            policy: MatchPolicy::Exact,
            invoke: InvocationPolicy::Single,
            force_reregister: false,
            max_queued_bytes: 16 << 20,
        }
    }
}

impl RegisterOptions {
    pub(super) fn details(&self) -> RegisterDetails {
        let Self { policy, invoke, force_reregister, .. } = *self;
        RegisterDetails { policy, invoke, force_reregister }
    }
}

/// Options of [`Client::subscribe`](super::Client::subscribe).
#[derive(Debug, Clone)]
pub struct SubscribeOptions {
    /// Which names are meant.
    pub policy: MatchPolicy,
    /// Whether to begin with the events that the router retained.
    pub get_retained: bool,
    /// How many bytes of events may wait for [`Subscription::next`](super::Subscription::next); when they
    /// do, further events are lost and counted in [`Event::missed`](super::Event::missed).
    pub max_queued_bytes: usize,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self { policy: MatchPolicy::Exact, get_retained: false, max_queued_bytes: 16 << 20 }
    }
}

impl SubscribeOptions {
    pub(super) fn details(&self) -> SubscribeDetails {
        let Self { policy, get_retained, .. } = *self;
        SubscribeDetails { policy, get_retained }
    }
}

/// Options of [`Client::publish`](super::Client::publish).
#[derive(Debug, Clone)]
pub struct PublishOptions {
    /// Whether to wait until the router has the event, and hear of its refusal.
    pub acknowledge: bool,
    /// Whether this session does not get the event, even if it subscribed the topic.
    pub exclude_me: bool,
    /// Whether to ask the router to tell the subscribers who publishes.
    pub disclose_me: bool,
    /// Whether the router keeps the event for later subscribers of the topic.
    pub retain: bool,
    /// Who of the subscribers gets the event; by default all.
    pub audience: Audience,
    /// Whether the event leaves before all that waits to be sent on this
    /// session. For heartbeats: small, and none ever waits for room.
    pub is_urgent: bool,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            acknowledge: false,
            exclude_me: true,
            disclose_me: false,
            retain: false,
            audience: Audience::default(),
            is_urgent: false,
        }
    }
}

impl PublishOptions {
    pub(super) fn details(self) -> PublishDetails {
        let audience = (self.audience != Audience::default()).then(|| Box::new(self.audience));
        PublishDetails {
            acknowledge: self.acknowledge,
            exclude_me: self.exclude_me,
            disclose_me: self.disclose_me,
            retain: self.retain,
            audience,
        }
    }
}
