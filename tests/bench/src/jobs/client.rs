//! Somebody who submits.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use drover_api::{
    Command, JobId, JobList, JobQuery, JobResults, JobState, JobSubmit, JobSubmitted, NodeStatus,
    Presence, Submission, procedures,
};
use drover_wamp::{CallOptions, Client, ClientConfig, Payload};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

/// How long nodes may take to be there.
const BOUND: Duration = Duration::from_secs(120);

pub(super) struct Submitter(Client);

impl Submitter {
    pub(super) async fn join(url: &str) -> anyhow::Result<Self> {
        let config = ClientConfig::new(url, procedures::REALM);
        Ok(Self(Client::connect(&config).await.context("cannot join the controller")?))
    }

    /// Waits until so many nodes are present.
    pub(super) async fn until_there_are(&self, count: usize) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let nodes: Vec<NodeStatus> = self.ask(procedures::NODES, &()).await?;
            let present = nodes.iter().filter(|node| node.presence == Presence::Present).count();
            if present == count {
                return Ok(());
            }
            ensure!(started.elapsed() < BOUND, "only {present} of {count} nodes have joined");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Submits something to every node, waits for its end and gets the result.
    pub(super) async fn finish(&self, cmd: &str) -> anyhow::Result<()> {
        let ended = self.finished("*", cmd).await?;
        ensure!(ended.state == JobState::Ok, "{ended:?}");
        ensure!(self.results(&ended.id).await? == 1, "{} has no result", ended.id);
        Ok(())
    }

    /// Submits something and waits for its end.
    pub(super) async fn finished(&self, nodes: &str, cmd: &str) -> anyhow::Result<Submission> {
        let request = JobSubmit::new(Command::new(cmd), nodes);
        let submitted: JobSubmitted = self.ask(procedures::JOB_SUBMIT, &request).await?;
        self.ask(procedures::JOB_WAIT, &JobQuery::new(submitted.id)).await
    }

    /// How many results a submission has.
    pub(super) async fn results(&self, id: &JobId) -> anyhow::Result<usize> {
        let mut query = JobQuery::new(id.clone());
        let mut count = 0;
        loop {
            let page: JobResults = self.ask(procedures::JOB_RESULT, &query).await?;
            count += page.results.len();
            match page.next {
                Some(after) => query.after = Some(after),
                None => return Ok(count),
            }
        }
    }

    pub(super) async fn list(&self, wanted: &JobList) -> anyhow::Result<Vec<Submission>> {
        self.ask(procedures::JOB_LIST, wanted).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        procedure: &str,
        argument: &impl Serialize,
    ) -> anyhow::Result<T> {
        let payload = Payload::one(argument)?;
        let answer = self.0.call(procedure, payload, CallOptions::default()).await;
        let answer = answer.with_context(|| format!("{procedure} was refused"))?;
        answer.first().with_context(|| format!("cannot read the answer of {procedure}"))
    }
}
