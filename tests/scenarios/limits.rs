//! Limits that an admin changes while the agent runs, limits that a caller sets, and
//! quarantines that a restart does not end.

use std::fs;

use drover_tests::{Agent, Process, Site, component, wait_for};
use nix::sys::signal::Signal;

use crate::{DROVER, site};

/// A site whose node `a` has the guests, in two versions.
fn with_guests(config: &str) -> (Site, Agent) {
    let site = site();
    let bytes = fs::read(component("guests")).unwrap();
    let other = [&bytes[..], &[0, 3, 1, b'v', 2]].concat();
    fs::create_dir_all(site.path("a/plugins/guests")).unwrap();
    site.add_plugin("a", "guests/1.0.0.wasm", &bytes);
    site.add_plugin("a", "guests/2.0.0.wasm", &other);
    let agent = site.start_agent(1, "a", config);
    site.wait_until_ready("a", 1);
    (site, agent)
}

/// Waits until the node's log has these words about its plugins.
fn wait_for_record(site: &Site, words: &str) -> String {
    wait_for(&format!("a record with {words:?}"), || {
        let said = site.drover(&["logs", "a", "--name", "plugins"]).stdout;
        if said.contains(words) { Ok(said) } else { Err(said) }
    })
}

#[test]
fn limits_and_pins_change_without_a_new_start_and_a_wrong_file_changes_nothing() {
    let (site, _agent) = with_guests("");
    let file = site.path("a/agent.toml");
    let text = fs::read_to_string(&file).unwrap();
    let allocate = || site.drover(&["call", "a", "guests.allocate"]).failed(1);
    assert!(allocate().contains("64 MiB"));
    assert!(site.drover(&["plugin", "status", "a"]).ok().contains("2.0.0"));

    let own = "[plugins.guests]\nversion = \"1.0.0\"\nmemory = \"8 MiB\"\n";
    fs::write(&file, text.clone() + own).unwrap();
    wait_for("the new limit", || {
        let said = allocate();
        if said.contains(" 8 MiB") { Ok(()) } else { Err(said) }
    });
    wait_for("the pinned version", || {
        let said = site.drover(&["plugin", "status", "a"]).ok();
        if said.contains("1.0.0") { Ok(()) } else { Err(said) }
    });

    fs::write(&file, text.clone() + "[plugins.guests]\nmemory = \"much\"\n").unwrap();
    let node = site.wait_for_node("a", |node| node.description.trouble.is_some());
    let trouble = node.description.trouble.unwrap();
    assert!(trouble.contains("agent.toml is wrong"), "{trouble}");
    assert!(trouble.contains("memory = \"much\""), "{trouble}");
    wait_for_record(&site, "the configuration cannot be used, the former one stays in force");
    assert!(allocate().contains(" 8 MiB"));

    let later = text.replace("heartbeat = \"200ms\"", "heartbeat = \"300ms\"");
    fs::write(&file, later + "[limits]\nmemory = \"16 MiB\"\nrunning_jobs = 5\n").unwrap();
    let said = wait_for_record(&site, "counts from the next start of the agent");
    assert!(said.contains("of `heartbeat`, `limits.running_jobs` counts"), "{said}");
    assert!(allocate().contains(" 16 MiB"));
    site.wait_for_node("a", |node| node.description.trouble.is_none());
}

#[test]
fn a_caller_may_allow_a_job_less_than_its_plugin_has() {
    let (site, _agent) = with_guests("[limits]\nquarantine_after = 2\ncores = 1.5\n");
    let call = |arguments: &[&str]| site.drover(&[&["call", "a"], arguments].concat());
    for _ in 0..3 {
        let said = call(&["guests.allocate", "--memory", "4MiB"]).failed(1);
        assert!(said.contains("more than its 4 MiB of memory"), "{said}");
    }
    // Its callers' thrift has not put it into quarantine.
    let echo = ["guests.echo", "value=7", "--memory", "16MiB", "--cores", "0.5"];
    assert_eq!(call(&[&echo[..], &["--max-answer", "10B"]].concat()).ok(), "7\n");
    let said = call(&["guests.big_answer", "bytes=1001", "--max-answer", "1kB"]).failed(1);
    assert!(said.contains("1000 are allowed"), "{said}");

    for (arguments, words) in [
        (["guests.empty", "--memory", "1GiB"], "may have 64 MiB of memory"),
        (["guests.empty", "--cores", "2"], "may have 1.5 cores"),
        (["guests.empty", "--cores", "0"], "must be at least 0.01"),
        (["guests.empty", "--max-answer", "1GiB"], "the limit `answer`"),
        (["agent.ping", "--cores", "1"], "no operation of a plugin"),
    ] {
        let said = call(&arguments).failed(1);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn a_restart_of_the_agent_ends_no_quarantine_and_the_operator_does() {
    let config = "[limits]\nquarantine_after = 1\nquarantine_first = \"10m\"\n";
    let (site, mut agent) = with_guests(config);
    let file = site.path("a/quarantine.json");
    let empty = || site.drover(&["call", "a", "guests.empty"]);
    let _ = site.drover(&["call", "a", "guests.panic", "message=oh no"]).failed(1);
    wait_for("the quarantine on disk", || fs::metadata(&file).map(drop));

    agent.process.signal(Signal::SIGKILL);
    agent.process.wait();
    let mut agent = site.start_agent(1, "a", config);
    site.wait_until_ready("a", 1);
    let said = empty().failed(1);
    assert!(said.contains("in quarantine for another") && said.contains("oh no"), "{said}");
    let _ = site.drover(&["plugin", "release", "a", "guests"]).ok();
    let _ = empty().ok();
    wait_for("the release on disk", || {
        let text = fs::read_to_string(&file).unwrap();
        if text.contains("guests") { Err(text) } else { Ok(()) }
    });

    agent.process.signal(Signal::SIGTERM);
    assert!(agent.process.wait().success());
    fs::write(&file, "{\"version\":1,").unwrap();
    let _agent = site.start_agent(1, "a", config);
    site.wait_until_ready("a", 1);
    wait_for_record(&site, "the file of quarantines cannot be read");
    assert!(site.path("a/quarantine.damaged").exists());
    let _ = empty().ok();
}

#[test]
fn the_agent_may_open_as_many_files_as_it_can_and_its_children_as_many_as_before() {
    let site = site();
    let (data, config) = (site.path("a"), site.path("a.toml"));
    fs::write(&config, format!("controller = {:?}\nname = \"a\"\ndata_dir = {data:?}\n", site.url))
        .unwrap();
    let script = "ulimit -S -n 321; exec \"$0\" agent --config \"$1\"";
    let arguments = ["-c", script, DROVER, config.to_str().unwrap()];
    let agent = Process::start("/bin/sh".as_ref(), &arguments);
    site.wait_until_ready("a", 0);
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(words[0], words[1], "{line}");
    let exec = ["exec", "a", "--", "/bin/sh", "-c", "ulimit -S -n; ulimit -H -n"];
    assert_eq!(site.drover(&exec).ok(), format!("321\n{}\n", words[1]));
}
