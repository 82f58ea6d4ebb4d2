//! The disk with the durable jobs of a controller or of a node is full, and has room
//! again: who cannot be served is told what to do, and nothing that was taken is lost or
//! done twice.

use std::fs;
use std::path::Path;

use drover_api::{ErrorCode, JobState, Presence, Submission};
use drover_tests::{Agent, Process, Site, SmallDisk, http, wait_for};
use drover_wamp::Client;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::fairness::kit::{Gates, Submitter, told_to_wait};
use crate::wamp_callers::{bare, join};
use crate::{DROVER, site};

/// A site whose controller has all that it keeps on a small disk.
fn site_with_small_disk() -> (Site, SmallDisk) {
    let mut site = site();
    kill(site.controller.take().unwrap());
    let disk = SmallDisk::mount(site.path("controller"), "64m");
    site.start_controller();
    (site, disk)
}

/// Ends a program as a crash would.
fn kill(mut program: Process) {
    program.signal(Signal::SIGKILL);
    program.wait();
}

fn agent(site: &Site, config: &str) -> Agent {
    let agent = site.start_agent(1, "a", config);
    site.wait_until("a", Presence::Present);
    agent
}

/// A script that leaves a trace of each time it runs.
fn trace(site: &Site, name: &str) -> String {
    format!("echo {name} >> {}", site.path("traces").display())
}

/// What has run, each as often as it has.
fn traces(site: &Site) -> Vec<String> {
    let traces = fs::read_to_string(site.path("traces")).unwrap_or_default();
    let mut traces: Vec<_> = traces.lines().map(str::to_owned).collect();
    traces.sort();
    traces
}

