//! The catalog service: a WAMP session that takes plugins and statements from
//! people with keys, and hands them out to nodes.
//!
//! ```text
//!   service ── store ─┬─ admission   what may enter (pure)
//!                     ├─ contents    files, by hash
//!                     └─ index       SQLite: versions, channels, the statement
//! ```
//!
//! The controller has no key. What it hands out is worth something because
//! nodes check it against keys of their own; what it checks itself at the door
//! spares its people mistakes.

mod admission;
mod contents;
mod error;
mod index;
mod store;
#[cfg(test)]
mod trial;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use drover_api::{
    CatalogAdd, CatalogChanged, CatalogPiece, CatalogRead, CatalogSetChannel, CatalogWritten,
    CatalogYank, ErrorCode, MOST_PIECE_BYTES, Octets, procedures,
};
use drover_signing::TrustedKeys;
use drover_wamp::{
    ApplicationError, Client, CloseReason, Invocation, MatchPolicy, Pace, Payload, PublishOptions,
    RegisterOptions, Router,
};
use serde::Serialize;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::calls::{Answer, argument, caller, encode, not_encoded, unless_cancelled};
use crate::config::CatalogSettings;
use crate::refusal::refuse;
use error::CatalogError;
use store::Store;

/// Pieces of content on their way down at the same time. More wait at the
/// registration, and beyond its bound callers are told to come again.
const READS_AT_ONCE: usize = 32;

/// Other calls that are answered at the same time.
const CALLS_AT_ONCE: usize = 32;

/// What all procedures but the one for reading share.
const PREFIX: &str = "drover.controller.catalog.";

/// A catalog that is open.
#[derive(Debug, Clone)]
pub(crate) struct Catalog {
    store: Arc<Store>,
    pace: Pace,
    piece_bytes: u64,
}

impl Catalog {
    /// Opens the catalog. An answer holds at most `answer_bytes`.
    pub(crate) fn open(
        settings: &CatalogSettings,
        keys: TrustedKeys,
        answer_bytes: usize,
    ) -> anyhow::Result<Self> {
        let store = Store::open(&settings.dir, keys, settings.max_content.as_u64())?;
        Ok(Self {
            store: Arc::new(store),
            pace: Pace::new(settings.max_rate.as_u64()),
            piece_bytes: MOST_PIECE_BYTES.min(answer_bytes as u64),
        })
    }

    /// What HTTP hands out: the directory of admitted content, and its pace.
    pub(crate) fn content(&self) -> (PathBuf, Pace) {
        (self.store.content_dir().to_owned(), self.pace.clone())
    }
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
    catalog: Catalog,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut calls = Calls::default();
    let mut session = router.attach(&realm).context("cannot join the own router")?;
    while let Some(reason) = serve(&session, &catalog, &mut calls, &stop).await? {
        tracing::warn!(%reason, "the catalog lost its session and opens another one");
        session = router.attach(&realm).context("cannot join the own router again")?;
    }
    session.close().await;
    calls.reads.shutdown().await;
    calls.others.shutdown().await;
    Ok(())
}

/// Calls that are being answered. Whoever reads content waits for the pace, and
/// nobody behind them.
#[derive(Default)]
struct Calls {
    reads: JoinSet<()>,
    others: JoinSet<()>,
}

/// Serves until `stop` is cancelled, or the session ends; then says why.
async fn serve(
    session: &Client,
    catalog: &Catalog,
    calls: &mut Calls,
    stop: &CancellationToken,
) -> anyhow::Result<Option<CloseReason>> {
    let set_up = async {
        let all = RegisterOptions { policy: MatchPolicy::Prefix, ..RegisterOptions::default() };
        let reads = session.register(procedures::CATALOG_READ, RegisterOptions::default());
        let reads = reads.await.context("cannot register the catalog's content")?;
        let others = session.register(PREFIX, all).await;
        anyhow::Ok((reads, others.context("cannot register the catalog")?))
    };
    let (mut reads, mut others) = tokio::select! {
        reason = session.closed() => return Ok(Some(reason)),
        ready = set_up => ready?,
    };
    loop {
        let may_read = calls.reads.len() < READS_AT_ONCE;
        let has_room = calls.others.len() < CALLS_AT_ONCE;
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            reason = session.closed() => return Ok(Some(reason)),
            Some(answered) = calls.reads.join_next() => {
                answered.context("reading content panicked")?;
            }
            Some(answered) = calls.others.join_next() => {
                answered.context("answering a call to the catalog panicked")?;
            }
            Some(call) = reads.next(), if may_read => {
                calls.reads.spawn(answer(session.clone(), catalog.clone(), call));
            }
            Some(call) = others.next(), if has_room => {
                calls.others.spawn(answer(session.clone(), catalog.clone(), call));
            }
        }
    }
}

