//! The log service: a WAMP session that takes the records that nodes forward,
//! and answers questions about them.
//!
//! Calls come to one task, which gives each to a task of its own. Those wait
//! for the disk on threads that may: a few for deliveries, a few for questions,
//! so that neither holds up the other.

use std::sync::Arc;

use anyhow::Context;
use drover_api::{ErrorCode, procedures};
use drover_logs::service::{LogService, ServiceError};
use drover_logs::store::{CollectError, Collector, Delivery};
use drover_wamp::{
    ApplicationError, Client, CloseReason, Invocation, Payload, PayloadError, RegisterOptions,
    Router,
};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::access::speaks_for;
use crate::calls::{Answer, encode, unless_cancelled};
use crate::refusal::refuse;

/// Deliveries that are written at the same time; they share their commits.
const DELIVERIES_AT_ONCE: usize = 16;

/// Calls that are answered at the same time; more wait at the registration,
/// and beyond its bound callers are told to come again.
const CALLS_AT_ONCE: usize = 1024;

/// What answers.
#[derive(Clone)]
struct Records {
    collector: Collector,
    questions: LogService,
    deliveries: Arc<Semaphore>,
}

/// Serves in a realm of `router` until `stop` is cancelled. A session that is
/// killed by somebody who may do that is followed by another one.
///
/// # Errors
///
/// If there is no such realm, or the router refuses a registration.
pub(crate) async fn run(
    router: Router,
    realm: String,
    collector: Collector,
    answer_bytes: usize,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let records = Records {
        questions: LogService::new(collector.store().clone(), answer_bytes),
        collector,
        deliveries: Arc::new(Semaphore::new(DELIVERIES_AT_ONCE)),
    };
    let mut calls = JoinSet::new();
    let mut session = router.attach(&realm).context("cannot join the own router")?;
    while let Some(reason) = serve(&session, &records, &mut calls, &stop).await? {
        tracing::warn!(%reason, "the log service lost its session and opens another one");
        session = router.attach(&realm).context("cannot join the own router again")?;
    }
    session.close().await;
    // Followers would never end; deliveries that are under way are sent again.
    calls.shutdown().await;
    let closed = spawn_blocking(move || records.collector.close()).await;
    closed.context("closing the log panicked")
}

/// Serves until `stop` is cancelled, or the session ends; then says why.
async fn serve(
    session: &Client,
    records: &Records,
    calls: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<CloseReason>> {
    let register = async |name| {
        let registered = session.register(name, RegisterOptions::default()).await;
        registered.with_context(|| format!("cannot register {name}"))
    };
    let set_up = async {
        anyhow::Ok((
            register(procedures::RECORDS).await?,
            register(procedures::LOG_QUERY).await?,
            register(procedures::LOG_FOLLOW).await?,
            register(procedures::LOG_DELETE).await?,
        ))
    };
    let (mut deliveries, mut queries, mut follows, mut deletes) = tokio::select! {
        reason = session.closed() => return Ok(Some(reason)),
        ready = set_up => ready?,
    };
    loop {
        let has_room = calls.len() < CALLS_AT_ONCE;
        let call = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            reason = session.closed() => return Ok(Some(reason)),
            Some(answered) = calls.join_next() => {
                answered.context("answering a question about the log panicked")?;
                continue;
            }
            Some(call) = deliveries.next(), if has_room => call,
            Some(call) = queries.next(), if has_room => call,
            Some(call) = follows.next(), if has_room => call,
            Some(call) = deletes.next(), if has_room => call,
        };
        calls.spawn(answer(records.clone(), call));
    }
}

/// Answers one call.
async fn answer(records: Records, call: Invocation) {
    let answering = async {
        match call.procedure.as_str() {
            procedures::RECORDS => records.take(&call).await,
            procedures::LOG_QUERY => records.query(&call).await,
            procedures::LOG_FOLLOW => records.follow(&call).await,
            _ => records.delete(&call).await,
        }
    };
    let answer = unless_cancelled(&call, answering).await;
    call.finish(answer).await;
}

impl Records {
    async fn take(&self, call: &Invocation) -> Answer {
        let delivery: Delivery = call.payload.first().map_err(|error| unreadable(call, &error))?;
        let (node, records) = (delivery.node, delivery.records.len());
        if !speaks_for(call.caller.as_deref(), node) {
            let message = format!("these are records of node {node}, and you are another one");
            return Err(refuse(ErrorCode::Denied, message));
        }
        let turn = Arc::clone(&self.deliveries).acquire_owned().await;
        let collector = self.collector.clone();
        let taken = spawn_blocking(move || {
            let _turn = turn;
            collector.take(&delivery)
        });
        match taken.await {
            Ok(Ok(())) => {
                tracing::debug!(%node, records, "records taken");
                Ok(Payload::empty())
            }
            Ok(Err(error)) => Err(not_taken(error)),
            Err(error) => {
                tracing::error!(%error, "writing records panicked");
                Err(refuse(ErrorCode::Internal, "the controller failed".to_owned()))
            }
        }
    }

    async fn query(&self, call: &Invocation) -> Answer {
        encode(&self.questions.query(arguments(call)?).await.map_err(in_words)?)
    }

    async fn delete(&self, call: &Invocation) -> Answer {
        let deleted = self.questions.delete(arguments(call)?).await.map_err(in_words)?;
        tracing::info!(deleted, "records of nodes deleted");
        encode(&serde_json::json!({ "deleted": deleted }))
    }

    async fn follow(&self, call: &Invocation) -> Answer {
        if !call.wants_progress {
            let message = format!(
                "{} tells records as progressive results: call it with `receive_progress`",
                call.procedure
            );
            return Err(refuse(ErrorCode::InvalidCommand, message));
        }
        let mut following = self.questions.follow(arguments(call)?).await.map_err(in_words)?;
        loop {
            let report = following.next().await.map_err(in_words)?;
            // A session that has ended cancels the call by itself.
            let _ = call.progress(encode(&report)?).await;
        }
    }
}

fn arguments<T: DeserializeOwned>(call: &Invocation) -> Result<T, ApplicationError> {
    call.payload.kwargs().map_err(|error| unreadable(call, &error))
}

fn unreadable(call: &Invocation, error: &PayloadError) -> ApplicationError {
    let message = format!("{} cannot take these arguments: {error}", call.procedure);
    refuse(ErrorCode::InvalidArguments, message)
}

fn not_taken(error: CollectError) -> ApplicationError {
    let code = match &error {
        CollectError::Malformed { .. } => ErrorCode::InvalidArguments,
        CollectError::Busy(_) => ErrorCode::Busy,
        CollectError::Closed(_) => ErrorCode::ShuttingDown,
        CollectError::Positions(_) => ErrorCode::Internal,
    };
    refuse(code, format!("{:#}", anyhow::Error::new(error)))
}

fn in_words(error: ServiceError) -> ApplicationError {
    let code = match &error {
        ServiceError::Invalid(_) => ErrorCode::InvalidArguments,
        ServiceError::Closed(_) => ErrorCode::ShuttingDown,
        ServiceError::Delete(_) | ServiceError::Failed => ErrorCode::Internal,
    };
    refuse(code, format!("{:#}", anyhow::Error::new(error)))
}
