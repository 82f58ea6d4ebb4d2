//! A manager hands all its jobs over to the next one, which goes on as if nothing had
//! been.

use std::path::Path;
use std::time::Duration;

use drover_api::JobState;
use drover_process::{
    JobEvent, ManagerError, OnAgentRestart, OutputStream, Phase, ProcessSpec, StdinPolicy,
};
use serde_json::json;

use super::kit::{Node, config, id, is_alive, is_ok, shell};

const COUNTER: &str = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.01; done";

/// Waits for a file, and ends.
fn until_there(gate: &Path, then: &str) -> String {
    format!("until [ -e {} ]; do sleep 0.01; done; {then}", gate.display())
}

/// Hands everything over to the next manager of the same directory.
async fn hand_over(dir: &Path, node: Node) -> (Node, Vec<String>) {
    let handed = node.manager.hand_over().await.unwrap();
    let told = node.told();
    node.shutdown().await;
    let mut names: Vec<_> = handed.iter().map(ToString::to_string).collect();
    names.sort();
    (Node::start_after(config(dir), told), names)
}

/// How often a job was taken up, by an observer of each manager.
async fn until_taken_up(node: &Node, name: &str, times: usize) {
    node.until(name, |events| {
        let starts = events.iter().filter(|event| matches!(event, JobEvent::Started { .. }));
        (starts.count() == times).then_some(())
    })
    .await;
}

async fn phase(node: &Node, name: &str) -> Option<Phase> {
    let jobs = node.manager.list().await.unwrap();
    jobs.iter().find(|job| job.id == id(name)).map(|job| job.phase)
}

#[tokio::test]
async fn what_runs_goes_on_and_no_byte_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(dir.path());
    node.submit("count", shell(COUNTER, &json!({}))).await;
    let pid = node.pid("count", 1).await;
    for times in 2..5 {
        let lines = node.output("count", OutputStream::Stdout).lines().count();
        node.output_with("count", &format!("line {}\n", lines + 20)).await;
        let names;
        (node, names) = hand_over(dir.path(), node).await;
        assert_eq!(names, ["count"]);
        until_taken_up(&node, "count", times).await;
        assert_eq!(node.pid("count", 1).await, pid);
        assert!(is_alive(pid));
    }
    let lines = node.output("count", OutputStream::Stdout).lines().count();
    let output = node.output_with("count", &format!("line {}\n", lines + 20)).await;
    for (index, line) in output.lines().enumerate().take(lines + 20) {
        assert_eq!(line, format!("line {}", index + 1));
    }
    let killed = node.manager.kill(&id("count")).await.unwrap();
    assert_eq!(killed.found.iter().filter(|found| found.pid == pid).count(), 1);
    assert_eq!(node.end_of("count").await.runs, 1);
    node.shutdown().await;
    let next = Node::start(dir.path());
    assert_eq!(next.manager.list().await.unwrap(), [], "it is forgotten");
    next.shutdown().await;
}

#[tokio::test]
async fn an_end_while_nobody_is_there_is_told_with_the_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let gate = dir.path().join("gate");
    node.submit("job", shell(&until_there(&gate, "echo end; exit 7"), &json!({}))).await;
    let pid = node.pid("job", 1).await;
    let told = node.told();
    node.manager.hand_over().await.unwrap();
    let gone = node.manager.kill(&id("job")).await.unwrap_err();
    assert_eq!(gone, ManagerError::HandedOver(id("job")));
    std::fs::write(gate, "").unwrap();
    while is_alive(pid) {
        tokio::task::yield_now().await;
    }
    node.shutdown().await;
    let next = Node::start_after(config(dir.path()), told);
    let outcome = next.end_of("job").await;
    assert_eq!((outcome.state, outcome.message.contains("status 7")), (JobState::Error, true));
    assert_eq!(next.output("job", OutputStream::Stdout), "end\n");
    next.shutdown().await;
}

