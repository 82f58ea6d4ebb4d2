//! Who may join the controller, and what they may do: its guard.
//!
//! ```text
//!   router ── admit, call, ended ──> Access ── decisions ──> directory (pure)
//!                                      │ └── changes ──────> store (SQLite)
//!                                      └── what is done ───> audit log
//!   service (a WAMP session) ──────────^
//! ```
//!
//! Who is in the configuration's `realms` needs none of this. Everybody else is in
//! the [`directory`]: nodes that were let in and have a key, operators with a
//! password, a key or tokens. [`admission`] lets them in, [`roles`] says what they may
//! do, and [`deed`] what a call does; what is done later is judged again then, on the
//! word of whoever asked ([`authority`]). Whoever fails too often waits ([`attempts`]).

mod admission;
mod attempts;
mod authority;
mod badge;
mod counts;
mod deed;
mod directory;
mod password;
mod roles;
mod secret;
pub(crate) mod service;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use drover_api::{KnownNode, NewApiToken, NodeDescription, NodeId, PutUser, Scope, Timestamp};
use drover_wamp::{
    Admitting, Applicant, Caller, Ending, Guard, Payload, Principal, Refused, Secret, Verdict, uri,
};
use tokio::sync::{Semaphore, watch};

use crate::audit::{Act, Audit};
use attempts::Attempts;
use authority::Callers;
use badge::Badge;
pub(crate) use counts::AccessCounts;
use deed::{Deed, DeedKind};
use directory::{Change, Decision, Directory};
use secret::{NewSecret, Tickets};
use store::Store;

pub use roles::OwnRole;
pub(crate) use roles::{ADMIN, is_free_name};

/// Passwords that are hashed at the same time: each takes 19 MiB and a core.
const HASHED_AT_ONCE: usize = 2;

/// What whoever fails too often is told, for programs.
const BUSY: &str = "drover.error.busy";

/// What an authid of a newcomer begins with; its key follows.
const NEWCOMERS: &str = "newcomer.";

/// What an authid of a node begins with; its number follows.
const NODES: &str = "node.";

/// What a controller's admin says about who may join.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policy {
    /// Whether agents without a token may show a code.
    pub(crate) claims: bool,
    /// Roles beside the built-in ones.
    pub(crate) roles: BTreeMap<String, OwnRole>,
}

/// Who may join, and what they may do; a handle, cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policy: RwLock<Policy>,
    directory: RwLock<Directory>,
    /// One change at a time: decided, written, applied.
    store: Mutex<Store>,
    attempts: Mutex<Attempts>,
    /// The zero of the attempts' time.
    began: Instant,
    hashing: Semaphore,
    tickets: Tickets,
    audit: Audit,
    counts: AccessCounts,
    /// Calls that count against their peer when they fail.
    risky: Mutex<HashMap<u64, IpAddr>>,
    /// Who makes the calls that services judge.
    callers: Mutex<Callers>,
    /// Tells that somebody may do something else than before.
    changes: watch::Sender<()>,
}

impl Access {
    /// Opens what is kept in a file, or begins it.
    pub(crate) fn open(path: &Path, policy: Policy, audit: Audit) -> anyhow::Result<Self> {
        let store = Store::open(path)?;
        let directory = store.load()?;
        Ok(Self(Arc::new(Inner {
            policy: RwLock::new(policy),
            directory: RwLock::new(directory),
            store: Mutex::new(store),
            attempts: Mutex::default(),
            began: Instant::now(),
            hashing: Semaphore::new(HASHED_AT_ONCE),
            tickets: Tickets::default(),
            audit,
            counts: AccessCounts::default(),
            risky: Mutex::default(),
            callers: Mutex::default(),
            changes: watch::Sender::new(()),
        })))
    }

    /// The same as a guard of a realm.
    pub(crate) fn guard(&self) -> Arc<dyn Guard> {
        Arc::new(self.clone())
    }

    /// The audit log.
    pub(crate) fn audit(&self) -> &Audit {
        &self.0.audit
    }

    /// How often somebody was let in, or not.
    pub(crate) fn counts(&self) -> &AccessCounts {
        &self.0.counts
    }

    /// The node that was let in under this number, if it still may join.
    pub(crate) fn node(&self, node: NodeId) -> Option<KnownNode> {
        let known = self.directory().node(node).cloned();
        known.filter(|known| known.revoked.is_none())
    }

