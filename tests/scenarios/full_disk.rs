//! The disk of an agent is full, and has room again.

use std::fs;
use std::path::Path;

use drover_api::{Command, JobState, Level, Presence};
use drover_logs::store::{Filter, StoredRecord};
use drover_tests::{Agent, Process, Site, SmallDisk, records_in, wait_for};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::wamp_callers::{bare, join, run};
use crate::{DROVER, site};

/// More than waits in memory when the disk takes nothing, and less than the disk.
const LINES: u64 = 120_000;

/// A site whose node `a` has all that it keeps on a small disk.
fn site_with_small_disk(config: &str) -> (Site, SmallDisk, Agent) {
    let site = site();
    let disk = SmallDisk::mount(site.path("a"), "64m");
    let agent = site.start_agent(1, "a", config);
    site.wait_until_ready("a", 0);
    (site, disk, agent)
}

/// A child that writes numbered lines as fast as it may, and then a file.
fn talker(done: &Path) -> Command {
    let script = format!(
        "seq -f '%06.0f and so on until the line has a hundred bytes, which is about as much as \
         lines of a log have' 1 {LINES}; touch {}",
        done.display()
    );
    shell(&script, json!({}))
}

fn shell(script: &str, more: Value) -> Command {
    let mut args = arguments(more);
    args.insert("cmd".into(), "/bin/sh".into());
    args.insert("args".into(), json!(["-c", script]));
    Command { args, ..Command::new("process.execute") }
}

fn arguments(args: Value) -> serde_json::Map<String, Value> {
    let Value::Object(args) = args else { panic!("arguments are an object") };
    args
}

fn wait_for_trouble(site: &Site) {
    site.wait_for_node("a", |node| {
        let trouble = node.description.trouble.as_deref().unwrap_or_default();
        node.presence == Presence::Present && trouble.contains("the log cannot be written")
    });
}

fn wait_until_well(site: &Site) {
    site.wait_for_node("a", |node| {
        node.presence == Presence::Present && node.description.trouble.is_none()
    });
}

/// Ends the agent and reads what it has left of a job, oldest first.
fn left_of(site: &Site, mut agent: Agent, job: &Command) -> Vec<StoredRecord> {
    agent.process.signal(Signal::SIGTERM);
    assert!(agent.process.wait().success(), "{}", agent.process.log());
    let filter = Filter { job: Some(job.id.clone()), ..Filter::default() };
    records_in(&site.path("a/logs"), &filter)
}

