//! What becomes of jobs when the agent ends and starts again.

use drover_api::JobState;
use drover_process::{JobEvent, ManagerError, OutputStream};
use serde_json::json;

use super::kit::{Node, config, id, is_alive, is_ok, shell};

const COUNTER: &str = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.01; done";

#[tokio::test]
async fn an_adopted_child_goes_on_and_no_line_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    node.submit("job", shell(COUNTER, &json!({"max_time": -1}))).await;
    node.output_with("job", "line 10\n").await;
    let pid = node.pid("job", 1).await;
    let told = node.told();
    node.shutdown().await;
    assert!(is_alive(pid));

    let next = Node::start_after(config(dir.path()), told);
    next.until("job", |events| {
        let starts = events.iter().filter(|event| matches!(event, JobEvent::Started { .. }));
        (starts.count() == 2).then_some(())
    })
    .await;
    assert_eq!(next.pid("job", 1).await, pid);
    let lines = next.output("job", OutputStream::Stdout).lines().count();
    let output = next.output_with("job", &format!("line {}\n", lines + 50)).await;
    for (index, line) in output.lines().enumerate().take(lines + 50) {
        assert_eq!(line, format!("line {}", index + 1));
    }
    assert!(!next.manager.kill(&id("job")).await.unwrap().found.is_empty());
    next.shutdown().await;
}

#[tokio::test]
async fn a_child_that_is_not_to_be_adopted_is_ended_and_started_anew() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let more = json!({"max_time": -1, "on_agent_restart": "end"});
    node.submit("job", shell("exec sleep 3600", &more)).await;
    let pid = node.pid("job", 1).await;
    node.shutdown().await;
    assert!(!is_alive(pid));

    let next = Node::start(dir.path());
    assert!(is_alive(next.pid("job", 1).await));
    next.manager.kill(&id("job")).await.unwrap();
    next.shutdown().await;
}

#[tokio::test]
async fn a_job_that_was_killed_or_has_ended_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    node.submit("killed", shell("exec sleep 3600", &json!({"max_time": -1}))).await;
    node.submit("recurring", shell("true", &json!({"recurring_period": 3600}))).await;
    node.pid("killed", 1).await;
    node.pid("recurring", 1).await;
    node.manager.kill(&id("killed")).await.unwrap();
    assert!(is_ok(&node.run("ended", shell("true", &json!({"max_time": -1}))).await));
    assert!(is_ok(&node.run("task", shell("true", &json!({}))).await));
    node.shutdown().await;

    let next = Node::start(dir.path());
    let taken = next.manager.submit(id("recurring"), shell("true", &json!({}))).await;
    assert_eq!(taken, Err(ManagerError::Duplicate(id("recurring"))));
    let jobs = next.manager.list().await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["recurring"]);
    assert_eq!(jobs[0].runs, 0, "its hour is not over");
    next.manager.kill(&id("recurring")).await.unwrap();
    next.shutdown().await;
}

#[tokio::test]
async fn the_end_of_an_adopted_child_in_between_is_told_by_the_next_agent() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let gate = dir.path().join("gate");
    let line = format!(
        "echo begin; until [ -e {} ]; do sleep 0.01; done; echo end; exit 7",
        gate.display()
    );
    node.submit("job", shell(&line, &json!({"on_agent_restart": "adopt"}))).await;
    node.output_with("job", "begin").await;
    let pid = node.pid("job", 1).await;
    node.shutdown().await;

    std::fs::write(gate, "").unwrap();
    while is_alive(pid) {
        tokio::task::yield_now().await;
    }
    let next = Node::start(dir.path());
    let outcome = next.end_of("job").await;
    assert_eq!((outcome.state, outcome.message.contains("status 7")), (JobState::Error, true));
    assert_eq!(next.output("job", OutputStream::Stdout), "end\n");
    next.shutdown().await;
}
