//! Programs that run for ever: those that an operator leaves running, and those
//! that the configuration starts.

use std::fs;
use std::path::Path;

use drover_tests::{Agent, Site, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::processes::{is_there, site_with_node, wait_until_gone};
use crate::site;

fn jobs(site: &Site) -> Vec<Value> {
    serde_json::from_str(&site.drover(&["ps", "a", "--json"]).ok()).unwrap()
}

fn running(site: &Site, name: &str) -> (String, u64) {
    wait_for(&format!("{name} to run"), || {
        let jobs = jobs(site);
        let job = jobs.iter().find(|job| job["name"] == name && job["phase"] == "running");
        let found = job.and_then(|job| Some((job["id"].as_str()?, job["pid"].as_u64()?)));
        found.map(|(id, pid)| (id.to_owned(), pid)).ok_or(jobs)
    })
}

fn wait_for_lines(file: &Path, count: usize) {
    wait_for(&format!("{count} lines in {}", file.display()), || {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.lines().count() == count { Ok(()) } else { Err(text) }
    });
}

/// Kills the agent and starts it again with this configuration.
fn start_again(site: &Site, agent: &mut Agent, config: &str) {
    agent.process.signal(Signal::SIGKILL);
    agent.process.wait();
    *agent = site.start_agent(1, "a", config);
    site.wait_until_ready("a", 0);
}

#[test]
fn what_is_left_running_is_there_after_a_restart_until_it_is_killed() {
    let (site, mut a) = site_with_node("");
    let starts = site.path("starts");
    let line = format!("echo start >> {}; while :; do sleep 0.1; done", starts.display());
    let exec = ["exec", "a", "--detach", "--name", "shop", "--", "/bin/sh", "-c", &line];
    let id = site.drover(&exec).ok().trim().to_owned();
    let (listed, pid) = running(&site, "shop");
    assert_eq!(listed, id);

    start_again(&site, &mut a, "");
    assert_eq!(running(&site, "shop"), (id.clone(), pid));
    wait_for_lines(&starts, 1);

    // Told to restart, the agent leaves it running as well.
    let _ = site.drover(&["call", "a", "agent.restart"]).ok();
    assert_eq!(a.process.wait().code(), Some(75));
    assert!(is_there(pid));
    a = site.start_agent(1, "a", "");
    site.wait_until_ready("a", 0);
    assert_eq!(running(&site, "shop"), (id.clone(), pid));

    let killed = site.drover(&["kill", "a", &id]).ok();
    assert!(killed.contains("nothing is left"), "{killed}");
    start_again(&site, &mut a, "");
    assert_eq!(jobs(&site), [] as [Value; 0]);
    assert!(!is_there(pid));
    wait_for_lines(&starts, 1);
}

#[test]
fn the_configuration_starts_programs_exactly_once_each() {
    let site = site();
    let (starts, inits) = (site.path("starts"), site.path("inits"));
    let run = |line: &str| format!("cmd = \"/bin/sh\"\nargs = [\"-c\", {line:?}]\n");
    let ever = run(&format!("echo start >> {}; exec sleep 1000", starts.display()));
    let once = run(&format!("echo init >> {}", inits.display()));
    let after = run(&format!("test -s {} && exec sleep 1000", inits.display()));
    let config = format!(
        "[startup.ever]\nmax_time = -1\n{ever}[startup.init]\n{once}\
         [startup.later]\nafter = [\"init\"]\nmax_time = -1\n{after}"
    );
    let mut a = site.start_agent(1, "a", &config);
    site.wait_until_ready("a", 0);
    let (id, pid) = running(&site, "ever");
    assert_eq!(id, "startup.ever");
    let (_, later) = running(&site, "later");
    wait_for_lines(&inits, 1);

    start_again(&site, &mut a, &config);
    assert_eq!(running(&site, "ever"), ("startup.ever".to_owned(), pid));
    assert_eq!(running(&site, "later").1, later);
    // What ends by itself runs whenever the agent starts.
    wait_for_lines(&inits, 2);
    wait_for_lines(&starts, 1);

    // What the configuration says otherwise now is started anew, and what it does
    // not say any more is ended.
    start_again(&site, &mut a, &format!("[startup.ever]\nmax_time = -1\ngrace = 1\n{ever}"));
    wait_until_gone(later);
    wait_until_gone(pid);
    let (_, other) = running(&site, "ever");
    assert_ne!(other, pid);
    wait_for_lines(&starts, 2);
    assert_eq!(jobs(&site).len(), 1, "{:?}", jobs(&site));

    // One that was killed is there again with the next agent.
    let _ = site.drover(&["kill", "a", "startup.ever"]).ok();
    assert_eq!(jobs(&site), [] as [Value; 0]);
    start_again(&site, &mut a, &format!("[startup.ever]\nmax_time = -1\ngrace = 1\n{ever}"));
    running(&site, "ever");
    let _ = site.drover(&["kill", "a", "startup.ever"]).ok();
}

#[test]
fn a_program_that_cannot_be_run_is_refused_before_anything_starts() {
    let site = site();
    let mut a = site.start_agent(1, "a", "[startup.shop]\ncmd = \"shop\"\nmax_tmie = 3\n");
    assert_eq!(a.process.wait().code(), Some(2));
    a.process.wait_for_log("[startup.shop]");
    a.process.wait_for_log("`max_tmie`");
}
