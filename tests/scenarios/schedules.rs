//! The controller submits again and again, by the clock.

use drover_api::{JobState, Presence, ScheduleStatus, Submission};
use drover_tests::{Site, wait_for};
use nix::sys::signal::Signal;

use crate::site;

fn status(site: &Site, arguments: &[&str]) -> ScheduleStatus {
    let line = [&["schedule"], arguments, &["--json"]].concat();
    serde_json::from_str(&site.drover(&line).ok()).unwrap()
}

fn submitted(site: &Site, name: &str) -> Vec<Submission> {
    let line = ["job", "list", "--schedule", name, "--json"];
    serde_json::from_str(&site.drover(&line).ok()).unwrap()
}

/// Waits until a schedule has submitted so often, and all has ended.
fn wait_for_submissions(site: &Site, name: &str, count: usize) -> Vec<Submission> {
    wait_for(&format!("{count} submissions of {name}"), || {
        let submitted = submitted(site, name);
        let have_ended = submitted.iter().all(|one| one.ended.is_some());
        if submitted.len() >= count && have_ended { Ok(submitted) } else { Err(submitted) }
    })
}

#[test]
fn a_schedule_submits_each_time_once_also_after_a_restart() {
    let mut site = site();
    let _a = site.start_agent(1, "a", "");
    site.wait_until("a", Presence::Present);
    let added = status(&site, &["add", "tick", "name=a", "agent.ping", "--every", "1s"]);
    assert_eq!(added.next.len(), 3);
    wait_for_submissions(&site, "tick", 2);

    site.controller.take().unwrap().signal(Signal::SIGKILL);
    site.start_controller();
    site.wait_until("a", Presence::Present);
    let before = submitted(&site, "tick").len();
    let all = wait_for_submissions(&site, "tick", before + 2);
    let mut ids: Vec<_> = all.iter().map(|one| one.id.clone()).collect();
    ids.dedup();
    assert_eq!(ids.len(), all.len());
    assert!(all.iter().all(|one| one.state == JobState::Ok), "{all:?}");

    let paused = status(&site, &["pause", "tick"]);
    assert!(paused.is_paused && paused.next.is_empty());
    assert!(site.drover(&["schedule", "list"]).ok().contains("PAUSED"));
    assert!(!status(&site, &["resume", "tick"]).next.is_empty());
    status(&site, &["remove", "tick"]);
    let error = site.drover(&["schedule", "show", "tick"]).failed(4);
    assert!(error.contains("there is no schedule `tick`"), "{error}");
}

#[test]
fn a_time_is_left_out_while_the_last_submission_has_not_ended() {
    let site = site();
    let _a = site.start_agent(1, "a", "");
    site.wait_until("a", Presence::Present);
    let slow = ["add", "slow", "name=a", "process.execute", "cmd=/bin/sleep", "args=[\"1000\"]"];
    status(&site, &[&slow[..], &["--every", "1s"]].concat());
    let last = wait_for("a time that is left out", || {
        let last = status(&site, &["show", "slow"]).last;
        last.clone().filter(|last| last.reason.is_some()).ok_or(last)
    });
    assert!(last.reason.unwrap().contains("had not ended"));
    assert_eq!(submitted(&site, "slow").len(), 1);
}

#[test]
fn a_schedule_that_says_no_time_is_refused_with_the_cure() {
    let site = site();
    let _a = site.start_agent(1, "a", "");
    site.wait_until("a", Presence::Present);
    let add = |more: &[&str]| {
        let line = ["schedule", "add", "s", "name=a", "agent.ping"];
        site.drover(&[&line[..], more].concat())
    };
    assert!(add(&["--cron", "61 * * * *"]).failed(5).contains("write five fields"));
    let zone = add(&["--cron", "0 4 * * *", "--timezone", "Mars/Olympus"]).failed(5);
    assert!(zone.contains("no time zone"), "{zone}");
    assert!(add(&["--every", "10ms"]).failed(5).contains("once a second at most"));
    let kept = status(&site, &["add", "s", "*", "agent.ping", "--cron", "30 4 * * *"]);
    assert_eq!(kept.schedule.cron.as_deref(), Some("30 4 * * *"));
}
