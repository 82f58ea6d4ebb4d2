//! The way into a realm: who may come in, and with what permissions.

use std::collections::HashMap;
use std::sync::Arc;

use super::Hall;
use super::auth::{Authenticator, Refusal};
use super::config::{Permission, RealmConfig};
use super::identity::Identity;
use super::permissions::Permissions;
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
}

/// Somebody who may join.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    pub(super) identity: Identity,
    pub(super) permissions: Arc<Permissions>,
    /// The id that it was told it would have. Another one if it is taken, as no
    /// two draws in a lifetime are.
    pub(super) session: Option<SessionId>,
}

impl Entrance {
    pub(super) fn new(config: &RealmConfig, hall: Arc<Hall>) -> Self {
        let permissions = |role: &super::config::RoleConfig| {
            let permissions = Permissions::new(&role.name, &role.permissions);
            (role.name.clone(), Arc::new(permissions))
        };
        let roles = config.roles.iter().map(permissions).collect();
        Self { hall, authenticator: Authenticator::new(config), roles }
    }

    /// Gives somebody the permissions of their role.
    pub(super) fn admit(&self, identity: Identity) -> Result<Admission, Refusal> {
        match self.roles.get(&identity.authrole) {
            Some(permissions) => {
                let permissions = Arc::clone(permissions);
                Ok(Admission { identity, permissions, session: None })
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
        Self { identity, permissions, session: None }
    }

    /// The same with an id that it was told.
    pub(super) fn with_session(self, session: SessionId) -> Self {
        Self { session: Some(session), ..self }
    }
}
