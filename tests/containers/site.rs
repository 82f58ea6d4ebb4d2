//! A site whose operator looks at containers.

use drover_tests::{Site, component, wait_for};
use serde_json::{Value, json};

use crate::DROVER;
use crate::kit::{on_simulated, shell};

const READ_ONLY: &str = include_str!("../../plugins/container/grants/read-only.toml");

#[test]
fn an_operator_sees_the_containers_of_a_node() {
    on_simulated(|node, engine| {
        let site = Site::start(DROVER);
        let bytes = std::fs::read(component("container")).unwrap();
        site.add_plugin("a", "container.wasm", &bytes);
        let grants = READ_ONLY.replace("/var/run/docker.sock", engine.socket().to_str().unwrap());
        std::fs::write(site.path("a/grants.toml"), grants).unwrap();
        let _a = site.start_agent(1, "a", "");
        site.wait_until_ready("a", 1);

        let none = site.drover(&["containers", "a"]);
        assert!(none.stderr.contains("--all"), "{none:?}");
        let mut container = shell("sleep 1000");
        container["labels"] = json!({ "team": "web" });
        node.call("create", json!({ "name": "seen", "container": container }));
        assert!(!site.drover(&["containers", "a"]).ok().contains("seen"));
        let all = site.drover(&["containers", "a", "--all"]).ok();
        assert!(
            all.starts_with("NAME") && all.contains("seen") && all.contains("Created"),
            "{all}"
        );
        node.call("start", json!({ "container": "seen" }));
        let web = ["containers", "a", "--label", "team=web", "--json"];
        let shown: Value = serde_json::from_str(&site.drover(&web).ok()).unwrap();
        assert_eq!(shown[0]["Names"], json!(["/seen"]));
        let none = site.drover(&["containers", "a", "--label", "team=sheep", "--json"]).ok();
        assert_eq!(none.trim(), "[]");

        engine.go_away();
        let away = site.drover(&["containers", "a"]).failed(1);
        assert!(away.contains("see whether the engine runs"), "{away}");
    });
}

#[test]
fn what_containers_write_is_in_the_log_of_their_node_and_found_by_their_name() {
    on_simulated(|node, engine| {
        let start = |name: &str, script: &str, label: &str| {
            let mut container = shell(script);
            container["labels"] = json!({ "io.drover.logs": label });
            node.call("create", json!({ "name": name, "container": container }));
            node.call("start", json!({ "container": name }));
        };
        start("web", "echo plain; echo 7::odd; sleep 1000", "true");
        start("db", "echo '8::worse'; sleep 1000", "true");
        start("quiet", "echo secret; sleep 1000", "false");

        let site = Site::start(DROVER);
        let bytes = std::fs::read(component("container")).unwrap();
        site.add_plugin("a", "container.wasm", &bytes);
        let grants = READ_ONLY.replace("/var/run/docker.sock", engine.socket().to_str().unwrap());
        std::fs::write(site.path("a/grants.toml"), grants).unwrap();
        let _a =
            site.start_agent(1, "a", "[services.captured]\noperation = \"container.capture\"\n");
        site.wait_until_ready("a", 1);

        let of = |field: &str| site.drover(&["logs", "a", "--field", field]).ok();
        let web = wait_for("what web wrote", || {
            let log = of("container=web");
            log.contains("web: odd").then_some(()).ok_or(log.clone()).map(|()| log)
        });
        assert!(web.contains("web: plain") && !web.contains("worse"), "{web}");
        let db = wait_for("what db wrote", || {
            let log = of("container=db");
            log.contains("db: worse").then_some(()).ok_or(log.clone()).map(|()| log)
        });
        assert!(!db.contains("web"), "{db}");
        let warnings = ["logs", "a", "--field", "container=web", "--field", "stream=stdout"];
        let odd = site.drover(&[&warnings[..], &["--level", "7"]].concat()).ok();
        assert!(odd.contains("odd") && !odd.contains("plain"), "{odd}");
        assert!(!site.drover(&["logs", "a"]).ok().contains("secret"));
    });
}
