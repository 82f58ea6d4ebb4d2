//! Restarts, queues, schedules, dependencies.

use drover_api::JobState;
use drover_process::{JobEvent, ManagerError, OutputStream, Phase};
use serde_json::json;

use super::kit::{Node, config, id, is_ok, shell};

#[tokio::test]
async fn a_program_that_fails_is_restarted_as_often_as_its_command_says() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let restarts = json!({"max_restart": 3, "restart_delay": 0});
    let outcome = node.run("job", shell("echo run; exit 1", &restarts)).await;
    assert_eq!((outcome.state, outcome.runs), (JobState::Error, 4));
    assert_eq!(node.output("job", OutputStream::Stdout), "run\n".repeat(4));
    let events = node.events("job");
    let restarts = events.iter().filter(|event| matches!(event, JobEvent::Restarting { .. }));
    assert_eq!(restarts.count(), 3);
    let last = &events[events.len() - 2];
    assert!(matches!(last, JobEvent::Critical { message } if message.contains("4 times")));
    node.shutdown().await;
}

#[tokio::test]
async fn a_child_that_somebody_kills_is_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let restarts = json!({"max_restart": 5, "restart_delay": 0});
    node.submit("job", shell("exec sleep 3600", &restarts)).await;
    for run in 1..4 {
        let pid = nix::unistd::Pid::from_raw(node.pid("job", run).await.try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    node.pid("job", 4).await;
    node.shutdown().await;
}

#[tokio::test]
async fn a_serial_queue_runs_one_at_a_time_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let log = dir.path().join("log");
    let names: Vec<_> = (0..20).map(|number| format!("job-{number}")).collect();
    for name in &names {
        let line = format!("echo {name} begin >> {0}; echo {name} end >> {0}", log.display());
        node.submit(name, shell(&line, &json!({"queue": "one"}))).await;
    }
    node.submit("other", shell("true", &json!({"queue": "two"}))).await;
    for name in names.iter().map(String::as_str).chain(["other"]) {
        assert!(is_ok(&node.end_of(name).await));
    }
    let expected: String = names.iter().map(|name| format!("{name} begin\n{name} end\n")).collect();
    assert_eq!(std::fs::read_to_string(log).unwrap(), expected);
    node.shutdown().await;
}

#[tokio::test]
async fn no_more_run_at_once_than_may() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start_with(drover_process::ManagerConfig {
        max_jobs: 2,
        max_accepted: 3,
        ..config(dir.path())
    });
    for name in ["a", "b", "c"] {
        node.submit(name, shell("exec sleep 3600", &json!({}))).await;
    }
    let full = node.manager.submit(id("d"), shell("true", &json!({}))).await;
    assert_eq!(full, Err(ManagerError::Busy(3)));
    node.pid("a", 1).await;
    node.pid("b", 1).await;
    let waiting = &node.manager.list().await.unwrap()[2];
    assert_eq!((waiting.id.as_str(), waiting.phase), ("c", Phase::WaitingForTurn));
    node.manager.kill(&id("a")).await.unwrap();
    node.pid("c", 1).await;
    node.shutdown().await;
}

#[tokio::test]
async fn a_recurring_job_comes_again_until_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    node.submit("job", shell("exit 1", &json!({"recurring_period": 0.05}))).await;
    node.pid("job", 4).await;
    node.manager.kill(&id("job")).await.unwrap();
    assert_eq!(node.end_of("job").await.state, JobState::Killed);
    node.submit("cron", shell("true", &json!({"cron": "* * * * * *"}))).await;
    node.pid("cron", 2).await;
    node.manager.kill(&id("cron")).await.unwrap();
    node.shutdown().await;
}

#[tokio::test]
async fn a_job_waits_for_another_to_be_ready() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let gate = dir.path().join("gate");
    let line = format!(
        "until [ -e {} ]; do sleep 0.02; done; echo now listening; exec sleep 3600",
        gate.display()
    );
    let service = json!({"name": "database", "max_time": -1, "ready": "listening$"});
    node.submit("db", shell(&line, &service)).await;
    node.submit("app", shell("echo app", &json!({"after": ["database"]}))).await;
    node.submit("report", shell("echo report", &json!({"after": ["app"]}))).await;
    node.pid("db", 1).await;
    let phases: Vec<_> = node.manager.list().await.unwrap().iter().map(|job| job.phase).collect();
    assert_eq!(phases[1..], [Phase::WaitingForOthers, Phase::WaitingForOthers]);

    std::fs::write(gate, "").unwrap();
    assert!(is_ok(&node.end_of("report").await));
    assert!(node.events("db").contains(&JobEvent::Ready));
    assert!(is_ok(&node.run("late", shell("true", &json!({"after": ["db", "app"]}))).await));
    node.manager.kill(&id("db")).await.unwrap();
    node.shutdown().await;
}

#[tokio::test]
async fn a_dependency_must_be_there_and_must_end_well() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let refusal = node.manager.submit(id("a"), shell("true", &json!({"after": ["ghost"]}))).await;
    assert_eq!(refusal, Err(ManagerError::UnknownDependency("ghost".to_owned())));

    node.submit("bad", shell("sleep 0.2; exit 1", &json!({}))).await;
    let outcome = node.run("next", shell("true", &json!({"after": ["bad"]}))).await;
    assert_eq!((outcome.state, outcome.runs), (JobState::Error, 0));
    let refusal = node.manager.submit(id("b"), shell("true", &json!({"after": ["bad"]}))).await;
    assert_eq!(refusal, Err(ManagerError::FailedDependency(id("bad"))));
    node.shutdown().await;
}
