//! Operations that run until they are stopped: started by an operator or by the
//! configuration, followed, replaced, and back after the agent was killed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use drover_api::{FeedEvent, ServiceState, ServiceStatus, procedures};
use drover_tests::{Agent, Process, Site, component, wait_for};
use drover_wamp::SubscribeOptions;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::timeout;

use crate::site;
use crate::wamp_callers::{A, join};

/// How long anything may take. Generous: only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node with the example service.
fn site_with_ticker(config: &str) -> (Site, Agent) {
    let site = site();
    site.add_plugin("a", "ticker.wasm", &fs::read(component("ticker")).unwrap());
    let a = site.start_agent(1, "a", config);
    site.wait_until_ready("a", 1);
    (site, a)
}

fn list(site: &Site) -> Vec<ServiceStatus> {
    serde_json::from_str(&site.drover(&["service", "status", "a", "--json"]).ok()).unwrap()
}

fn wait_until(site: &Site, name: &str, is_right: impl Fn(&ServiceStatus) -> bool) -> ServiceStatus {
    wait_for(&format!("service {name}"), || {
        let services = list(site);
        let right = services.iter().find(|service| service.name == name && is_right(service));
        right.cloned().ok_or(services)
    })
}

fn wait_for_state(site: &Site, name: &str, state: ServiceState) -> ServiceStatus {
    wait_until(site, name, |service| service.state == state)
}

/// Kills the agent and starts it again with this configuration.
fn start_again(site: &Site, agent: &mut Agent, config: &str) {
    agent.process.signal(Signal::SIGKILL);
    agent.process.wait();
    *agent = site.start_agent(1, "a", config);
    site.wait_until_ready("a", 1);
}

/// The numbers that a follower has printed so far.
fn numbers(follower: &Process) -> Vec<u64> {
    let values = follower.output().into_iter().map(|line| {
        let line: Value = serde_json::from_str(&line).unwrap();
        line["value"]["number"].as_u64().unwrap_or_else(|| panic!("{line}"))
    });
    values.collect()
}

fn wait_for_numbers(follower: &Process, count: usize) -> Vec<u64> {
    wait_for(&format!("{count} numbers"), || {
        let numbers = numbers(follower);
        if numbers.len() >= count { Ok(numbers) } else { Err(follower.last_words()) }
    })
}

#[test]
fn what_is_started_is_followed_survives_a_kill_once_and_ends_when_it_is_stopped() {
    let (site, mut a) = site_with_ticker("");
    let start = ["service", "start", "a", "ticker.count", "every_ms=20", "--name", "tick"];
    let shown = site.drover(&start).ok();
    assert!(shown.contains("ticker.count") && shown.contains("running"), "{shown}");
    let _ = site.drover(&start).ok();
    assert_eq!(list(&site).len(), 1, "the same again is the same service");
    let errors =
        site.drover(&["service", "start", "a", "ticker.count", "--name", "tick"]).failed(5);
    assert!(errors.contains("`tick`") && errors.contains("stop it before"), "{errors}");

    let follower = site.start_drover(&["service", "feed", "a", "tick"]);
    let seen = wait_for_numbers(&follower, 20);
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seen:?}");
    let status = wait_until(&site, "tick", |tick| tick.published.is_some());
    assert!(status.memory_bytes.is_some_and(|bytes| bytes > 0), "{status:?}");
    drop(follower);

    start_again(&site, &mut a, "");
    wait_for_state(&site, "tick", ServiceState::Running);
    let follower = site.start_drover(&["service", "feed", "a", "tick"]);
    let seen = wait_for_numbers(&follower, 20);
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "two of them count: {seen:?}");

    let shown = site.drover(&["service", "stop", "a", "tick"]).ok();
    assert!(shown.contains("stopped"), "{shown}");
    start_again(&site, &mut a, "");
    assert_eq!(list(&site), []);
}

#[test]
fn the_configuration_starts_services_whenever_the_agent_starts() {
    let config = "[services.tick]\noperation = \"ticker.count\"\nlog_feed = true\n\
                  args = { every_ms = 20 }\n\
                  [services.later]\noperation = \"late.count\"\n";
    let (site, mut a) = site_with_ticker(config);
    let tick = wait_for_state(&site, "tick", ServiceState::Running);
    assert!(tick.is_configured);
    let later = wait_for_state(&site, "later", ServiceState::Waiting);
    assert!(later.error.unwrap().contains("no plugin `late`"));
    wait_for("a record of what it published", || {
        let log = site.drover(&["logs", "a", "--name", "count", "--level", "6"]).ok();
        log.contains("\"number\":1}").then_some(()).ok_or(log)
    });
    site.add_plugin("a", "late.wasm", &fs::read(component("ticker")).unwrap());
    wait_for_state(&site, "later", ServiceState::Running);
    fs::remove_file(site.path("a/plugins/late.wasm")).unwrap();
    wait_for_state(&site, "later", ServiceState::Waiting);

    let _ = site.drover(&["service", "stop", "a", "tick"]).ok();
    wait_for_state(&site, "tick", ServiceState::Stopped);
    start_again(&site, &mut a, config);
    wait_for_state(&site, "tick", ServiceState::Running);
    start_again(&site, &mut a, "");
    assert_eq!(list(&site), []);
}

