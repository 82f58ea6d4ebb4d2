//! What the grants that are shipped let through.

use serde_json::{Value, json};

use crate::kit::{Node, on_simulated, shell};

const READ_ONLY: &str = include_str!("../../plugins/container/grants/read-only.toml");
const LIFE_CYCLE: &str = include_str!("../../plugins/container/grants/life-cycle.toml");
const CREATE: &str = include_str!("../../plugins/container/grants/create.toml");

#[test]
fn each_grant_allows_what_it_is_for_and_no_more() {
    on_simulated(|everything, engine| {
        let one = json!({ "container": "watched" });
        let named = json!({ "name": "watched", "container": shell("sleep 1000") });
        everything.call("create", named);
        for (grants, may_start, may_remove) in
            [(READ_ONLY, false, false), (LIFE_CYCLE, true, false), (CREATE, true, true)]
        {
            let node = Node::at(engine.socket(), grants);
            node.call("list", json!({ "all": true }));
            node.call("inspect", one.clone());
            node.call("logs", one.clone());
            node.call("info", json!({}));
            let changes = || {
                let requests = engine.requests();
                requests.into_iter().filter(|request| !request.starts_with("GET ")).count()
            };
            let attempt = |operation: &str, may: bool, arguments: Value| {
                if may {
                    node.call(operation, arguments);
                } else {
                    let before = changes();
                    let denied = node.fails(operation, arguments);
                    denied.is("denied", "the node's admin does not allow");
                    assert_eq!(changes(), before, "the engine was asked");
                }
            };
            attempt("start", may_start, one.clone());
            let forcibly = json!({ "container": "watched", "force": true });
            attempt("remove", may_remove, forcibly);
        }
    });
}

#[test]
fn no_container_gets_power_over_the_host() {
    on_simulated(|_, engine| {
        let node = Node::at(engine.socket(), CREATE);
        let with = |field: &str, value: Value| {
            let mut container = shell("true");
            container[field] = value;
            json!({ "container": container })
        };
        let mount = |source: &str| json!([{ "kind": "bind", "source": source, "target": "/x" }]);
        for (field, value) in [
            ("privileged", json!(true)),
            ("cap_add", json!(["SYS_ADMIN"])),
            ("devices", json!([{ "source": "/dev/kmsg" }])),
            ("mounts", mount("/")),
            ("mounts", mount("/srv/../etc")),
            ("network_mode", json!("host")),
            ("network_mode", json!("container:other")),
            ("engine", json!({ "HostConfig": { "PidMode": "host" } })),
            ("engine", json!({ "HostConfig": { "Binds": ["/etc:/etc"] } })),
            ("engine", json!({ "HostConfig": { "SecurityOpt": ["apparmor=unconfined"] } })),
            ("engine", json!({ "hostConfig": { "privileged": true } })),
        ] {
            let asked = with(field, value);
            node.fails("create", asked.clone()).is("denied", "POST /v1.41/containers/create");
            let mut described = asked;
            described["name"] = json!("power");
            node.fails("ensure", described).is("denied", "POST /v1.41/containers/create");
        }
        assert!(!engine.requests().contains(&"POST /containers/create".to_owned()));
        for (field, value) in [
            ("privileged", json!(false)),
            ("mounts", mount("/srv/data")),
            ("cap_drop", json!(["ALL"])),
            ("memory", json!(1 << 26)),
        ] {
            node.call("create", with(field, value));
        }
    });
}

#[test]
fn what_is_too_long_to_be_checked_is_denied_and_the_log_says_why() {
    on_simulated(|_, engine| {
        let node = Node::at(engine.socket(), CREATE);
        let mut container = shell("true");
        container["environment"] = json!({ "LONG": "x".repeat(1 << 20) });
        let outcome = node.start("create", json!({ "container": container })).outcome(&node);
        assert_eq!(outcome.error.unwrap().detail["code"], "denied");
        let told =
            outcome.records.iter().any(|record| record.data.contains("more than 1048576 bytes"));
        assert!(told, "{:?}", outcome.records);
        assert!(!engine.requests().contains(&"POST /containers/create".to_owned()));
    });
}
