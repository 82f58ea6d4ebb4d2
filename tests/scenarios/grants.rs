//! What an admin does with a plugin that asks for something.

use std::fs;

use drover_tests::{Ran, compiled, component, run, wait_for};
use serde_json::json;

use crate::{DROVER, site};

/// Runs `drover` without a controller.
fn local(arguments: &[&str]) -> Ran {
    run(DROVER.as_ref(), arguments)
}

/// What `granted.wasm` imports, as an author would ask for it.
const MANIFEST: &str = r#"
name = "backup"
version = "1.2.0"
description = "Copies files away"
license = "Apache-2.0"

[asks]
sysinfo = { reason = "finds a quiet moment" }
state = { size = "1 MiB", reason = "remembers what was copied" }
settings = [{ name = "bucket", reason = "where copies go" }]
secrets = [{ name = "token", reason = "opens the bucket" }]
directories = [{ path = "/data", access = "read", reason = "what is copied" }]
"#;

#[test]
fn a_plugin_is_packed_refused_granted_and_runs_without_a_new_start() {
    let site = site();
    let text = |name: &str| site.path(name).to_str().unwrap().to_owned();
    fs::create_dir_all(site.path("a/plugins")).unwrap();
    fs::write(site.path("plugin.toml"), MANIFEST).unwrap();
    fs::write(site.path("token"), "hunter2\n").unwrap();
    fs::create_dir(site.path("data")).unwrap();
    fs::write(site.path("data/file"), "to be copied").unwrap();
    fs::write(site.path("a/grants.toml"), "# ours\n[other]   # not there yet\n").unwrap();

    let (file, target) = (component("granted"), text("a/plugins/backup.wasm"));
    let manifest = text("plugin.toml");
    let pack = ["plugin", "pack", file.to_str().unwrap(), "--manifest", &manifest, "-o", &target];
    let _ = local(&pack).ok();

    let agent = site.start_agent(1, "a", "");
    let node = site.wait_for_node("a", |node| !node.description.refused.is_empty());
    let refused = &node.description.refused[0];
    assert_eq!(refused.file, "backup.wasm");
    for words in ["drover plugin grant backup", "[backup]", "sysinfo = true", "# settings.bucket"] {
        assert!(refused.reason.contains(words), "{words}: {}", refused.reason);
    }

    let config = text("a/agent.toml");
    let grant = ["plugin", "grant", "backup", "--config", &config];
    let errors = local(&grant).failed(2);
    assert!(errors.contains("--set bucket=VALUE"), "{errors}");
    let secret = format!("token={}", text("token"));
    let directory = format!("/data={}", text("data"));
    let values = ["--set", "bucket=nightly", "--secret-file", &secret, "--directory", &directory];
    let errors = local(&[&grant[..], &values].concat()).failed(2);
    assert!(errors.contains("--yes"), "{errors}");
    let _ = local(&[&grant[..], &values, &["--yes"]].concat()).ok();
    let grants = fs::read_to_string(site.path("a/grants.toml")).unwrap();
    assert!(grants.starts_with("# ours\n[other]   # not there yet\n"), "{grants}");

    site.wait_until_ready("a", 1);
    let call = |operation: &str, argument: &str| {
        site.drover(&["call", "a", &format!("backup.{operation}"), argument])
    };
    assert!(call("setting", "name=bucket").ok().contains("nightly"));
    assert!(call("read", "path=/data/file").ok().contains("to be copied"));
    let _ = call("read", "path=/data/../token").failed(1);
    let denied = call("setting", "name=password").failed(1);
    assert!(denied.contains("password"), "{denied}");
    let said = wait_for("the denied call in the node's log", || {
        let said = site.drover(&["logs", "a", "--level", "7"]).stdout;
        if said.contains("denied to `backup`") { Ok(said) } else { Err(said) }
    });
    assert!(said.contains("config.get \"password\""), "{said}");
    let counted = site.drover(&["metrics", "a"]).ok();
    let denied = "drover_plugin_denied_calls_total{plugin=\"backup\",interface=\"config\"} 1\n";
    assert!(counted.contains(denied), "{counted}");

    fs::write(site.path("a/grants.toml"), grants.replace("nightly", "weekly")).unwrap();
    wait_for("the changed setting", || {
        let answer = call("setting", "name=bucket").ok();
        if answer.contains("weekly") { Ok(()) } else { Err(answer) }
    });

    fs::write(site.path("a/grants.toml"), "[backup]\nall = true\n").unwrap();
    let node = site.wait_for_node("a", |node| node.description.trouble.is_some());
    let trouble = node.description.trouble.unwrap();
    assert!(trouble.contains("grants.toml") && trouble.contains("line 2"), "{trouble}");
    assert!(call("setting", "name=bucket").ok().contains("weekly"));

    fs::write(site.path("a/grants.toml"), "").unwrap();
    wait_for("the grants to be taken back", || {
        let ran = call("setting", "name=bucket");
        if ran.stderr.contains("not granted") { Ok(()) } else { Err(ran.stdout) }
    });
    let log = agent.process.log();
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn requests_are_granted_by_what_a_plugin_asks_for_and_others_are_refused_and_recorded() {
    let site = site();
    let text = |name: &str| site.path(name).to_str().unwrap().to_owned();
    // The controller's own port speaks HTTP.
    let authority = site.url.trim_start_matches("ws://").trim_end_matches("/ws").to_owned();
    let manifest = format!(
        "name = \"fetches\"\n[asks]\n\
         http = [{{ authority = {authority:?}, scheme = \"http\", allow = [\"GET /health\"], reason = \"looks after it\" }}]\n"
    );
    fs::create_dir_all(site.path("a/plugins")).unwrap();
    fs::write(site.path("plugin.toml"), manifest).unwrap();
    let (file, target) = (component("fetches"), text("a/plugins/fetches.wasm"));
    let manifest = text("plugin.toml");
    let pack = ["plugin", "pack", file.to_str().unwrap(), "--manifest", &manifest, "-o", &target];
    let _ = local(&pack).ok();
    fs::write(site.path("a/grants.toml"), "").unwrap();
    let _agent = site.start_agent(1, "a", "");

    site.wait_for_node("a", |node| !node.description.refused.is_empty());
    let status = site.drover(&["plugin", "status", "a"]).stderr;
    for words in ["[fetches]", &format!("http.\"{authority}\""), "GET /health", "plugin grant"] {
        assert!(status.contains(words), "{words}: {status}");
    }
    let config = text("a/agent.toml");
    let said = local(&["plugin", "grant", "fetches", "--config", &config, "--yes"]).ok();
    assert!(said.contains("GET /health"), "{said}");
    site.wait_until_ready("a", 1);

    let fetch = |path: &str| {
        let url = format!("url=http://{authority}{path}");
        site.drover(&["call", "a", "fetches.fetch", &url])
    };
    wait_for("the grant to be in force", || {
        let ran = fetch("/health");
        if ran.stdout.contains("alive") { Ok(()) } else { Err(ran) }
    });
    let refused = fetch("/info").failed(1);
    assert!(refused.contains("/info"), "{refused}");
    wait_for("the denied request in the node's log", || {
        let said = site.drover(&["logs", "a", "--level", "7"]).stdout;
        let is_there = said.contains("denied to `fetches`") && said.contains("/info");
        if is_there { Ok(()) } else { Err(said) }
    });
}

/// What is granted twice is granted by neither file, so lines that change what is
/// there go where it is.
#[test]
fn lines_are_added_to_the_file_that_names_the_plugin() {
    let site = site();
    let text = |name: &str| site.path(name).to_str().unwrap().to_owned();
    for directory in ["a/plugins", "a/grants.d", "data"] {
        fs::create_dir_all(site.path(directory)).unwrap();
    }
    let manifest = "name = \"backup\"\n[asks]\n\
        settings = [{ name = \"bucket\", reason = \"r\" }]\n\
        state = { size = \"2 MiB\", reason = \"r\" }\n\
        sysinfo = { reason = \"r\" }\n";
    fs::write(site.path("plugin.toml"), manifest).unwrap();
    fs::write(site.path("a/grants.toml"), "[other]\n").unwrap();
    fs::write(site.path("a/grants.d/backup.toml"), "# ours\n[backup]\nstate = \"1 MiB\"\n")
        .unwrap();
    fs::write(site.path("a/agent.toml"), format!("data_dir = {:?}\n", text("a"))).unwrap();
    let (file, target) = (component("granted"), text("a/plugins/backup.wasm"));
    let manifest = text("plugin.toml");
    let pack = ["plugin", "pack", file.to_str().unwrap(), "--manifest", &manifest, "-o", &target];
    let _ = local(&pack).ok();

    let config = text("a/agent.toml");
    let grant = ["plugin", "grant", "backup", "--config", &config];
    let said = local(&[&grant[..], &["--set", "bucket=nightly", "--yes"]].concat());
    assert!(said.stderr.contains("grants.d/backup.toml"), "{said:?}");
    let _ = said.ok();
    let grants = fs::read_to_string(site.path("a/grants.d/backup.toml")).unwrap();
    assert!(grants.starts_with("# ours\n[backup]\nstate = \"2"), "{grants}");
    assert_eq!(fs::read_to_string(site.path("a/grants.toml")).unwrap(), "[other]\n");
    assert!(local(&grant).stderr.contains("granted all that it asks for"));
}

#[test]
fn inspecting_shows_what_a_plugin_asks_for() {
    let site = site();
    let file = component("sysinfo");
    let cache = compiled();
    let (file, cache) = (file.to_str().unwrap(), cache.to_str().unwrap());
    let text = site.path("grants.toml");
    fs::write(&text, "[sysinfo]\nsysinfo = true\n").unwrap();
    let inspect = ["plugin", "inspect", file, "--cache", cache, "--grants", text.to_str().unwrap()];
    let shown = local(&inspect).ok();
    for words in ["version: 0.1.0", "license: Apache-2.0", "asks for", "what the node is made of: "]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let json = local(&[&inspect[..], &["--json"]].concat()).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["manifest"]["name"], json!("sysinfo"));
}
