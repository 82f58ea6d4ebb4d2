//! Durable jobs: what was accepted is done, once, and its result is there.

use std::fs;

use drover_api::{JobCounts, JobState, JobSubmitted, Presence, Submission, SubmissionDetail};
use drover_tests::{Agent, Site, wait_for};
use nix::sys::signal::Signal;

use crate::site;

/// An agent without plugins.
fn agent(site: &Site, nid: u32, name: &str, config: &str) -> Agent {
    let agent = site.start_agent(nid, name, config);
    site.wait_until(name, Presence::Present);
    agent
}

/// Ends an agent as a crash would.
fn kill(site: &Site, mut agent: Agent) {
    agent.process.signal(Signal::SIGKILL);
    agent.process.wait();
    site.wait_until(&agent.name, Presence::Lost);
}

fn submit(site: &Site, arguments: &[&str]) -> String {
    site.drover(&[&["job", "submit"], arguments].concat()).ok().trim().to_owned()
}

/// A submission that runs a script.
fn script<'a>(selector: &'a str, args: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[selector, "process.execute", "cmd=/bin/sh", args], more].concat()
}

fn args(text: &str) -> String {
    format!("args={}", serde_json::json!(["-c", text]))
}

fn ended(site: &Site, id: &str) -> Submission {
    serde_json::from_str(&site.drover(&["job", "wait", id, "--json"]).stdout).unwrap()
}

fn shown(site: &Site, id: &str) -> SubmissionDetail {
    serde_json::from_str(&site.drover(&["job", "show", id, "--json"]).ok()).unwrap()
}

#[test]
fn a_node_that_is_away_is_meant_also_after_a_restart_of_the_controller() {
    let mut site = site();
    kill(&site, agent(&site, 1, "a", ""));
    let mut controller = site.controller.take().unwrap();
    controller.signal(Signal::SIGTERM);
    controller.wait();
    site.start_controller();

    site.wait_until("a", Presence::Lost);
    let id = submit(&site, &["name=a", "agent.ping"]);
    let _a = agent(&site, 1, "a", "");
    let waited = site.drover(&["job", "wait", &id]).ok();
    assert!(waited.contains("OK (1 ok)"), "{waited}");
}

#[test]
fn what_was_submitted_is_done_when_its_node_is_there_again() {
    let mut site = site();
    kill(&site, agent(&site, 1, "a", ""));
    let id = submit(&site, &["name=a", "agent.ping"]);
    assert_eq!(shown(&site, &id).submission.state, JobState::Queued);

    site.controller.take().unwrap().signal(Signal::SIGKILL);
    site.start_controller();
    let _a = site.start_agent(1, "a", "");

    let waited = site.drover(&["job", "wait", &id]).ok();
    assert!(waited.contains("OK (1 ok)"), "{waited}");
    assert_eq!(site.drover(&["job", "result", &id]).ok(), "pong\n");
    let reasons = shown(&site, &id).jobs[0].transitions.clone();
    let states: Vec<_> = reasons.iter().map(|step| step.state).collect();
    assert_eq!(states, [JobState::Queued, JobState::Running, JobState::Ok], "{reasons:?}");
}

#[test]
fn one_submission_is_done_on_all_nodes_that_match_or_on_some() {
    let site = site();
    let _agents = [
        agent(&site, 1, "a", "labels = [\"web\", \"eu\"]"),
        agent(&site, 2, "b", "labels = [\"web\"]"),
        agent(&site, 3, "c", "labels = [\"db\"]"),
    ];
    let counts = |arguments: &[&str]| ended(&site, &submit(&site, arguments)).counts;
    let ok = |ok| JobCounts { ok, ..JobCounts::default() };
    assert_eq!(counts(&["web", "agent.ping"]), ok(2));
    assert_eq!(counts(&["web and not eu or db", "agent.ping"]), ok(2));
    assert_eq!(counts(&["*", "agent.ping", "--any", "1"]), ok(1));
    assert_eq!(counts(&["a", "agent.ping"]), ok(1));

    // One after the other: each finds that nobody else is at it.
    let lock = site.path("lock");
    let text = args(&format!("mkdir {0} && sleep 0.1 && rmdir {0}", lock.display()));
    assert_eq!(counts(&script("*", &text, &["--at-once", "1"])), ok(3));

    let mixed = args("test $AGENT_NID -ne 2");
    let id = submit(&site, &script("*", &mixed, &[]));
    let ran = site.drover(&["job", "wait", &id]);
    assert_eq!(
        (ran.status, ran.stdout.contains("ERROR (2 ok, 1 error)")),
        (Some(1), true),
        "{ran:?}"
    );
    let failed = site.drover(&["job", "show", &id, "--state", "error"]).ok();
    assert!(failed.contains("exit status 1") && failed.contains("b "), "{failed}");
    assert_eq!(ended(&site, submit_retry(&site, &id).trim()).counts.total(), 1);
}

