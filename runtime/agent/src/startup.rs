//! Starts what is to run whenever the agent starts.
//!
//! Some of it may run already: children that an earlier agent left, and jobs that
//! are remembered. What is as the configuration has it goes on; what has changed
//! is ended and started anew; what is no longer there is ended. So each runs
//! exactly once.

use drover_api::{JobId, Level, Record, Timestamp};
use drover_logs::Source;
use drover_process::{JobStatus, ManagerError, Phase, ProcessManager, ProcessSpec};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{PREFIX, StartupJob};
use crate::logs::JobLevels;
use crate::node::Node;

/// Starts what is not there, until `stop` is cancelled. That one of them cannot be
/// started is logged, and holds up neither the others nor the agent.
pub(crate) async fn run(
    node: Node,
    jobs: Vec<StartupJob>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        outcome = start(&node, jobs) => outcome,
    }
}

async fn start(node: &Node, mut wanted: Vec<StartupJob>) -> anyhow::Result<()> {
    let manager = node.processes().manager();
    // Answers when what an earlier agent left is known.
    let Ok(known) = manager.list().await else { return Ok(()) };
    let mut ending = JoinSet::new();
    for job in known.into_iter().filter(|job| job.id.as_str().starts_with(PREFIX)) {
        let same = wanted.iter().position(|wanted| wanted.id == job.id && goes_on(&job, wanted));
        match same {
            Some(place) => drop(wanted.remove(place)),
            None => {
                tracing::info!(job = %job.id, "ending what was started for an earlier configuration");
                ending.spawn(end(manager.clone(), job.id));
            }
        }
    }
    while let Some(ended) = ending.join_next().await {
        ended?;
    }
    for StartupJob { id, spec } in wanted {
        match manager.submit(id.clone(), spec.clone()).await {
            Ok(()) => tracing::info!(job = %id, "started, as the configuration says"),
            Err(ManagerError::ShuttingDown) => return Ok(()),
            Err(error) => {
                tracing::error!(job = %id, %error, "cannot start what the configuration says");
                note(node, &id, &spec, &error).await;
            }
        }
    }
    Ok(())
}

/// Whether a job does what is wanted, and is not about to end for good.
fn goes_on(job: &JobStatus, wanted: &StartupJob) -> bool {
    let is_ending = matches!(job.phase, Phase::Stopping | Phase::Settling);
    *job.spec == wanted.spec && (!is_ending || job.spec.is_remembered())
}

/// Ends a job, so that its id is free.
async fn end(manager: ProcessManager, id: JobId) {
    // One that has ended by itself, or is over soon, is no matter.
    if manager.kill(&id).await.is_ok() {
        let _ = manager.wait(&id).await;
    }
}

/// Puts into the job's own log why there is no job.
async fn note(node: &Node, id: &JobId, spec: &ProcessSpec, error: &ManagerError) {
    let source = Source { job: id.clone(), domain: spec.domain.clone(), name: spec.name.clone() };
    let mut log = node.logs().of_job(source, JobLevels::default());
    let data = format!("not started: {error}");
    log.record(&Record { time: Timestamp::now(), level: Level::ERROR, data });
    // A log that is closed belongs to an agent that ends.
    let _ = log.write().await;
}
