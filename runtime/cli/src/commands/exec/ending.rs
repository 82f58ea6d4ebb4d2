//! How a program on a node ended, and what is said of that here.

use drover_api::{JobId, JobResult, JobState, NodeStatus};
use drover_wamp::{CallError, uri};
use serde_json::Value;

use crate::controller;
use crate::exit::{Exit, Failure};

/// What became of a program whose end nobody here will hear of.
pub(super) fn unanswered(
    error: CallError,
    program: &str,
    node: &NodeStatus,
    id: &JobId,
) -> Failure {
    let name = &node.description.name;
    let what = format!("`{program}` (job {id}) on node {name}");
    let uri = match &error {
        CallError::Application(refusal) => refusal.uri.as_str(),
        _ => "",
    };
    let (exit, message) = match (&error, uri) {
        (CallError::Closed(_), _) => (
            Exit::Unreachable,
            format!(
                "the connection to the controller is gone while {what} was running: the node ends \
                 the program and all its processes as soon as it notices (`drover ps {name}` \
                 shows what runs there)"
            ),
        ),
        (_, uri::error::CANCELED) => (
            Exit::NotFound,
            format!(
                "node {name} is gone while {what} was running: the program and all its processes \
                 are ended when the agent there notices, at the latest when it starts again \
                 (`drover ps {name}` shows what runs there)"
            ),
        ),
        (_, uri::error::NO_SUCH_PROCEDURE) => {
            (Exit::NotFound, format!("node {name} is gone, and did not start `{program}`"))
        }
        _ => return controller::lost(error, &format!("how {what} ended is not known")),
    };
    Failure::new(exit, anyhow::Error::new(error).context(message))
}

/// The status to end with, as if the program had been started here.
pub(super) fn exit_of(result: &JobResult) -> Exit {
    let ended = result.exit.unwrap_or(NOBODY_KNOWS);
    match (result.state, ended.code, ended.signal) {
        (JobState::Timeout, ..) => Exit::Timeout,
        (JobState::Error | JobState::Killed, Some(code), _) if code != 0 => {
            Exit::Program(u8::try_from(code).unwrap_or(1))
        }
        (JobState::Error | JobState::Killed, _, Some(signal)) => Exit::signal(signal),
        _ => result.into(),
    }
}

/// What the exit status does not say.
pub(super) fn remark(result: &JobResult) -> Option<&str> {
    let error = result.error.as_ref()?;
    let ended_by_itself = result.exit.is_some_and(|exit| exit.code.is_some_and(|code| code != 0));
    let ran_once = error.detail.get("runs").and_then(Value::as_u64) == Some(1);
    let says_all = result.state == JobState::Error && ended_by_itself && ran_once;
    (!says_all).then_some(&error.message)
}

const NOBODY_KNOWS: drover_api::Exit = drover_api::Exit { code: None, signal: None };

/// The signal of a program that writes where nobody reads.
pub(super) const BROKEN_PIPE: i32 = 13;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn result(state: &str, exit: &Value, error: &str) -> JobResult {
        serde_json::from_value(json!({
            "id": "j", "gid": 1, "nid": 1, "cmd": "process.execute", "state": state,
            "exit": exit, "starttime": 0, "time": 0.0,
            "error": { "code": error, "message": "said", "detail": { "runs": 1 } },
        }))
        .unwrap()
    }

    #[test]
    fn the_status_is_the_programs_own() {
        for (state, exit, error, status, is_remarked) in [
            ("OK", json!({ "code": 0 }), "unknown", Exit::Done, true),
            ("ERROR", json!({ "code": 3 }), "failed", Exit::Program(3), false),
            ("ERROR", json!({ "code": 0 }), "invalid-answer", Exit::Failed, true),
            ("ERROR", json!({ "signal": 9 }), "failed", Exit::Program(137), true),
            ("KILLED", json!({ "signal": 15 }), "cancelled", Exit::Program(143), true),
            ("KILLED", json!(null), "cancelled", Exit::Cancelled, true),
            ("TIMEOUT", json!({ "signal": 15 }), "timeout", Exit::Timeout, true),
            ("ERROR", json!(null), "failed", Exit::Failed, true),
            ("ERROR", json!(null), "invalid-arguments", Exit::InvalidArguments, true),
        ] {
            let result = result(state, &exit, error);
            assert_eq!(exit_of(&result), status, "{state} {exit}");
            assert_eq!(remark(&result).is_some(), is_remarked, "{state} {exit}");
        }
    }

    #[test]
    fn a_lost_node_is_told_with_what_becomes_of_the_program() {
        let node: NodeStatus = serde_json::from_value(json!({
            "presence": "present", "since": 0, "last_seen": 0,
            "description": { "gid": 1, "nid": 1, "name": "a", "labels": [], "version": "",
                "started": 0, "plugins": [], "refused": [] },
        }))
        .unwrap();
        let lost = drover_wamp::ApplicationError::new(uri::error::CANCELED, "the callee has left");
        let failure = unanswered(lost.into(), "sleep", &node, &"j".parse().unwrap());
        assert_eq!(failure.exit, Exit::NotFound);
        let text = failure.error.to_string();
        assert!(text.contains("node a is gone") && text.contains("are ended"), "{text}");
    }
}
