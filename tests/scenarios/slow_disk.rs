//! The disk on which an agent keeps its durable jobs does not answer, and answers
//! again.

use std::fs;
use std::path::Path;

use drover_api::{JobState, NodeStatus, Presence, Submission, SubmissionDetail};
use drover_tests::{Site, wait_for};
use rusqlite::Connection;

use crate::DROVER;

/// Has the agent `a` run a script as a durable job.
fn submit(site: &Site, script: &str) -> String {
    let args = format!("args={}", serde_json::json!(["-c", script]));
    let line = ["job", "submit", "a", "process.execute", "cmd=/bin/sh", &args];
    site.drover(&line).ok().trim().to_owned()
}

fn wait_for_file(path: &Path) {
    wait_for("a file", || if path.exists() { Ok(()) } else { Err(path) });
}

fn end(site: &Site, id: &str) -> JobState {
    let waited = site.drover(&["job", "wait", id, "--json"]).stdout;
    serde_json::from_str::<Submission>(&waited).unwrap().state
}

fn wait_for_trouble(site: &Site, what: &str) -> NodeStatus {
    site.wait_for_node("a", |node| {
        node.description.trouble.as_deref().unwrap_or_default().contains(what)
    })
}

#[test]
fn an_agent_that_cannot_write_jobs_down_takes_none_and_does_everything_else() {
    // Without a heartbeat it would be lost sooner than its disk is given up.
    let site = Site::start_with(DROVER, "lost_after = \"5s\"\n");
    let _a = site.start_agent(1, "a", "");
    site.wait_until("a", Presence::Present);
    let [started, stopped, ran] = ["started", "stopped", "ran"].map(|name| site.path(name));
    let runs = submit(
        &site,
        &format!(
            "trap 'touch {}; exit' TERM; touch {}; while :; do sleep 0.1; done",
            stopped.display(),
            started.display()
        ),
    );
    wait_for_file(&started);
    wait_for("the controller to know that it runs", || {
        let shown = site.drover(&["job", "show", &runs, "--json"]).ok();
        match serde_json::from_str::<SubmissionDetail>(&shown).unwrap().submission.state {
            JobState::Running => Ok(()),
            other => Err(other),
        }
    });

    let disk = Connection::open(site.path("a/jobs.db")).unwrap();
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waits = submit(&site, &format!("echo ran >> {}", ran.display()));
    // A kill overtakes what waits for the disk.
    assert!(site.drover(&["job", "kill", &runs]).ok().contains("1 to be ended"));
    wait_for_file(&stopped);
    let since = wait_for_trouble(&site, "durable jobs cannot be written down");
    let later = submit(&site, &format!("echo ran >> {}", ran.display()));
    assert_eq!(site.drover(&["call", "a", "agent.ping"]).ok(), "pong\n");
    assert!(!ran.exists(), "it ran before it was on disk");

    drop(disk);
    assert_eq!(end(&site, &runs), JobState::Killed);
    assert_eq!([&waits, &later].map(|id| end(&site, id)), [JobState::Ok; 2]);
    assert_eq!(fs::read_to_string(&ran).unwrap(), "ran\nran\n");
    let well = site.wait_for_node("a", |node| node.description.trouble.is_none());
    assert_eq!((well.presence, well.since), (Presence::Present, since.since), "it was lost");
}
