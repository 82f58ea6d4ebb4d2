//! The sessions of a realm: who they are, found by id, authid and authrole.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::permissions::Permissions;
use crate::id::{IdMap, SessionId};
use crate::message::Principal;

/// A session, who it is and what it may do.
#[derive(Debug)]
pub(super) struct Member {
    /// What others learn of it when it is disclosed.
    pub(super) principal: Arc<Principal>,
    pub(super) authmethod: String,
    pub(super) authprovider: String,
    pub(super) permissions: Arc<Permissions>,
}

/// All sessions; adding and removing one costs the same however many there are.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: IdMap<SessionId, Member>,
    by_authid: HashMap<String, BTreeSet<SessionId>>,
    by_authrole: HashMap<String, BTreeSet<SessionId>>,
}

impl Members {
    pub(super) fn insert(&mut self, member: Member) {
        let principal = Arc::clone(&member.principal);
        let session = principal.session;
        self.by_authid.entry(principal.authid.clone()).or_default().insert(session);
        self.by_authrole.entry(principal.authrole.clone()).or_default().insert(session);
        self.by_id.insert(session, member);
    }

    pub(super) fn remove(&mut self, session: SessionId) -> Option<Member> {
        let member = self.by_id.remove(&session)?;
        remove_from(&mut self.by_authid, &member.principal.authid, session);
        remove_from(&mut self.by_authrole, &member.principal.authrole, session);
        Some(member)
    }

    pub(super) fn get(&self, session: SessionId) -> Option<&Member> {
        self.by_id.get(&session)
    }

    pub(super) fn contains(&self, session: SessionId) -> bool {
        self.by_id.contains_key(&session)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All ids, in order.
    pub(super) fn ids(&self) -> Vec<SessionId> {
        let mut ids: Vec<_> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The sessions of one authid.
    pub(super) fn with_authid(&self, authid: &str) -> Option<&BTreeSet<SessionId>> {
        self.by_authid.get(authid)
    }

    /// The sessions of one authrole.
    pub(super) fn with_authrole(&self, authrole: &str) -> Option<&BTreeSet<SessionId>> {
        self.by_authrole.get(authrole)
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty() && self.by_authid.is_empty() && self.by_authrole.is_empty()
    }
}

fn remove_from(index: &mut HashMap<String, BTreeSet<SessionId>>, name: &str, session: SessionId) {
    if let Some(sessions) = index.get_mut(name) {
        sessions.remove(&session);
        if sessions.is_empty() {
            index.remove(name);
        }
    }
}
