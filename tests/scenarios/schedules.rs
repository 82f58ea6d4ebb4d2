//! The controller submits again and again, by the clock.

use drover_api::{JobState, Presence, ScheduleStatus, Submission, SubmissionDetail};
use drover_tests::{Agent, Site, wait_for};
use nix::sys::signal::Signal;
use rusqlite::Connection;
use serde_json::Value;

use crate::{DROVER, site};

/// Nodes of a test are back sooner than others.
const WAIT: &str = "[jobs]\nschedules_wait = \"2s\"\n";

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
    let mut site = Site::start_with(DROVER, WAIT);
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

fn agent(site: &Site, nid: u32, name: &str) -> Agent {
    let agent = site.start_agent(nid, name, "");
    site.wait_until(name, Presence::Present);
    agent
}

/// Has every schedule that a controller has written down be so much older: as if the
/// controller had been off for so long.
fn make_older(site: &Site, ms: u64) {
    let store = Connection::open(site.path("controller/jobs/jobs.db")).unwrap();
    let mut query = store.prepare("SELECT name, schedule FROM schedules").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let rows: Vec<(String, String)> = rows.collect::<Result<_, _>>().unwrap();
    for (name, text) in rows {
        let mut kept: Value = serde_json::from_str(&text).unwrap();
        for time in ["added", "done_until"] {
            kept[time] = (kept[time].as_u64().unwrap() - ms).into();
        }
        let sql = "UPDATE schedules SET schedule = ? WHERE name = ?";
        store.execute(sql, [kept.to_string(), name]).unwrap();
    }
}

#[test]
fn times_that_were_missed_are_made_up_for_when_the_nodes_are_back() {
    let mut site = Site::start_with(DROVER, WAIT);
    let _a = agent(&site, 1, "a");
    // By name, in which order they are looked at.
    for (name, missed) in [("a-skip", "skip"), ("b-once", "once"), ("c-all", "all")] {
        let line = ["add", name, "*", "agent.ping", "--every", "10m", "--missed", missed];
        status(&site, &[&line[..], &["--overlap", "allow"]].concat());
    }
    let mut controller = site.controller.take().unwrap();
    controller.signal(Signal::SIGKILL);
    controller.wait();
    make_older(&site, 65 * 60_000);
    site.start_controller();

    let all = wait_for_submissions(&site, "c-all", 6);
    let once = wait_for_submissions(&site, "b-once", 1);
    assert_eq!((all.len(), once.len(), submitted(&site, "a-skip").len()), (6, 1, 0));
    assert!(all.iter().chain(&once).all(|one| one.counts.ok == 1), "{all:?} {once:?}");
    let last = status(&site, &["show", "b-once"]).last.unwrap();
    assert_eq!(once[0].id.as_str(), format!("schedule.b-once.{}", last.time.0));
    assert!(status(&site, &["show", "a-skip"]).last.is_none());

    // What was made up for is so for good.
    let mut controller = site.controller.take().unwrap();
    controller.signal(Signal::SIGKILL);
    controller.wait();
    site.start_controller();
    site.wait_until("a", Presence::Present);
    status(&site, &["add", "later", "*", "agent.ping", "--every", "1s"]);
    wait_for_submissions(&site, "later", 4);
    assert_eq!((submitted(&site, "c-all").len(), submitted(&site, "b-once").len()), (6, 1));
}

#[test]
fn each_node_starts_at_its_own_place_in_the_spread() {
    // In three seconds, by the node's id.
    const PLACES: [(u32, u64); 3] = [(1, 2713), (4, 1403), (6, 301)];
    let site = site();
    let _agents = PLACES.map(|(nid, _)| agent(&site, nid, &format!("n{nid}")));
    let line = ["add", "wide", "*", "agent.ping", "--every", "1s", "--spread", "3s"];
    status(&site, &[&line[..], &["--overlap", "allow"]].concat());
    wait_for("two submissions that have ended", || {
        let ended = submitted(&site, "wide").iter().filter(|one| one.ended.is_some()).count();
        if ended >= 2 { Ok(()) } else { Err(ended) }
    });
    status(&site, &["remove", "wide"]);
    for submission in wait_for_submissions(&site, "wide", 2) {
        let shown = site.drover(&["job", "show", submission.id.as_str(), "--json"]).ok();
        let shown: SubmissionDetail = serde_json::from_str(&shown).unwrap();
        for ((nid, place), job) in PLACES.iter().zip(&shown.jobs) {
            let mut steps = job.transitions.iter();
            let begun = steps.find(|step| step.state == JobState::Running).unwrap();
            assert_eq!(job.node.nid.0, *nid);
            assert!(begun.time.0 >= submission.time.0 + place, "{job:?}");
        }
    }
}

