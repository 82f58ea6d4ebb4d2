//! The way into a realm: who may come in, and with what permissions.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Hall;
use super::auth::{Authenticator, Refusal};
use super::config::{Permission, RealmConfig};
use super::guard::{Applicant, Caller, Guard, Guest, Refused};
use super::identity::Identity;
use super::permissions::{Action, Permissions};
use crate::auth::Secret;
use crate::id::SessionId;
use crate::uri;

/// The realms of a router by name.
pub(super) type Entrances = HashMap<String, Entrance>;

/// A realm and who may join it.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) hall: Arc<Hall>,
    pub(super) authenticator: Authenticator,
    roles: HashMap<String, Arc<Permissions>>,
    guard: Option<Arc<dyn Guard>>,
}

/// Somebody who may join.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    pub(super) identity: Identity,
    pub(super) permissions: Arc<Permissions>,
    /// The id that it was told it would have. Another one if it is taken, as no
    /// two draws in a lifetime are.
    pub(super) session: Option<SessionId>,
    /// Whether the realm's guard hears of what it calls.
    pub(super) is_guarded: bool,
    /// Where it comes from, if that is known.
    pub(super) peer: Option<SocketAddr>,
    /// What the guard knows it by.
    pub(super) badge: Option<String>,
}

impl Entrance {
    pub(super) fn new(
        config: &RealmConfig,
        hall: Arc<Hall>,
        guard: Option<Arc<dyn Guard>>,
    ) -> Self {
        let permissions = |role: &super::config::RoleConfig| {
            let permissions = Permissions::new(&role.name, &role.permissions);
            (role.name.clone(), Arc::new(permissions))
        };
        let roles = config.roles.iter().map(permissions).collect();
        let authenticator = Authenticator::new(config, guard.is_some());
        Self { hall, authenticator, roles, guard }
    }

    /// Whether somebody decides on those who are not in the configuration.
    pub(super) fn has_guard(&self) -> bool {
        self.guard.is_some()
    }

    /// Says no to somebody from whose address too much has failed.
    pub(super) fn may_try(&self, peer: SocketAddr) -> Result<(), Refused> {
        self.guard.as_ref().map_or(Ok(()), |guard| guard.may_try(peer))
    }

    /// Tells the guard of a proof that was wrong.
    pub(super) fn failed(&self, peer: SocketAddr, authid: &str, method: &str) {
        if let Some(guard) = &self.guard {
            guard.failed(peer, authid, method);
        }
    }

    /// Whether a ticket is for reading files.
    pub(super) fn opens_files(&self, ticket: &Secret) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.opens_files(ticket))
    }

    /// Whether somebody in a role may call a procedure.
    pub(super) fn may_call(&self, role: &str, procedure: &str) -> bool {
        let permissions = self.roles.get(role);
        permissions.is_some_and(|one| one.check(Action::Call, procedure).is_ok())
    }

    /// Lets somebody in whom the realm's guard does.
    pub(super) async fn ask_guard(
        &self,
        applicant: Applicant,
        method: &'static str,
    ) -> Result<Admission, Refused> {
        let Some(guard) = &self.guard else {
            let text = format!("{method}: the name is unknown, or the proof is wrong");
            return Err(Refused { uri: uri::error::AUTHENTICATION_DENIED, text, retry_in: None });
        };
        let peer = applicant.peer;
        let Guest { authid, role, permissions, badge } = guard.admit(applicant).await?;
        let permissions = Arc::new(Permissions::new(&role, &permissions));
        let identity = Identity {
            authid,
            authrole: role,
            authmethod: method.to_owned(),
            authprovider: "dynamic".to_owned(),
        };
        let peer = Some(peer);
        let badge = Some(badge);
        Ok(Admission { identity, permissions, session: None, is_guarded: true, peer, badge })
    }

    /// Gives somebody the permissions of their role.
    pub(super) fn admit(&self, identity: Identity) -> Result<Admission, Refusal> {
        match self.roles.get(&identity.authrole) {
            Some(permissions) => {
                let permissions = Arc::clone(permissions);
                Ok(Admission {
                    identity,
                    permissions,
                    session: None,
                    is_guarded: true,
                    peer: None,
                    badge: None,
                })
            }
            None => {
                let mut known: Vec<_> = self.roles.keys().map(String::as_str).collect();
                known.sort_unstable();
                let text = format!(
                    "no role `{}` exists here, only {}",
                    identity.authrole,
                    known.join(", ")
                );
                Err(Refusal { uri: uri::error::NO_SUCH_ROLE, text })
            }
        }
    }
}

impl Admission {
    /// A session of this process, which nobody has to be protected from.
    pub(super) fn trusted() -> Self {
        let identity = Identity::trusted();
        let everything = [Permission::everything()];
        let permissions = Arc::new(Permissions::new(&identity.authrole, &everything));
        Self { identity, permissions, session: None, is_guarded: false, peer: None, badge: None }
    }

    /// The same, which came from there.
    pub(super) fn with_peer(self, peer: SocketAddr) -> Self {
        Self { peer: Some(peer), ..self }
    }

    /// Whether it may call a procedure.
    pub(super) fn may_call(&self, procedure: &str) -> bool {
        self.permissions.check(Action::Call, procedure).is_ok()
    }

    /// How the realm's guard hears of it, if it does.
    pub(super) fn caller(&self, session: SessionId) -> Option<Box<Caller>> {
        let Identity { authid, authrole, authmethod, .. } = &self.identity;
        self.is_guarded.then(|| {
            Box::new(Caller {
                session,
                authid: authid.clone(),
                authrole: authrole.clone(),
                authmethod: authmethod.clone(),
                peer: self.peer,
                badge: self.badge.clone(),
            })
        })
    }

    /// The same with an id that it was told.
    pub(super) fn with_session(self, session: SessionId) -> Self {
        Self { session: Some(session), ..self }
    }
}