    /// Every node that was let in, revoked ones included.
    pub(crate) fn nodes(&self) -> Vec<KnownNode> {
        self.directory().nodes()
    }

    /// A ticket for the content of the catalog, and until when it counts.
    pub(crate) fn ticket(&self) -> (Secret, Timestamp) {
        self.0.tickets.make(Timestamp::now())
    }

    /// Forgets a node with its keys. Blocks on the disk.
    pub(crate) fn forget(&self, node: NodeId) -> anyhow::Result<()> {
        self.change(|known| known.forget(node))
    }

    /// Goes by other roles from now on; says which of them let sessions call something
    /// else than before.
    pub(crate) fn set_roles(&self, roles: BTreeMap<String, OwnRole>) -> Vec<String> {
        let mut policy = self.0.policy.write().unwrap_or_else(PoisonError::into_inner);
        let former = std::mem::replace(&mut policy.roles, roles);
        let permissions = |role: Option<&OwnRole>| {
            role.and_then(|own| roles::of("", Some(own))).map(|rights| rights.permissions)
        };
        let changed = former
            .iter()
            .filter(|(name, own)| permissions(Some(own)) != permissions(policy.roles.get(*name)));
        let changed = changed.map(|(name, _)| name.clone()).collect();
        drop(policy);
        self.0.changes.send_replace(());
        changed
    }

    /// Decides on something, and has it written before it counts. Blocks on the disk.
    fn change<T>(&self, decide: impl FnOnce(&Directory) -> Decision<T>) -> anyhow::Result<T> {
        let mut store = self.0.store.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, changes) = decide(&self.directory())?;
        if !changes.is_empty() {
            store.write(&changes)?;
            let mut directory = self.0.directory.write().unwrap_or_else(PoisonError::into_inner);
            let matters = changes.iter().any(Change::matters);
            changes.into_iter().for_each(|change| directory.apply(change));
            drop(directory);
            if matters {
                self.0.changes.send_replace(());
            }
        }
        Ok(answer)
    }

    fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        self.0.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.0.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says when to come back, if that is later.
    fn check_attempts(&self, peer: IpAddr) -> Result<(), Refused> {
        let Some(wait) = self.attempts().wait(peer, self.0.began.elapsed()) else {
            return Ok(());
        };
        let seconds = wait.as_secs().saturating_add(1);
        let text = format!("too many attempts from {peer} have failed: come back in {seconds} s");
        Err(Refused { uri: BUSY, text, retry_in: Some(wait) })
    }

    fn failed(&self, peer: IpAddr) {
        self.attempts().failed(peer, self.0.began.elapsed());
    }

    fn rights(&self, role: &str) -> Option<roles::Rights> {
        roles::of(role, self.policy().roles.get(role))
    }

    fn policy(&self) -> RwLockReadGuard<'_, Policy> {
        self.0.policy.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says why a guest may not do something, beyond what its role's names say.
    fn judge(&self, caller: &Caller, badge: &Badge, deed: &Deed) -> Result<(), String> {
        match badge {
            Badge::Newcomer | Badge::Node => return Ok(()),
            Badge::User | Badge::Token(_) => {}
        }
        let Some(rights) = self.rights(&caller.authrole) else {
            return Err(format!("the role `{}` is not there any more", caller.authrole));
        };
        let node = self.describe(deed.node);
        rights
            .judge(deed, &node)
            .map_err(|text| format!("the role `{}` {text}", caller.authrole))?;
        let Badge::Token(id) = badge else { return Ok(()) };
        let directory = self.directory();
        let token = directory.token(id).map(|record| &record.token);
        // The last session of a token with a number of uses may go on.
        let Some(token) = token else { return Err("the token was withdrawn".to_owned()) };
        if token.expires.is_some_and(|expires| expires <= Timestamp::now()) {
            return Err("the token has expired: log in again, or make another one".to_owned());
        }
        roles::judge_scope(&token.scope, deed, &node)?;
        let is_less =
            token.role.is_some() || token.uses.is_some() || token.scope != Scope::default();
        let makes_more = ["access.new_token", "access.password"].contains(&deed.what.as_str());
        if is_less && makes_more {
            return Err(format!(
                "a token that is for less than its user is not for `{}`",
                deed.what
            ));
        }
        Ok(())
    }

    /// What is certain of a node: what it was let in with.
    fn describe(&self, node: Option<NodeId>) -> NodeDescription {
        let node = node.unwrap_or(NodeId::new(0, 0));
        match self.node(node) {
            Some(KnownNode { name, labels, .. }) => {
                NodeDescription { name, labels, ..roles::bare(node) }
            }
            None => roles::bare(node),
        }
    }
}

