//! A controller is lost with its disk, and another one goes on from its backup.

use std::fs;
use std::path::Path;
use std::process::Command;

use drover_api::{JobState, Presence, Submission};
use drover_logs::store::Filter;
use drover_tests::{Ran, Site, records_in, wait_for};
use nix::sys::signal::Signal;

use crate::{DROVER, site};

fn drover(arguments: &[&str]) -> Ran {
    Ran::of(Command::new(DROVER).args(arguments))
}

/// Loses the controller with all that it has.
fn lose(site: &mut Site) {
    let mut controller = site.controller.take().unwrap();
    controller.signal(Signal::SIGKILL);
    controller.wait();
    fs::remove_dir_all(site.path("controller")).unwrap();
}

/// Submits a job that leaves a trace for each time that it runs.
fn submit(site: &Site, id: &str, node: &str, script: &str) {
    let script = format!("echo >> {}/{id}; {script}", site.path("runs").display());
    let args = serde_json::json!({ "cmd": "/bin/sh", "args": ["-c", script] }).to_string();
    let line = ["job", "submit", node, "process.execute", "--id", id, "--args", &args];
    let _ = site.drover(&line).ok();
}

fn state(site: &Site, id: &str) -> Option<JobState> {
    let shown = site.drover(&["job", "list", "--json"]).ok();
    let jobs: Vec<Submission> = serde_json::from_str(&shown).unwrap();
    jobs.into_iter().find(|job| job.id.as_str() == id).map(|job| job.state)
}

fn wait_until(site: &Site, id: &str, wanted: JobState) {
    wait_for(&format!("{id} to be {wanted:?}"), || match state(site, id) {
        Some(state) if state == wanted => Ok(()),
        other => Err(other),
    });
}

fn runs(site: &Site, id: &str) -> usize {
    fs::read_to_string(site.path("runs").join(id)).map_or(0, |text| text.lines().count())
}

fn critical(dir: &Path) -> Vec<String> {
    let records = records_in(dir, &Filter::default());
    let critical = records.iter().filter(|record| record.level == drover_api::Level::CRITICAL);
    critical.map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
}

#[test]
fn what_was_done_before_a_backup_is_there_after_it_and_nothing_is_done_twice() {
    let mut site = site();
    fs::create_dir_all(site.path("runs")).unwrap();
    let mut a = site.start_agent(1, "a", "");
    let mut b = site.start_agent(2, "b", "");
    for name in ["a", "b"] {
        site.wait_until(name, Presence::Present);
    }
    submit(&site, "done", "a", "true");
    wait_until(&site, "done", JobState::Ok);
    let gate = site.path("gate");
    submit(&site, "spans", "a", &format!("until [ -e {} ]; do sleep 0.05; done", gate.display()));
    wait_until(&site, "spans", JobState::Running);
    b.process.signal(Signal::SIGKILL);
    b.process.wait();
    site.wait_until("b", Presence::Lost);
    submit(&site, "waits", "b", "true");

    // While it works.
    let (config, file) = (site.path("controller.toml"), site.path("backup.tar"));
    let (config, file) = (config.to_str().unwrap(), file.to_str().unwrap());
    let made = drover(&["controller", "backup", file, "--config", config]).ok();
    assert!(made.contains("files"), "{made}");
    let whole = drover(&["controller", "backup", "--verify", file]).ok();
    assert!(whole.contains("is whole"), "{whole}");

    // What happens since: one that waited is done, and others come.
    let b = site.start_agent(2, "b", "");
    wait_until(&site, "waits", JobState::Ok);
    submit(&site, "since", "a", "true");
    wait_until(&site, "since", JobState::Ok);
    submit(&site, "runs-since", "a", "sleep 1000");
    wait_until(&site, "runs-since", JobState::Running);

    lose(&mut site);
    let data = site.path("controller");
    let data = data.to_str().unwrap();
    let _ = drover(&["controller", "restore", file, "--data-dir", data]).ok();
    site.start_controller();
    for name in ["a", "b"] {
        site.wait_until(name, Presence::Present);
    }
    assert_eq!(state(&site, "done"), Some(JobState::Ok));
    let _ = site.drover(&["job", "result", "done"]).ok();
    // It may have run, and it has.
    wait_until(&site, "waits", JobState::Error);
    let why = site.drover(&["job", "show", "waits"]).ok();
    assert!(why.contains("restored from a backup"), "{why}");
    // The node has it still.
    fs::write(&gate, "").unwrap();
    wait_until(&site, "spans", JobState::Ok);
    assert_eq!(state(&site, "since"), None, "nobody has told it again");

    // New jobs have numbers of their own, and what nobody waits for is ended and told.
    submit(&site, "after", "a", "true");
    wait_until(&site, "after", JobState::Ok);
    let log = || a.process.log();
    wait_for("the agent to say what it has dropped", || {
        if log().contains("runs-since") && log().contains("are dropped") {
            Ok(())
        } else {
            Err(log())
        }
    });
    for id in ["done", "spans", "waits", "since", "after"] {
        assert_eq!(runs(&site, id), 1, "{id}");
    }
    let whole = site.drover(&["audit", "verify"]).ok();
    assert!(!whole.contains("missing"), "{whole}");
    let said = site.drover(&["audit", "list"]).ok();
    assert!(said.contains("controller.restore"), "{said}");
    drop(b);
    a.process.signal(Signal::SIGTERM);
    a.process.wait();
    let told = critical(&site.path("a/logs"));
    assert!(told.iter().any(|text| text.contains("runs-since")), "{told:?}");
}

#[test]
fn a_controller_that_begins_anew_has_the_agents_say_what_they_drop() {
    let mut site = site();
    fs::create_dir_all(site.path("runs")).unwrap();
    let mut a = site.start_agent(1, "a", "");
    site.wait_until("a", Presence::Present);
    submit(&site, "lost", "a", "sleep 1000");
    wait_until(&site, "lost", JobState::Running);
    lose(&mut site);
    site.start_controller();
    site.wait_until("a", Presence::Present);
    submit(&site, "new", "a", "true");
    wait_until(&site, "new", JobState::Ok);
    wait_for("the agent to say what it has dropped", || {
        let log = a.process.log();
        if log.contains("another store") && log.contains("lost") { Ok(()) } else { Err(log) }
    });
    a.process.signal(Signal::SIGTERM);
    a.process.wait();
    let told = critical(&site.path("a/logs"));
    assert!(told.iter().any(|text| text.contains("lost")), "{told:?}");
}