#[test]
fn a_new_version_takes_over_and_one_that_crashes_is_given_up_until_then() {
    let site = site();
    let guests = fs::read(component("guests")).unwrap();
    site.add_plugin("a", "guests.wasm", &guests);
    let _a = site.start_agent(1, "a", "[limits]\nquarantine_after = 0\n");
    site.wait_until_ready("a", 1);
    let _ = site.drover(&["service", "start", "a", "guests.idle", "--name", "idle"]).ok();
    let die = ["service", "start", "a", "guests.die", "--name", "die", "--max-restart", "1"];
    let _ = site.drover(&die).ok();
    let failed = wait_for_state(&site, "die", ServiceState::Failed);
    assert!(failed.error.unwrap().contains("died of old age"));
    wait_for("a critical record", || {
        let log = site.drover(&["logs", "a", "--name", "die", "--level", "9"]).ok();
        log.contains("failed 2 times within 5 minutes").then_some(()).ok_or(log)
    });
    let before = wait_for_state(&site, "idle", ServiceState::Running).hash;

    site.add_plugin("a", "guests.wasm", &[&guests[..], &[0, 3, 1, b'v', 2]].concat());
    wait_until(&site, "idle", |idle| {
        idle.state == ServiceState::Running && idle.hash.is_some() && idle.hash != before
    });
    wait_until(&site, "die", |die| die.restarts > 1);
    let log = site.drover(&["logs", "a", "--name", "idle"]).ok();
    assert!(log.contains("told to stop"), "the old one was told first: {log}");

    let errors = site.drover(&["call", "a", "guests.idle"]).failed(1);
    assert!(errors.contains("drover service start NODE guests.idle"), "{errors}");
    let errors = site.drover(&["service", "start", "a", "guests.echo", "value=1"]).failed(1);
    assert!(errors.contains("drover call NODE guests.echo"), "{errors}");
    let errors = site.drover(&["service", "stop", "a", "idel"]).failed(4);
    assert!(errors.contains("no service `idel`; there are: idle"), "{errors}");
}

#[test]
fn one_whose_plugin_is_no_longer_granted_waits_until_it_is() {
    let site = site();
    let text = |name: &str| site.path(name).to_str().unwrap().to_owned();
    fs::create_dir_all(site.path("a/plugins")).unwrap();
    fs::write(site.path("plugin.toml"), "[asks]\nsysinfo = { reason = \"to see\" }\n").unwrap();
    let (file, target) = (component("ticker"), text("a/plugins/ticker.wasm"));
    let manifest = text("plugin.toml");
    let pack = ["plugin", "pack", file.to_str().unwrap(), "--manifest", &manifest, "-o", &target];
    let _ = drover_tests::run(crate::DROVER.as_ref(), &pack).ok();
    let grants = site.path("a/grants.toml");
    fs::write(&grants, "[ticker]\nsysinfo = true\n").unwrap();
    let _a = site.start_agent(1, "a", "[services.tick]\noperation = \"ticker.count\"\n");
    site.wait_until_ready("a", 1);
    wait_for_state(&site, "tick", ServiceState::Running);

    fs::write(&grants, "[ticker]\n").unwrap();
    let waiting = wait_for_state(&site, "tick", ServiceState::Waiting);
    assert!(waiting.error.as_ref().unwrap().contains("sysinfo"), "{waiting:?}");
    fs::write(&grants, "[ticker]\nsysinfo = true\n").unwrap();
    wait_for_state(&site, "tick", ServiceState::Running);
}

/// The length of all files in a directory.
fn bytes_in(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).map(|files| files.filter_map(Result::ok).collect());
    let files: Vec<_> = files.unwrap_or_default();
    files.iter().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

#[tokio::test]
async fn what_is_published_without_a_link_is_kept_or_counted() {
    let mut site = site();
    site.add_plugin("a", "guests.wasm", &fs::read(component("guests")).unwrap());
    site.controller = None;
    let config = "[services.much]\noperation = \"guests.publish\"\nlog_feed = true\n\
                  args = { values = 150, bytes = 60000 }\n";
    let a = site.start_agent(1, "a", config);
    let logs = site.path("a/logs");
    wait_for("much more than is kept", || match bytes_in(&logs) {
        bytes if bytes > 6_000_000 => Ok(()),
        bytes => Err(bytes),
    });
    // So that the follower is there before the agent is.
    a.process.signal(Signal::SIGSTOP);
    site.start_controller();
    let client = join(&site).await;
    let topic = procedures::feed(A, "much");
    let mut events = client.subscribe(&topic, SubscribeOptions::default()).await.unwrap();
    a.process.signal(Signal::SIGCONT);

    let (mut last, mut missed) = (0, 0);
    while last < 150 {
        let event = timeout(PATIENCE, events.next()).await.unwrap().unwrap();
        let event: FeedEvent = event.payload.first().unwrap();
        missed += event.missed;
        last += event.missed;
        for value in &event.values {
            assert_eq!(value.number, last + 1, "neither there nor counted");
            assert_eq!(value.value[0], value.number);
            last = value.number;
        }
    }
    assert!(missed > 0, "all of 9 MB were kept");
}
