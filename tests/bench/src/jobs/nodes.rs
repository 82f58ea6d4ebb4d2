//! Simulated nodes: each takes what it is given, says that it is done, and does
//! nothing.

use std::time::Duration;

use anyhow::Context;
use drover_api::{
    Data, DeliveredJob, ErrorCode, Heartbeat, Holding, JobDelivered, JobDelivery, JobError,
    JobReport, JobReported, JobResult, JobState, NodeDescription, NodeId, Timestamp, procedures,
};
use drover_wamp::{
    ApplicationError, CallOptions, Client, ClientConfig, Invocation, MatchPolicy, Payload,
    PublishOptions, RegisterOptions, Registration,
};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::interval;

/// Time between two signs of life: often enough, and no load.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// One job in so many fails.
const ONE_FAILS_IN: u64 = 1000;

/// Nodes with a session each.
pub(super) struct Nodes(JoinSet<()>);

struct Node {
    session: Client,
    id: NodeId,
}

impl Nodes {
    /// Joins so many nodes, numbered from 1.
    pub(super) async fn join(url: &str, count: u32) -> anyhow::Result<Self> {
        let mut nodes = JoinSet::new();
        for nid in 1..=count {
            let config = ClientConfig::new(url, procedures::REALM);
            let session = Client::connect(&config).await.context("a node cannot join")?;
            let id = NodeId::new(1, nid);
            let all = RegisterOptions { policy: MatchPolicy::Prefix, ..RegisterOptions::default() };
            let calls = session.register(&procedures::node_prefix(id), all).await;
            let calls = calls.context("a node cannot register its procedures")?;
            nodes.spawn(Node { session, id }.serve(calls));
        }
        Ok(Self(nodes))
    }

    /// Ends them all.
    pub(super) async fn leave(mut self) {
        self.0.shutdown().await;
    }
}

impl Node {
    async fn serve(self, mut calls: Registration) {
        let mut beats = interval(HEARTBEAT);
        loop {
            tokio::select! {
                _ = beats.tick() => self.beat().await,
                call = calls.next() => match call {
                    Some(call) => self.answer(call).await,
                    None => return,
                },
            }
        }
    }

    async fn beat(&self) {
        let beat = Heartbeat { node: self.id, session: self.session.session().0, revision: 1 };
        if let Ok(payload) = Payload::one(&beat) {
            let options = PublishOptions { is_urgent: true, ..PublishOptions::default() };
            let _ = self.session.publish(procedures::HEARTBEAT, payload, options).await;
        }
    }

    async fn answer(&self, call: Invocation) {
        let name = call.procedure.rsplit('.').next().unwrap_or_default().to_owned();
        match name.as_str() {
            procedures::DESCRIBE => call.finish(encode(&self.description())).await,
            procedures::DELIVER => match call.payload.first::<JobDelivery>() {
                Ok(delivery) => self.take(call, delivery).await,
                Err(error) => call.finish(Err(refusal(&error.to_string()))).await,
            },
            _ => call.finish(Err(refusal("this node is simulated"))).await,
        }
    }

    async fn take(&self, call: Invocation, delivery: JobDelivery) {
        let numbers = delivery.jobs.iter().map(|job| job.number);
        let jobs = numbers.map(|number| (number, Holding::Ended)).collect();
        call.finish(encode(&JobDelivered { jobs })).await;
        let ended = delivery.jobs.into_iter().map(|job| (job.number, self.result(job))).collect();
        let (node, store) = (self.id, delivery.store);
        let report = JobReport { node, store, started: Vec::new(), ended };
        let options = CallOptions::default();
        // A node that is not heard is told by the submitter, who waits in vain.
        let _ = self
            .session
            .call_as::<_, JobReported>(procedures::JOB_REPORT, &(report,), options)
            .await;
    }

    fn result(&self, job: DeliveredJob) -> JobResult {
        let fails = job.number.is_multiple_of(ONE_FAILS_IN);
        JobResult {
            id: job.command.id,
            gid: self.id.gid,
            nid: self.id.nid,
            cmd: job.command.cmd,
            args: job.command.args,
            state: if fails { JobState::Error } else { JobState::Ok },
            data: Data::default(),
            error: fails.then(|| JobError::new(ErrorCode::Failed, "it was to fail")),
            streams: Default::default(),
            exit: None,
            critical: None,
            records: Vec::new(),
            starttime: Timestamp::now(),
            time: 0.01,
        }
    }

    fn description(&self) -> NodeDescription {
        NodeDescription {
            gid: self.id.gid,
            nid: self.id.nid,
            name: format!("simulated-{}", self.id.nid),
            labels: Vec::new(),
            version: String::new(),
            program: None,
            started: Timestamp(0),
            plugins: Vec::new(),
            refused: Vec::new(),
            trouble: None,
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Payload, ApplicationError> {
    Payload::one(value).map_err(|error| refusal(&error.to_string()))
}

fn refusal(text: &str) -> ApplicationError {
    ApplicationError::new("drover.error.internal", text)
}
