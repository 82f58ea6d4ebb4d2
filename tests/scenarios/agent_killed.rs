//! The real agent is killed with -9 at random moments under load, fifty times, and
//! started again each time.
//!
//! The moments and the load come from a seed, which is printed; the environment
//! variable `DROVER_TEST_SEED` sets it.

#![expect(clippy::print_stdout, reason = "the seed and what was seen, for a failure")]

mod load;
mod numbers;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::time::Duration;

use drover_api::{JobId, Level};
use drover_logs::store::{Filter, StoredRecord};
use drover_tests::{Agent, Site, records_in, wait_for};
use drover_wamp::Client;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::site;
use crate::wamp_callers::{bare, join};
use load::{Load, Service};

const KILLS: u32 = 50;

const CONFIG: &str =
    "[logs]\nforward = \"7\"\nforward_interval = \"20ms\"\nforward_records = 200\n";

#[tokio::test]
async fn whenever_the_agent_is_killed_nothing_is_orphaned_doubled_or_lost_beyond_the_window() {
    let seed = seed();
    println!("seed {seed}");
    let rng = RefCell::new(StdRng::seed_from_u64(seed));
    let site = site();
    let client = join(&site).await;
    let load = Load::new(&client, &rng, site.path("work"));
    let mut agent = site.start_agent(1, "a", CONFIG);
    load.begin().await;
    for _ in 0..KILLS {
        tokio::select! {
            () = load.work() => {}
            () = moment(&rng, &load) => {}
        }
        agent.process.signal(Signal::SIGKILL);
        agent.process.wait();
        load.agent_is_gone();
        agent = site.start_agent(1, "a", CONFIG);
    }
    load.until_answered().await;

    what_is_listed_is_what_runs(&client, &load).await;
    everything_ends(&client, &load, &mut agent).await;
    everything_forwarded_arrives(&site, &client, &load).await;
    stop(site, agent, |site| {
        logs_are_whole(&load, site);
        nothing_overlapped_or_ran_twice(&load);
    });
}

fn seed() -> u64 {
    match std::env::var("DROVER_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => rand::random(),
    }
}

/// A moment in the life of an agent: while it starts, or while it works.
async fn moment(rng: &RefCell<StdRng>, load: &Load<'_>) {
    let is_early = rng.borrow_mut().random_bool(0.3);
    if !is_early {
        load.until_answered().await;
    }
    let wait = rng.borrow_mut().random_range(0..500);
    tokio::time::sleep(Duration::from_millis(wait)).await;
}

/// The processes of each job, as the machine sees them.
fn processes(of: &BTreeSet<JobId>) -> BTreeMap<JobId, Vec<String>> {
    let mut found: BTreeMap<JobId, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        let mut variables = environment.split(|byte| *byte == 0);
        let mark = variables.find_map(|variable| variable.strip_prefix(b"DROVER_PROCESS="));
        let id = mark.and_then(|mark| String::from_utf8_lossy(mark).parse().ok());
        if let Some(id) = id.filter(|id| of.contains(id)) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.entry(id).or_default().push(String::from_utf8_lossy(&command).into_owned());
        }
    }
    found
}

