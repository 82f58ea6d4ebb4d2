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
//! well. Only [`access`], which says who may join and
//! what they may do, is the router's guard too, and keeps the [`audit`] log. All of them
//! count what they do in the [`vitals`].

#![forbid(unsafe_code)]

mod access;
mod audit;
mod backup;
mod calls;
mod catalog;
mod config;
mod drain;
mod jobs;
mod nodes;
mod realms;
mod records;
mod refusal;
mod rollouts;
mod service;
mod tls;
mod trial_set;
mod vitals;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use drover_api::procedures;
use drover_logs::store::Collector;
use drover_wamp::{Guarded, HttpFiles, Router, TlsIdentity};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use access::Access;
pub use access::OwnRole;
use audit::{Audit, AuditTask};
pub use backup::{BackupPart, Existing, Manifest, TlsKeys, back_up, restore, verify};
use catalog::Catalog;
pub use config::{
    AccessSettings, AuditSettings, Bridge, CatalogSettings, Config, ConfigError, DrainSettings,
    JobSettings, LogSettings, TlsSettings,
};
pub use drain::Ending;
use jobs::Jobs;
pub use nodes::Nodes;
pub use realms::{Hidden, Principal, Realm, Salted};
use rollouts::Rollouts;
pub use trial_set::{Trial, TrialSet};
use vitals::{Sources, Vitals};

/// The file of who may join, in `data_dir`.
const ACCESS_FILE: &str = "access.db";

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
    nodes: nodes::Kept,
    access: Access,
    auditing: AuditTask,
    tls: Option<TlsIdentity>,
    /// The file that the configuration is from, if it is to be followed.
    file: Option<PathBuf>,
}

impl Controller {
    /// Binds the configured address, and opens what the controller keeps.
    ///
    /// # Errors
    ///
    /// If the address is in use or not this host's, or what is kept cannot be
    /// opened, or the files for TLS cannot be used.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let tls = config.tls.as_ref().map(tls::read).transpose()?;
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
        let path = config.data_dir.join("nodes.db");
        let opened = tokio::task::spawn_blocking(move || nodes::Store::open(&path)).await;
        let nodes = opened.context("opening the nodes panicked")?.context(
            "the controller cannot keep its nodes: see to the file, or move it away, and the nodes \
             say again who they are",
        )?;
        let (data_dir, policy) = (config.data_dir.clone(), config.policy());
        let max_file = config.audit.max_file.as_u64();
        let opened = tokio::task::spawn_blocking(move || {
            let (audit, auditing) = Audit::open(&data_dir.join("audit"), max_file)?;
            let access = Access::open(&data_dir.join(ACCESS_FILE), policy, audit)?;
            anyhow::Ok((access, auditing))
        });
        let (access, auditing) = opened.await.context("opening the access panicked")?.context(
            "the controller cannot keep who may join: set another `data_dir` in its configuration",
        )?;
        Ok(Self {
            config,
            listener,
            address,
            collector,
            catalog,
            jobs,
            rollouts,
            nodes,
            access,
            auditing,
            tls,
            file: None,
        })
    }

    /// The same, and what may change of its configuration without a restart is as the
    /// file says that it is from.
    #[must_use]
    pub fn following(self, file: Option<PathBuf>) -> Self {
        Self { file, ..self }
    }

    /// The address that agents dial.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}/ws", self.address)
    }

    /// Serves until it is to end, then says goodbye to every session. If it may take its
    /// time, what is under way ends before.
    ///
    /// # Errors
    ///
    /// If the listener or a service fails; the others are stopped then.
    pub async fn run(self, ending: Ending) -> anyhow::Result<()> {
        let stop = ending.stop.clone();
        let Self {
            config,
            listener,
            collector,
            catalog,
            jobs,
            rollouts,
            nodes,
            access,
            auditing,
            tls,
            file,
            ..
        } = self;
        let mut parts = config.router()?;
        let (dir, pace) = catalog.content();
        let procedure = Some(procedures::CATALOG_READ.to_owned());
        parts.http.files = Some(HttpFiles { path: "/catalog/".to_owned(), dir, pace, procedure });
        parts.guarded = Some(Guarded { realm: config.realm.clone(), guard: access.guard() });
        let router = Router::new(parts).context("the realms cannot be served")?;
        let vitals = Vitals::default();
        let sources = Sources {
            vitals: vitals.clone(),
            router: router.clone(),
            log: collector.store().clone(),
            access: access.clone(),
        };
        let telling = vitals::serve(router.clone(), config.realm.clone(), sources, stop.clone());
        let mut tasks = JoinSet::new();
        let service = service::run(
            router.clone(),
            config.realm.clone(),
            config.presence(),
            nodes,
            access.clone(),
            vitals.clone(),
            stop.clone(),
        );
        let records = records::run(
            router.clone(),
            config.realm.clone(),
            collector,
            config.answer_bytes(),
            stop.clone(),
        );
        let catalog = catalog::run(router.clone(), config.realm.clone(), catalog, stop.clone());
        let rollouts = rollouts::run(
            router.clone(),
            config.realm.clone(),
            rollouts,
            access.clone(),
            vitals.clone(),
            stop.clone(),
        );
        let jobs = jobs::run(
            router.clone(),
            config.realm.clone(),
            jobs,
            access.clone(),
            vitals,
            ending.clone(),
        );
        if let Some(file) = file {
            let (router, access) = (router.clone(), access.clone());
            tasks.spawn(config::reload::follow(file, config.clone(), router, access, stop.clone()));
        }
        let admitting =
            access::service::run(router.clone(), config.realm.clone(), access, stop.clone());
        let draining = drain::run(router.clone(), ending, config.drain.patience);

        let serving = stop.clone();
        if let (Some(identity), Some(settings)) = (&tls, &config.tls) {
            tasks.spawn(tls::follow(settings.clone(), identity.clone(), stop.clone()));
        }
        tasks.spawn(async move {
            let served = match tls {
                Some(identity) => router.serve_tls(listener, identity, serving).await,
                None => router.serve(listener, serving).await,
            };
            served.context("the listener failed")
        });
        tasks.spawn(service);
        tasks.spawn(records);
        tasks.spawn(catalog);
        tasks.spawn(jobs);
        tasks.spawn(rollouts);
        tasks.spawn(admitting);
        tasks.spawn(telling);
        tasks.spawn(draining);

        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            stop.cancel();
            outcome = outcome.and(ended.context("a task panicked").flatten());
        }
        // Nobody is left who does anything.
        let closed = tokio::task::spawn_blocking(move || auditing.close()).await;
        outcome.and(closed.context("closing the audit log panicked"))
    }
}
