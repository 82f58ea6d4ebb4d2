//! WAMP v2 over WebSocket: the link between Drover's programs.
//!
//! A [`Client`] is a session: it calls, registers, publishes and subscribes.
//! A [`Router`] connects sessions, over sockets ([`Router::serve`]) or in the
//! same process ([`Router::attach`]). What travels is a [`Payload`], which
//! stays encoded from the one who writes it to the one who reads it.
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
//! - `client`, `router`: the tasks around them. A client's task is owned by its
//!   handles; a router's connections by the future of [`Router::serve`].
//! - `stream`, `tls`: the bytes below a connection.
//! - `wire`: a WebSocket that carries messages; the only module that reads and
//!   writes sockets after their handshake. `outbox`, `queue`: what waits to be
//!   sent, bounded in bytes.
//!
//! What is spoken: msgpack, CBOR and JSON, each also batched; the basic
//! profile, call cancelling, progressive results, pattern-based registration
//! and subscription, publisher exclusion, the topics `wamp.session.on_join`
//! and `wamp.session.on_leave`, and authentication by ticket, WAMP-CRA (salted
//! too) and cryptosign. What a session may do is decided by its role, from the
//! rules of its realm ([`RealmConfig`]).

#![forbid(unsafe_code)]

mod auth;
mod client;
mod codec;
mod id;
mod link;
mod message;
mod outbox;
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
    ApplicationError, Authentication, CallError, CallOptions, Client, ClientConfig, CloseReason,
    Closed, ConnectError, EndReason, Event, Invocation, PublishOptions, RegisterOptions,
    Registration, Roots, RunningCall, Status, SubscribeOptions, Subscription, TlsOptions,
};
pub use id::SessionId;
pub use link::{Absence, Away, AwayError, Backoff, Link, LinkConfig, LinkState};
pub use message::{Audience, InvocationPolicy, Principal};
pub use payload::{Payload, PayloadError};
pub use router::{
    Allow, CraSecret, Disclose, Disclosure, HttpBridge, HttpConfig, Limits, Permission,
    PrincipalConfig, RealmConfig, RoleConfig, Router, RouterConfig, RouterConfigError,
};
pub use serializer::Serializer;
pub use tls::{TlsError, TlsIdentity};
pub use uri::{MatchPolicy, UriError};
