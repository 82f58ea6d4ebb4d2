//! The link: a client that makes its session again whenever it ends.
//!
//! It stands above [`Client`] instead of inside: a session stays one session,
//! with an id, an end and a reason, and what must happen between two of them is
//! said here and nowhere else.
//!
//! ```text
//!   Link ── keeper of the session ── Client, Client, … ── (the router)
//!    └── Registration, Subscription ── a keeper each, which asks every new
//!        session for what it keeps; calls and events arrive in one place
//! ```

mod backoff;
mod config;
mod keeper;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub use backoff::Backoff;
pub use config::{Absence, LinkConfig};

use crate::client::{
    CallError, CallOptions, Client, CloseReason, ConnectError, Hold, Inbox, Intake, Keeper,
    Lifetime, PublishOptions, RegisterOptions, Registration, RunningCall, SubscribeOptions,
    Subscription,
};
use crate::payload::Payload;
use crate::uri;
use keeper::Kept;

/// A session that lasts: whenever it ends, another one is made; a handle,
/// cheap to clone.
///
/// Registrations and subscriptions go on living: each new session is asked for
/// them again. Every connect authenticates again. Calls that run when a session
/// ends fail with [`CallError::Closed`] and are never repeated by themselves,
/// for the callee may have carried them out. Calls made while there is no
/// session wait for one or fail, as [`LinkConfig::absence`] says; publications
/// are refused then, so that none is lost in silence.
///
/// The link ends when [`close`](Self::close) is called or the last handle,
/// registration and subscription is dropped.
#[derive(Debug, Clone)]
pub struct Link {
    handle: Arc<LinkHandle>,
}

/// Whether there is a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LinkState {
    /// There is none; one is being made.
    Away(Away),
    /// There is one.
    Connected(Client),
    /// The link was closed by this side.
    Closed,
}

/// A time without a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Away {
    /// Since when: the end of the last session, or the start of the link.
    pub since: Instant,
    /// What happened last; none before the first attempt has failed.
    pub error: Option<Arc<AwayError>>,
    /// How long the next attempt waits, from when this was told.
    pub retry_in: Duration,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AwayError {
    /// The last session ended.
    #[error(transparent)]
    Lost(CloseReason),
    /// The last attempt to make one failed.
    #[error(transparent)]
    Connect(ConnectError),
}

/// What keeps a link going.
#[derive(Debug)]
struct LinkHandle {
    config: LinkConfig,
    state: Arc<watch::Sender<LinkState>>,
    stop: CancellationToken,
    _task: JoinSet<()>,
}

impl Drop for LinkHandle {
    fn drop(&mut self) {
        // Lets go of the session, which then ends by itself.
        self.state.send_replace(LinkState::Closed);
    }
}

impl Link {
    /// Begins to connect, and goes on for ever. Must be called within a
    /// runtime, which runs the link's tasks.
    ///
    /// # Errors
    /// When the URL can be none of a router. That none answers is no error, see
    /// [`watch`](Self::watch).
    pub fn open(config: LinkConfig) -> Result<Self, ConnectError> {
        config.client.check()?;
        let away = Away { since: Instant::now(), error: None, retry_in: Duration::ZERO };
        let state = Arc::new(watch::Sender::new(LinkState::Away(away)));
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(keeper::keep_session(config.clone(), Arc::clone(&state), stop.clone()));
        Ok(Self { handle: Arc::new(LinkHandle { config, state, stop, _task: task }) })
    }

