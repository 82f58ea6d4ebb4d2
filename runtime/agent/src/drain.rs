//! How the agent ends when it may take its time: no command begins anything, what runs
//! may end, and durable jobs that have not begun stay for the next start.

use std::time::Duration;

use drover_api::{ErrorCode, JobError};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::node::Node;

/// The host's own commands that begin something which outlasts them, or may take long.
const BEGINNING: [&str; 6] = [
    "agent.update",
    "plugin.update",
    "process.execute",
    "process.execute_script",
    "service.restart",
    "service.start",
];

/// The two ways in which the agent is told to end.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// To end soon: jobs that run may end before.
    pub drain: CancellationToken,
    /// To end now.
    pub stop: CancellationToken,
}

/// When the agent is to end soon, has it end as soon as no job runs, or `patience` has
/// passed.
pub(crate) async fn run(node: Node, ending: Ending, patience: Duration) -> anyhow::Result<()> {
    let Ending { drain, stop } = ending;
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = drain.cancelled() => {}
    }
    node.drain();
    let (jobs, _) = node.under_way();
    tracing::info!(patience_s = patience.as_secs(), jobs, "draining: takes no further commands");
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        ended = timeout(patience, node.idle()) => {
            if ended.is_err() {
                tracing::warn!("jobs took longer than `drain.patience`, and are ended");
            }
        }
    }
    stop.cancel();
    Ok(())
}

/// Refuses a command that would begin something, of a node that drains. `own` is the
/// name of one of the host's own commands, none one of a plugin.
pub(crate) fn admit(node: &Node, own: Option<&str>) -> Result<(), JobError> {
    let begins = own.is_none_or(|name| BEGINNING.contains(&name));
    if !begins || !node.is_draining() {
        return Ok(());
    }
    let message = format!(
        "node {} drains, as its agent is about to end: try again in a moment, or another node",
        node.id()
    );
    Err(not_begun(JobError::new(ErrorCode::ShuttingDown, message)))
}

/// Says of an error that the agent ends and that nothing has begun, for whoever would
/// begin it again.
pub(crate) fn not_begun(error: JobError) -> JobError {
    match error.code {
        ErrorCode::ShuttingDown => error.with_detail(json!({ "begun": false })),
        _ => error,
    }
}

/// Whether nothing has begun, since the agent ends. What a plugin says in the detail of
/// its own errors does not count.
pub(crate) fn has_not_begun(error: &JobError) -> bool {
    error.code == ErrorCode::ShuttingDown && error.detail["begun"] == false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_something_is_among_the_commands() {
        for name in BEGINNING {
            assert!(crate::commands::find(name).unwrap().is_some(), "{name}");
        }
    }

    #[test]
    fn only_the_agent_says_that_a_job_has_not_begun() {
        let detail = json!({ "begun": false });
        let of_plugin = JobError::new(ErrorCode::Failed, "no").with_detail(detail);
        assert!(!has_not_begun(&of_plugin));
        assert!(!has_not_begun(&not_begun(of_plugin)));
        let ended_early = JobError::new(ErrorCode::ShuttingDown, "it ran");
        assert!(!has_not_begun(&ended_early));
        assert!(has_not_begun(&not_begun(ended_early)));
    }
}
