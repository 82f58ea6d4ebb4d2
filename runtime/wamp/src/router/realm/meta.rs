//! What a router answers itself: the procedures `wamp.…` of the meta API.

mod entries;
mod sessions;
mod testaments;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Output, Realm};
use crate::id::SessionId;
use crate::payload::{Payload, PayloadError};
use crate::uri;

pub(super) use entries::topic;
pub(super) use sessions::SessionDetails;
pub(super) use testaments::Testaments;

/// Why a procedure of the router does not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) error: &'static str,
    pub(super) text: String,
}

/// The arguments of a call of a procedure of the router.
#[derive(Debug, Clone, Copy)]
struct Arguments<'a>(&'a Payload);

impl Realm {
    /// Calls a procedure of the router.
    pub(super) fn ask(
        &mut self,
        caller: SessionId,
        procedure: &str,
        payload: &Payload,
        outputs: &mut Vec<Output>,
    ) -> Result<Payload, Refusal> {
        let arguments = Arguments(payload);
        let answer = if let Some(name) = procedure.strip_prefix("wamp.session.") {
            self.ask_sessions(caller, name, arguments, outputs)
        } else if let Some(name) = procedure.strip_prefix("wamp.registration.") {
            self.ask_registrations(name, arguments)
        } else if let Some(name) = procedure.strip_prefix("wamp.subscription.") {
            self.ask_subscriptions(name, arguments)
        } else {
            None
        };
        answer.unwrap_or_else(|| {
            let text = format!("the router has no procedure {procedure}");
            Err(Refusal::new(uri::error::NO_SUCH_PROCEDURE, text))
        })
    }
}

impl Refusal {
    fn new(error: &'static str, text: impl Into<String>) -> Self {
        Self { error, text: text.into() }
    }

    fn argument(text: impl Into<String>) -> Self {
        Self::new(uri::error::INVALID_ARGUMENT, text)
    }
}

impl From<PayloadError> for Refusal {
    fn from(error: PayloadError) -> Self {
        Self::argument(error.to_string())
    }
}

impl Arguments<'_> {
    /// The positional argument at `index`; `what` it should be, for people.
    fn required<T: DeserializeOwned>(self, index: usize, what: &str) -> Result<T, Refusal> {
        let missing = || Refusal::argument(format!("argument {} must be {what}", index + 1));
        self.optional(index, what)?.ok_or_else(missing)
    }

    /// The same, if it is there and not null.
    fn optional<T: DeserializeOwned>(self, index: usize, what: &str) -> Result<Option<T>, Refusal> {
        let Some(element) = self.0.element(index)? else { return Ok(None) };
        element.read().map_err(|error| {
            Refusal::argument(format!("argument {} must be {what}: {error}", index + 1))
        })
    }

    /// Arguments for somebody else: a list at `args`, a map at `kwargs`, or null.
    fn payload(self, args: usize, kwargs: usize) -> Result<Payload, Refusal> {
        let wrong = |index, what: &str| {
            Refusal::argument(format!("argument {} must be {what} or null", index + 1))
        };
        let (list, map) = (self.0.element(args)?, self.0.element(kwargs)?);
        let list = list.filter(|list| !list.is_null());
        let map = map.filter(|map| !map.is_null());
        if list.as_ref().is_some_and(|list| !list.is_sequence()) {
            return Err(wrong(args, "a list"));
        }
        if map.as_ref().is_some_and(|map| !map.is_map()) {
            return Err(wrong(kwargs, "a map"));
        }
        Ok(Payload { args: list, kwargs: map })
    }

    /// The keyword arguments.
    fn keywords<T: DeserializeOwned>(self) -> Result<T, Refusal> {
        Ok(self.0.kwargs()?)
    }
}

/// One value as an answer.
fn answer<T: Serialize + ?Sized>(value: &T) -> Result<Payload, Refusal> {
    Ok(Payload::one(value)?)
}