    /// Whether there is a session now.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.handle.state.borrow().clone()
    }

    /// Tells of every change of [`state`](Self::state); of several in a row
    /// maybe only of the last.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<LinkState> {
        self.handle.state.subscribe()
    }

    /// The session, if there is one now.
    #[must_use]
    pub fn session(&self) -> Option<Client> {
        match &*self.handle.state.borrow() {
            LinkState::Connected(client) => Some(client.clone()),
            LinkState::Away(_) | LinkState::Closed => None,
        }
    }

    /// The session, as soon as there is one.
    ///
    /// # Errors
    /// When the link is closed.
    pub async fn connected(&self) -> Result<Client, CallError> {
        keeper::next_session(&mut self.watch()).await.ok_or(CloseReason::Local.into())
    }

    /// Calls a procedure and waits for the answer; see [`Client::call`]. The
    /// timeout counts the wait for a session as well.
    ///
    /// # Errors
    /// Like [`Client::call`], and [`CallError::Away`] where there is no session
    /// and the link is not to wait for one.
    pub async fn call(
        &self,
        procedure: &str,
        payload: Payload,
        options: CallOptions,
    ) -> Result<Payload, CallError> {
        let (client, options) = self.session_for(procedure, options).await?;
        client.call(procedure, payload, options).await
    }

    /// Calls a procedure with and for serde types; see [`Client::call_as`].
    ///
    /// # Errors
    /// Like [`call`](Self::call), and when the answer is no `R`.
    pub async fn call_as<A, R>(
        &self,
        procedure: &str,
        arguments: &A,
        options: CallOptions,
    ) -> Result<R, CallError>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let answer = self.call(procedure, Payload::arguments(arguments)?, options).await?;
        Ok(answer.first_or_null()?)
    }

    /// Calls a procedure and listens to its partial results; see [`Client::start`].
    ///
    /// # Errors
    /// Like [`call`](Self::call) while the call could not be sent.
    pub async fn start(
        &self,
        procedure: &str,
        payload: Payload,
        options: CallOptions,
    ) -> Result<RunningCall, CallError> {
        let (client, options) = self.session_for(procedure, options).await?;
        client.start(procedure, payload, options).await
    }

    /// Publishes an event; see [`Client::publish`].
    ///
    /// # Errors
    /// Like [`Client::publish`], and [`CallError::Away`] while there is no session.
    pub async fn publish(
        &self,
        topic: &str,
        payload: Payload,
        options: PublishOptions,
    ) -> Result<(), CallError> {
        let client = self.session().ok_or_else(|| self.away())?;
        client.publish(topic, payload, options).await
    }

    /// Registers a procedure, or a pattern of them, in this session and all
    /// that follow.
    ///
    /// Returns at once; [`Registration::settled`] waits for the router. While
    /// somebody else has the procedure it is asked for again and again, for
    /// after a network cut that may be our own session that the router has
    /// not given up yet. Any other refusal, and a revocation, ends it.
    ///
    /// # Errors
    /// When what is to be registered has no valid name.
    pub fn register(
        &self,
        procedure: &str,
        options: RegisterOptions,
    ) -> Result<Registration, CallError> {
        uri::check_pattern(procedure, options.policy)?;
        let intake = Arc::new(Intake::new(procedure, options, Lifetime::Link));
        let hold = self.keep(Kept::Registration(Arc::clone(&intake)));
        Ok(Registration::new(intake, hold))
    }

    /// Subscribes a topic, or a pattern of them, in this session and all that
    /// follow.
    ///
    /// Returns at once; [`Subscription::settled`] waits for the router. A
    /// refusal ends it.
    ///
    /// # Errors
    /// When what is to be subscribed has no valid name.
    pub fn subscribe(
        &self,
        topic: &str,
        options: SubscribeOptions,
    ) -> Result<Subscription, CallError> {
        uri::check_pattern(topic, options.policy)?;
        let inbox = Arc::new(Inbox::new(topic, options, Lifetime::Link));
        let hold = self.keep(Kept::Subscription(Arc::clone(&inbox)));
        Ok(Subscription { inbox, hold })
    }

    /// Says goodbye and makes no session any more; returns when the connection
    /// is closed. Registrations and subscriptions end.
    pub async fn close(&self) {
        self.handle.stop.cancel();
        let mut state = self.watch();
        let closed = state.wait_for(|state| matches!(state, LinkState::Closed)).await;
        // The sender is ours, and lives.
        drop(closed);
    }

    fn keep(&self, kept: Kept) -> Hold {
        let stop = CancellationToken::new();
        let backoff = self.handle.config.backoff();
        let mut task = JoinSet::new();
        task.spawn(keeper::keep(self.clone(), kept, backoff, stop.clone()));
        Hold::Link(Keeper { task, stop })
    }

    /// The session for a call, and what is left of its time.
    async fn session_for(
        &self,
        procedure: &str,
        options: CallOptions,
    ) -> Result<(Client, CallOptions), CallError> {
        if let Some(client) = self.session() {
            return Ok((client, options));
        }
        if self.handle.config.absence == Absence::Fail {
            return Err(self.away());
        }
        let Some(after) = options.timeout else {
            return Ok((self.connected().await?, options));
        };
        let began = Instant::now();
        let client = timeout(after, self.connected())
            .await
            .map_err(|_| CallError::Timeout { procedure: procedure.to_owned(), after })??;
        let left = after.saturating_sub(began.elapsed());
        Ok((client, CallOptions { timeout: Some(left), ..options }))
    }

    fn away(&self) -> CallError {
        match self.state() {
            LinkState::Away(Away { error: Some(error), .. }) => CallError::Away(error.to_string()),
            LinkState::Closed => CloseReason::Local.into(),
            LinkState::Away(_) | LinkState::Connected(_) => {
                CallError::Away("the router has not answered yet".into())
            }
        }
    }
}
