//! Services: operations of plugins that run until they are stopped.
//!
//! ```text
//!   service.*, configuration ──▶ Services ──▶ supervisor ──starts──▶ plugin host
//!                                   │             ▲ how it ended         │
//!   feed topics ◀── link ◀── feeds ◀┼─────────────┴── a task each ◀──────┘
//!                                   └── services.json
//! ```
//!
//! The supervisor has one pure [`life`] for each service and does what those
//! decide. A task for each run takes down what its service says and hands on what
//! it publishes. Services end with the agent, politely, and come back with it:
//! those of the configuration, and those that were started and not stopped.

mod feeds;
mod life;
mod remembered;
mod run;
mod spec;
mod supervisor;

use drover_api::{ErrorCode, JobError, ServiceStatus};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use feeds::{Feeds, publish};
pub use spec::ServiceSpec;
pub(crate) use spec::check_name;
pub(crate) use supervisor::Supervisor;

use crate::Config;

/// Requests that wait for the supervisor, which answers at once unless the disk
/// is slow; who finds no room waits as well.
const REQUESTS: usize = 64;

/// What the ids of the services' jobs begin with; the name follows.
const PREFIX: &str = "service.";

/// A cheap handle on the services.
#[derive(Clone)]
pub(crate) struct Services {
    requests: mpsc::Sender<Request>,
    feeds: Feeds,
    over: CancellationToken,
}

type Reply<T> = oneshot::Sender<Result<T, JobError>>;

/// What the supervisor is asked.
enum Request {
    Start { name: String, spec: ServiceSpec, reply: Reply<ServiceStatus> },
    Stop { name: String, reply: Reply<ServiceStatus> },
    Restart { name: String, reply: Reply<ServiceStatus> },
    List { reply: Reply<Vec<ServiceStatus>> },
}

impl Services {
    /// Reads what is remembered. The services start when the supervisor runs.
    ///
    /// # Errors
    ///
    /// If the file in `data_dir` cannot be read.
    pub(crate) fn open(config: &Config) -> anyhow::Result<(Self, Supervisor)> {
        let (requests, asked) = mpsc::channel(REQUESTS);
        let (feeds, over) = (Feeds::default(), CancellationToken::new());
        let supervisor = Supervisor::new(config, asked, over.clone())?;
        Ok((Self { requests, feeds, over }, supervisor))
    }

    /// What waits to be published.
    pub(crate) fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    /// Has a service run, and come back with the agent until it is stopped.
    ///
    /// # Errors
    ///
    /// If it cannot, or another one has that name.
    pub(crate) async fn start(
        &self,
        name: String,
        spec: ServiceSpec,
    ) -> Result<ServiceStatus, JobError> {
        self.ask(|reply| Request::Start { name, spec, reply }).await
    }

    /// Stops a service, and waits until it has.
    ///
    /// # Errors
    ///
    /// If there is none of that name.
    pub(crate) async fn stop(&self, name: String) -> Result<ServiceStatus, JobError> {
        self.ask(|reply| Request::Stop { name, reply }).await
    }

    /// Has a service begin anew, whether it runs or not.
    ///
    /// # Errors
    ///
    /// If there is none of that name.
    pub(crate) async fn restart(&self, name: String) -> Result<ServiceStatus, JobError> {
        self.ask(|reply| Request::Restart { name, reply }).await
    }

    /// All services, by name.
    ///
    /// # Errors
    ///
    /// If the agent is shutting down.
    pub(crate) async fn list(&self) -> Result<Vec<ServiceStatus>, JobError> {
        self.ask(|reply| Request::List { reply }).await
    }

    /// Waits until all have ended, which they do when the agent is to end.
    pub(crate) async fn ended(&self) {
        self.over.cancelled().await;
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, JobError> {
        let gone = || JobError::new(ErrorCode::ShuttingDown, "the node is shutting down");
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
