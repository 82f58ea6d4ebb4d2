//! Nobody's many jobs hold up somebody else's few, and a full queue says when to come
//! again. Asserted by order and by counts: nothing here is a matter of how long.

pub(crate) mod kit;

use std::fs;

use drover_api::{JobState, Presence, Timestamp};
use drover_tests::{Agent, Site, http, wait_for};
use nix::sys::signal::Signal;
use tokio::task::{JoinSet, block_in_place};
use tokio_util::sync::CancellationToken;

use crate::DROVER;
use kit::{Gates, Submitter, told_to_wait};

/// More than any queue but the controller's own takes at once.
const MANY: usize = 300;

fn agent(site: &Site, nid: u32, name: &str, config: &str) -> Agent {
    let agent = site.start_agent(nid, name, config);
    site.wait_until(name, Presence::Present);
    agent
}

/// Durable jobs that node 1.1 has in a phase, as it says itself.
fn held_by_node(site: &Site, phase: &str) -> Option<u64> {
    let address = site.url.trim_start_matches("ws://").trim_end_matches("/ws");
    let page = http(address, "GET /metrics/nodes/1.1", "", "").body;
    let sample = format!("drover_durable_jobs{{phase=\"{phase}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&sample)?.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn somebodys_hundreds_of_jobs_hold_up_nobody_elses_one() {
    let site = Site::start_with(DROVER, "[jobs]\nmax_sent = 8\n");
    let config = "[jobs]\nat_once = 2\n";
    let _agents = [agent(&site, 1, "a", config), agent(&site, 2, "b", config)];
    let gates = Gates::new(&site);
    let (ada, bob) = (Submitter::join(&site).await, Submitter::join(&site).await);
    for number in 0..MANY {
        let id = format!("ada-{number}");
        ada.submit(&id, "name=a", &gates.script(&id)).await.unwrap();
    }
    let mut begun = gates.wait_until_begun(2);
    begun.sort();
    assert_eq!(begun, ["ada-0", "ada-1"]);

    // What is too much for one node is nothing to another one.
    ada.submit("elsewhere", "name=b", "true").await.unwrap();
    assert_eq!(ada.ended("elsewhere").await.state, JobState::Ok);

    // Six of hers wait on the node, 292 at the controller; the next place is his, and
    // so is the next turn.
    bob.submit("bob", "name=a", &gates.script("bob")).await.unwrap();
    gates.open("ada-0");
    assert_eq!(gates.wait_until_begun(3)[2], "ada-2");
    block_in_place(|| {
        wait_for("the node to have his job", || match held_by_node(&site, "waiting") {
            Some(6) => Ok(()),
            other => Err(other),
        });
    });
    gates.open("ada-1");
    assert_eq!(gates.wait_until_begun(4)[3], "bob");

    gates.open_all();
    let all = ada.all_ended().await;
    assert_eq!(all.len(), MANY + 2);
    assert!(all.iter().all(|one| one.state == JobState::Ok), "{all:?}");
    let mut begun = gates.begun();
    begun.sort();
    begun.dedup();
    assert_eq!((begun.len(), gates.begun().len()), (MANY + 1, MANY + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_holds_up_no_other() {
    let site = Site::start(DROVER);
    let (a, _b) = (agent(&site, 1, "a", ""), agent(&site, 2, "b", ""));
    let ada = Submitter::join(&site).await;
    let runs = |nid: u32| {
        let runs = fs::read_to_string(site.path(&format!("runs.{nid}"))).unwrap_or_default();
        runs.lines().count()
    };
    a.process.signal(Signal::SIGSTOP);
    let script = format!("echo ran >> {}.$AGENT_NID", site.path("runs").display());
    for number in 0..MANY {
        ada.submit(&format!("s{number}"), "*", &script).await.unwrap();
    }
    block_in_place(|| {
        wait_for("the other node to have done everything", || match runs(2) {
            MANY => Ok(()),
            other => Err(other),
        });
    });
    assert_eq!(runs(1), 0);

    a.process.signal(Signal::SIGCONT);
    let all = ada.all_ended().await;
    assert!(all.iter().all(|one| one.counts.ok == 2), "{all:?}");
    assert_eq!((runs(1), runs(2)), (MANY, MANY));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_over_a_bound_is_told_how_long_to_wait_and_is_taken_later() {
    let config = "[jobs]\nmax_queued_per_node = 4\nmax_queued = 6\n";
    let site = Site::start_with(DROVER, config);
    for (nid, name) in [(1, "a"), (2, "b")] {
        let mut agent = agent(&site, nid, name, "");
        agent.process.signal(Signal::SIGKILL);
        agent.process.wait();
        site.wait_until(name, Presence::Lost);
    }
    let (ada, bob) = (Submitter::join(&site).await, Submitter::join(&site).await);
    let script = |id: &str| format!("echo {id} >> {}", site.path("runs").display());
    let take = async |who: &Submitter, id: &str, nodes: &str| {
        who.submit(id, nodes, &script(id)).await.unwrap();
    };
    take(&ada, "a1", "name=a").await;
    take(&ada, "a2", "name=a").await;
    // Half of what waits for a node may be of one.
    let error = ada.submit("a3", "name=a", &script("a3")).await.unwrap_err();
    assert!(error.message.contains("2 jobs of ") && told_to_wait(&error) >= 1000, "{error}");
    take(&bob, "b1", "name=a").await;
    take(&bob, "b2", "name=a").await;
    let eve = Submitter::join(&site).await;
    let error = eve.submit("e1", "name=a", &script("e1")).await.unwrap_err();
    assert!(error.message.contains("4 jobs wait for node 1.1"), "{error}");
    assert!(told_to_wait(&error) >= 1000, "{error}");
    // Another node has room, until the controller itself has none.
    take(&eve, "e2", "name=b").await;
    take(&eve, "e3", "name=b").await;
    let error = eve.submit("e4", "name=b", &script("e4")).await.unwrap_err();
    assert!(error.message.contains("(`jobs.max_queued`)"), "{error}");
    assert!(told_to_wait(&error) >= 1000, "{error}");
    // One that is for several nodes is taken for all of them or not at all.
    let error = bob.submit("b3", "*", &script("b3")).await.unwrap_err();
    assert!(told_to_wait(&error) >= 1000, "{error}");

    let _agents = [site.start_agent(1, "a", ""), site.start_agent(2, "b", "")];
    for (who, id, nodes) in [(&ada, "a3", "name=a"), (&eve, "e1", "name=a"), (&eve, "e4", "name=b")]
    {
        who.submit_until_taken(id, nodes, &script(id)).await;
    }
    bob.submit_until_taken("b3", "*", &script("b3")).await;
    let all = ada.all_ended().await;
    assert!(all.iter().all(|one| one.state == JobState::Ok), "{all:?}");
    let runs = fs::read_to_string(site.path("runs")).unwrap();
    let mut runs: Vec<_> = runs.lines().collect();
    runs.sort_unstable();
    assert_eq!(runs, ["a1", "a2", "a3", "b1", "b2", "b3", "b3", "e1", "e2", "e3", "e4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_heartbeats_overtake_a_full_queue_and_a_flood_of_submissions() {
    let config = "[jobs]\nmax_sent = 4\nmax_queued_per_node = 100\n";
    let site = Site::start_with(DROVER, config);
    let _a = agent(&site, 1, "a", "[jobs]\nat_once = 1\n");
    let gates = Gates::new(&site);
    let ada = Submitter::join(&site).await;
    let mut taken = 0;
    while ada
        .submit(&format!("ada-{taken}"), "*", &gates.script(&format!("ada-{taken}")))
        .await
        .is_ok()
    {
        taken += 1;
    }
    // Four are with the node, and half of a hundred wait.
    assert_eq!(taken, 54);
    assert_eq!(gates.wait_until_begun(1), ["ada-0"]);

    let enough = CancellationToken::new();
    let mut flood = JoinSet::new();
    for _ in 0..4 {
        let (submitter, enough) = (Submitter::join(&site).await, enough.clone());
        let script = gates.script("flood");
        flood.spawn(async move {
            let mut refused = 0;
            for number in 0.. {
                if enough.is_cancelled() {
                    break;
                }
                let id = format!("flood-{}-{number}", submitter.id());
                refused += usize::from(submitter.submit(&id, "*", &script).await.is_err());
            }
            refused
        });
    }
    block_in_place(|| {
        // One that runs, one that waits on the node, and one at the controller.
        for (id, said) in
            [("ada-0", "1 to be ended"), ("ada-2", "1 to be ended"), ("ada-40", "1 ended")]
        {
            let killed = site.drover(&["job", "kill", id]).ok();
            assert!(killed.contains(said), "{id}: {killed}");
        }
    });
    for id in ["ada-0", "ada-2", "ada-40"] {
        assert_eq!(ada.ended(id).await.state, JobState::Killed, "{id}");
    }
    let killed = Timestamp::now();
    block_in_place(|| {
        site.wait_for_node("a", |node| {
            node.presence == Presence::Present && node.last_seen >= killed
        });
    });
    // Nobody was let go: what has begun since is one that took the place of the first.
    assert_eq!(gates.wait_until_begun(2).len(), 2);
    enough.cancel();
    let refused: usize = flood.join_all().await.into_iter().sum();
    assert!(refused > 0, "the queue was never full");

    gates.open_all();
    let all = ada.all_ended().await;
    let killed = all.iter().filter(|one| one.state == JobState::Killed).count();
    let ok = all.iter().filter(|one| one.state == JobState::Ok).count();
    assert_eq!((killed, ok), (3, all.len() - 3));
    let begun = gates.begun();
    assert!(!begun.iter().any(|name| name == "ada-2" || name == "ada-40"), "{begun:?}");
    assert_eq!(begun.len(), all.len() - 2);
}