#[tokio::test]
async fn a_queue_its_order_and_what_waits_for_others_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let (gate, order) = (dir.path().join("gate"), dir.path().join("order"));
    let note = |name: &str| format!("echo {name} >> {}", order.display());
    let queue = json!({"queue": "q"});
    node.submit("first", shell(&until_there(&gate, &note("first")), &queue)).await;
    node.pid("first", 1).await;
    // Numbers that sort otherwise than they came.
    for name in ["third", "second", "fourth"] {
        node.submit(name, shell(&note(name), &queue)).await;
    }
    node.submit("last", shell(&note("last"), &json!({"after": ["fourth"]}))).await;
    node.submit("failing", shell(&until_there(&gate, "exit 1"), &json!({}))).await;
    node.submit("never", shell(&note("never"), &json!({"after": ["failing"]}))).await;
    node.submit("later", shell("true", &json!({"start_delay": 3600}))).await;

    let (node, names) = hand_over(dir.path(), node).await;
    assert_eq!(names, ["failing", "first", "fourth", "last", "later", "never", "second", "third"]);
    assert_eq!(phase(&node, "third").await, Some(Phase::WaitingForTurn));
    assert_eq!(phase(&node, "last").await, Some(Phase::WaitingForOthers));
    assert!(matches!(phase(&node, "later").await, Some(Phase::WaitingForTime(_))));
    std::fs::write(gate, "").unwrap();
    assert!(is_ok(&node.end_of("last").await));
    assert_eq!(node.end_of("never").await.state, JobState::Error);
    let noted = std::fs::read_to_string(order).unwrap();
    assert_eq!(noted, "first\nthird\nsecond\nfourth\nlast\n");
    node.manager.kill(&id("later")).await.unwrap();
    node.shutdown().await;
}

#[tokio::test]
async fn time_goes_on_restarts_count_on_and_stdin_stays_open() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    node.submit("limited", shell("exec sleep 3600", &json!({"max_time": "3s"}))).await;
    let began = std::time::Instant::now();
    let gate = dir.path().join("gate");
    let failing = json!({"max_restart": 1, "restart_delay": "10ms"});
    node.submit("failing", shell(&until_there(&gate, "exit 1"), &failing)).await;
    node.submit("recurring", shell("true", &json!({"recurring_period": 3600}))).await;
    let mut cat = shell("exec cat", &json!({}));
    cat.stdin = StdinPolicy::Open;
    node.submit("cat", cat).await;
    let cat = node.pid("cat", 1).await;
    node.manager.stdin(&id("cat")).await.unwrap().write(b"one\n").await.unwrap();
    node.output_with("cat", "one\n").await;
    node.until("recurring", |events| {
        events.iter().any(|event| matches!(event, JobEvent::Recurs { .. })).then_some(())
    })
    .await;
    node.pid("limited", 1).await;
    node.pid("failing", 1).await;

    let (node, _) = hand_over(dir.path(), node).await;
    std::fs::write(gate, "").unwrap();
    let outcome = node.end_of("failing").await;
    assert_eq!((outcome.state, outcome.runs), (JobState::Error, 2));
    let stdin = node.manager.stdin(&id("cat")).await.unwrap();
    stdin.write(b"two\n").await.unwrap();
    stdin.close().await;
    let outcome = node.end_of("cat").await;
    assert!(is_ok(&outcome));
    assert_eq!(node.output("cat", OutputStream::Stdout), "one\ntwo\n");
    assert!(!is_alive(cat));
    assert_eq!(node.end_of("limited").await.state, JobState::Timeout);
    assert!(began.elapsed() >= Duration::from_secs(3), "its time was not over");
    let jobs = node.manager.list().await.unwrap();
    let [recurring] = &jobs[..] else { panic!("{jobs:?}") };
    assert_eq!((recurring.id.as_str(), recurring.runs), ("recurring", 1));
    node.manager.kill(&id("recurring")).await.unwrap();
    node.shutdown().await;
}

