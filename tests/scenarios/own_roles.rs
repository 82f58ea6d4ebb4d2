//! What a role or a token lets somebody have done later: exactly what it lets them do
//! at once.

use std::fs;

use drover_api::{JobState, Presence, Submission};
use drover_tests::{Process, wait_for};
use nix::sys::signal::Signal;

use crate::network::kit::Network;

/// A site with a role for programs on the nodes `web`; 1.1 is one of them.
fn site() -> (Network, Process, Process) {
    let mut site = Network::start();
    roles(&site, "commands = [\"process.*\"], nodes = \"web\"");
    drop(site.controller.take());
    site.start_controller();
    let a = site.join("a", &["--label", "web"]);
    let b = site.join("b", &[]);
    site.add("ada", "web");
    (site, a, b)
}

/// Writes the role `web` down as it is from now on.
fn roles(site: &Network, run: &str) {
    let config = fs::read_to_string(site.path("controller.toml")).unwrap();
    let others = config.split("\n[roles.web]").next().unwrap();
    let config = format!("{others}\n[roles.web]\nrun = [{{ {run} }}]\n");
    fs::write(site.path("controller.toml"), config).unwrap();
}

fn ended(site: &Network, id: &str) -> Submission {
    serde_json::from_str(&site.drover(&["job", "wait", id, "--json"]).stdout).unwrap()
}

/// A script that leaves a file behind.
fn touch(site: &Network, file: &str) -> String {
    let text = format!("echo done >> {}", site.file(file));
    format!("args={}", serde_json::json!(["-c", text]))
}

#[test]
fn an_own_role_submits_schedules_and_ends_what_it_may_run_and_nothing_else() {
    let (site, _a, _b) = site();
    let ada = |arguments: &[&str]| site.drover_as("ada", arguments);
    let sh = ["process.execute", "cmd=/bin/true"];
    let submit = |nodes: &str| ada(&[&["job", "submit", nodes], &sh[..], &["--wait"]].concat());
    let _ = submit("web").ok();
    let _ = submit("name=a").ok();
    let refusal = submit("*").failed(1);
    assert!(refusal.contains("may not run `process.execute` on node 1.2"), "{refusal}");
    let refusal = ada(&["job", "submit", "web", "agent.restart"]).failed(1);
    assert!(refusal.contains("may not run `agent.restart` on node 1.1"), "{refusal}");

    // Others' jobs are hers to end and to repeat as far as she might have begun them.
    let sleep = |nodes: &str| {
        let arguments =
            ["job", "submit", nodes, "process.execute", "cmd=/bin/sleep", "args=[\"1000\"]"];
        site.drover(&arguments).ok().trim().to_owned()
    };
    let (on_a, on_b) = (sleep("name=a"), sleep("name=b"));
    let refusal = ada(&["job", "kill", &on_b]).failed(1);
    assert!(refusal.contains("on node 1.2"), "{refusal}");
    let _ = ada(&["job", "kill", &on_a]).ok();
    assert_eq!(ended(&site, &on_a).state, JobState::Killed);
    let _ = site.drover(&["job", "kill", &on_b]).ok();
    assert_eq!(ended(&site, &on_b).state, JobState::Killed);
    let refusal = ada(&["job", "retry", &on_b]).failed(1);
    assert!(refusal.contains("on node 1.2"), "{refusal}");
    let again = ada(&["job", "retry", &on_a]).ok();
    let _ = ada(&["job", "kill", again.trim()]).ok();

    let add = |name: &str, nodes: &str| {
        ada(&[&["schedule", "add", name, nodes], &sh[..], &["--every", "1h"]].concat())
    };
    let _ = add("hers", "web").ok();
    let refusal = add("wide", "*").failed(1);
    assert!(refusal.contains("on node 1.2"), "{refusal}");
    let nightly = [&["schedule", "add", "nightly", "*"], &sh[..], &["--every", "1h"]].concat();
    let _ = site.drover(&nightly).ok();
    for what in ["pause", "remove"] {
        let refusal = ada(&["schedule", what, "nightly"]).failed(1);
        assert!(refusal.contains("on node 1.2"), "{refusal}");
        let _ = ada(&["schedule", what, "hers"]).ok();
    }
    // Nor does she put her own in its place.
    assert!(add("nightly", "web").failed(1).contains("on node 1.2"));

    // A rule reaches nodes that join later, and rollouts take the right to update.
    let remove = ada(&["desired", "remove", "hello", "--to", "web"]).failed(1);
    assert!(remove.contains("may not run `plugin.update`"), "{remove}");
    let denied = |what: &str| {
        let audit = site.audit();
        let denied = audit.iter().find(|entry| entry.who == "ada" && entry.what.starts_with(what));
        denied.is_some_and(|entry| entry.result.is_some())
    };
    assert!(denied("job.submit process.execute") && denied("schedule.add process.execute"));
}

