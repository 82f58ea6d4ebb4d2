//! WAMP v2 over WebSocket: the link between Drover's programs.
//!
//! A [`Client`] is a session: it calls, registers, publishes and subscribes.
//! A [`Link`] does the same and makes its session again whenever it ends.
//! A [`Router`] connects sessions, over sockets ([`Router::serve`]) or in the
//! same process ([`Router::attach`]). What travels is a [`Payload`], which
//! stays encoded from the one who writes it to the one who reads it.
//!
//! ```
//! use std::num::NonZeroUsize;
//!
//! use drover_wamp::{
//!     CallOptions, Client, ClientConfig, Link, LinkConfig, Payload, PublishOptions, RealmConfig,
//!     RegisterOptions, Router, RouterConfig, SubscribeOptions,
//! };
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A router, here in the same program.
//! let realms = vec![RealmConfig::open("realm1")];
//! let router = Router::new(RouterConfig { realms, ..RouterConfig::default() })?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let url = format!("ws://{}/ws", listener.local_addr()?);
//! let mut tasks = tokio::task::JoinSet::new();
//! let stop = CancellationToken::new();
//! let until = stop.clone();
//! tasks.spawn(async move { drop(router.serve(listener, until).await) });
//!
//! // A callee, which survives the router: at most 16 calls run at a time.
//! let link = Link::open(LinkConfig::new(ClientConfig::new(&url, "realm1")))?;
//! let add = link.register("com.example.add", RegisterOptions::default())?;
//! add.settled().await?;
//! let at_a_time = NonZeroUsize::new(16).ok_or("none")?;
//! tasks.spawn(async move {
//!     add.serve_as(at_a_time, |(a, b): (i64, i64)| async move { Ok(a + b) }).await;
//! });
//!
//! // A caller and publisher.
//! let client = Client::connect(&ClientConfig::new(&url, "realm1")).await?;
//! let sum: i64 = client.call_as("com.example.add", &(19, 23), CallOptions::default()).await?;
//! assert_eq!(sum, 42);
//!
//! let mut news = link.subscribe("com.example.news", SubscribeOptions::default())?;
//! news.settled().await?;
//! client.publish("com.example.news", Payload::one("hello")?, PublishOptions::default()).await?;
//! let event = news.next().await.ok_or("the subscription is over")?;
//! assert_eq!(event.payload.first::<String>()?, "hello");
//!
//! client.close().await;
//! link.close().await;
//! stop.cancel();
//! tasks.join_all().await;
//! # Ok(())
//! # }
//! ```
//!
//! More are in `examples/`. What is inside:
//!
//! ```text
//!   Client ── session ── wire ~~ WebSocket ~~ wire ── connection ── seat ─┐
//!  (handles)  (pure)    (task)                (task)                      ├─ realm (pure)
//!   Client ── session ────────────────────────────────────────── seat ────┘
//! ```
//!
//! - `message`, `codec`: what messages there are, and how they are written.
//! - `session`: the core of a client's session; `router/realm`, with `broker`
//!   and `dealer`: the core of a router. Both are functions of their inputs.
//! - `auth`: proofs of who somebody is, made by clients and checked by routers.
//! - `link`: sessions one after the other, and what goes on living over them.
//! - `client`, `router`: the tasks around them. A client's task is owned by its
//!   handles; a router's connections by the future of [`Router::serve`].
//! - `stream`, `tls`: the bytes below a connection.
//! - `wire`: a WebSocket that carries messages; the only module that reads and
//!   writes sockets after their handshake. `outbox`, `queue`: what waits to be
//!   sent, bounded in bytes.
//!
//! What is spoken: msgpack, CBOR and JSON, each also batched; the basic
//! profile; of the advanced profile
//! - for calls: cancelling in all modes, timeouts, progressive results,
//!   pattern-based and shared registration, `force_reregister` and the
//!   revocation that comes of it, caller identification;
//! - for events: pattern-based subscription, publisher exclusion, black- and
//!   whitelists, retention, publisher identification;
//! - for whoever looks after a realm: the meta API of sessions, registrations
//!   and subscriptions with its topics, and testaments;
//! - authentication by ticket, WAMP-CRA (salted too) and cryptosign.
//!
//! What a session may do, and who learns that it did, is decided by its role,
//! from the rules of its realm ([`RealmConfig`]). A router sees to timeouts
//! itself, and tells the callee only to stop.

#![forbid(unsafe_code)]

mod auth;
mod client;
mod codec;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod link;
mod message;
mod outbox;
mod pace;
mod payload;
mod queue;
mod router;
mod serializer;
mod session;
mod stream;
mod tls;
pub mod uri;
mod wire;

pub use auth::{KeyError, PublicKey, Secret, SigningKey};
pub use client::{
    ApplicationError, Authentication, CallError, CallOptions, Client, ClientCertificate,
    ClientConfig, CloseReason, Closed, ConnectError, Download, DownloadError, EndReason, Event,
    Invocation, KeyFileError, Probe, PublishOptions, RegisterOptions, Registration, Roots,
    RunningCall, Status, SubscribeOptions, Subscription, TlsOptions, probe,
};
pub use id::SessionId;
pub use link::{Absence, Away, AwayError, Backoff, Link, LinkConfig, LinkState};
pub use message::{Audience, InvocationPolicy, Principal};
pub use pace::Pace;
pub use payload::{Payload, PayloadError};
pub use router::{
    Admitting, Allow, Applicant, Caller, CraSecret, Disclose, Disclosure, Ending, Guard, Guarded,
    Guest, HttpBridge, HttpConfig, HttpFiles, HttpPage, Limits, Permission, PrincipalConfig, Proof,
    RealmConfig, Refused, RoleConfig, Router, RouterConfig, RouterConfigError, Traffic, Verdict,
};
pub use serializer::Serializer;
pub use tls::{Fingerprint, FingerprintError, TlsError, TlsFiles, TlsIdentity};
pub use uri::{MatchPolicy, UriError};
