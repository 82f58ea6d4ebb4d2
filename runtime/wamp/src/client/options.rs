//! What a client can be asked for, and the defaults.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Serializer;
use crate::payload::Payload;
use crate::uri::MatchPolicy;

/// Where a router is, and how to talk to it.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Its WebSocket, such as `ws://127.0.0.1:8080/ws`.
    pub url: String,
    /// The realm to join.
    pub realm: String,
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
    /// How long to wait for the answer; for ever if there is none.
    pub timeout: Option<Duration>,
    /// Where partial results go. All of them arrive there before the call returns.
    ///
    /// A receiver that lets the channel fill up holds back this call alone:
    /// partial results then wait in the client up to the longest message's
    /// length, and beyond that the call is cancelled and fails with
    /// [`CallError::SlowReceiver`](super::CallError::SlowReceiver). A receiver that is dropped wants no more.
    pub progress: Option<mpsc::Sender<Payload>>,
    /// Cancels the call when it is cancelled itself, and unlike dropping the
    /// future goes on waiting for what the callee answers to that.
    pub cancel: Option<CancellationToken>,
}

/// Options of [`Client::register`](super::Client::register).
#[derive(Debug, Clone)]
pub struct RegisterOptions {
    /// Which names are meant.
    pub policy: MatchPolicy,
    /// How many bytes of calls may wait for [`Registration::next`](super::Registration::next); when they
    /// do, further calls are answered with `wamp.error.unavailable`.
    pub max_queued_bytes: usize,
}

impl Default for RegisterOptions {
    fn default() -> Self {
        Self { policy: MatchPolicy::Exact, max_queued_bytes: 16 << 20 }
    }
}

/// Options of [`Client::subscribe`](super::Client::subscribe).
#[derive(Debug, Clone)]
pub struct SubscribeOptions {
    /// Which names are meant.
    pub policy: MatchPolicy,
    /// How many bytes of events may wait for [`Subscription::next`](super::Subscription::next); when they
    /// do, further events are lost and counted in [`Event::missed`](super::Event::missed).
    pub max_queued_bytes: usize,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self { policy: MatchPolicy::Exact, max_queued_bytes: 16 << 20 }
    }
}

/// Options of [`Client::publish`](super::Client::publish).
#[derive(Debug, Clone)]
pub struct PublishOptions {
    /// Whether to wait until the router has the event, and hear of its refusal.
    pub acknowledge: bool,
    /// Whether this session does not get the event, even if it subscribed the topic.
    pub exclude_me: bool,
    /// Whether the event leaves before all that waits to be sent on this
    /// session. For heartbeats: small, and none ever waits for room.
    pub is_urgent: bool,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self { acknowledge: false, exclude_me: true, is_urgent: false }
    }
}
