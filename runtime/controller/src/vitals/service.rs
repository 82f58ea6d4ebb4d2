//! A WAMP session that answers with the page; its port shows it at `/metrics`.

use anyhow::Context;
use drover_api::{ErrorCode, procedures};
use drover_logs::store::LogStore;
use drover_vitals::OPEN_METRICS;
use drover_wamp::{Client, CloseReason, HttpPage, RegisterOptions, Router};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{Vitals, page::page};
use crate::access::Access;
use crate::calls::{Answer, encode};
use crate::refusal::refuse;

/// What the controller's port shows: its own page, and that of each node.
pub(crate) const PAGES: [HttpPage; 2] = [
    HttpPage { path: "/metrics", procedure: procedures::METRICS, content_type: OPEN_METRICS },
    HttpPage {
        path: "/metrics/nodes/*.*",
        procedure: "drover.node.*.*.agent.metrics",
        content_type: OPEN_METRICS,
    },
];

/// Where the numbers are.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) vitals: Vitals,
    pub(crate) router: Router,
    pub(crate) log: LogStore,
    pub(crate) access: Access,
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
    sources: Sources,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let session = router.attach(&realm).context("cannot join the own router")?;
        match serve(&session, &sources, &stop).await? {
            Some(reason) => {
                tracing::warn!(%reason, "the vitals lost their session and open another one");
            }
            None => {
                session.close().await;
                return Ok(());
            }
        }
    }
}

async fn serve(
    session: &Client,
    sources: &Sources,
    stop: &CancellationToken,
) -> anyhow::Result<Option<CloseReason>> {
    let registering = session.register(procedures::METRICS, RegisterOptions::default());
    let mut calls = tokio::select! {
        reason = session.closed() => return Ok(Some(reason)),
        registered = registering => registered.context("cannot register the vitals")?,
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            reason = session.closed() => return Ok(Some(reason)),
            Some(call) = calls.next() => {
                let answer = tell(sources.clone()).await;
                call.finish(answer).await;
            }
        }
    }
}

/// Files are looked at for some of the numbers.
async fn tell(sources: Sources) -> Answer {
    let told = spawn_blocking(move || {
        let Sources { vitals, router, log, access } = sources;
        page(&vitals, router.traffic(), log.counts(), access.counts(), access.audit().counts())
    });
    match told.await {
        Ok(text) => encode(&text),
        Err(error) => {
            tracing::error!(%error, "telling the vitals panicked");
            Err(refuse(ErrorCode::Internal, "the controller failed".to_owned()))
        }
    }
}
