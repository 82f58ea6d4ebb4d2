//! The router: realms, the sessions in them, and the port that peers connect to.

mod auth;
mod broker;
mod config;
mod connection;
mod dealer;
mod entrance;
mod entries;
mod guard;
mod handshake;
mod http;
mod identity;
mod members;
mod patterns;
mod permissions;
mod realm;
mod seat;
mod timekeeper;
#[cfg(any(test, fuzzing))]
pub(crate) mod trial;
mod turn;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use config::{
    Allow, CraSecret, Disclose, Disclosure, Permission, PrincipalConfig, RealmConfig, RoleConfig,
    RouterConfigError,
};
pub(crate) use entrance::Admission;
pub use guard::{
    Admitting, Applicant, Caller, Ending, Guard, Guarded, Guest, Proof, Refused, Verdict,
};
pub use http::{HttpBridge, HttpConfig, HttpFiles, HttpPage};
pub(crate) use realm::Standing;
pub(crate) use seat::{Hall, Seat};

use crate::auth::Secret;
use crate::client::{Client, ConnectError};
use crate::tls::TlsIdentity;
use entrance::{Entrance, Entrances};
use handshake::no_such_realm;
use identity::Identity;
use realm::Realm;

/// How long the listener waits after the system refused a connection, such as
/// when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a router is made of.
#[derive(Debug, Clone, Default)]
pub struct RouterConfig {
    /// Its realms, and who may join them.
    pub realms: Vec<RealmConfig>,
    /// What its sessions may take.
    pub limits: Limits,
    /// What else its port offers.
    pub http: HttpConfig,
    /// The one realm that has a guard, if there is one.
    pub guarded: Option<Guarded>,
}

impl RouterConfig {
    /// Says what is wrong with it, if something is.
    ///
    /// # Errors
    /// When a realm names something twice, or a role that it does not have, or
    /// the bridge does.
    pub fn check(&self) -> Result<(), RouterConfigError> {
        RealmConfig::check_all(&self.realms)?;
        self.http.check(&self.realms)
    }
}

/// What sessions may take from a router. All hold for one session unless they say otherwise.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest message that a session may send; a longer one ends it.
    pub max_message_bytes: usize,
    /// How much may wait for a session that reads slowly; more ends it.
    /// At least one message of the longest fits in any case.
    pub max_queued_bytes: usize,
    /// How long a connection may take for each step on its way to a session:
    /// TLS, the head of an HTTP request, HELLO with the proof of who it is.
    pub handshake_timeout: Duration,
    /// How long the body of an HTTP request may be on its way, and how long its
    /// answer may wait for a peer that does not read.
    pub http_timeout: Duration,
    /// How many connections one listener serves at a time.
    pub max_sessions: usize,
    /// How long a session may be silent before it is pinged; silent for three
    /// intervals, it is ended. Zero: never.
    pub ping_interval: Duration,
    /// How many registrations, subscriptions and pending calls, each.
    pub max_entries: usize,
    /// How many events one realm keeps for later subscribers. A publication
    /// that would be one more is refused, unless its topic has one already.
    pub max_retained_events: usize,
    /// How many bytes these events may take together.
    pub max_retained_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 16 << 20,
            max_queued_bytes: 64 << 20,
            handshake_timeout: Duration::from_secs(10),
            http_timeout: Duration::from_secs(60),
            max_sessions: 20_000,
            ping_interval: Duration::from_secs(10),
            max_entries: 65_536,
            max_retained_events: 65_536,
            max_retained_bytes: 64 << 20,
        }
    }
}

/// What goes on in a router, or a realm of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sessions, attached ones included.
    pub sessions: usize,
    /// Calls that have not ended.
    pub calls: usize,
}

/// A WAMP router; a handle, cheap to clone.
///
/// The connections run in [`serve`](Self::serve), attached sessions in their
/// [`Client`]s. Its own are only the tasks that look at the clock, one per realm
/// from its first session on.
#[derive(Debug, Clone)]
pub struct Router {
    entrances: Arc<Entrances>,
    limits: Arc<Limits>,
    http: Arc<http::Site>,
    is_draining: Arc<AtomicBool>,
}

