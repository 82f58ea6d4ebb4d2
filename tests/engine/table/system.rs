//! The engine itself.

use serde_json::json;

use crate::tell;

#[test]
fn an_engine_says_that_it_is_there() {
    tell(|it| {
        let answer = it.get("/_ping");
        for name in ["api-version", "ostype", "docker-experimental", "server"] {
            it.note(&format!("{name}: {:?}", answer.header(name)));
        }
        let head = it.ask("HEAD", "/_ping");
        it.note(&format!("{:?}", head.header("api-version")));
        it.ask_plainly("GET", "/_ping");
    });
}

#[test]
fn versions_and_information_have_the_same_shape() {
    tell(|it| {
        it.shape("/version");
        let info = it.quietly("GET", "/info", "", b"").json();
        let names: Vec<_> = info.as_object().into_iter().flatten().map(|(name, _)| name).collect();
        it.note(&format!("{names:?}"));
    });
}

#[test]
fn the_use_of_a_running_container_has_the_same_shape() {
    tell(|it| {
        it.container("used", "sleep 1000");
        it.start("used");
        it.shape("/containers/used/stats?stream=0&one-shot=1");
        it.shape("/containers/used/stats?stream=0");
        let mut lines = it.open("GET", "/containers/used/stats", "", b"");
        let first = lines.more().unwrap_or_default();
        let line: serde_json::Value = serde_json::from_slice(&first).unwrap_or_default();
        it.note(&format!("{} {}", line["name"], line["pids_stats"]));
        it.remove("used");
    });
}

#[test]
fn the_use_of_a_stopped_container_is_empty() {
    tell(|it| {
        it.container("unused", "sleep 1000");
        it.get("/containers/unused/stats?stream=0");
        it.remove("unused");
    });
}

#[test]
fn processes_are_listed_in_columns() {
    tell(|it| {
        it.container_with("listed", "", &json!({"Cmd": ["sleep", "1000"]}));
        it.start("listed");
        let processes = it.quietly("GET", "/containers/listed/top", "", b"").json();
        it.note(&format!("{} {}", processes["Titles"], processes["Processes"][0][7]));
        let chosen = it.quietly("GET", "/containers/listed/top?ps_args=-o%20pid,comm", "", b"");
        let chosen = chosen.json();
        it.note(&format!("{} {}", chosen["Titles"], chosen["Processes"][0][1]));
        it.remove("listed");
    });
}

#[test]
fn the_use_of_the_disk_has_the_same_parts() {
    tell(|it| {
        it.container("disk", "true");
        let used = it.quietly("GET", "/system/df", "", b"").json();
        let names: Vec<_> = used.as_object().into_iter().flatten().map(|(name, _)| name).collect();
        it.note(&format!("{names:?}"));
        let fields = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
        };
        it.note(&format!("{:?}", fields(&used["Images"][0])));
        it.remove("disk");
    });
}
