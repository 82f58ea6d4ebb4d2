//! Containers from their creation to their removal.

use serde_json::json;

use crate::kit::{on_both, shell};

#[test]
fn a_container_lives_from_create_to_remove_and_asking_twice_changes_nothing() {
    on_both(|node| {
        let wanted = json!({
            "image": "busybox:1", "command": ["sleep", "1000"],
            "environment": { "A": "b" }, "labels": { "story": "life" },
        });
        let made = node.call("create", json!({ "name": "life", "container": wanted }));
        let one = json!({ "container": "life" });
        let shown = node.call("inspect", one.clone());
        assert_eq!((&shown["Id"], &shown["State"]["Status"]), (&made["id"], &json!("created")));
        assert_eq!(shown["Config"]["Env"][0], "A=b");
        let again = json!({ "name": "life", "container": shell("true") });
        node.fails("create", again).is("conflict", "cannot create container life");

        for (operation, status) in
            [("start", "running"), ("pause", "paused"), ("unpause", "running"), ("stop", "exited")]
        {
            let mut asked = one.clone();
            if operation == "stop" {
                asked["timeout"] = json!(0);
            }
            let changed = node.call(operation, asked.clone());
            assert_eq!(changed, json!({ "changed": true }), "{operation}");
            assert_eq!(node.call("inspect", one.clone())["State"]["Status"], status);
            assert_eq!(node.call(operation, asked), json!({ "changed": false }), "{operation}");
        }
        node.call("restart", json!({ "container": "life", "timeout": 0 }));
        let listed = json!({ "filters": { "label": ["story=life"] } });
        assert_eq!(node.call("list", listed.clone())[0]["Id"], made["id"]);
        node.fails("remove", one.clone()).is("conflict", "cannot remove container life");
        node.call("kill", one.clone());
        assert_eq!(node.call("wait", one.clone())["status"], 137);
        node.fails("kill", one.clone()).is("conflict", "is not running");
        assert_eq!(node.call("list", listed), json!([]));

        node.call("rename", json!({ "container": "life", "name": "afterlife" }));
        node.fails("inspect", one).is("not-found", "No such container: life");
        let one = json!({ "container": "afterlife" });
        assert_eq!(node.call("remove", one.clone()), json!({ "changed": true }));
        assert_eq!(node.call("absent", json!({ "name": "afterlife" }))["changed"], false);
        node.fails("start", one).is("not-found", "cannot start container afterlife");
    });
}

#[test]
fn processes_and_changed_files_are_seen_and_limits_can_change() {
    on_both(|node| {
        let container = shell("touch /tmp/new; echo ready; sleep 1000");
        node.call("create", json!({ "name": "looked", "container": container }));
        let one = json!({ "container": "looked" });
        node.fails("top", one.clone()).is("conflict", "cannot list the processes");
        node.call("start", one.clone());
        let follow = json!({ "container": "looked", "follow": true, "stream": "stdout" });
        let mut logs = node.start("logs", follow);
        assert_eq!(logs.report(node).unwrap()["text"], "ready\n");
        logs.cancel();
        assert_eq!(logs.outcome(node).state, drover_api::JobState::Killed);

        let processes = node.call("top", one.clone())["Processes"].to_string();
        assert!(processes.contains("sleep 1000"), "{processes}");
        let changes = node.call("changes", one.clone());
        let new = json!({ "path": "/tmp/new", "kind": "added" });
        assert!(changes.as_array().unwrap().contains(&new), "{changes}");

        let limits =
            json!({ "container": "looked", "memory": 67_108_864, "memory_swap": 67_108_864 });
        node.call("update", limits);
        let shown = node.call("inspect", one.clone());
        assert_eq!(shown["HostConfig"]["Memory"], 67_108_864);
        let low = json!({ "container": "looked", "memory": 1 });
        node.fails("update", low).is("invalid", "cannot update container looked");
        node.remove("looked");
    });
}

#[test]
fn what_is_pruned_is_told() {
    on_both(|node| {
        let container = json!({
            "image": "busybox:1", "command": ["true"], "labels": { "story": "pruned" },
        });
        let made = node.call("create", json!({ "container": container }));
        let filters = json!({ "filters": { "label": ["story=pruned"] } });
        let pruned = node.call("prune", filters.clone());
        assert_eq!(pruned["ContainersDeleted"], json!([made["id"]]));
        let pruned = node.call("prune", filters);
        assert!(pruned["ContainersDeleted"].as_array().is_none_or(Vec::is_empty), "{pruned}");
    });
}
