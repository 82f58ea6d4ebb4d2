//! Updates: versions that the controller pushes, of plugins and of the agent's own
//! program.
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
//! [`trust`] whether they count. [`news`] hears of statements when there is nothing
//! to do, so that what was withdrawn is known. [`own`] is what is different where the
//! agent's own program is to be another.
//!
//! Whoever asks can listen, and need not: an update that was accepted goes on
//! without its caller, without the link, and after the agent was killed.

mod delivery;
mod keeper;
mod news;
mod own;
mod trust;
mod work;

use drover_api::{ErrorCode, JobError, PluginVersions, UpdateEnd, UpdateStatus};
use drover_signing::TrustedKeys;
use drover_wamp::Link;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use keeper::{Keeper, RECORD};
pub use own::OwnProgram;

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
    concerns: watch::Receiver<Vec<Concern>>,
}

/// What somebody has to see to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Concern {
    /// The plugin.
    pub(crate) name: String,
    /// The version that it is about.
    pub(crate) version: String,
    pub(crate) what: ConcernKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConcernKind {
    /// It does not serve until somebody changes this.
    Held(String),
    /// It serves, and is in the controller's statement no more, for this reason.
    Withdrawn(String),
}

impl std::fmt::Display for Concern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, version, what } = self;
        match what {
            ConcernKind::Held(reason) => {
                write!(f, "version {version} of `{name}` is held: {reason}")
            }
            ConcernKind::Withdrawn(reason) => write!(
                f,
                "version {version} of `{name}` serves and was withdrawn: {reason}; push another \
                 one, or go back with `plugin.revert`"
            ),
        }
    }
}

type Reply<T> = oneshot::Sender<Result<T, JobError>>;

/// What the keeper is asked.
enum Request {
    Update { name: String, request: Box<drover_update::Request>, reply: Reply<Following> },
    Revert { name: String, wanted: Option<String>, reply: Reply<Following> },
    List { reply: Reply<Vec<PluginVersions>> },
    Trust { keys: TrustedKeys },
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

    /// Trusts these keys from now on, and no others.
    pub(crate) async fn trust(&self, keys: TrustedKeys) {
        // The agent ends if nobody takes it.
        let _ = self.requests.send(Request::Trust { keys }).await;
    }

    /// What somebody has to see to, by plugin.
    pub(crate) fn concerns(&self) -> Vec<Concern> {
        self.concerns.borrow().clone()
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, JobError> {
        let gone = || JobError::new(ErrorCode::ShuttingDown, "the node is shutting down");
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
