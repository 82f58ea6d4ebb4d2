//! `wamp.session.add_testament` and `flush_testaments`: events that are
//! published when a session has gone, however it went.
//!
//! A router without session resumption loses a session's connection and the
//! session itself at once, so the two scopes differ only in who flushes what:
//! those of `detached` are published first, then those of `destroyed`.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::{Arguments, Refusal, answer};
use crate::id::SessionId;
use crate::message::{Principal, PublishDetails};
use crate::payload::Payload;
use crate::router::broker::Publication;
use crate::router::permissions::Action;
use crate::router::realm::Realm;
use crate::uri;

/// How many testaments one session may have.
const MAX_TESTAMENTS: usize = 100;

/// How many bytes they may take together.
const MAX_BYTES: usize = 1 << 20;

/// The testaments of those who made some.
#[derive(Debug, Default)]
pub(in crate::router::realm) struct Testaments(HashMap<SessionId, Vec<Testament>>);

/// An event that waits for its publisher's end.
#[derive(Debug)]
pub(in crate::router::realm) struct Testament {
    scope: Scope,
    publication: u64,
    topic: String,
    payload: Payload,
    options: PublishDetails,
    /// Whether subscribers learn whose it is.
    is_disclosed: bool,
}

/// What ends when a testament is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::router::realm) enum Scope {
    /// The session's connection.
    Detached,
    /// The session.
    #[default]
    Destroyed,
}

/// The keyword arguments of both procedures.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    scope: Scope,
    publish_options: Option<PublishDetails>,
}

impl Testaments {
    /// Takes all that a session leaves, in the order of publishing.
    pub(in crate::router::realm) fn take(&mut self, session: SessionId) -> Vec<Testament> {
        let mut testaments = self.0.remove(&session).unwrap_or_default();
        testaments.sort_by_key(|testament| testament.scope);
        testaments
    }

    #[cfg(any(test, fuzzing))]
    pub(in crate::router::realm) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, session: SessionId, testament: Testament) -> Result<(), Refusal> {
        let own = self.0.get(&session).map_or(&[][..], Vec::as_slice);
        let bytes: usize = own.iter().map(Testament::weight).sum();
        if own.len() >= MAX_TESTAMENTS || bytes + testament.weight() > MAX_BYTES {
            let text =
                format!("a session may have {MAX_TESTAMENTS} testaments in {MAX_BYTES} bytes");
            return Err(Refusal::new(uri::error::LIMIT_REACHED, text));
        }
        self.0.entry(session).or_default().push(testament);
        Ok(())
    }

    /// Forgets those of one scope; how many they were.
    fn flush(&mut self, session: SessionId, scope: Scope) -> usize {
        let Some(own) = self.0.get_mut(&session) else { return 0 };
        let before = own.len();
        own.retain(|testament| testament.scope != scope);
        let flushed = before - own.len();
        if own.is_empty() {
            self.0.remove(&session);
        }
        flushed
    }
}

impl Testament {
    /// What is published when its session has gone.
    pub(in crate::router::realm) fn into_publication(
        self,
        principal: &Arc<Principal>,
    ) -> Publication {
        Publication {
            id: self.publication,
            publisher: principal.session,
            request: 0,
            // Nobody is there to hear the answer.
            options: PublishDetails { acknowledge: false, ..self.options },
            topic: self.topic,
            payload: self.payload,
            disclosed: self.is_disclosed.then(|| Arc::clone(principal)),
        }
    }

    fn weight(&self) -> usize {
        // The audience came with the options, and may be the longest part.
        let audience = self.options.audience.as_ref().map_or(0, |audience| audience.weight());
        size_of::<Self>() + self.topic.len() + self.payload.encoded_len() + audience
    }
}

impl Realm {
    /// Answers the id that the publication will have.
    pub(super) fn add_testament(
        &mut self,
        session: SessionId,
        arguments: Arguments<'_>,
    ) -> Result<Payload, Refusal> {
        let topic: String = arguments.required(0, "a topic")?;
        let payload = arguments.payload(1, 2)?.detached();
        let Options { scope, publish_options } = arguments.keywords()?;
        let options = publish_options.unwrap_or_default();
        uri::check(&topic)
            .map_err(|error| Refusal::new(uri::error::INVALID_URI, error.to_string()))?;
        if uri::is_reserved(&topic) {
            let text = format!("only the router publishes `{topic}`");
            return Err(Refusal::new(uri::error::INVALID_URI, text));
        }
        let member = self.members.get(session);
        let member = member.ok_or_else(|| Refusal::argument("the session has left"))?;
        let disclosure = member
            .permissions
            .check(Action::Publish, &topic)
            .map_err(|denied| Refusal::new(uri::error::NOT_AUTHORIZED, denied.to_string()))?;
        let is_disclosed = disclosure.allows(options.disclose_me);
        let publication = self.ids.draw();
        let testament = Testament { scope, publication, topic, payload, options, is_disclosed };
        self.testaments.add(session, testament)?;
        answer(&publication)
    }

    /// Answers how many testaments are forgotten.
    pub(super) fn flush_testaments(
        &mut self,
        session: SessionId,
        arguments: Arguments<'_>,
    ) -> Result<Payload, Refusal> {
        let positional: Option<Scope> = arguments.optional(0, "`detached` or `destroyed`")?;
        let Options { scope, .. } = arguments.keywords()?;
        answer(&self.testaments.flush(session, positional.unwrap_or(scope)))
    }
}