#[test]
fn a_submission_may_run_beside_the_last_or_take_its_place() {
    let site = site();
    let _a = agent(&site, 1, "a");
    let add = |name: &str, overlap: &str| {
        let line = ["add", name, "*", "process.execute", "cmd=/bin/sleep", "args=[\"1000\"]"];
        status(&site, &[&line[..], &["--every", "1s", "--overlap", overlap]].concat());
    };
    let in_state = |name: &str, state: JobState| {
        submitted(&site, name).iter().filter(|one| one.state == state).count()
    };
    add("beside", "allow");
    wait_for("three at a time", || match in_state("beside", JobState::Running) {
        3.. => Ok(()),
        other => Err(other),
    });
    status(&site, &["remove", "beside"]);

    add("instead", "replace");
    wait_for("two that were replaced", || match in_state("instead", JobState::Killed) {
        2.. => Ok(()),
        other => Err(other),
    });
    status(&site, &["pause", "instead"]);
    // All but the last are ended, by whom everybody can see.
    let all = wait_for("one that is left", || {
        let all = submitted(&site, "instead");
        let left = all.iter().filter(|one| one.ended.is_none()).count();
        if left == 1 { Ok(all) } else { Err(all) }
    });
    assert!(all[0].ended.is_none() && all.len() >= 3, "{all:?}");
    let told = site.drover(&["job", "show", all[1].id.as_str(), "--history"]).ok();
    assert!(told.contains("schedule instead end"), "{told}");
}

#[test]
fn a_paused_schedule_submits_nothing_and_makes_up_for_nothing() {
    let site = site();
    let _a = agent(&site, 1, "a");
    let add = |name: &str| {
        let line = ["add", name, "*", "agent.ping", "--every", "1s", "--missed", "all"];
        status(&site, &[&line[..], &["--overlap", "allow"]].concat());
    };
    add("paused");
    wait_for_submissions(&site, "paused", 1);
    status(&site, &["pause", "paused"]);
    let before = submitted(&site, "paused").len();
    // By another one's clock.
    add("clock");
    wait_for_submissions(&site, "clock", 3);
    assert_eq!(submitted(&site, "paused").len(), before);
    let next = status(&site, &["resume", "paused"]).next[0];
    let all = wait_for_submissions(&site, "paused", before + 1);
    // The next one was the one that was told, and none of those before.
    let first = &all[all.len() - before - 1];
    assert_eq!(first.id.as_str(), format!("schedule.paused.{}", next.0));
}

#[test]
fn the_next_times_are_those_of_the_clock_in_the_time_zone() {
    let site = site();
    let _a = agent(&site, 1, "a");
    let line = ["add", "nightly", "*", "agent.ping", "--cron", "30 4 * * *"];
    let added = status(&site, &[&line[..], &["--timezone", "Asia/Kathmandu"]].concat());
    // 4:30 there is 22:45 in Greenwich, all year.
    let day = 24 * 3_600_000;
    let in_the_day: Vec<_> = added.next.iter().map(|time| time.0 % day).collect();
    assert_eq!(in_the_day, [(22 * 60 + 45) * 60_000; 3]);
    assert!(added.next.windows(2).all(|two| two[1].0 - two[0].0 == day), "{:?}", added.next);
    let shown = site.drover(&["schedule", "show", "nightly"]).ok();
    assert!(shown.contains("30 4 * * * (Asia/Kathmandu)"), "{shown}");
    assert!(shown.contains("T22:45:00Z"), "{shown}");
}