impl Router {
    /// A router with empty realms.
    ///
    /// # Errors
    /// When a realm names something twice, or a role that it does not have, or
    /// the bridge does.
    pub fn new(config: RouterConfig) -> Result<Self, RouterConfigError> {
        config.check()?;
        let mut limits = config.limits;
        limits.max_queued_bytes = limits.max_queued_bytes.max(limits.max_message_bytes);
        let guarded = config.guarded;
        let entrance = |config: &RealmConfig| {
            let realm = Realm::new(&config.name, rand::random(), SystemTime::now(), &limits);
            let guard = guarded.as_ref().filter(|guarded| guarded.realm == config.name);
            let guard = guard.map(|guarded| Arc::clone(&guarded.guard));
            let hall = Hall::new(realm, guard.clone());
            (config.name.clone(), Entrance::new(config, hall, guard))
        };
        let http = Arc::new(http::Site::new(config.http));
        let entrances = config.realms.iter().map(entrance).collect();
        let (entrances, limits) = (Arc::new(entrances), Arc::new(limits));
        Ok(Self { entrances, limits, http, is_draining: Arc::default() })
    }

    /// Accepts WebSockets at `/ws` (and `/`), and what else there is over HTTP
    /// ([`HttpConfig`]), until `stop`; then ends the sessions that it accepted
    /// with GOODBYE `wamp.close.system_shutdown`.
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
                router: self.clone(),
                peer,
                stop: stop.clone(),
                tls: tls.clone(),
                has_room,
            };
            connections.spawn(connection.run(stream));
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
        tracing::info!(%address, "router has stopped listening");
        Ok(())
    }

    /// Takes no further sessions from its listeners: whoever comes is told to come back,
    /// or to go elsewhere. Those that are there go on.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// What goes on in all realms together.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let realms = self.entrances.values().map(|entrance| entrance.hall.traffic());
        realms.fold(Traffic::default(), |all, realm| Traffic {
            sessions: all.sessions + realm.sessions,
            calls: all.calls + realm.calls,
        })
    }

    /// Opens a session in this process, which may do everything. Must be called
    /// within a runtime, which runs the session's task.
    ///
    /// # Errors
    /// When there is no such realm.
    pub fn attach(&self, realm: &str) -> Result<Client, ConnectError> {
        let entrance = self.entrance(realm)?;
        Ok(Client::attach(realm, &entrance.hall, Admission::trusted(), &self.limits))
    }

    /// The same in a role of the realm, with that role's permissions.
    ///
    /// # Errors
    /// When there is no such realm, or no such role in it.
    pub fn attach_as(&self, realm: &str, role: &str) -> Result<Client, ConnectError> {
        let entrance = self.entrance(realm)?;
        let identity = Identity { authrole: role.to_owned(), ..Identity::trusted() };
        let admission = entrance.admit(identity).map_err(|refusal| ConnectError::Aborted {
            uri: refusal.uri.to_owned(),
            message: refusal.text,
        })?;
        Ok(Client::attach(realm, &entrance.hall, admission, &self.limits))
    }

    /// Opens a session in this process for somebody whom the guard admits by a
    /// ticket; `None` if no realm has a guard.
    pub(super) async fn attach_guest(
        &self,
        applicant: Applicant,
    ) -> Option<Result<Client, Refused>> {
        let (realm, entrance) = self.entrances.iter().find(|(_, one)| one.has_guard())?;
        let admission = match entrance.ask_guard(applicant, crate::auth::method::TICKET).await {
            Ok(admission) => admission,
            Err(refused) => return Some(Err(refused)),
        };
        Some(Ok(Client::attach(realm, &entrance.hall, admission, &self.limits)))
    }

    /// Has the guard decide on somebody with a ticket, who opens no session; `None` if
    /// no realm has a guard.
    async fn admit_guest(&self, applicant: Applicant) -> Option<Result<Admission, Refused>> {
        let entrance = self.entrances.values().find(|one| one.has_guard())?;
        Some(entrance.ask_guard(applicant, crate::auth::method::TICKET).await)
    }

    /// Whether a ticket is for files that are handed out.
    fn opens_files(&self, ticket: &Secret) -> bool {
        self.entrances.values().any(|entrance| entrance.opens_files(ticket))
    }

    /// Whether somebody in a role of a realm may call a procedure.
    fn may_call(&self, realm: &str, role: &str, procedure: &str) -> bool {
        self.entrances.get(realm).is_some_and(|entrance| entrance.may_call(role, procedure))
    }

    fn has_guard(&self) -> bool {
        self.entrances.values().any(Entrance::has_guard)
    }

    fn entrance(&self, realm: &str) -> Result<&Entrance, ConnectError> {
        self.entrances.get(realm).ok_or_else(|| ConnectError::Aborted {
            uri: crate::uri::error::NO_SUCH_REALM.to_owned(),
            message: no_such_realm(realm, &self.entrances),
        })
    }
}
