//! Networks and volumes, and the engine itself.

use serde_json::json;

use crate::kit::{on_both, shell};

#[test]
fn a_network_is_created_joined_left_and_removed() {
    on_both(|node| {
        let network = json!({ "name": "meadow", "subnet": "10.99.7.0/24", "labels": { "a": "b" } });
        node.call("network_create", network.clone());
        node.fails("network_create", network).is("conflict", "cannot create network meadow");
        node.call("create", json!({ "name": "sheep", "container": shell("sleep 1000") }));
        node.call("start", json!({ "container": "sheep" }));
        let member = json!({ "network": "meadow", "container": "sheep" });
        assert_eq!(node.call("network_connect", member.clone()), json!({ "changed": true }));
        assert_eq!(node.call("network_connect", member.clone()), json!({ "changed": false }));
        let shown = node.call("network_inspect", json!({ "network": "meadow" }));
        assert_eq!(shown["Containers"].as_object().unwrap().len(), 1);
        let busy = node.fails("network_remove", json!({ "network": "meadow" }));
        busy.is("forbidden", "cannot remove network meadow");
        assert_eq!(node.call("network_disconnect", member.clone()), json!({ "changed": true }));
        assert_eq!(node.call("network_disconnect", member), json!({ "changed": false }));
        node.call("network_remove", json!({ "network": "meadow" }));
        let gone = json!({ "filters": { "name": ["meadow"] } });
        assert_eq!(node.call("network_list", gone), json!([]));
        node.call("network_prune", json!({ "filters": { "label": ["story=none"] } }));
        node.remove("sheep");
    });
}

#[test]
fn a_volume_keeps_what_a_container_leaves() {
    on_both(|node| {
        let volume = json!({ "name": "barn", "labels": { "a": "b" } });
        node.call("volume_create", volume.clone());
        node.call("volume_create", volume);
        let mut container = shell("echo hay > /barn/hay");
        container["mounts"] = json!([{ "kind": "volume", "source": "barn", "target": "/barn" }]);
        let stays = json!({ "name": "farmer", "container": container, "stay": true });
        assert_eq!(node.call("run", stays)["status"], 0);
        let busy = node.fails("volume_remove", json!({ "volume": "barn" }));
        busy.is("conflict", "cannot remove volume barn");
        node.remove("farmer");
        assert_eq!(node.call("volume_inspect", json!({ "volume": "barn" }))["Name"], "barn");
        let listed = node.call("volume_list", json!({ "filters": { "name": ["barn"] } }));
        assert_eq!(listed["Volumes"].as_array().unwrap().len(), 1);
        node.call("volume_remove", json!({ "volume": "barn" }));
        node.fails("volume_inspect", json!({ "volume": "barn" })).is("not-found", "barn");
        node.call("volume_prune", json!({ "filters": { "label": ["story=none"] } }));
    });
}

#[test]
fn the_engine_tells_of_itself_and_of_what_happened() {
    on_both(|node| {
        assert!(node.call("info", json!({}))["ID"].is_string());
        assert!(node.call("version", json!({}))["ApiVersion"].is_string());
        assert!(node.call("disk_use", json!({})).is_object());
        node.call("run", json!({ "name": "eventful", "container": shell("true") }));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let asked = json!({
            "since": "1", "until": format!("{}.{:09}", now.as_secs(), now.subsec_nanos()),
            "filters": { "container": ["eventful"], "event": ["create", "start", "die"] },
        });
        let events = node.call("events_between", asked);
        let actions: Vec<_> =
            events.as_array().unwrap().iter().map(|e| e["Action"].clone()).collect();
        assert_eq!(actions, ["create", "start", "die"]);
    });
}
