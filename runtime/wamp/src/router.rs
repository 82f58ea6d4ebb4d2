//! The router: realms, the sessions in them, and the port that peers connect to.

mod broker;
mod connection;
mod dealer;
mod http;
mod identity;
mod patterns;
mod realm;
mod seat;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use identity::Identity;
pub(crate) use realm::Standing;
pub(crate) use seat::{Hall, Seat};

use crate::client::{Client, ConnectError};
use crate::tls::TlsIdentity;
use realm::Realm;

/// How long the listener waits after the system refused a connection, such as
/// when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a router is made of.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// The names of its realms.
    pub realms: Vec<String>,
    /// What its sessions may take.
    pub limits: Limits,
}

/// What sessions may take from a router. All hold for one session unless they say otherwise.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest message that a session may send; a longer one ends it.
    pub max_message_bytes: usize,
    /// How much may wait for a session that reads slowly; more ends it.
    /// At least one message of the longest fits in any case.
    pub max_queued_bytes: usize,
    /// How long a connection may take from its first byte to its HELLO.
    pub handshake_timeout: Duration,
    /// How many connections one listener serves at a time.
    pub max_sessions: usize,
    /// How long a session may be silent before it is pinged; silent for three
    /// intervals, it is ended. Zero: never.
    pub ping_interval: Duration,
    /// How many registrations, subscriptions and pending calls, each.
    pub max_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 16 << 20,
            max_queued_bytes: 64 << 20,
            handshake_timeout: Duration::from_secs(10),
            max_sessions: 20_000,
            ping_interval: Duration::from_secs(10),
            max_entries: 65_536,
        }
    }
}

/// A WAMP router; a handle, cheap to clone.
///
/// It has no tasks of its own: the connections run in [`serve`](Self::serve),
/// attached sessions in their [`Client`]s.
#[derive(Debug, Clone)]
pub struct Router {
    halls: Arc<HashMap<String, Arc<Hall>>>,
    limits: Arc<Limits>,
}

impl Router {
    /// A router with empty realms.
    #[must_use]
    pub fn new(config: RouterConfig) -> Self {
        let mut limits = config.limits;
        limits.max_queued_bytes = limits.max_queued_bytes.max(limits.max_message_bytes);
        let hall = |name: String| {
            let realm = Realm::new(&name, rand::random(), limits.max_entries);
            (name, Hall::new(realm))
        };
        let halls = config.realms.into_iter().map(hall).collect();
        Self { halls: Arc::new(halls), limits: Arc::new(limits) }
    }

    /// Accepts WebSockets at `/ws` (and `/`) until `stop`, then ends the
    /// sessions that it accepted with GOODBYE `wamp.close.system_shutdown`.
    ///
    /// Attached sessions and those of other listeners stay. Dropping the
    /// future cuts the connections off.
    ///
    /// # Errors
    /// When the listener is broken; a connection that fails is logged, and the
    /// others do not notice.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        self.accept(listener, None, stop).await
    }

    /// Like [`serve`](Self::serve), for peers that speak TLS: `wss` and `https`.
    ///
    /// # Errors
    /// When the listener is broken; a peer that cannot do TLS is logged, and
    /// the others do not notice.
    pub async fn serve_tls(
        &self,
        listener: TcpListener,
        identity: TlsIdentity,
        stop: CancellationToken,
    ) -> io::Result<()> {
        self.accept(listener, Some(identity), stop).await
    }

    async fn accept(
        &self,
        listener: TcpListener,
        tls: Option<TlsIdentity>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let address = listener.local_addr()?;
        tracing::info!(%address, is_encrypted = tls.is_some(), "router is listening");
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection's task failed");
                    }
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%address, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let has_room = connections.len() < self.limits.max_sessions;
            let connection = connection::Connection {
                halls: Arc::clone(&self.halls),
                limits: Arc::clone(&self.limits),
                peer,
                stop: stop.clone(),
                tls: tls.clone(),
            };
            connections.spawn(async move {
                if has_room {
                    connection.run(stream).await;
                } else {
                    connection.refuse(stream).await;
                }
            });
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
        tracing::info!(%address, "router has stopped listening");
        Ok(())
    }

    /// Opens a session in this process. Must be called within a runtime, which
    /// runs the session's task.
    ///
    /// # Errors
    /// When there is no such realm.
    pub fn attach(&self, realm: &str) -> Result<Client, ConnectError> {
        let hall = self.halls.get(realm).ok_or_else(|| ConnectError::Aborted {
            uri: crate::uri::error::NO_SUCH_REALM.to_owned(),
            message: no_such_realm(realm, &self.halls),
        })?;
        Ok(Client::attach(realm, hall, &self.limits))
    }
}

/// What somebody is told who asks for a realm that there is not.
fn no_such_realm(realm: &str, halls: &HashMap<String, Arc<Hall>>) -> String {
    let mut known: Vec<_> = halls.keys().map(String::as_str).collect();
    known.sort_unstable();
    // The start is enough to recognise it, whatever was sent.
    let realm: String = realm.chars().take(100).collect();
    format!("no realm `{realm}` exists on this router, only {}", known.join(", "))
}
