//! Lists of containers.

use serde_json::{Value, json};

use crate::tell;

/// The query for filters.
pub(crate) fn filters(filters: &Value) -> String {
    let text = filters.to_string();
    format!("filters={}", text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>())
}

#[test]
fn a_list_has_what_passes_the_filters() {
    tell(|it| {
        let label = "group=listing";
        let with = |role: &str| json!({"Labels": {"group": "listing", "role": role}});
        it.container_with("list-made", "true", &with("a"));
        it.container_with("list-runs", "sleep 1000", &with("b"));
        it.start("list-runs");
        it.container_with("list-ended", "exit 3", &with("b"));
        it.start("list-ended");
        it.post("/containers/list-ended/wait");
        it.get(&format!("/containers/json?{}", filters(&json!({"label": [label]}))));
        it.get(&format!("/containers/json?all=1&{}", filters(&json!({"label": [label]}))));
        for more in [
            json!({"label": [label], "status": ["created"]}),
            json!({"label": [label], "status": ["running", "exited"]}),
            json!({"label": [label], "exited": ["3"]}),
            json!({"label": [label, "role=b"]}),
            json!({"label": {"group=listing": true}}),
            json!({"label": [label], "name": ["runs"]}),
            json!({"label": [label], "name": ["^/list-runs$"]}),
            json!({"label": [label], "before": ["list-runs"]}),
            json!({"label": [label], "since": ["list-runs"]}),
            json!({"label": [label], "ancestor": ["busybox:1"]}),
            json!({"label": [label], "ancestor": ["none"]}),
            json!({"label": [label], "network": ["bridge"]}),
            json!({"label": [label], "volume": ["none"]}),
        ] {
            let answer =
                it.quietly("GET", &format!("/containers/json?all=1&{}", filters(&more)), "", b"");
            let names: Vec<_> = answer
                .json()
                .as_array()
                .into_iter()
                .flatten()
                .map(|row| row["Names"][0].clone())
                .collect();
            it.note(&format!("{more}: {} {names:?}", answer.status));
        }
        it.get(&format!(
            "/containers/json?all=1&size=1&{}",
            filters(&json!({"name": ["list-runs"]}))
        ));
        for name in ["list-made", "list-runs", "list-ended"] {
            it.remove(name);
        }
    });
}

#[test]
fn a_filter_that_is_not_known_is_refused() {
    tell(|it| {
        it.get("/containers/json?filters=bogus");
        it.get(&format!("/containers/json?{}", filters(&json!({"bogus": ["x"]}))));
        it.get(&format!("/containers/json?{}", filters(&json!({"status": ["bogus"]}))));
        it.get(&format!("/containers/json?{}", filters(&json!({"before": ["none"]}))));
        it.get("/containers/json?limit=x");
        it.post(&format!("/containers/prune?{}", filters(&json!({"bogus": ["x"]}))));
    });
}

#[test]
fn a_container_is_found_by_the_beginning_of_its_id() {
    tell(|it| {
        let id = it.container("prefix", "true");
        for key in [&id[..12], &id[..63]] {
            let answer = it.quietly("GET", &format!("/containers/{key}/json"), "", b"");
            it.note(&format!("{} {}", answer.status, answer.json()["Name"]));
        }
        it.remove("prefix");
    });
}

#[test]
fn pruning_removes_what_does_not_run() {
    tell(|it| {
        let with = json!({"Labels": {"group": "pruning"}});
        it.container_with("prune-made", "true", &with);
        it.container_with("prune-runs", "sleep 1000", &with);
        it.start("prune-runs");
        it.post(&format!("/containers/prune?{}", filters(&json!({"label": ["group=pruning"]}))));
        it.post(&format!("/containers/prune?{}", filters(&json!({"label": ["group=pruning"]}))));
        it.get("/containers/prune-made/json");
        it.remove("prune-runs");
    });
}