fn submit_retry(site: &Site, id: &str) -> String {
    site.drover(&["job", "retry", id]).ok()
}

#[test]
fn where_no_node_matches_those_are_told_that_nearly_do() {
    let site = site();
    let _a = agent(&site, 1, "a", "labels = [\"web\"]");
    let error = site.drover(&["job", "submit", "web and eu", "agent.ping"]).failed(4);
    assert!(error.contains("no node matches `web and eu`") && error.contains("a (1.1)"), "{error}");
    let error = site.drover(&["job", "show", "nonsense"]).failed(4);
    assert!(error.contains("no submission and no job nonsense"), "{error}");
}

#[test]
fn the_same_submission_twice_is_done_once() {
    let site = site();
    let _a = agent(&site, 1, "a", "");
    let text = args(&format!("echo ran >> {}", site.path("ran").display()));
    let again = || -> JobSubmitted {
        let line = script("*", &text, &["--id", "nightly", "--json"]);
        serde_json::from_str(&submit(&site, &line)).unwrap()
    };
    assert!(!again().is_old);
    assert!(again().is_old);
    assert_eq!(ended(&site, "nightly").state, JobState::Ok);
    assert!(again().is_old);
    assert_eq!(fs::read_to_string(site.path("ran")).unwrap(), "ran\n");

    let other = site.drover(&["job", "submit", "*", "agent.ping", "--id", "nightly"]).failed(1);
    assert!(other.contains("something else was submitted with the id nightly"), "{other}");
}

#[test]
fn what_fails_is_tried_again_as_often_as_it_may() {
    let site = site();
    let _a = agent(&site, 1, "a", "");
    let tries = site.path("tries");
    let text = args(&format!("echo >> {0}; test $(wc -l < {0}) -ge 3", tries.display()));
    let id = submit(&site, &script("*", &text, &["--attempts", "5", "--retry-wait", "10ms"]));
    assert_eq!(ended(&site, &id).state, JobState::Ok);
    let detail = shown(&site, &id);
    assert_eq!(detail.jobs[0].attempt, 3);
    assert_eq!(fs::read_to_string(&tries).unwrap().lines().count(), 3);
}

#[test]
fn deadlines_and_kills_end_what_has_not_started_and_what_runs() {
    let site = site();
    kill(&site, agent(&site, 1, "a", ""));
    let late = submit(&site, &["*", "agent.ping", "--start-within", "100ms"]);
    assert_eq!(site.drover(&["job", "wait", &late]).status, Some(124));
    let killed = submit(&site, &["*", "agent.ping"]);
    assert_eq!(site.drover(&["job", "kill", &killed]).ok(), "1 ended\n");
    assert_eq!(ended(&site, &killed).state, JobState::Killed);

    let _a = agent(&site, 1, "a", "");
    let file = site.path("runs");
    let text = args(&format!("touch {}; sleep 1000", file.display()));
    let running = submit(&site, &script("*", &text, &[]));
    wait_for("the job to run", || if file.exists() { Ok(()) } else { Err("not yet") });
    assert!(site.drover(&["job", "kill", &running]).ok().contains("1 to be ended"));
    assert_eq!(ended(&site, &running).state, JobState::Killed);
    let slow = submit(&site, &script("*", &text, &["--end-within", "300ms"]));
    assert_eq!(ended(&site, &slow).state, JobState::Timeout);
}

#[test]
fn ctrl_c_ends_the_waiting_and_not_the_job() {
    let site = site();
    let _a = agent(&site, 1, "a", "");
    let (began, go) = (site.path("began"), site.path("go"));
    let text =
        format!("touch {}; while [ ! -e {} ]; do sleep 0.02; done", began.display(), go.display());
    let text = args(&text);
    let line = [&["job", "submit", "--id", "mine", "--wait"], &script("*", &text, &[])[..]];
    let mut waiting = site.start_drover(&line.concat());
    wait_for("the job to begin", || if began.exists() { Ok(()) } else { Err("not yet") });
    waiting.signal(Signal::SIGINT);
    assert_eq!(waiting.wait().code(), Some(130), "{}", waiting.log());
    assert!(waiting.log().contains("`drover job wait mine` waits again"), "{}", waiting.log());
    fs::write(&go, "").unwrap();
    assert_eq!(ended(&site, "mine").state, JobState::Ok);
}

