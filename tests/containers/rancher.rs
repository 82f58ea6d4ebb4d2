//! Events of a Rancher controller, from an instance's activation to its removal.

use serde_json::{Value, json};

use crate::kit::{Node, on_both};

fn send(node: &Node, name: &str, data: &Value) -> Value {
    let event = json!({
        "id": "e1", "name": name, "replyTo": "reply.1", "resourceId": "7",
        "resourceType": "instance", "data": data,
    });
    let reply = node.call("rancher_event", json!({ "event": event }));
    assert_eq!(
        (&reply["name"], &reply["previousIds"]),
        (&json!("reply.1"), &json!(["e1"])),
        "{reply}"
    );
    reply
}

fn instance() -> Value {
    json!({ "instanceHostMap": { "instance": {
        "uuid": "u-1", "name": "cattle", "hostname": "cattle",
        "image": { "data": { "dockerImage": { "fullName": "busybox:1" } } },
        "data": { "fields": {
            "command": ["sleep", "1000"], "environment": { "A": "b" }, "labels": { "herd": "1" },
            "memory": 67_108_864, "capDrop": ["MKNOD"], "stdinOpen": true,
            "restartPolicy": { "name": "on-failure", "maximumRetryCount": 2 },
        } },
    } } })
}

#[test]
fn an_instance_is_activated_once_inspected_stopped_and_removed() {
    on_both(|node| {
        let made = send(node, "compute.instance.activate;agent=3", &instance());
        let state = &made["data"]["instanceHostMap"]["instance"];
        let id = state["externalId"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let inspected = &state["+data"]["dockerInspect"];
        assert_eq!(inspected["Name"], "/r-cattle");
        assert_eq!(inspected["Config"]["Labels"]["io.rancher.container.uuid"], "u-1");
        assert_eq!(inspected["HostConfig"]["CapDrop"], json!(["MKNOD"]));
        let again = send(node, "compute.instance.activate", &instance());
        assert_eq!(again["data"]["instanceHostMap"]["instance"]["externalId"], id);

        let asked = json!({ "instanceInspect": { "id": id } });
        let shown = send(node, "compute.instance.inspect", &asked);
        assert_eq!(shown["data"]["instanceInspect"]["Id"], id);
        let mut stop = instance();
        stop["processData"] = json!({ "timeout": 0 });
        send(node, "compute.instance.deactivate", &stop);
        assert_eq!(node.call("inspect", json!({ "container": id }))["State"]["Running"], false);
        let force = json!({ "instanceForceStop": { "id": id } });
        send(node, "compute.instance.force.stop", &force);
        let ping =
            send(node, "ping", &json!({ "options": { "resources": true, "instances": true } }));
        let resources = ping["data"]["resources"].to_string();
        assert!(resources.contains("u-1") && resources.contains("stopped"), "{resources}");
        for _ in 0..2 {
            let removed = send(node, "compute.instance.remove", &instance());
            assert_eq!(removed["data"], json!({}));
        }
        node.fails("inspect", json!({ "container": id })).is("not-found", "No such container");
        let gone = send(node, "compute.instance.inspect", &asked);
        assert_eq!(gone["transitioning"], "error");
    });
}

#[test]
fn events_of_one_object_come_one_after_the_other_and_none_is_dropped() {
    on_both(|node| {
        let event = |id: usize| {
            json!({ "event": {
                "id": format!("e{id}"), "name": "compute.instance.activate", "replyTo": "r",
                "resourceId": "7", "resourceType": "instance", "data": instance(),
            } })
        };
        let jobs: Vec<_> = (0..10).map(|id| node.start("rancher_event", event(id))).collect();
        let ids: Vec<_> = jobs
            .into_iter()
            .map(|job| {
                let reply = job.answer(node);
                assert_eq!(reply["transitioning"], Value::Null, "{reply}");
                reply["data"]["instanceHostMap"]["instance"]["externalId"].clone()
            })
            .collect();
        assert!(ids.iter().all(|id| id.is_string() && *id == ids[0]), "{ids:?}");
        send(node, "compute.instance.remove", &instance());
    });
}

#[test]
fn volumes_come_and_go() {
    on_both(|node| {
        let data = json!({ "volumeStoragePoolMap": { "volume": {
            "name": "fodder", "data": { "fields": { "driver": "local" } },
        } } });
        let made = send(node, "storage.volume.activate", &data);
        assert_eq!(made["transitioning"], Value::Null, "{made}");
        node.call("volume_inspect", json!({ "volume": "fodder" }));
        send(node, "storage.volume.deactivate", &data);
        for _ in 0..2 {
            send(node, "storage.volume.remove", &data);
        }
        node.fails("volume_inspect", json!({ "volume": "fodder" })).is("not-found", "fodder");
        let image = json!({ "imageStoragePoolMap": { "image": { "name": "docker:busybox:1" } } });
        let there = send(node, "storage.image.activate", &image);
        assert_eq!(there["data"], json!({ "imageStoragePoolMap": {} }), "{there}");
    });
}