/// Answers one call.
async fn answer(session: Client, catalog: Catalog, call: Invocation) {
    let answering = async {
        match call.procedure.as_str() {
            procedures::CATALOG_READ => catalog.read(&call).await,
            procedures::CATALOG_LIST => catalog.with(|store| store.list()).await,
            procedures::CATALOG_SHOW => {
                let wanted = argument(&call)?;
                catalog.with(move |store| store.show(&wanted)).await
            }
            procedures::CATALOG_WRITE => {
                let piece = argument(&call)?;
                let write = move |store: &Store| {
                    store.write(&piece).map(|offset| CatalogWritten { offset })
                };
                catalog.with(write).await
            }
            procedures::CATALOG_ADD => catalog.add(&call).await,
            procedures::CATALOG_STATEMENT => catalog.with(|store| store.statement()).await,
            procedures::CATALOG_STATE => catalog.state(&session, &call).await,
            procedures::CATALOG_YANK => catalog.yank(&call).await,
            procedures::CATALOG_CHANNEL => catalog.set_channel(&call).await,
            unknown => {
                let message = format!("there is no procedure {unknown}");
                Err(refuse(ErrorCode::UnknownCommand, message))
            }
        }
    };
    let answer = unless_cancelled(&call, answering).await;
    call.finish(answer).await;
}

impl Catalog {
    async fn read(&self, call: &Invocation) -> Answer {
        let CatalogRead { hash, offset, length } = argument(call)?;
        let most = length.min(self.piece_bytes);
        self.pace.take(most).await;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.with(move |store| {
            let (bytes, length) = store.read(&hash, offset, most)?;
            Ok(CatalogPiece { length, bytes: Octets(bytes) })
        })
        .await
    }

    async fn add(&self, call: &Invocation) -> Answer {
        let add: CatalogAdd = argument(call)?;
        let by = caller(call);
        self.with(move |store| {
            let detail = store.add(&add, &by)?;
            let (name, version) = (&detail.name, &detail.version);
            tracing::info!(
                plugin = name,
                version = version.version,
                hash = version.hash,
                signed_by = version.signed_by,
                by,
                "plugin added to the catalog"
            );
            Ok(detail)
        })
        .await
    }

    /// Takes a statement, and tells those who listen that there is one.
    async fn state(&self, session: &Client, call: &Invocation) -> Answer {
        let statement = argument(call)?;
        let by = caller(call);
        let stated = self.run(move |store| store.state(&statement)).await?;
        tracing::info!(serial = stated, by, "the catalog has another statement");
        let changed = Payload::one(&CatalogChanged { serial: stated })
            .map_err(|error| not_encoded(&error))?;
        let told = session.publish(procedures::CATALOG_CHANGED, changed, PublishOptions::default());
        if let Err(error) = told.await {
            tracing::warn!(%error, "nodes were not told of the statement, and ask by themselves");
        }
        encode(&CatalogChanged { serial: stated })
    }

    async fn yank(&self, call: &Invocation) -> Answer {
        let yank: CatalogYank = argument(call)?;
        let by = caller(call);
        self.with(move |store| {
            store.yank(&yank)?;
            let CatalogYank { name, version, reason } = &yank;
            tracing::info!(plugin = name, version, reason, by, "yank of a version changed");
            Ok(())
        })
        .await
    }

    async fn set_channel(&self, call: &Invocation) -> Answer {
        let change: CatalogSetChannel = argument(call)?;
        let by = caller(call);
        self.with(move |store| {
            let version = store.set_channel(&change)?;
            let CatalogSetChannel { name, channel, .. } = &change;
            tracing::info!(plugin = name, channel, version, by, "channel changed");
            Ok(CatalogSetChannel { version, ..change })
        })
        .await
    }

    /// Answers with what the store says.
    async fn with<T: Serialize + Send + 'static>(
        &self,
        ask: impl FnOnce(&Store) -> Result<T, CatalogError> + Send + 'static,
    ) -> Answer {
        encode(&self.run(ask).await?)
    }

    /// Asks the store on a thread that may wait for the disk.
    async fn run<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Store) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, ApplicationError> {
        let store = Arc::clone(&self.store);
        match spawn_blocking(move || ask(&store)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let code = error.code();
                let error = anyhow::Error::new(error);
                if code == ErrorCode::Internal {
                    tracing::error!(error = format!("{error:#}"), "the catalog failed");
                }
                Err(refuse(code, format!("{error:#}")))
            }
            Err(error) => {
                tracing::error!(%error, "the catalog panicked");
                Err(refuse(ErrorCode::Internal, "the controller failed".to_owned()))
            }
        }
    }
}