/// Waits until nothing runs on the node.
async fn wait_until_idle(client: &Client) {
    let mut running = Value::Null;
    for _ in 0..3000 {
        running = bare(client, "job.list", json!({})).await;
        if running == json!([]) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("something still runs: {running}");
}

fn wait_for_metric(site: &Site, sample: &str) {
    let address = site.url.trim_start_matches("ws://").trim_end_matches("/ws");
    wait_for(sample, || {
        let page = http(address, "GET /metrics", "", "").body;
        if page.contains(sample) { Ok(()) } else { Err(page) }
    });
}

/// The ids of what has ended so, sorted.
fn ids(all: &[Submission], state: JobState) -> Vec<&str> {
    let mut ids: Vec<_> =
        all.iter().filter(|one| one.state == state).map(|one| one.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_on_a_full_disk_refuses_with_the_cure_and_goes_on_when_there_is_room() {
    let (site, disk) = site_with_small_disk();
    let _a = agent(&site, "");
    let gates = Gates::new(&site);
    let ada = Submitter::join(&site).await;
    ada.submit("runs", "*", &gates.script("runs")).await.unwrap();
    gates.wait_until_begun(1);
    disk.fill();

    let mut taken = Vec::new();
    let (open, error) = loop {
        let id = format!("s{}", taken.len());
        match ada.submit(&id, "*", &trace(&site, &id)).await {
            Ok(_) => taken.push(id),
            Err(error) => break (id, error),
        }
    };
    let dir = site.path("controller/jobs");
    let where_to = format!("cannot write jobs down in {}", dir.display());
    assert!(error.message.contains(&where_to) && error.message.contains("is full"), "{error}");
    // It may have been on its way, or the disk was full before, of a job that ended.
    let either = ["this was not taken".to_owned(), format!("`--id {open}`")];
    assert!(either.iter().any(|one| error.message.contains(one)), "{error}");
    assert!(told_to_wait(&error) > 0);
    let error = ada.submit("later", "*", &trace(&site, "later")).await.unwrap_err();
    assert!(error.message.contains("this was not taken"), "{error}");

    block_in_place(|| wait_for_metric(&site, "drover_jobs_writable 0\n"));

    // It looks on, says what people want to know, and ends what runs.
    let client = join(&site).await;
    assert_eq!(bare(&client, "agent.ping", json!({})).await, "pong");
    block_in_place(|| {
        assert!(site.drover(&["job", "list"]).ok().contains("runs"));
        let add = ["schedule", "add", "s", "*", "agent.ping", "--every", "1h"];
        let refused = site.drover(&add).failed(1);
        assert!(
            refused.contains(&where_to) && refused.contains("nothing was changed"),
            "{refused}"
        );
        let told = site.drover(&["job", "kill", "runs"]).failed(1);
        assert!(told.contains("1 jobs that are with their nodes are ended there"), "{told}");
    });
    wait_until_idle(&client).await;
    assert_eq!(traces(&site), taken, "what was refused has run");

    disk.free();
    for id in [open.as_str(), "later"] {
        ada.submit_until_taken(id, "*", &trace(&site, id)).await;
    }
    block_in_place(|| wait_for_metric(&site, "drover_jobs_writable 1\n"));
    let all = ada.all_ended().await;
    assert_eq!(ids(&all, JobState::Killed), ["runs"]);
    taken.extend([open, "later".to_owned()]);
    taken.sort();
    assert_eq!(ids(&all, JobState::Ok), taken);
    assert_eq!(traces(&site), taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_dies_on_a_full_disk_has_what_it_took_when_there_is_room() {
    let (mut site, disk) = site_with_small_disk();
    kill(agent(&site, "").process);
    let ada = Submitter::join(&site).await;
    ada.submit("taken", "*", &trace(&site, "taken")).await.unwrap();
    disk.fill();
    let mut taken = vec!["taken".to_owned()];
    while ada.submit(&format!("s{}", taken.len()), "*", &trace(&site, "s")).await.is_ok() {
        taken.push("s".to_owned());
    }
    kill(site.controller.take().unwrap());
    let config = site.path("controller.toml");
    // One that starts meanwhile says why it cannot.
    let line = ["controller", "--config", config.to_str().unwrap()];
    let mut controller = Process::start(Path::new(DROVER), &line);
    assert!(!block_in_place(|| controller.wait()).success());
    let log = controller.log();
    assert!(log.contains("No space left") || log.contains("is full"), "{log}");
    disk.free();
    block_in_place(|| site.start_controller());
    let _a = agent(&site, "");
    let ada = Submitter::join(&site).await;
    let all = ada.all_ended().await;
    assert_eq!(ids(&all, JobState::Ok).len(), all.len(), "{all:?}");
    assert!(all.len() >= taken.len());
    taken.sort();
    assert_eq!(traces(&site)[..], taken[..]);
}

/// A site whose node `a` has all that it keeps on a small disk.
fn site_with_small_node(config: &str) -> (Site, SmallDisk, Agent) {
    let site = site();
    let disk = SmallDisk::mount(site.path("a"), "64m");
    let agent = agent(&site, config);
    (site, disk, agent)
}

fn wait_for_trouble(site: &Site) {
    block_in_place(|| {
        let node = site.wait_for_node("a", |node| {
            let trouble = node.description.trouble.as_deref().unwrap_or_default();
            node.presence == Presence::Present && trouble.contains("durable jobs cannot be written")
        });
        let trouble = node.description.trouble.unwrap();
        let cure = format!("{}", site.path("a").display());
        assert!(trouble.contains(&cure) && trouble.contains("make room"), "{trouble}");
    });
}

fn wait_until_well(site: &Site) {
    block_in_place(|| site.wait_for_node("a", |node| node.description.trouble.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_a_full_disk_takes_no_jobs_and_does_them_once_when_there_is_room() {
    let config = "[jobs]\nat_once = 1\n";
    let (site, disk, agent) = site_with_small_node(config);
    let gates = Gates::new(&site);
    let ada = Submitter::join(&site).await;
    let client = join(&site).await;
    ada.submit("runs", "*", &gates.script("runs")).await.unwrap();
    ada.submit("waits", "*", &trace(&site, "waits")).await.unwrap();
    gates.wait_until_begun(1);
    disk.fill();
    for number in 0..10 {
        let id = format!("s{number}");
        ada.submit(&id, "*", &trace(&site, &id)).await.unwrap();
    }
    wait_for_trouble(&site);

    // It does what needs no disk: it answers, and ends what runs.
    assert_eq!(bare(&client, "agent.ping", json!({})).await, "pong");
    block_in_place(|| {
        assert!(site.drover(&["job", "kill", "runs"]).ok().contains("1 to be ended"));
    });
    wait_until_idle(&client).await;
    assert!(traces(&site).is_empty(), "something has run that is not written down");

    disk.free();
    let all = ada.all_ended().await;
    assert_eq!(ids(&all, JobState::Killed), ["runs"]);
    assert_eq!(ids(&all, JobState::Ok), traces(&site));
    assert_eq!(all.len(), 12);
    wait_until_well(&site);

    // The same for an agent that starts on a full disk.
    disk.fill();
    kill(agent.process);
    ada.submit("late", "*", &trace(&site, "late")).await.unwrap();
    let _a = site.start_agent(1, "a", config);
    wait_for_trouble(&site);
    disk.free();
    assert_eq!(ada.ended("late").await.state, JobState::Ok);
    wait_until_well(&site);
    assert_eq!(traces(&site).iter().filter(|one| *one == "late").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_job_of_a_node_on_a_full_disk_is_done_when_there_is_room() {
    let (site, disk, agent) = site_with_small_node("");
    let ada = Submitter::join(&site).await;
    disk.fill();
    ada.submit("first", "*", &trace(&site, "first")).await.unwrap();
    wait_for_trouble(&site);
    assert!(agent.process.log().contains("the node takes no durable jobs"));
    disk.free();
    assert_eq!(ada.ended("first").await.state, JobState::Ok);
    wait_until_well(&site);
    assert_eq!(traces(&site), ["first"]);
    let error = ada.submit("first", "*", "other").await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DuplicateId);
}
