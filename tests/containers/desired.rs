//! Containers as they are described.

use serde_json::{Value, json};

use crate::kit::{Node, on_both};

fn ensure(node: &Node, change: &Value) -> Value {
    let mut wanted = json!({
        "name": "wanted", "timeout": 0,
        "container": { "image": "busybox:1", "command": ["sleep", "1000"], "environment": { "A": "1" } },
    });
    for (name, value) in change.as_object().unwrap() {
        if let Some(fields) = value.as_object() {
            wanted[name].as_object_mut().unwrap().extend(fields.clone());
        } else {
            wanted[name] = value.clone();
        }
    }
    node.call("ensure", wanted)
}

#[test]
fn a_described_container_is_made_changed_and_replaced_only_as_far_as_it_differs() {
    on_both(|node| {
        let dry = ensure(node, &json!({ "dry_run": true }));
        assert_eq!((&dry["actions"], &dry["id"]), (&json!(["create", "start"]), &Value::Null));
        let made = ensure(node, &json!({}));
        assert_eq!(made["actions"], json!(["create", "start"]));
        let nothing =
            json!({ "id": made["id"], "changed": false, "actions": [], "differences": [] });
        assert_eq!(ensure(node, &json!({})), nothing);

        let memory = json!({ "container": { "memory": 67_108_864, "memory_swap": 134_217_728 } });
        let updated = ensure(node, &memory);
        assert_eq!((&updated["actions"], &updated["id"]), (&json!(["update"]), &made["id"]));
        assert_eq!(ensure(node, &memory)["changed"], false);

        let other = json!({ "container": { "environment": { "A": "2" } } });
        let mut dry = other.clone();
        dry["dry_run"] = json!(true);
        assert!(ensure(node, &dry)["actions"].as_array().unwrap().contains(&json!("replace")));
        assert_eq!(node.call("inspect", json!({ "container": "wanted" }))["Id"], made["id"]);
        let replaced = ensure(node, &other);
        assert_ne!(replaced["id"], made["id"]);
        assert_eq!(ensure(node, &other)["changed"], false);
        let shown = node.call("inspect", json!({ "container": "wanted" }));
        assert_eq!(
            (&shown["Config"]["Env"][0], &shown["State"]["Running"]),
            (&json!("A=2"), &json!(true))
        );

        let mut stopped = other;
        stopped["running"] = json!(false);
        assert_eq!(ensure(node, &stopped)["actions"], json!(["stop"]));
        assert_eq!(ensure(node, &stopped)["changed"], false);

        let absent = |dry: bool| node.call("absent", json!({ "name": "wanted", "dry_run": dry }));
        assert_eq!(absent(true)["actions"], json!(["remove"]));
        assert_eq!(absent(false)["changed"], true);
        assert_eq!(absent(false)["changed"], false);
    });
}

#[test]
fn what_the_engine_does_not_take_leaves_the_old_one_running() {
    on_both(|node| {
        let wanted = |command: &str, image: &str| {
            json!({
                "name": "kept", "pull": "never",
                "container": { "image": image, "command": ["sleep", command] },
            })
        };
        node.call("ensure", wanted("1000", "busybox:1"));
        node.fails("ensure", wanted("1000", "nobody/has:1")).is("not-found", "nobody/has:1");
        assert_eq!(node.call("inspect", json!({ "container": "kept" }))["State"]["Running"], true);
        node.remove("kept");
    });
}

#[test]
fn a_hundred_containers_are_made_and_removed_at_once() {
    on_both(|node| {
        let all = |operation: &str, arguments: &dyn Fn(usize) -> Value| {
            let jobs: Vec<_> =
                (0..100).map(|number| node.start(operation, arguments(number))).collect();
            jobs.into_iter().map(|job| job.answer(node)).collect::<Vec<_>>()
        };
        let described = |number: usize| {
            json!({
                "name": format!("herd-{number}"), "running": false,
                "container": { "image": "busybox:1", "command": ["true"], "labels": { "story": "herd" } },
            })
        };
        assert!(all("ensure", &described).iter().all(|made| made["changed"] == true));
        assert!(all("ensure", &described).iter().all(|made| made["changed"] == false));
        let listed = json!({ "all": true, "filters": { "label": ["story=herd"] } });
        assert_eq!(node.call("list", listed.clone()).as_array().unwrap().len(), 100);
        let gone = all("absent", &|number| json!({ "name": format!("herd-{number}") }));
        assert!(gone.iter().all(|gone| gone["changed"] == true));
        assert_eq!(node.call("list", listed), json!([]));
    });
}
