//! Updates: plugin versions that the controller pushes.
//!
//! ```text
//!   plugin.update, ….revert, ….versions ──▶ Updates ──▶ keeper ──begins──▶ work
//!                                                         ▲ │                │
//!                      record.json of each plugin ◀───────┼─┘                │
//!                                                         └─── what happened ┘
//! ```
//!
//! The [`keeper`] owns a record for each plugin and does what [`drover_update`]
//! decides, each decision on disk before it is begun; [`work`] is what there is to
//! do, [`delivery`] how content and statements come from the controller, and
//! [`trust`] whether they count.
//!
//! Whoever asks can listen, and need not: an update that was accepted goes on
//! without its caller, without the link, and after the agent was killed.

mod delivery;
mod keeper;
mod trust;
mod work;

use drover_api::{ErrorCode, JobError, PluginVersions, UpdateEnd, UpdateStatus};
use drover_wamp::Link;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use keeper::Keeper;

/// Requests that wait for the keeper, which answers when its disk does; who finds no
/// room waits as well.
const REQUESTS: usize = 16;

/// Steps that wait for whoever listens to an update. There are fewer in one, unless
/// it is held again and again; what finds no room is not told.
const STEPS: usize = 64;

/// A cheap handle on the updates.
#[derive(Clone)]
pub(crate) struct Updates {
    requests: mpsc::Sender<Request>,
    link: watch::Sender<Option<Link>>,
}

type Reply<T> = oneshot::Sender<Result<T, JobError>>;

/// What the keeper is asked.
enum Request {
    Update { name: String, request: Box<drover_update::Request>, reply: Reply<Following> },
    Revert { name: String, wanted: Option<String>, reply: Reply<Following> },
    List { reply: Reply<Vec<PluginVersions>> },
}

/// Listens to an update.
pub(crate) struct Following {
    /// Each step, when it begins.
    pub(crate) steps: mpsc::Receiver<UpdateStatus>,
    /// The end.
    pub(crate) end: oneshot::Receiver<UpdateEnd>,
}

/// The other side of a [`Following`].
struct Follower {
    hash: drover_signing::ContentHash,
    steps: mpsc::Sender<UpdateStatus>,
    end: oneshot::Sender<UpdateEnd>,
}

impl Updates {
    /// Has the updates use this link.
    pub(crate) fn linked(&self, link: Link) {
        self.link.send_replace(Some(link));
    }

    /// Has the plugin `name` run another version.
    ///
    /// # Errors
    ///
    /// If it is not accepted: nothing changes then.
    pub(crate) async fn update(
        &self,
        name: String,
        request: drover_update::Request,
    ) -> Result<Following, JobError> {
        let request = Box::new(request);
        self.ask(|reply| Request::Update { name, request, reply }).await
    }

    /// Has the plugin `name` go back to a kept version: `wanted`, a version or the
    /// beginning of a hash, or the last one that did well.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(crate) async fn revert(
        &self,
        name: String,
        wanted: Option<String>,
    ) -> Result<Following, JobError> {
        self.ask(|reply| Request::Revert { name, wanted, reply }).await
    }

    /// What is kept of each plugin, and how far its update is.
    pub(crate) async fn list(&self) -> Result<Vec<PluginVersions>, JobError> {
        self.ask(|reply| Request::List { reply }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, JobError> {
        let gone = || JobError::new(ErrorCode::ShuttingDown, "the node is shutting down");
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
