//! A site admin changes plugins while the node works.

use std::fs;

use drover_api::{NodeStatus, PluginList, PluginState, PluginStatus};
use drover_tests::{Site, component, wait_for};

use crate::site;

fn list(site: &Site) -> PluginList {
    serde_json::from_str(&site.drover(&["plugin", "status", "a", "--json"]).ok()).unwrap()
}

fn wait_for_status(site: &Site, name: &str, is_right: impl Fn(&PluginStatus) -> bool) {
    wait_for(&format!("plugin {name}"), || {
        let list = list(site);
        let right = list.plugins.iter().any(|plugin| plugin.name == name && is_right(plugin));
        right.then_some(()).ok_or(list)
    });
}

fn has_plugin(node: &NodeStatus, name: &str) -> bool {
    node.description.plugins.iter().any(|plugin| plugin.name == name)
}

#[test]
fn a_plugin_is_dropped_broken_mended_and_removed_while_the_node_works() {
    let site = site();
    let _a = site.agent(1, "a");
    let guests = fs::read(component("guests")).unwrap();

    site.add_plugin("a", "guests.wasm", &guests);
    site.wait_for_node("a", |node| has_plugin(node, "guests"));
    assert_eq!(site.drover(&["call", "a", "guests.echo", "value=7"]).ok(), "7\n");

    site.add_plugin("a", "guests.wasm", &guests[..guests.len() / 2]);
    site.wait_for_node("a", |node| {
        let refused = node.description.refused.first();
        refused.is_some_and(|refused| refused.reason.contains("truncated"))
    });
    let shown = site.drover(&["plugin", "status", "a"]);
    assert!(shown.stderr.contains("guests.wasm is refused: it is truncated"), "{shown:?}");
    assert_eq!(site.drover(&["call", "a", "guests.echo", "value=7"]).ok(), "7\n");
    wait_for("a record of it", || {
        let log = site.drover(&["logs", "a", "--name", "plugins"]).ok();
        log.contains("guests.wasm is refused").then_some(()).ok_or(log)
    });

    site.add_plugin("a", "guests.wasm", &guests);
    wait_for_status(&site, "guests", |plugin| plugin.next.is_none());

    fs::remove_file(site.path("a/plugins/guests.wasm")).unwrap();
    site.wait_for_node("a", |node| !has_plugin(node, "guests"));
    let errors = site.drover(&["call", "a", "guests.empty"]).failed(4);
    assert!(errors.contains("no plugin `guests`"), "{errors}");
}

#[test]
fn a_plugin_that_crashes_again_and_again_is_put_away_and_let_out() {
    let site = site();
    for name in ["guests", "hello"] {
        site.add_plugin("a", &format!("{name}.wasm"), &fs::read(component(name)).unwrap());
    }
    let _a = site.start_agent(1, "a", "[limits]\nquarantine_after = 2\n");
    site.wait_until_ready("a", 2);

    for _ in 0..2 {
        let errors = site.drover(&["call", "a", "guests.panic", "message=oh no"]).failed(1);
        assert!(errors.contains("oh no"), "{errors}");
    }
    let errors = site.drover(&["call", "a", "guests.empty"]).failed(1);
    for words in ["quarantined", "oh no", "drover plugin release NODE guests"] {
        assert!(errors.contains(words), "no {words} in {errors}");
    }
    assert!(site.drover(&["call", "a", "hello.greet", "name=Ada"]).ok().contains("Ada"));
    let guests = list(&site).plugins.into_iter().find(|plugin| plugin.name == "guests").unwrap();
    assert_eq!(guests.state, PluginState::Quarantined);
    wait_for("a critical record", || {
        let log = site.drover(&["logs", "a", "--name", "plugins", "--level", "9"]).ok();
        log.contains("`guests` is in quarantine").then_some(()).ok_or(log)
    });

    site.wait_for_node("a", |node| {
        let trouble = node.description.trouble.as_deref().unwrap_or_default();
        trouble.contains("`guests` is in quarantine") && trouble.contains("oh no")
    });

    let said = site.drover(&["plugin", "release", "a", "guests"]).ok();
    assert!(said.contains("gets jobs again"), "{said}");
    assert_eq!(site.drover(&["call", "a", "guests.echo", "value=7"]).ok(), "7\n");
    site.wait_for_node("a", |node| node.description.trouble.is_none());
    let said = site.drover(&["plugin", "release", "a", "guests"]).ok();
    assert!(said.contains("no quarantine"), "{said}");
    let errors = site.drover(&["plugin", "release", "a", "gests"]).failed(4);
    assert!(errors.contains("guests"), "{errors}");
}
