//! The real controller and agents are killed with -9 at random moments while jobs are
//! submitted, a hundred times all in all. Nothing that was accepted is lost, and
//! nothing is run twice.
//!
//! The moments come from a seed, which is printed; the environment variable
//! `DROVER_TEST_SEED` sets it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use drover_api::{
    Command, JobId, JobQuery, JobResults, JobState, JobSubmit, JobSubmitted, NodeId, Presence,
    Submission, job_on, procedures,
};
use drover_wamp::{CallError, CallOptions, ClientConfig, Link, LinkConfig};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::site;

const KILLS: u32 = 100;

/// Submissions under way at the same time.
const SUBMITTERS: u32 = 6;

/// Nodes, each of which does everything that is submitted.
const NODES: [(u32, &str); 2] = [(1, "a"), (2, "b")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_every_job_is_run_once_at_most_and_has_one_result() {
    let seed =
        std::env::var("DROVER_TEST_SEED").map_or_else(|_| rand::random(), |s| s.parse().unwrap());
    println!("seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let mut site = site();
    let mut agents = NODES.map(|(nid, name)| site.start_agent(nid, name, ""));
    for (_, name) in NODES {
        site.wait_until(name, Presence::Present);
    }
    let enough = CancellationToken::new();
    let link = Link::open(LinkConfig {
        first_wait: Duration::from_millis(10),
        longest_wait: Duration::from_millis(100),
        ..LinkConfig::new(ClientConfig::new(&site.url, procedures::REALM))
    });
    let link = link.unwrap();
    let mut submitters = JoinSet::new();
    for submitter in 0..SUBMITTERS {
        let (link, dir, enough) = (link.clone(), site.path("runs"), enough.clone());
        fs::create_dir_all(&dir).unwrap();
        submitters.spawn(async move { submit(&link, &dir, submitter, &enough).await });
    }

    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(chance.random_range(0..250))).await;
        match chance.random_range(0..10) {
            0..4 => {
                let mut controller = site.controller.take().unwrap();
                controller.signal(Signal::SIGKILL);
                controller.wait();
                tokio::task::block_in_place(|| site.start_controller());
            }
            which => {
                let place = which % NODES.len();
                let (nid, name) = NODES[place];
                agents[place].process.signal(Signal::SIGKILL);
                agents[place].process.wait();
                agents[place] = site.start_agent(nid, name, "");
            }
        }
    }
    enough.cancel();
    let mut accepted = Vec::new();
    while let Some(ended) = submitters.join_next().await {
        accepted.extend(ended.unwrap());
    }
    let seen = judge(&link, &site.path("runs"), &accepted).await;
    println!("{} submissions: {seen:?}", accepted.len());
    assert!(accepted.len() > 50 && seen.contains_key("OK"), "too light a load: {seen:?}");
    for agent in &agents {
        assert!(!agent.process.log().contains("panicked"), "{}", agent.process.log());
    }
    link.close().await;
}

/// Submits until it is enough; the ids of what was accepted.
async fn submit(link: &Link, dir: &Path, submitter: u32, enough: &CancellationToken) -> Vec<JobId> {
    let mut accepted = Vec::new();
    for number in 0.. {
        if enough.is_cancelled() {
            break;
        }
        let id: JobId = format!("s{submitter}-{number}").parse().unwrap();
        let script = format!("echo >> {}/{id}:1.$AGENT_NID", dir.display());
        let args = json!({ "cmd": "/bin/sh", "args": ["-c", script] });
        let args = args.as_object().unwrap().clone();
        let command = Command { id: id.clone(), args, ..Command::new("process.execute") };
        let request = JobSubmit::new(command, "*");
        // Nobody knows whether a call has arrived that got no answer: the same again is
        // the same submission.
        let submitted: JobSubmitted = until_answered(link, procedures::JOB_SUBMIT, &request).await;
        assert_eq!(submitted.id, id);
        // Right after its start the controller may know only one of the nodes.
        assert!((1..=NODES.len() as u64).contains(&submitted.nodes), "{submitted:?}");
        accepted.push(id);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    accepted
}

/// Calls the controller until it is there to answer.
async fn until_answered<T: DeserializeOwned>(
    link: &Link,
    procedure: &str,
    argument: &impl Serialize,
) -> T {
    let mut last = None;
    for _ in 0..600 {
        let options = CallOptions::within(Duration::from_secs(30));
        match link.call_as(procedure, &(argument,), options).await {
            Ok(answer) => return answer,
            // It starts, or knows no nodes yet.
            Err(error @ CallError::Application(_)) => last = Some(error),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{procedure} is not answered: {last:?}");
}

/// Holds the results against the traces that the jobs left; how many are in which
/// state.
async fn judge(link: &Link, dir: &Path, accepted: &[JobId]) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for id in accepted {
        let query = JobQuery::new(id.clone());
        let submission: Submission = until_answered(link, procedures::JOB_WAIT, &query).await;
        let found: JobResults = until_answered(link, procedures::JOB_RESULT, &query).await;
        assert_eq!(found.results.len() as u64, submission.counts.total(), "{id}");
        for result in found.results {
            let node = NodeId { gid: result.gid, nid: result.nid };
            let trace = dir.join(job_on(id, node).unwrap().as_str());
            let runs = fs::read_to_string(&trace).unwrap_or_default().lines().count();
            let code = result.error.as_ref().map(|error| error.code.as_str());
            match result.state {
                JobState::Ok => assert_eq!(runs, 1, "{id} on {node}"),
                JobState::Error if code == Some("interrupted") => assert!(runs <= 1, "{id}"),
                state => panic!("{id} on {node} is {state:?}: {:?}", result.error),
            }
            *seen.entry(code.unwrap_or("OK").to_owned()).or_default() += 1;
        }
    }
    seen
}
