//! The client: a session on a router, over a socket or in the same process.

mod authentication;
mod call;
mod callee;
mod connect;
mod dial;
mod download;
mod error;
mod held;
mod invocation;
mod options;
mod pin;
mod probe;
mod shared;
mod status;
mod subscriber;

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

pub use authentication::{Authentication, KeyFileError};
pub use call::RunningCall;
pub use callee::Registration;
pub(crate) use callee::{CalleePort, Intake};
pub use dial::{ClientCertificate, Roots, TlsOptions};
pub use download::{Download, DownloadError};
pub use error::{ApplicationError, CallError, CloseReason, Closed, ConnectError};
pub(crate) use held::{Held, Hold, Keeper};
pub use invocation::Invocation;
pub use options::{CallOptions, ClientConfig, PublishOptions, RegisterOptions, SubscribeOptions};
pub use probe::{Probe, probe};
pub use status::{EndReason, Status};
pub(crate) use status::{Lifetime, StatusCell};
pub(crate) use subscriber::Inbox;
pub use subscriber::{Event, Subscription};

use crate::id::SessionId;
use crate::message::PublishDetails;
use crate::outbox::Outbox;
use crate::payload::Payload;
use crate::router::{Admission, Hall, Limits};
use crate::session::Acknowledgement;
use crate::uri;
use connect::Opened;
use shared::{Line, Shared, Source};

/// A session; a handle, cheap to clone.
///
/// The session ends when [`close`](Self::close) is called, when the router or
/// the connection ends it, or when the last handle, registration, subscription
/// and invocation is dropped. It does not reconnect: [`closed`](Self::closed)
/// tells whoever does, and a [`Link`](crate::Link) does it by itself.
///
/// One task per session sends and receives. Messages leave in the order of the
/// calls that send them; urgent events, pings and their answers go before what
/// waits. They wait for the one frame that is being written, never for more.
#[derive(Debug, Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// What keeps a session open.
#[derive(Debug)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.begin_close();
        // The task sends what waits and says goodbye, which takes it seconds at most.
        self.tasks.detach_all();
    }
}

impl Handle {
    fn open(shared: Shared, source: Source) -> Arc<Self> {
        let shared = Arc::new(shared);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&shared).run(source));
        Arc::new(Self { shared, tasks })
    }

    /// Waits for the acknowledgement of a request.
    async fn acknowledged(
        &self,
        answer: oneshot::Receiver<Acknowledgement>,
    ) -> Result<Option<u64>, CallError> {
        match answer.await {
            Ok(Ok(publication)) => Ok(publication),
            Ok(Err(refusal)) => Err(ApplicationError::from(refusal).into()),
            Err(_) => Err(self.shared.closed().await.into()),
        }
    }
}

impl Client {
    /// Connects to a router and joins a realm.
    ///
    /// # Errors
    /// When there is no router, it does not answer in time, or refuses.
    pub async fn connect(config: &ClientConfig) -> Result<Self, ConnectError> {
        let opened = tokio::time::timeout(config.connect_timeout, connect::open(config)).await;
        let timeout =
            |_| ConnectError::Timeout { url: config.url.clone(), after: config.connect_timeout };
        Ok(Self::of(config, opened.map_err(timeout)??))
    }

    /// A session that was opened with this configuration.
    fn of(config: &ClientConfig, opened: Opened) -> Self {
        let Opened { session, wire, outbox, serializer } = opened;
        let line = Line::Socket { outbox, serializer };
        let shared = Shared::new(session, &config.realm, config.max_message_bytes, line);
        Self { handle: Handle::open(shared, Source::Wire(Box::new(wire))) }
    }

    /// Opens a session in the process of the router.
    pub(crate) fn attach(
        realm: &str,
        hall: &Arc<Hall>,
        admission: Admission,
        limits: &Limits,
    ) -> Self {
        let outbox = Arc::new(Outbox::new(limits.max_queued_bytes));
        let seat = hall.join(admission, &connect::our_roles(), &outbox, |_, _| {});
        let id = seat.session();
        let shared = Shared::new(id, realm, limits.max_message_bytes, Line::Local(seat));
        Self { handle: Handle::open(shared, Source::Local(outbox)) }
    }

