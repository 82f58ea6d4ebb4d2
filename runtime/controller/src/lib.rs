//! The controller: the program that agents dial.
//!
//! [`run`] starts a WAMP router on the configured address and, as a session on
//! that router like everyone else's, the node service ([`service`]): it hears
//! heartbeats, asks new nodes to describe themselves, and answers
//! `drover.controller.nodes`. What it knows is in [`nodes`], a pure table. A
//! second one, the log service ([`records`]), keeps what nodes forward of their
//! logs; a third one ([`catalog`]) has the plugins that nodes are given; a fourth
//! one ([`jobs`]) has what is to be done on nodes, whatever dies in between; a fifth
//! one ([`rollouts`]) brings versions to nodes, wave by wave. Each service needs a
//! WAMP session and nothing else, so they would work on somebody else's router as
//! well.

#![forbid(unsafe_code)]

mod calls;
mod catalog;
mod config;
mod jobs;
mod nodes;
mod realms;
mod records;
mod refusal;
mod rollouts;
mod service;

use std::net::SocketAddr;

use anyhow::Context;
use drover_logs::store::Collector;
use drover_wamp::{HttpFiles, Router};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use catalog::Catalog;
pub use config::{Bridge, CatalogSettings, Config, ConfigError, JobSettings, LogSettings};
use jobs::Jobs;
pub use nodes::Nodes;
pub use realms::{Hidden, Principal, Realm, Salted};
use rollouts::Rollouts;

/// A controller that has bound its address, opened its log, its catalog and its jobs,
/// and serves nobody yet.
pub struct Controller {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    collector: Collector,
    catalog: Catalog,
    jobs: Jobs,
    rollouts: Rollouts,
}

impl Controller {
    /// Binds the configured address, and opens what the controller keeps.
    ///
    /// # Errors
    ///
    /// If the address is in use or not this host's, or the log, the catalog or the
    /// jobs cannot be opened.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(config.listen).await.with_context(|| {
            format!(
                "cannot listen on {}: end the program that uses this address, or set another \
                 `listen` in the configuration",
                config.listen
            )
        })?;
        let address = listener.local_addr().context("cannot read the bound address")?;
        let store = config.logs.store();
        let opened = tokio::task::spawn_blocking(move || Collector::open(store)).await;
        let collector = opened.context("opening the log panicked")?.context(
            "the controller cannot keep the records of its nodes: set another `data_dir` or \
             `logs.dir` in its configuration",
        )?;
        let (settings, keys) = (config.catalog.clone(), config.trusted()?);
        let answer_bytes = config.answer_bytes();
        let opened =
            tokio::task::spawn_blocking(move || Catalog::open(&settings, keys, answer_bytes)).await;
        let catalog = opened.context("opening the catalog panicked")?.context(
            "the controller cannot keep its catalog: set another `data_dir` or `catalog.dir` in \
             its configuration",
        )?;
        let (settings, answer_bytes) = (config.jobs.clone(), config.answer_bytes());
        let opened = tokio::task::spawn_blocking(move || Jobs::open(&settings, answer_bytes)).await;
        let jobs = opened.context("opening the jobs panicked")?.context(
            "the controller cannot keep jobs: set another `data_dir` or `jobs.dir` in its \
             configuration",
        )?;
        let dir = config.data_dir.clone();
        let opened = tokio::task::spawn_blocking(move || Rollouts::open(&dir)).await;
        let rollouts = opened.context("opening the rollouts panicked")?.context(
            "the controller cannot keep its rollouts: set another `data_dir` in its configuration",
        )?;
        Ok(Self { config, listener, address, collector, catalog, jobs, rollouts })
    }

    /// The address that agents dial.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// Serves until `stop` is cancelled, then says goodbye to every session.
    ///
    /// # Errors
    ///
    /// If the listener or a service fails; the others are stopped then.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { config, listener, collector, catalog, jobs, rollouts, .. } = self;
        let mut parts = config.router()?;
        let (dir, pace) = catalog.content();
        parts.http.files = Some(HttpFiles { path: "/catalog/".to_owned(), dir, pace });
        let router = Router::new(parts).context("the realms cannot be served")?;
        let service =
            service::run(router.clone(), config.realm.clone(), config.presence(), stop.clone());
        let records = records::run(
            router.clone(),
            config.realm.clone(),
            collector,
            config.answer_bytes(),
            stop.clone(),
        );
        let catalog = catalog::run(router.clone(), config.realm.clone(), catalog, stop.clone());
        let rollouts = rollouts::run(router.clone(), config.realm.clone(), rollouts, stop.clone());
        let jobs = jobs::run(router.clone(), config.realm.clone(), jobs, stop.clone());

        let mut tasks = JoinSet::new();
        let serving = stop.clone();
        tasks.spawn(
            async move { router.serve(listener, serving).await.context("the listener failed") },
        );
        tasks.spawn(service);
        tasks.spawn(records);
        tasks.spawn(catalog);
        tasks.spawn(jobs);
        tasks.spawn(rollouts);

        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            stop.cancel();
            outcome = outcome.and(ended.context("a task panicked").flatten());
        }
        outcome
    }
}
