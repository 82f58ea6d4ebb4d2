//! The gate that every request goes through: whether it may be sent, and a
//! record if not.

use std::sync::Arc;

use drover_grants::{Allowance, BodyRule, HttpRequest, HttpTarget, Scheme};

use crate::call::{Call, Witness};

/// What an instance may send, and who hears of what it may not.
#[derive(Clone)]
pub(crate) struct Gate {
    allowance: Arc<Allowance>,
    witness: Witness,
}

/// A request on its way to the gate.
pub(crate) struct Passenger<'a> {
    /// The plugin's call, for the record.
    pub(crate) call: &'static str,
    pub(crate) scheme: Scheme,
    pub(crate) authority: &'a str,
    pub(crate) request: HttpRequest<'a>,
}

/// A request that may be sent, if its body keeps the rule.
pub(crate) struct Pass {
    pub(crate) target: Arc<HttpTarget>,
    pub(crate) body: Option<BodyRule>,
}

impl Gate {
    pub(crate) fn new(call: &Call) -> Self {
        Self { allowance: Arc::clone(&call.allowance), witness: call.witness() }
    }

    pub(crate) fn witness(&self) -> &Witness {
        &self.witness
    }

    /// Judges a request by all but its body. An error says why it is denied;
    /// [`Gate::deny`] takes it down.
    pub(crate) fn judge(&self, passenger: &Passenger<'_>) -> Result<Pass, String> {
        let Passenger { scheme, authority, request, .. } = passenger;
        let place = self.allowance.http.iter().find(|place| place.is_at(*scheme, authority));
        let Some(place) = place else {
            return Err(format!(
                "{}://{authority} is not both asked for and granted",
                scheme.word()
            ));
        };
        let body = place.check(request).map_err(|denial| denial.to_string())?;
        Ok(Pass { target: Arc::clone(&place.target), body })
    }

    /// Takes down that a request is denied: neither its query, nor its headers,
    /// nor its body, which may all have secrets in them.
    pub(crate) async fn deny(&self, passenger: &Passenger<'_>, reason: &str) {
        self.witness.denied(passenger.call, &passenger.line(), Some(reason)).await;
    }
}

impl Passenger<'_> {
    /// The request in one line.
    pub(crate) fn line(&self) -> String {
        let Self { scheme, authority, request, .. } = self;
        format!("{} {}://{authority}{}", request.method, scheme.word(), request.path)
    }
}
