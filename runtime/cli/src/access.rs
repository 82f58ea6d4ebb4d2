//! Asking the controller's access service.

use std::time::Duration;

use drover_wamp::{CallError, CallOptions, Client, Payload};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::address::Address;
use crate::controller;
use crate::exit::{Exit, Failure};

/// How long the controller may take: it hashes a password, or waits for its disk.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Joins the controller to call one procedure.
pub(crate) fn ask<T: DeserializeOwned>(
    address: &Address,
    procedure: &str,
    argument: &impl Serialize,
) -> Result<T, Failure> {
    controller::runtime()?.block_on(async {
        let session = address.connect().await?;
        let answer = call(&session, procedure, argument).await?;
        session.close().await;
        Ok(answer)
    })
}

/// Calls one procedure.
pub(crate) async fn call<T: DeserializeOwned>(
    session: &Client,
    procedure: &str,
    argument: &impl Serialize,
) -> Result<T, Failure> {
    let options = CallOptions { timeout: Some(TIMEOUT), disclose_me: true };
    let answer = session.call(procedure, Payload::one(argument)?, options).await;
    let answer = answer.map_err(|error| match &error {
        // The controller's own words say it all.
        CallError::Application(refused) if refused.uri.starts_with("drover.error.") => {
            let text = refused.message().unwrap_or_else(|| refused.uri.clone());
            Failure::text(Exit::Failed, text)
        }
        _ => controller::lost(error, &format!("cannot call {procedure}")),
    })?;
    Ok(answer.first_or_null()?)
}