    /// The session's id.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.handle.shared.id
    }

    /// The realm that it joined.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.handle.shared.realm
    }

    /// Calls a procedure and waits for the answer.
    ///
    /// Dropping the future cancels the call: the callee is told, whatever it
    /// answers then is ignored.
    ///
    /// # Errors
    /// When the callee or the router answers with an error, or there is no
    /// answer; see [`CallError`].
    pub async fn call(
        &self,
        procedure: &str,
        payload: Payload,
        options: CallOptions,
    ) -> Result<Payload, CallError> {
        RunningCall::start(&self.handle, procedure, payload, options, false).await?.answer().await
    }

    /// Calls a procedure with arguments in their natural form (see
    /// [`Payload::arguments`]), and reads the answer's first argument; a
    /// procedure without a result answers `()`.
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
        let payload = Payload::arguments(arguments)?;
        let answer = self.call(procedure, payload, options).await?;
        Ok(answer.first_or_null()?)
    }

    /// Calls a procedure and listens to its partial results.
    ///
    /// Returns as soon as the call is sent; dropping what it returns cancels
    /// the call.
    ///
    /// # Errors
    /// When the call could not be sent.
    pub async fn start(
        &self,
        procedure: &str,
        payload: Payload,
        options: CallOptions,
    ) -> Result<RunningCall, CallError> {
        RunningCall::start(&self.handle, procedure, payload, options, true).await
    }

    /// Registers a procedure, or a pattern of them.
    ///
    /// # Errors
    /// When the router refuses, for example because somebody else has registered it.
    pub async fn register(
        &self,
        procedure: &str,
        options: RegisterOptions,
    ) -> Result<Registration, CallError> {
        uri::check_pattern(procedure, options.policy)?;
        let intake = Arc::new(Intake::new(procedure, options, Lifetime::Session));
        let held = self.hold_registration(&intake).await?;
        Ok(Registration::new(intake, Hold::Session(held)))
    }

    /// Registers what `intake` asks for; calls go there from now on.
    pub(crate) async fn hold_registration(&self, intake: &Arc<Intake>) -> Result<Held, CallError> {
        let shared = &self.handle.shared;
        let port = CalleePort { intake: Arc::clone(intake), handle: Arc::downgrade(&self.handle) };
        let (reply, answer) = oneshot::channel();
        let details = intake.options.details();
        let (key, message) = shared
            .with_session(|session| session.register(&intake.procedure, details, reply, port))?;
        // From here on dropping it undoes whatever has been done.
        let held = Held::registration(&self.handle, key);
        shared.send(message).await?;
        self.handle.acknowledged(answer).await?;
        intake.status.active(self.session());
        Ok(held)
    }

    /// Subscribes a topic, or a pattern of them.
    ///
    /// # Errors
    /// When the router refuses.
    pub async fn subscribe(
        &self,
        topic: &str,
        options: SubscribeOptions,
    ) -> Result<Subscription, CallError> {
        uri::check_pattern(topic, options.policy)?;
        let inbox = Arc::new(Inbox::new(topic, options, Lifetime::Session));
        let held = self.hold_subscription(&inbox).await?;
        Ok(Subscription { inbox, hold: Hold::Session(held) })
    }

    /// Subscribes what `inbox` asks for; events go there from now on.
    pub(crate) async fn hold_subscription(&self, inbox: &Arc<Inbox>) -> Result<Held, CallError> {
        let shared = &self.handle.shared;
        let (reply, answer) = oneshot::channel();
        let (port, details) = (Arc::clone(inbox), inbox.options.details());
        let (key, message) =
            shared.with_session(|session| session.subscribe(&inbox.topic, details, reply, port))?;
        // From here on dropping it undoes whatever has been done.
        let held = Held::subscription(&self.handle, key);
        shared.send(message).await?;
        self.handle.acknowledged(answer).await?;
        inbox.status.active(self.session());
        Ok(held)
    }

    /// Publishes an event.
    ///
    /// # Errors
    /// When it could not be sent and, if asked for an acknowledgement, when the
    /// router refuses it.
    pub async fn publish(
        &self,
        topic: &str,
        payload: Payload,
        options: PublishOptions,
    ) -> Result<(), CallError> {
        let is_urgent = options.is_urgent;
        self.publish_with(topic, payload, options.details(), is_urgent).await.map(drop)
    }

    /// Publishes an event, and returns its id if it was to be acknowledged.
    pub(crate) async fn publish_with(
        &self,
        topic: &str,
        payload: Payload,
        details: PublishDetails,
        is_urgent: bool,
    ) -> Result<Option<u64>, CallError> {
        uri::check(topic)?;
        let shared = &self.handle.shared;
        let payload = shared.prepare(topic, &payload)?;
        let (reply, answer) = match details.acknowledge {
            true => Some(oneshot::channel()).unzip(),
            false => (None, None),
        };
        let message =
            shared.with_session(|session| session.publish(topic, payload, details, reply))?;
        if is_urgent {
            shared.send_urgent(message)?;
        } else {
            shared.send(message).await?;
        }
        match answer {
            Some(answer) => self.handle.acknowledged(answer).await,
            None => Ok(None),
        }
    }

    /// Resolves when the session has ended, whoever ended it.
    pub async fn closed(&self) -> CloseReason {
        self.handle.shared.closed().await
    }

    /// Says goodbye and closes the connection; returns when that is done, after
    /// a few seconds at most, whether the router answers or not.
    pub async fn close(&self) {
        self.handle.shared.begin_close();
        self.handle.shared.gone().await;
    }
}
