//! Links of nodes that fetch and check what they are given, and run nothing.

use std::time::Duration;

use anyhow::{Context, ensure};
use drover_api::{
    CatalogPiece, CatalogRead, CatalogStatement, Command, Heartbeat, JobId, JobResult, JobState,
    MOST_PIECE_BYTES, NodeDescription, NodeId, PluginSummary, Progress, Timestamp, UpdateEnd,
    UpdateOutcome, UpdateStatus, UpdateStep, procedures,
};
use drover_signing::{ContentHash, Statement};
use drover_wamp::{
    CallOptions, Client, ClientConfig, Invocation, MatchPolicy, Payload, PublishOptions,
    RegisterOptions, Registration,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::interval;

const HEARTBEAT: Duration = Duration::from_secs(5);

/// What a node is told to take.
#[derive(Deserialize)]
struct Wanted {
    name: String,
    version: String,
    hash: String,
    length: u64,
}

/// Joins so many nodes, numbered from 1; each is served by a task.
pub(super) async fn join(url: &str, count: u32) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let mut links = JoinSet::new();
    for nid in 1..=count {
        let config = ClientConfig::new(url, procedures::REALM);
        let session = Client::connect(&config).await.context("a link cannot join")?;
        let node = NodeId::new(1, nid);
        let all = RegisterOptions { policy: MatchPolicy::Prefix, ..RegisterOptions::default() };
        let calls = session.register(&procedures::node_prefix(node), all).await;
        let calls = calls.context("a link cannot register its procedures")?;
        links.spawn(Link { session, node, plugins: Vec::new(), revision: 1 }.serve(calls));
    }
    Ok(links)
}

struct Link {
    session: Client,
    node: NodeId,
    plugins: Vec<PluginSummary>,
    revision: u64,
}

impl Link {
    async fn serve(mut self, mut calls: Registration) -> anyhow::Result<()> {
        let mut beats = interval(HEARTBEAT);
        loop {
            tokio::select! {
                _ = beats.tick() => self.beat().await?,
                call = calls.next() => {
                    let call = call.context("a link lost its registration")?;
                    self.answer(call).await?;
                }
            }
        }
    }

    async fn beat(&self) -> anyhow::Result<()> {
        let (session, revision) = (self.session.session().0, self.revision);
        let beat = Heartbeat { node: self.node, session, revision };
        let payload = Payload::one(&beat)?;
        self.session.publish(procedures::HEARTBEAT, payload, PublishOptions::default()).await?;
        Ok(())
    }

    async fn answer(&mut self, call: Invocation) -> anyhow::Result<()> {
        if call.procedure == procedures::describe(self.node) {
            call.finish(Ok(Payload::one(&self.description())?)).await;
            return Ok(());
        }
        let command: Command = call.payload.first().context("a link was sent no command")?;
        ensure!(command.cmd == "plugin.update", "a link was sent {}", command.cmd);
        let wanted: Wanted = serde_json::from_value(Value::Object(command.args.clone()))?;
        self.take(&call, &command.id, &wanted).await?;
        self.plugins = vec![PluginSummary { name: wanted.name, hash: wanted.hash.clone() }];
        self.revision += 1;
        let end = UpdateEnd {
            version: wanted.version,
            hash: wanted.hash,
            outcome: UpdateOutcome::Active,
            at: UpdateStep::Watching,
            reason: None,
            back_to: None,
            time: Timestamp::now(),
        };
        let result = JobResult {
            id: command.id,
            gid: self.node.gid,
            nid: self.node.nid,
            cmd: command.cmd,
            args: serde_json::Map::new(),
            state: JobState::Ok,
            data: serde_json::to_value(&end)?.into(),
            error: None,
            streams: <[String; 2]>::default(),
            exit: None,
            critical: None,
            records: Vec::new(),
            starttime: Timestamp::now(),
            time: 0.0,
        };
        call.finish(Ok(Payload::one(&result)?)).await;
        self.beat().await
    }

    /// Does what an agent does with the content before it compiles it.
    async fn take(&self, call: &Invocation, job: &JobId, wanted: &Wanted) -> anyhow::Result<()> {
        self.tell(call, job, wanted, UpdateStep::Fetching).await?;
        let stated: CatalogStatement = self.ask(procedures::CATALOG_STATEMENT, &()).await?;
        let statement = Statement::from_bytes(stated.statement.as_bytes())?;
        statement.version(&wanted.name, &wanted.version)?;
        let mut content = Vec::new();
        while (content.len() as u64) < wanted.length {
            let (offset, length) = (content.len() as u64, MOST_PIECE_BYTES);
            let read = CatalogRead { hash: wanted.hash.clone(), offset, length };
            let piece: CatalogPiece = self.ask(procedures::CATALOG_READ, &read).await?;
            ensure!(!piece.bytes.0.is_empty(), "the content ended at {offset}");
            content.extend(piece.bytes.0);
        }
        self.tell(call, job, wanted, UpdateStep::Verifying).await?;
        ensure!(ContentHash::of(&content).to_string() == wanted.hash, "the content is another");
        self.tell(call, job, wanted, UpdateStep::Watching).await
    }

    async fn tell(
        &self,
        call: &Invocation,
        job: &JobId,
        wanted: &Wanted,
        step: UpdateStep,
    ) -> anyhow::Result<()> {
        let status = UpdateStatus {
            version: wanted.version.clone(),
            hash: wanted.hash.clone(),
            step,
            reason: None,
            fetched: 0,
            length: wanted.length,
            by: None,
            since: Timestamp::now(),
        };
        let report = Progress::report(job.clone(), serde_json::to_value(&status)?);
        Ok(call.progress(Payload::one(&report)?).await?)
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        procedure: &str,
        argument: &impl serde::Serialize,
    ) -> anyhow::Result<T> {
        let payload = Payload::one(argument)?;
        let answer = self.session.call(procedure, payload, CallOptions::default()).await?;
        Ok(answer.first()?)
    }

    fn description(&self) -> NodeDescription {
        NodeDescription {
            gid: self.node.gid,
            nid: self.node.nid,
            name: format!("link-{}", self.node.nid),
            labels: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            program: None,
            started: Timestamp::now(),
            plugins: self.plugins.clone(),
            refused: Vec::new(),
            trouble: None,
        }
    }
}