/// Waits until what the last agent lists, what was answered, and what the machine
/// shows are the same.
async fn what_is_listed_is_what_runs(client: &Client, load: &Load<'_>) {
    let mut reason = String::new();
    let settled = async {
        loop {
            match judge(client, load).await {
                Ok(()) => return,
                Err(why) => reason = why,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), settled).await.is_ok();
    assert!(in_time, "{reason}");
}

async fn judge(client: &Client, load: &Load<'_>) -> Result<(), String> {
    let listed = bare(client, "process.list", json!({})).await;
    let mut phases: BTreeMap<JobId, &str> = BTreeMap::new();
    for job in listed.as_array().unwrap() {
        let id: JobId = job["id"].as_str().unwrap().parse().unwrap();
        if phases.insert(id.clone(), job["phase"].as_str().unwrap()).is_some() {
            return Err(format!("job {id} is listed twice: {listed}"));
        }
    }
    let processes = processes(&load.known().everything);
    let services = &load.known().services;
    for (id, service) in services {
        let (phase, count) = (phases.get(id).copied(), processes.get(id).map_or(0, Vec::len));
        match service {
            Service::Accepted if (phase, count) != (Some("running"), 1) => {
                return Err(format!("service {id} is {phase:?}, with {count} processes"));
            }
            Service::Killed if (phase, count) != (None, 0) => {
                return Err(format!("{id} was killed and is {phase:?}, with {count} processes"));
            }
            _ => {}
        }
    }
    let counting = &load.known().counting;
    let remembered = |id: &JobId| services.contains_key(id) || counting.contains(id);
    match phases
        .keys()
        .chain(processes.keys())
        .find(|id| !remembered(id) && load.known().recurring.as_ref() != Some(id))
    {
        Some(id) => Err(format!(
            "{id} has outlived its agent: {:?}, {:?}",
            phases.get(id),
            processes.get(id)
        )),
        None => Ok(()),
    }
}

/// Kills all that runs; nothing is left, neither then nor after the agent's end.
async fn everything_ends(client: &Client, load: &Load<'_>, agent: &mut Agent) {
    let listed = bare(client, "process.list", json!({})).await;
    for job in listed.as_array().unwrap() {
        let killed = bare(client, "process.kill", json!({ "id": job["id"] })).await;
        assert_eq!(killed["left"], json!([]), "{killed}");
    }
    assert_eq!(bare(client, "process.list", json!({})).await, json!([]));
    assert_eq!(processes(&load.known().everything), BTreeMap::new(), "left behind");
    assert!(!agent.process.log().contains("panicked"), "{}", agent.process.log());
}

/// Waits until the controller has the last line that is to be forwarded.
async fn everything_forwarded_arrives(site: &Site, client: &Client, load: &Load<'_>) {
    let last = json!({ "job": load.known().counting[1], "levels": 7, "limit": 1 });
    let own = bare(client, "log.query", last).await;
    let text = own["records"][0]["data"].as_str().unwrap();
    let id = load.known().counting[1].to_string();
    wait_for("the last line at the controller", || {
        let shown = site.drover(&["logs", "--job", &id, "--limit", "1", "--json"]).ok();
        if shown.contains(text) { Ok(()) } else { Err((text.to_owned(), shown)) }
    });
}

/// Ends the site in order and looks at what it leaves.
fn stop(mut site: Site, mut agent: Agent, look: impl FnOnce(&Site)) {
    agent.process.signal(Signal::SIGTERM);
    assert!(agent.process.wait().success(), "{}", agent.process.log());
    let mut controller = site.controller.take().unwrap();
    controller.signal(Signal::SIGTERM);
    assert!(controller.wait().success(), "{}", controller.log());
    let socket = site.path("a/run/keeper.sock");
    wait_for("the end of the keeper", || if socket.exists() { Err(()) } else { Ok(()) });
    look(&site);
}

fn logs_are_whole(load: &Load<'_>, site: &Site) {
    let own = |filter: &Filter| records_in(&site.path("a/logs"), filter);
    let mut acknowledged = load.known().acknowledged.clone();
    for (job, prefix) in load.known().counting.iter().zip(load::PREFIXES) {
        let records = own(&Filter { job: Some(job.clone()), ..Filter::default() });
        let texts: Vec<_> = records.iter().map(|record| record.text().into_owned()).collect();
        let lost = numbers::check(prefix, &texts, KILLS);
        println!("{job}: {} records, {lost:?}", records.len());
        for record in &records {
            acknowledged.remove(&(record.id.0, record.text().into_owned()));
        }
    }
    assert_eq!(acknowledged, BTreeSet::new(), "what a query has shown is lost");

    // What the controller has is what the node has, each record once.
    let own = own(&Filter { levels: "7".parse().unwrap(), ..Filter::default() });
    let sent = records_in(&site.path("controller/logs"), &Filter::default());
    let places: HashSet<_> = sent.iter().map(|record| record.sent.unwrap().place).collect();
    assert_eq!(places.len(), sent.len(), "the controller has records twice");
    assert!(sent.iter().all(|record| record.level == Level::WARNING));
    let shown = |records: &[StoredRecord]| -> Vec<(JobId, String)> {
        let all =
            records.iter().filter(|record| !record.source.job.as_str().starts_with("drover."));
        all.map(|record| (record.source.job.clone(), record.text().into_owned())).collect()
    };
    let (own, sent) = (shown(&own), shown(&sent));
    let differs = own.iter().zip(&sent).position(|(own, sent)| own != sent);
    assert_eq!((differs, own.len()), (None, sent.len()), "the controller's log is another");
}

fn nothing_overlapped_or_ran_twice(load: &Load<'_>) {
    let lines =
        |name: &str| fs::read_to_string(load.dir().join(name)).unwrap_or_default().lines().count();
    assert_eq!(lines("overlaps"), 0, "jobs of one queue, or of one period, ran side by side");
    let known = load.known();
    for (id, is_answered) in &known.short {
        let times = usize::from(*is_answered)..=1;
        let ran = lines(&format!("ran-{id}"));
        assert!(times.contains(&ran), "{id} ran {ran} times");
    }
    for id in known.adopted.iter().chain(&known.counting) {
        let ran = lines(&format!("ran-{id}"));
        let times = match known.services.get(id) {
            None | Some(Service::Accepted) => 1..=1,
            Some(Service::Asked | Service::Killed) => 0..=1,
            // A kill that was not answered may have ended a run that then began again.
            Some(Service::Killing) => 0..=2,
        };
        assert!(times.contains(&ran), "{id} was started {ran} times");
    }
    let answered = known.short.values().filter(|is_answered| **is_answered).count();
    println!(
        "{answered} of {} short jobs answered, {} services, {} occurrences, {} lines queried",
        known.short.len(),
        known.services.len(),
        lines("ticks"),
        known.acknowledged.len()
    );
    assert!(answered > 0 && lines("ticks") > 0 && !known.adopted.is_empty(), "too light a load");
}