#[tokio::test]
async fn a_next_manager_that_dies_has_lost_nothing_that_runs_and_nothing_runs_twice() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let (gate, ran) = (dir.path().join("gate"), dir.path().join("ran"));
    let note = format!("echo >> {}", ran.display());
    let queue = json!({"queue": "q"});
    node.submit("runs", shell(&until_there(&gate, "exit 0"), &queue)).await;
    node.submit("waits", shell(&format!("{note}; exec sleep 3600"), &queue)).await;
    let pid = node.pid("runs", 1).await;
    let (node, _) = hand_over(dir.path(), node).await;
    until_taken_up(&node, "runs", 2).await;
    let told = node.told();
    drop(node);
    // The one that dies next is in the middle of the job that waited.
    let node = Node::start_after(config(dir.path()), told);
    until_taken_up(&node, "runs", 3).await;
    assert_eq!(node.pid("runs", 1).await, pid);
    std::fs::write(gate, "").unwrap();
    assert!(is_ok(&node.end_of("runs").await));
    let waited = node.pid("waits", 1).await;
    let told = node.told();
    drop(node);
    let node = Node::start_after(config(dir.path()), told);
    until_taken_up(&node, "waits", 2).await;
    assert_eq!(node.pid("waits", 1).await, waited);
    assert_eq!(std::fs::read_to_string(ran).unwrap(), "\n");
    node.manager.kill(&id("waits")).await.unwrap();
    node.shutdown().await;
}

#[tokio::test]
async fn what_is_the_agents_own_stays_and_nothing_else_begins() {
    let own = |line: &str| ProcessSpec {
        on_agent_restart: OnAgentRestart::EndWithAgent,
        ..shell(line, &json!({}))
    };
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    node.submit("own", own("exec sleep 3600")).await;
    let pid = node.pid("own", 1).await;
    assert_eq!(node.manager.hand_over().await.unwrap(), []);
    assert_eq!(node.manager.hand_over().await.unwrap(), [], "once more is the same");
    assert!(is_alive(pid));
    assert!(is_ok(&node.run("another", own("true")).await));
    let refused = node.manager.submit(id("job"), shell("true", &json!({}))).await;
    assert_eq!(refused, Err(ManagerError::ShuttingDown));
    node.shutdown().await;
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn whoever_ends_the_manager_in_the_middle_of_it_ends_what_has_not_begun() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    // It is being killed for as long as it likes, and the hand-over waits for that.
    let line = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
    node.submit("slow", shell(line, &json!({"queue": "q", "grace": 3600}))).await;
    node.output_with("slow", "ready").await;
    node.submit("gone", shell("exit 1", &json!({"max_restart": -1, "restart_delay": "10ms"})))
        .await;
    let pid = node.pid("slow", 1).await;
    let slow = id("slow");
    let (tell, asked) = tokio::sync::oneshot::channel();
    let hand_over = async {
        node.until("gone", |events| {
            let again = events.iter().filter(|event| matches!(event, JobEvent::Restarting { .. }));
            (again.count() >= 2).then_some(())
        })
        .await;
        tell.send(()).unwrap();
        node.manager.hand_over().await
    };
    let end = async {
        asked.await.unwrap();
        while !matches!(phase(&node, "slow").await, Some(Phase::Stopping))
            || !matches!(phase(&node, "gone").await, Some(Phase::Starting))
        {
            tokio::task::yield_now().await;
        }
        let last = async {
            node.end_of("gone").await;
            let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        };
        tokio::join!(node.manager.shutdown(), last).0.unwrap();
    };
    let all = async { tokio::join!(node.manager.kill(&slow), hand_over, end) };
    let (killed, handed, ()) = tokio::time::timeout(super::kit::PATIENCE, all).await.unwrap();
    assert_eq!(handed, Err(ManagerError::ShuttingDown));
    assert_eq!(killed.unwrap().left, []);
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    let (there, away) = (dir.path().join("there"), dir.path().join("away"));
    std::fs::create_dir(&there).unwrap();
    config.remembered_file = there.join("jobs.json");
    let node = Node::start_with(config.clone());
    let gate = dir.path().join("gate");
    let queue = json!({"queue": "q"});
    node.submit("runs", shell(&until_there(&gate, "exit 0"), &queue)).await;
    node.submit("waits", shell("true", &queue)).await;
    let pid = node.pid("runs", 1).await;
    std::fs::rename(&there, &away).unwrap();
    let refused = node.manager.hand_over().await.unwrap_err();
    assert!(matches!(refused, ManagerError::Disk { .. }), "{refused:?}");
    std::fs::rename(&away, &there).unwrap();
    std::fs::write(gate, "").unwrap();
    assert!(is_ok(&node.end_of("runs").await) && !is_alive(pid));
    assert!(is_ok(&node.end_of("waits").await));
    node.shutdown().await;
    let next = Node::start_with(config);
    assert_eq!(next.manager.list().await.unwrap(), []);
    next.shutdown().await;
}
