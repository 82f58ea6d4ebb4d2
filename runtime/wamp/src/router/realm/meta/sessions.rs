//! `wamp.session.…`: who is in the realm, and ending their sessions.

use serde::{Deserialize, Serialize};

use super::{Arguments, Refusal, answer};
use crate::id::SessionId;
use crate::message::{Message, ReasonDetails};
use crate::payload::Payload;
use crate::router::members::Member;
use crate::router::realm::{Output, Realm};
use crate::uri;

/// What `wamp.session.get` answers, and subscribers of [`uri::ON_JOIN`] are told.
#[derive(Debug, Serialize)]
pub(in crate::router::realm) struct SessionDetails<'a> {
    session: SessionId,
    authid: &'a str,
    authrole: &'a str,
    authmethod: &'a str,
    authprovider: &'a str,
}

impl<'a> SessionDetails<'a> {
    pub(in crate::router::realm) fn of(member: &'a Member) -> Self {
        Self {
            session: member.principal.session,
            authid: &member.principal.authid,
            authrole: &member.principal.authrole,
            authmethod: &member.authmethod,
            authprovider: &member.authprovider,
        }
    }
}

/// How sessions are ended.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kill {
    reason: Option<String>,
    message: Option<String>,
}

impl Realm {
    /// Calls `wamp.session.<name>`; none if there is no such procedure.
    pub(super) fn ask_sessions(
        &mut self,
        caller: SessionId,
        name: &str,
        arguments: Arguments<'_>,
        outputs: &mut Vec<Output>,
    ) -> Option<Result<Payload, Refusal>> {
        Some(match name {
            "count" => self.count_sessions(arguments),
            "list" => self.sessions(arguments).and_then(|sessions| answer(&sessions)),
            "get" => self.session_details(arguments),
            "kill" => self.kill_one(caller, arguments, outputs),
            "kill_by_authid" => arguments.required::<String>(0, "an authid").and_then(|authid| {
                let sessions = self.members.with_authid(&authid);
                let sessions = sessions.into_iter().flatten().copied().collect();
                self.kill_all(caller, sessions, arguments, outputs)
            }),
            "kill_by_authrole" => {
                arguments.required::<String>(0, "an authrole").and_then(|authrole| {
                    let sessions = self.members.with_authrole(&authrole);
                    let sessions = sessions.into_iter().flatten().copied().collect();
                    self.kill_all(caller, sessions, arguments, outputs)
                })
            }
            "kill_all" => {
                let sessions = self.members.ids();
                self.kill_all(caller, sessions, arguments, outputs)
            }
            "add_testament" => self.add_testament(caller, arguments),
            "flush_testaments" => self.flush_testaments(caller, arguments),
            _ => return None,
        })
    }

    fn count_sessions(&self, arguments: Arguments<'_>) -> Result<Payload, Refusal> {
        let count = match arguments.optional::<Vec<String>>(0, "a list of authroles")? {
            None => self.members.len(),
            Some(_) => self.sessions(arguments)?.len(),
        };
        answer(&count)
    }

    /// All sessions, or those of the roles in the first argument.
    fn sessions(&self, arguments: Arguments<'_>) -> Result<Vec<SessionId>, Refusal> {
        let Some(mut roles) = arguments.optional::<Vec<String>>(0, "a list of authroles")? else {
            return Ok(self.members.ids());
        };
        roles.sort_unstable();
        roles.dedup();
        let of_roles = roles.iter().filter_map(|role| self.members.with_authrole(role));
        Ok(of_roles.flatten().copied().collect())
    }

    fn session_details(&self, arguments: Arguments<'_>) -> Result<Payload, Refusal> {
        let session = arguments.required(0, "the id of a session")?;
        let member = self.members.get(session).ok_or_else(|| no_such_session(session))?;
        answer(&SessionDetails::of(member))
    }

    fn kill_one(
        &mut self,
        caller: SessionId,
        arguments: Arguments<'_>,
        outputs: &mut Vec<Output>,
    ) -> Result<Payload, Refusal> {
        let session = arguments.required(0, "the id of a session")?;
        let kill = Kill::read(arguments)?;
        if session == caller || !self.members.contains(session) {
            return Err(no_such_session(session));
        }
        self.kill(session, &kill, outputs);
        Ok(Payload::empty())
    }

    /// Ends all of the sessions but the caller's; answers how many.
    fn kill_all(
        &mut self,
        caller: SessionId,
        mut sessions: Vec<SessionId>,
        arguments: Arguments<'_>,
        outputs: &mut Vec<Output>,
    ) -> Result<Payload, Refusal> {
        let kill = Kill::read(arguments)?;
        sessions.retain(|session| *session != caller);
        for session in &sessions {
            self.kill(*session, &kill, outputs);
        }
        answer(&sessions.len())
    }

    fn kill(&mut self, session: SessionId, kill: &Kill, outputs: &mut Vec<Output>) {
        let message = Message::Goodbye {
            details: ReasonDetails { message: kill.message.clone() },
            reason: kill.reason.clone().unwrap_or_else(|| uri::close::KILLED.to_owned()),
        };
        outputs.push(Output::End { session, message });
        self.leave(session, outputs);
    }
}

impl Kill {
    fn read(arguments: Arguments<'_>) -> Result<Self, Refusal> {
        let kill: Self = arguments.keywords()?;
        if let Some(Err(error)) = kill.reason.as_deref().map(uri::check) {
            return Err(Refusal::new(uri::error::INVALID_URI, error.to_string()));
        }
        Ok(kill)
    }
}

fn no_such_session(session: SessionId) -> Refusal {
    let text = format!("no other session {session} is in the realm");
    Refusal::new(uri::error::NO_SUCH_SESSION, text)
}