impl Guard for Access {
    fn admit(&self, applicant: Applicant) -> Admitting<'_> {
        Box::pin(self.decide(applicant))
    }

    fn call(&self, caller: &Caller, procedure: &str, payload: &Payload) -> Verdict {
        let deed = Deed::of(procedure, payload);
        if deed.kind == DeedKind::Foreign {
            return Verdict::Pass;
        }
        let badge = caller.badge.as_deref().map(Badge::read);
        let is_joining = badge == Some(Badge::Newcomer);
        if let (true, Some(peer)) = (is_joining, caller.peer)
            && let Err(refused) = self.check_attempts(peer.ip())
        {
            return Verdict::Deny(refused.text);
        }
        let judged = badge.as_ref().map_or(Ok(()), |badge| self.judge(caller, badge, &deed));
        if judged.is_ok() && deed.kind != DeedKind::Doing {
            return Verdict::Pass;
        }
        let begun = self.0.audit.begin(Act {
            who: caller.authid.clone(),
            role: caller.authrole.clone(),
            from: caller.peer.map_or_else(|| "bridge".to_owned(), |peer| peer.ip().to_string()),
            what: deed.what,
            on: deed.on,
        });
        match (judged, begun) {
            (Ok(()), Ok(number)) => {
                if let (true, Some(peer)) = (is_joining, caller.peer) {
                    self.risky().insert(number, peer.ip());
                }
                if deed.is_judged_later {
                    let authority = self.authority(caller, badge.as_ref());
                    self.callers().add(number, caller.session, authority);
                }
                Verdict::Watch(number)
            }
            (Ok(()), Err(full)) => Verdict::Deny(full.to_string()),
            (Err(text), begun) => {
                self.0.counts.denied_calls.one();
                if let Ok(number) = begun {
                    self.0.audit.end(number, "denied");
                }
                Verdict::Deny(text)
            }
        }
    }

    fn may_try(&self, peer: SocketAddr) -> Result<(), Refused> {
        self.check_attempts(peer.ip())
    }

    fn failed(&self, peer: SocketAddr, authid: &str, method: &str) {
        Self::failed(self, peer.ip());
        let what = format!("join by {method}");
        self.denied_to_join(admission::shown_name(authid), &what, peer.ip());
    }

    fn opens_files(&self, ticket: &Secret) -> bool {
        self.0.tickets.is(ticket, Timestamp::now())
    }

    fn ended(&self, call: u64, ending: Ending<'_>) {
        let peer = self.risky().remove(&call);
        self.callers().remove(call);
        let result = match ending {
            Ending::Answered => "ok",
            Ending::Failed(uri::error::NOT_AUTHORIZED) => "denied",
            Ending::Failed(error) => error,
            Ending::Left => "the caller left",
        };
        if let (Some(peer), Ending::Failed(_)) = (peer, ending) {
            self.failed(peer);
        }
        self.0.audit.end(call, result);
    }
}

impl Access {
    fn risky(&self) -> MutexGuard<'_, HashMap<u64, IpAddr>> {
        self.0.risky.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn callers(&self) -> MutexGuard<'_, Callers> {
        self.0.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a user to the file of a controller that does not run, and makes a token.
pub(crate) fn add_admin(
    path: &Path,
    user: &PutUser,
    token: &NewApiToken,
    now: Timestamp,
) -> anyhow::Result<Secret> {
    let mut store = Store::open(path)?;
    let mut known = store.load()?;
    let ((), changes) = known.put_user(user, None, now)?;
    store.write(&changes)?;
    changes.into_iter().for_each(|change| known.apply(change));
    let secret = NewSecret::draw();
    let (_, changes) = known.make_token(&user.name, token, &secret, now)?;
    store.write(&changes)?;
    Ok(secret.text)
}

/// Whether whoever sent something may speak for a node. Nodes that prove who they
/// are may for themselves alone; of others it is known by the realm's
/// configuration that they may.
pub(crate) fn speaks_for(sender: Option<&Principal>, node: NodeId) -> bool {
    match sender {
        Some(sender) if sender.authid.starts_with(NODES) && sender.authrole == roles::NODE => {
            sender.authid.strip_prefix(NODES) == Some(node.to_string().as_str())
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
