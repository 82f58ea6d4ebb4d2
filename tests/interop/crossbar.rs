//! Our agent on a router that is not ours.

use std::fs;

use drover_tests::{Crossbar, Peer, Process, built_in, compiled, wait_for};
use serde_json::json;
use tempfile::TempDir;

use crate::DROVER;

#[test]
fn an_agent_serves_on_crossbar_whoever_may_call_there() {
    let crossbar = Crossbar::start();
    let dir = TempDir::new().unwrap();
    let agent = start_agent(&crossbar, &dir);
    agent.wait_for_log("joined");

    let peer = Peer::python();
    // What autobahn and Crossbar agree on unasked.
    let caller = peer.join(&crossbar.url, Crossbar::REALM, "cbor.batched");
    let beats = caller.subscribe("drover.node.heartbeat", json!({})).unwrap();
    assert_eq!(caller.events(beats, 1)[0]["args"][0]["node"], json!({"gid": 1, "nid": 7}));

    let greet = "drover.node.1.7.hello.greet";
    let greeting = wait_for("the plugin", || caller.call(greet, json!([]), json!({"name": "Ada"})));
    assert!(greeting["args"][0].to_string().contains("Hello, Ada!"), "{greeting}");
    let refused = caller.call(greet, json!([]), json!({})).unwrap_err();
    assert_eq!(refused.uri, "drover.error.invalid_arguments");

    let command = json!({"cmd": "hello.greet", "args": {"name": "Grace"}});
    let ran = caller.call("drover.node.1.7.run", json!([command]), json!({})).unwrap();
    assert_eq!(ran["args"][0]["state"], "OK", "{ran}");
}

/// Starts an agent as node 7 of the first grid, with the built-in plugins.
fn start_agent(crossbar: &Crossbar, dir: &TempDir) -> Process {
    let plugins = dir.path().join("plugins");
    fs::create_dir_all(&plugins).unwrap();
    built_in(&plugins);
    let config = format!(
        "controller = {:?}\nrealm = {:?}\nnid = 7\nname = \"guest\"\ndata_dir = {:?}\n\
         cache_dir = {:?}\nheartbeat = \"200ms\"\nreconnect_first = \"50ms\"\n",
        crossbar.url,
        Crossbar::REALM,
        dir.path(),
        compiled(),
    );
    let file = dir.path().join("agent.toml");
    fs::write(&file, config).unwrap();
    Process::start(DROVER.as_ref(), &["agent", "--config", file.to_str().unwrap()])
}
