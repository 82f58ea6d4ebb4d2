//! On whose word something is done that is not done at once: submissions, schedules,
//! rollouts. Their services ask here, for the guard sees no more of a call than its
//! name and cannot know the nodes that are meant.
//!
//! ```text
//!   guard: call ──> remembers who calls, until the call has ended
//!   service: of_call ──> Authority ──kept with the job──> may_run, whenever it matters
//! ```
//!
//! Whoever is let in by the realm's configuration, or proves nothing where nobody has
//! to, is held to the names of procedures alone, and has no authority to keep.

use std::collections::HashMap;

use drover_api::{Authority, ErrorCode, NodeId, Timestamp};
use drover_wamp::{ApplicationError, Caller, Invocation, SessionId};
use tokio::sync::watch;

use super::deed::Deed;
use super::{Access, Badge, roles};
use crate::refusal::refuse;

/// Those whose calls are under way that somebody else judges.
#[derive(Debug, Default)]
pub(super) struct Callers {
    by_call: HashMap<u64, SessionId>,
    pub(super) sessions: HashMap<SessionId, (Option<Authority>, usize)>,
}

impl Callers {
    pub(super) fn add(&mut self, call: u64, session: SessionId, authority: Option<Authority>) {
        self.by_call.insert(call, session);
        self.sessions.entry(session).or_insert((authority, 0)).1 += 1;
    }

    pub(super) fn remove(&mut self, call: u64) {
        let Some(session) = self.by_call.remove(&call) else { return };
        if let Some((_, calls)) = self.sessions.get_mut(&session) {
            *calls -= 1;
            if *calls == 0 {
                self.sessions.remove(&session);
            }
        }
    }
}

impl Access {
    /// The authority of a guest, as it is kept.
    pub(super) fn authority(&self, caller: &Caller, badge: Option<&Badge>) -> Option<Authority> {
        let user = Authority {
            user: caller.authid.clone(),
            role: None,
            scope: drover_api::Scope::default(),
            token: None,
            expires: None,
        };
        match badge? {
            Badge::Newcomer | Badge::Node => None,
            Badge::User => Some(user),
            Badge::Token(id) => {
                let directory = self.directory();
                let token = directory.token(id).map(|record| &record.token);
                // One that is for all that its user may do is only a way to log in,
                // and what was asked with it outlives it.
                let less =
                    token.filter(|token| token.role.is_some() || !token.scope.is_everything());
                Some(match less {
                    None => user,
                    Some(token) => Authority {
                        role: token.role.clone(),
                        scope: token.scope.clone(),
                        token: Some(id.clone()),
                        expires: token.expires,
                        ..user
                    },
                })
            }
        }
    }

    /// On whose word a call is made; none if it is held to names alone.
    ///
    /// # Errors
    ///
    /// If the caller has gone meanwhile.
    pub(crate) fn of_call(&self, call: &Invocation) -> Result<Option<Authority>, ApplicationError> {
        let Some(caller) = &call.caller else { return Ok(None) };
        let callers = self.callers();
        let known = callers.sessions.get(&caller.session).map(|(authority, _)| authority.clone());
        known.ok_or_else(|| {
            let text = "whoever called is not there any more".to_owned();
            refuse(ErrorCode::Denied, text)
        })
    }

    /// Says why a command is not to be run on a node on somebody's word, if it is not.
    pub(crate) fn may_run(
        &self,
        authority: &Authority,
        cmd: &str,
        node: NodeId,
    ) -> Result<(), String> {
        let (role, rights) = self.rights_of(authority)?;
        let deed = Deed::command(cmd, Some(node));
        let node = self.describe(Some(node));
        rights.judge(&deed, &node).map_err(|text| format!("the role `{role}` {text}"))?;
        roles::judge_scope(&authority.scope, &deed, &node)
    }

    /// The same for nodes of which none is known yet.
    pub(crate) fn may_run_somewhere(&self, authority: &Authority, cmd: &str) -> Result<(), String> {
        let (role, rights) = self.rights_of(authority)?;
        if !rights.is_for(cmd) {
            return Err(format!("the role `{role}` may not run `{cmd}`"));
        }
        match authority.scope.commands.is_empty() || roles::covers_command(&authority.scope, cmd) {
            true => Ok(()),
            false => Err(format!("the token is not for `{cmd}`")),
        }
    }

    /// The same for all nodes, those included that join later.
    pub(crate) fn may_run_everywhere(
        &self,
        authority: &Authority,
        cmd: &str,
    ) -> Result<(), String> {
        self.may_run_somewhere(authority, cmd)?;
        let (role, rights) = self.rights_of(authority)?;
        match rights.is_for_all_nodes(cmd) && authority.scope.nodes.is_none() {
            true => Ok(()),
            false => Err(format!(
                "this is about nodes that join later as well, and `{cmd}` is for some nodes only \
                 in the role `{role}` or by this token"
            )),
        }
    }

    /// What somebody may do by now.
    fn rights_of(&self, authority: &Authority) -> Result<(String, roles::Rights), String> {
        let directory = self.directory();
        let Some(user) = directory.user(&authority.user) else {
            return Err(format!("the user `{}` is not there any more", authority.user));
        };
        if let Some(id) = &authority.token
            && directory.token(id).is_none()
            && authority.expires.is_none_or(|expires| expires > Timestamp::now())
        {
            return Err("the token was withdrawn".to_owned());
        }
        let role = authority.role.clone().unwrap_or_else(|| user.role.clone());
        drop(directory);
        match self.rights(&role) {
            Some(rights) => Ok((role, rights)),
            None => Err(format!("the role `{role}` is not there any more")),
        }
    }

    /// Tells of every change of what people may do and of the labels of nodes.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }
}