#[test]
fn a_token_for_some_commands_submits_those() {
    let (site, _a, _b) = site();
    let new = ["token", "new", "--command", "process.execute", "--nodes", "web"];
    let token = site.drover(&new).ok().trim().to_owned();
    let with_token = |arguments: &[&str]| {
        let mut command = site.command(arguments);
        command.env("DROVER_CREDENTIALS", site.path("nobody.toml")).env("DROVER_TOKEN", &token);
        command.env("DROVER_CONTROLLER", &site.url).env("DROVER_FINGERPRINT", &site.fingerprint);
        drover_tests::Ran::of(&mut command)
    };
    let submit = ["job", "submit", "web", "process.execute", "cmd=/bin/true", "--wait"];
    let _ = with_token(&submit).ok();
    let refusal = with_token(&["job", "submit", "*", "process.execute", "cmd=/bin/true"]).failed(1);
    assert!(refusal.contains("the token is not for `process.execute` on node 1.2"), "{refusal}");
    let refusal = with_token(&["job", "submit", "web", "agent.restart"]).failed(1);
    assert!(refusal.contains("the token is not for `agent.restart`"), "{refusal}");
    assert!(with_token(&["node", "token"]).failed(1).contains("token is not for"));
}

#[test]
fn what_waits_is_not_done_when_whoever_asked_may_not_any_more() {
    let (site, a, _b) = site();
    drop(a);
    site.wait_until("a", Presence::Lost);
    let file = touch(&site, "ran");
    let submit = ["job", "submit", "web", "process.execute", "cmd=/bin/sh", &file];
    let id = site.drover_as("ada", &submit).ok().trim().to_owned();

    // The role is another one from now on, without a restart.
    roles(&site, "commands = [\"agent.ping\"], nodes = \"web\"");
    let controller = site.controller.as_ref().unwrap();
    controller.wait_for_log("roles are as the configuration says now");
    let submission = ended(&site, &id);
    assert_eq!(submission.state, JobState::Error);
    let shown = site.drover(&["job", "show", &id, "--history"]).ok();
    assert!(shown.contains("it was not started: the role `web` may not run"), "{shown}");
    let refusal = site.drover_as("ada", &submit).failed(1);
    assert!(refusal.contains("may not run `process.execute`"), "{refusal}");

    let _a = site.agent("a", "", &[]);
    site.wait_until("a", Presence::Present);
    let ping = site.drover_as("ada", &["job", "submit", "web", "agent.ping", "--wait"]).ok();
    assert!(ping.contains("pong"), "{ping}");
    assert!(!site.path("ran").exists());
}

#[test]
fn a_label_is_given_and_taken_and_a_node_that_is_gone_is_forgotten() {
    let (mut site, a, b) = site();
    let labels = |name: &str| site.wait_until(name, Presence::Present).description.labels;
    let told = site.drover(&["node", "label", "b", "+web", "+zone=eu"]).ok();
    assert_eq!(told.trim(), "web zone=eu");
    wait_for("the label", || match labels("b") {
        labels if labels == ["web", "zone=eu"] => Ok(()),
        labels => Err(labels),
    });
    let _ = site.drover(&["node", "label", "b", "+zone=us", "-web"]).ok();
    wait_for("the other label", || match labels("b") {
        labels if labels == ["zone=us"] => Ok(()),
        labels => Err(labels),
    });
    let refusal = site.drover(&["node", "label", "b", "web"]).failed(2);
    assert!(refusal.contains("+web") && refusal.contains("-web"), "{refusal}");

    // It outlives both, and who is there is not forgotten.
    drop(site.controller.take());
    site.start_controller();
    assert_eq!(site.wait_until("b", Presence::Present).description.labels, ["zone=us"]);
    let refusal = site.drover(&["node", "forget", "b"]).failed(1);
    assert!(refusal.contains("is there") && refusal.contains("revoke"), "{refusal}");

    b.signal(Signal::SIGKILL);
    site.wait_until("b", Presence::Lost);
    let submit = ["job", "submit", "name=b", "agent.ping"];
    let id = site.drover(&submit).ok().trim().to_owned();
    let _ = site.drover(&["node", "forget", "b"]).ok();
    assert_eq!(ended(&site, &id).state, JobState::Error);
    let known = site.drover(&["nodes", "--json"]).ok() + &site.drover(&["node", "list"]).ok();
    assert!(!known.contains("1.2") && !known.contains("\"b\""), "{known}");
    // Its key is nobody's now.
    let again = site.agent("b", "", &[]);
    again.wait_for_log("key is not known");
    drop(a);
}