fn number(record: &StoredRecord) -> u64 {
    record.text()[..6].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn children_wait_while_the_disk_is_full_and_nothing_is_lost() {
    let (site, disk, agent) = site_with_small_disk("");
    let client = join(&site).await;
    disk.fill();
    let done = site.path("done");
    let talker = talker(&done);

    let talking = run(&client, &talker);
    let meanwhile = async {
        tokio::task::block_in_place(|| wait_for_trouble(&site));
        let shown = tokio::task::block_in_place(|| site.drover(&["nodes"]));
        let shown = shown.stdout + &shown.stderr;
        assert!(shown.contains("node a: the log cannot be written"), "{shown}");
        // The agent does what it is told; who talks too much waits.
        assert_eq!(bare(&client, "agent.ping", json!({})).await, "pong");
        let other = run(&client, &shell("echo other", json!({}))).await;
        assert_eq!((other.state, other.streams[0].as_str()), (JobState::Ok, "other\n"));
        assert!(!done.exists(), "the talker was not held back");
        disk.free();
    };
    let (talked, ()) = tokio::join!(talking, meanwhile);

    assert_eq!(talked.state, JobState::Ok, "{talked:?}");
    assert!(done.exists());
    tokio::task::block_in_place(|| wait_until_well(&site));
    let critical = site.drover(&["logs", "a", "--level", "9"]).ok();
    assert!(critical.contains("the log could not be written for"), "{critical}");
    let records = left_of(&site, agent, &talker);
    assert_eq!(records.iter().map(number).collect::<Vec<_>>(), (1..=LINES).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_do_not_wait_for_a_full_disk_have_their_gaps_counted() {
    let (site, disk, agent) = site_with_small_disk("[logs]\nwhen_full = \"count\"\n");
    let client = join(&site).await;
    disk.fill();
    let done = site.path("done");
    let talker = talker(&done);

    let talked = run(&client, &talker).await;

    assert_eq!(talked.state, JobState::Ok, "{talked:?}");
    assert!(done.exists());
    tokio::task::block_in_place(|| wait_for_trouble(&site));
    disk.free();
    tokio::task::block_in_place(|| wait_until_well(&site));
    let records = left_of(&site, agent, &talker);
    let (gaps, kept): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.is_gap);
    assert!(kept.is_sorted_by(|a, b| number(a) < number(b)));
    let missing: u64 = gaps.iter().map(|gap| counted(gap)).sum();
    assert_eq!(kept.len() as u64 + missing, LINES, "{gaps:?}");
    assert!(missing > 0 && gaps.iter().all(|gap| gap.level == Level::WARNING), "{gaps:?}");
}

/// How many records a gap stands for.
fn counted(gap: &StoredRecord) -> u64 {
    gap.text().split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_starts_on_a_full_disk_says_so_and_stores_when_there_is_room() {
    let (site, disk, mut agent) = site_with_small_disk("");
    let client = join(&site).await;
    let script = "while :; do echo beat; sleep 0.05; done";
    let beating = shell(script, json!({ "max_time": -1 }));
    let doomed = shell("sleep 1000", json!({ "max_time": -1 }));
    for command in [&beating, &doomed] {
        assert_eq!(run(&client, command).await.state, JobState::Ok);
    }
    tokio::task::block_in_place(|| wait_for_beat(&site, &beating));
    disk.fill();
    agent.process.signal(Signal::SIGKILL);
    agent.process.wait();

    let config = site.path("a/agent.toml");
    let line = ["agent", "--config", config.to_str().unwrap()];
    agent.process = Process::start(Path::new(DROVER), &line);
    agent.process.wait_for_log("the log cannot be written");
    tokio::task::block_in_place(|| wait_for_trouble(&site));

    // What it is to remember it must write down; what it has to do once, it does.
    let kill = Command::new("process.kill");
    let kill = Command { args: arguments(json!({ "id": doomed.id })), ..kill };
    let error = run(&client, &kill).await.error.unwrap();
    assert!(error.message.contains("has ended, but comes back"), "{error}");
    let refused = run(&client, &shell(script, json!({ "max_time": -1 }))).await;
    let error = refused.error.unwrap();
    assert!(refused.state == JobState::Error && error.message.contains("jobs.json"), "{error}");
    let listed = bare(&client, "process.list", json!({})).await;
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["id"], json!(beating.id), "the child of the earlier agent lives on");
    let once = shell("echo once", json!({}));
    assert_eq!(run(&client, &once).await.state, JobState::Ok);

    disk.free();
    tokio::task::block_in_place(|| wait_until_well(&site));
    tokio::task::block_in_place(|| wait_for_beat(&site, &beating));
    wait_for("the end of the killed job on disk", || {
        let remembered = fs::read_to_string(site.path("a/jobs.json")).unwrap();
        if remembered.contains(doomed.id.as_str()) { Err(remembered) } else { Ok(()) }
    });
    let accepted = run(&client, &shell(script, json!({ "max_time": -1 }))).await;
    assert_eq!(accepted.state, JobState::Ok, "{accepted:?}");
    let killed = bare(&client, "process.kill", json!({ "id": accepted.id })).await;
    assert_eq!(killed["left"], json!([]));
    let killed = bare(&client, "process.kill", json!({ "id": beating.id })).await;
    assert_eq!(killed["left"], json!([]));
    let records = left_of(&site, agent, &once);
    assert_eq!(records.len(), 1, "{records:?}");
    let remembered = fs::read_to_string(site.path("a/jobs.json")).unwrap();
    assert!(!remembered.contains(beating.id.as_str()), "{remembered}");
}

/// Waits for a record that a job has written just now.
fn wait_for_beat(site: &Site, job: &Command) {
    let newest = || {
        let shown = site.drover(&["logs", "a", "--job", job.id.as_str(), "--limit", "1", "--json"]);
        serde_json::from_str::<Value>(&shown.stdout)
            .map_or(Value::Null, |shown| shown["id"].clone())
    };
    let before = newest();
    wait_for("a record", || {
        let now = newest();
        if now == before { Err(now) } else { Ok(()) }
    });
}
