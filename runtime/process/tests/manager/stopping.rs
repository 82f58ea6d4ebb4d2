//! Ends are certain.

use std::time::Duration;

use drover_api::JobState;
use drover_process::{Exit, JobEvent, OutputStream, Phase};
use serde_json::json;

use super::kit::{Node, id, is_alive, shell};

/// A program that neither listens to TERM nor keeps its children in its session.
const STUBBORN: &str = "trap '' TERM; setsid sh -c \"trap '' TERM; echo deep \\$\\$; \
                        while :; do sleep 1; done\" & echo top $$; while :; do sleep 1; done";

fn pids(output: &str) -> Vec<u32> {
    output.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[tokio::test]
async fn a_kill_ends_a_stubborn_tree_and_says_what_it_found() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    node.submit("job", shell(STUBBORN, &json!({"grace": 0.2}))).await;
    node.output_with("job", "top").await;
    let pids = pids(&node.output_with("job", "deep").await);
    let report = node.manager.kill(&id("job")).await.unwrap();
    assert!(report.killed && report.left.is_empty(), "{report:?}");
    for pid in pids {
        assert!(report.found.iter().any(|found| found.pid == pid), "{pid} in {report:?}");
        assert!(!is_alive(pid));
    }
    assert_eq!(node.end_of("job").await.state, JobState::Killed);
    assert_eq!(node.manager.list().await.unwrap(), []);
    node.shutdown().await;
}

#[tokio::test]
async fn a_program_that_listens_to_term_has_its_grace() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let line = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    node.submit("job", shell(line, &json!({}))).await;
    node.output_with("job", "up").await;
    let report = node.manager.kill(&id("job")).await.unwrap();
    assert!(!report.killed, "{report:?}");
    let outcome = node.end_of("job").await;
    assert_eq!((outcome.state, outcome.exit), (JobState::Killed, Some(Exit::Code(0))));
    assert_eq!(node.output("job", OutputStream::Stdout), "up\nbye\n");
    node.shutdown().await;
}

#[tokio::test]
async fn time_that_is_over_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let outcome = node.run("job", shell("sleep 60", &json!({"max_time": 0.2}))).await;
    assert_eq!((outcome.state, outcome.exit), (JobState::Timeout, Some(Exit::Signal(15))));
    node.shutdown().await;
}

#[tokio::test]
async fn a_daemon_that_is_left_behind_is_ended_with_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let line = "setsid sh -c 'echo $$; exec sleep 60' & sleep 0.2";
    let outcome = node.run("job", shell(line, &json!({}))).await;
    assert_eq!(outcome.state, JobState::Ok);
    let pids = pids(&node.output("job", OutputStream::Stdout));
    assert_eq!(pids.len(), 1);
    assert!(!is_alive(pids[0]));
    node.shutdown().await;
}

#[tokio::test]
async fn a_waiting_job_is_killed_without_ever_running() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    node.submit("job", shell("true", &json!({"start_delay": 3600}))).await;
    let status = &node.manager.list().await.unwrap()[0];
    assert!(matches!(status.phase, Phase::WaitingForTime(_)), "{status:?}");
    let report = node.manager.kill(&id("job")).await.unwrap();
    assert_eq!((report.found.len(), report.killed), (0, false));
    assert_eq!(node.end_of("job").await.runs, 0);
    node.shutdown().await;
}

#[tokio::test]
async fn a_kill_is_not_held_up_by_an_observer_that_does_not_listen() {
    let dir = tempfile::tempdir().unwrap();
    let (events, mut heard) = tokio::sync::mpsc::channel(1);
    let observer = std::sync::Arc::new(move |_: &drover_process::JobInfo| events.clone());
    let (manager, task) = drover_process::open(super::kit::config(dir.path()), observer).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(task.run());
    manager.submit(id("job"), shell("yes", &json!({}))).await.unwrap();
    let Some(JobEvent::Started { pid, .. }) = heard.recv().await else { panic!("no start") };
    let report = manager.kill(&id("job")).await.unwrap();
    assert!(report.left.is_empty() && !is_alive(pid));
    drop(heard);
    manager.shutdown().await.unwrap();
    tasks.join_all().await;
}

#[tokio::test]
async fn killing_all_starts_again_what_runs_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let forever = json!({"max_time": -1, "restart_delay": 0.01});
    node.submit("service", shell("exec sleep 3600", &forever)).await;
    node.submit("task", shell("exec sleep 3600", &json!({}))).await;
    let (service, task) = (node.pid("service", 1).await, node.pid("task", 1).await);
    let reports = node.manager.kill_all().await.unwrap();
    assert_eq!(reports.len(), 2);
    assert!(!is_alive(service) && !is_alive(task));
    assert_eq!(node.end_of("task").await.state, JobState::Killed);
    assert!(is_alive(node.pid("service", 2).await));
    node.manager.kill(&id("service")).await.unwrap();
    node.shutdown().await;
}

#[tokio::test]
async fn the_death_of_the_keeper_ends_the_runs_and_the_policy_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let forever = json!({"max_time": -1, "restart_delay": 0.01});
    node.submit("service", shell("exec sleep 3600", &forever)).await;
    node.submit("task", shell("exec sleep 3600", &json!({}))).await;
    let (service, task) = (node.pid("service", 1).await, node.pid("task", 1).await);
    nix::sys::signal::kill(keeper_of(service), nix::sys::signal::Signal::SIGKILL).unwrap();
    let outcome = node.end_of("task").await;
    assert_eq!((outcome.state, outcome.exit), (JobState::Error, Some(Exit::Lost)));
    assert!(is_alive(node.pid("service", 2).await));
    assert!(!is_alive(service) && !is_alive(task));
    let again = node.run("task", shell("echo again", &json!({}))).await;
    assert_eq!(again.state, JobState::Ok);
    let wait = Duration::from_secs(30);
    tokio::time::timeout(wait, node.manager.kill(&id("service"))).await.unwrap().unwrap();
    node.shutdown().await;
}

fn keeper_of(child: u32) -> nix::unistd::Pid {
    let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    nix::unistd::Pid::from_raw(parent.trim().parse().unwrap())
}