#[test]
fn a_job_that_its_agent_died_on_is_interrupted_and_not_run_again_by_itself() {
    let site = site();
    let a = agent(&site, 1, "a", "");
    let file = site.path("ran");
    let text = args(&format!("echo ran >> {}; sleep 1000", file.display()));
    let id = submit(&site, &script("*", &text, &[]));
    wait_for("the job to run", || fs::read_to_string(&file));
    kill(&site, a);
    let _a = agent(&site, 1, "a", "");
    assert_eq!(ended(&site, &id).state, JobState::Error);
    let result = site.drover(&["job", "result", &id]).failed(1);
    assert!(result.contains("(interrupted)"), "{result}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "ran\n");
}

/// Where a submission was done, and all that became of its only job.
fn history(site: &Site, id: &str) -> (String, String) {
    let detail = shown(site, id);
    let told = detail.jobs[0].transitions.iter().map(|step| step.reason.clone() + "\n");
    (detail.jobs[0].node.to_string(), told.collect())
}

#[test]
fn what_is_for_any_node_is_done_by_another_when_its_own_is_killed_and_stays_away() {
    let mut site = site();
    kill(&site, agent(&site, 1, "a", ""));
    let file = site.path("ran");
    let text = args(&format!("echo $AGENT_NID >> {}", file.display()));
    let id = submit(&site, &script("*", &text, &["--any", "1"]));
    assert_eq!(history(&site, &id).0, "1.1");
    site.controller.take().unwrap().signal(Signal::SIGKILL);
    site.start_controller();

    let _b = agent(&site, 2, "b", "");
    let waited = site.drover(&["job", "wait", &format!("{id}:1.1")]).ok();
    assert!(waited.contains("OK (1 ok)"), "{waited}");
    let shown = site.drover(&["job", "show", &id, "--history"]).ok();
    let moved = "node 1.1 is away and was not given the job: it goes to node 1.2";
    assert!(shown.contains(moved), "{shown}");
    assert_eq!(history(&site, &id).0, "1.2");

    // The one that comes back takes up nothing of it.
    let _a = agent(&site, 1, "a", "");
    assert_eq!(ended(&site, &submit(&site, &["name=a", "agent.ping"])).state, JobState::Ok);
    assert_eq!(fs::read_to_string(&file).unwrap(), "2\n");
}

#[test]
fn what_a_killed_node_was_given_stays_with_it_and_says_why() {
    let site = site();
    let (a, _b) = (agent(&site, 1, "a", ""), agent(&site, 2, "b", ""));
    let file = site.path("ran");
    let text = args(&format!("echo $AGENT_NID >> {}; sleep 1000", file.display()));
    let id = submit(&site, &script("*", &text, &["--any", "1"]));
    wait_for("the job to run", || fs::read_to_string(&file));
    wait_for("the controller to know", || match shown(&site, &id).submission.state {
        JobState::Running => Ok(()),
        other => Err(other),
    });
    kill(&site, a);
    wait_for("the history to tell", || {
        let (node, told) = history(&site, &id);
        let why = "node 1.1 is away, and the job stays with it: it has begun there";
        if node == "1.1" && told.contains(why) { Ok(()) } else { Err((node, told)) }
    });
    let _a = agent(&site, 1, "a", "");
    assert_eq!(ended(&site, &id).state, JobState::Error);
    assert_eq!(fs::read_to_string(&file).unwrap(), "1\n");
}

#[test]
fn a_full_queue_refuses_and_says_when_to_come_again() {
    let config = "[jobs]\nmax_queued_per_node = 4\nmax_queued = 100\n";
    let site = Site::start_with(crate::DROVER, config);
    kill(&site, agent(&site, 1, "a", ""));
    // Each call is a session of its own, and so another submitter.
    for _ in 0..4 {
        submit(&site, &["*", "agent.ping"]);
    }
    let error = site.drover(&["job", "submit", "*", "agent.ping"]).failed(1);
    assert!(error.contains("wait for node 1.1") && error.contains("try again in"), "{error}");
}

#[test]
fn what_jobs_said_is_shown_and_their_results_are_kept_as_long_as_was_asked() {
    let site = site();
    let _agents = [agent(&site, 1, "a", ""), agent(&site, 2, "b", "")];
    let text = args("echo said by $AGENT_NID");
    let id = submit(&site, &script("grid=1 and name=*", &text, &[]));
    assert_eq!(ended(&site, &id).counts.ok, 2);
    let said = site.drover(&["job", "logs", &id]).ok();
    for (node, text) in [("a ", "said by 1"), ("b ", "said by 2")] {
        let line = said.lines().find(|line| line.starts_with(node));
        assert!(line.is_some_and(|line| line.contains(text)), "{said}");
    }
    let one = site.drover(&["job", "logs", &format!("{id}:1.2")]).ok();
    assert!(one.contains("said by 2") && !one.contains("said by 1"), "{one}");

    let brief = submit(&site, &script("grid=1", &text, &["--keep", "1ms", "--id", "brief"]));
    wait_for("the end of what is kept", || {
        let shown = site.drover(&["job", "show", &brief, "--json"]);
        if shown.status == Some(4) { Ok(()) } else { Err(shown) }
    });
    assert!(site.drover(&["job", "list"]).ok().contains(&id));
}
