//! The client: a session on a router, over a socket or in the same process.

mod callee;
mod connect;
mod error;
mod options;
mod shared;
mod subscriber;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use callee::{Invocation, Registration};
pub use error::{ApplicationError, CallError, CloseReason, Closed, ConnectError};
pub use options::{CallOptions, ClientConfig, PublishOptions, RegisterOptions, SubscribeOptions};
pub use subscriber::{Event, Subscription};

use crate::id::SessionId;
use crate::message::Message;
use crate::outbox::Outbox;
use crate::payload::Payload;
use crate::queue::Queue;
use crate::router::{Admission, Hall, Limits};
use crate::session::Refusal;
use crate::uri;
use connect::Opened;
use shared::{Line, Shared, Source, Update};
use subscriber::Inbox;

/// A session; a handle, cheap to clone.
///
/// The session ends when [`close`](Self::close) is called, when the router or
/// the connection ends it, or when the last handle, registration, subscription
/// and invocation is dropped. It does not reconnect: [`closed`](Self::closed)
/// tells whoever does.
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
struct Handle {
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
        answer: oneshot::Receiver<Result<(), Refusal>>,
    ) -> Result<(), CallError> {
        match answer.await {
            Ok(Ok(())) => Ok(()),
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
        let Opened { session, wire, outbox, serializer } = opened.map_err(timeout)??;
        let line = Line::Socket { outbox, serializer };
        let shared = Shared::new(session, &config.realm, config.max_message_bytes, line);
        Ok(Self { handle: Handle::open(shared, Source::Wire(Box::new(wire))) })
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
        uri::check(procedure)?;
        let payload = self.handle.shared.prepare(procedure, &payload)?;
        let answer = self.answer(procedure, payload, options.progress, options.cancel);
        match options.timeout {
            None => answer.await,
            Some(after) => tokio::time::timeout(after, answer).await.unwrap_or_else(|_| {
                Err(CallError::Timeout { procedure: procedure.to_owned(), after })
            }),
        }
    }

    async fn answer(
        &self,
        procedure: &str,
        payload: Payload,
        mut progress: Option<mpsc::Sender<Payload>>,
        mut cancel: Option<CancellationToken>,
    ) -> Result<Payload, CallError> {
        let shared = &self.handle.shared;
        let updates = Arc::new(Queue::new(shared.max_message_bytes));
        let (request, message) = shared.with_session(|session| {
            session.call(procedure, payload, progress.is_some(), Arc::clone(&updates))
        })?;
        let mut pending = PendingCall { shared, request, is_sent: false };
        shared.send(message).await?;
        pending.is_sent = true;
        loop {
            let update = tokio::select! {
                update = updates.pop() => update,
                () = cancelled(cancel.as_ref()) => {
                    cancel = None;
                    shared.send_now(Message::cancel(request));
                    continue;
                }
            };
            match update {
                Some(Update::Progress(payload)) => {
                    if let Some(receiver) = &progress
                        && receiver.send(payload).await.is_err()
                    {
                        progress = None;
                    }
                }
                Some(Update::Answer(Ok(payload))) => return Ok(payload),
                Some(Update::Answer(Err(refusal))) => {
                    return Err(ApplicationError::from(refusal).into());
                }
                Some(Update::Overflow) => {
                    let (procedure, limit) = (procedure.to_owned(), shared.max_message_bytes);
                    return Err(CallError::SlowReceiver { procedure, limit });
                }
                None => return Err(shared.closed().await.into()),
            }
        }
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
        let shared = &self.handle.shared;
        let queue = Arc::new(Queue::new(options.max_queued_bytes));
        let (reply, answer) = oneshot::channel();
        let (key, message) = shared.with_session(|session| {
            session.register(procedure, options.policy, reply, Arc::clone(&queue))
        })?;
        // From here on dropping it undoes whatever has been done.
        let procedure = procedure.to_owned();
        let registration = Registration { handle: Arc::clone(&self.handle), procedure, key, queue };
        shared.send(message).await?;
        self.handle.acknowledged(answer).await?;
        Ok(registration)
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
        let shared = &self.handle.shared;
        let inbox = Arc::new(Inbox::new(options.max_queued_bytes));
        let (reply, answer) = oneshot::channel();
        let (key, message) = shared.with_session(|session| {
            session.subscribe(topic, options.policy, reply, Arc::clone(&inbox))
        })?;
        // From here on dropping it undoes whatever has been done.
        let subscription = Subscription { handle: Arc::clone(&self.handle), key, inbox };
        shared.send(message).await?;
        self.handle.acknowledged(answer).await?;
        Ok(subscription)
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
        uri::check(topic)?;
        let shared = &self.handle.shared;
        let payload = shared.prepare(topic, &payload)?;
        let (reply, answer) = match options.acknowledge {
            true => Some(oneshot::channel()).unzip(),
            false => (None, None),
        };
        let message = shared
            .with_session(|session| session.publish(topic, payload, options.exclude_me, reply))?;
        if options.is_urgent {
            shared.send_urgent(message)?;
        } else {
            shared.send(message).await?;
        }
        match answer {
            Some(answer) => self.handle.acknowledged(answer).await,
            None => Ok(()),
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

/// Resolves when the token is cancelled; never without one.
async fn cancelled(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

/// A call that is cancelled when nobody waits for it any more.
struct PendingCall<'a> {
    shared: &'a Shared,
    request: u64,
    is_sent: bool,
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        if self.is_sent {
            self.shared.cancel(self.request);
        } else {
            // The router never heard of it.
            let _ = self.shared.with_session(|session| session.cancel(self.request));
        }
    }
}
