//! Networks.

use drover_engine_tests::Story;
use serde_json::json;

use crate::listing::filters;
use crate::tell;

#[test]
fn a_container_joins_and_leaves_a_network() {
    tell(|it| {
        let wanted = json!({"Name": "net", "CheckDuplicate": true, "Labels": {"a": "b"}});
        it.post_json("/networks/create", &wanted);
        it.post_json("/networks/create", &wanted);
        it.post_json("/networks/create", &json!({"Name": ""}));
        it.get("/networks/net");
        it.get("/networks/none");
        it.get(&format!("/networks?{}", filters(&json!({"name": ["net"]}))));
        it.get(&format!("/networks?{}", filters(&json!({"name": ["bridge"]}))));
        it.container("member", "sleep 1000");
        it.start("member");
        it.post_json("/networks/net/connect", &json!({"Container": "member"}));
        it.post_json("/networks/net/connect", &json!({"Container": "member"}));
        it.post_json("/networks/net/connect", &json!({"Container": "none"}));
        it.post_json("/networks/none/connect", &json!({"Container": "member"}));
        it.post_json("/networks/nowhere/connect", &json!({"Container": "member"}));
        it.get("/networks/net");
        it.get("/containers/member/json");
        it.ask("DELETE", "/networks/net");
        it.ask("DELETE", "/networks/bridge");
        it.post_json("/networks/net/disconnect", &json!({"Container": "member"}));
        it.post_json("/networks/net/disconnect", &json!({"Container": "member"}));
        it.remove("member");
        it.ask("DELETE", "/networks/net");
        it.ask("DELETE", "/networks/net");
    });
}

#[test]
fn a_container_starts_on_the_network_that_it_names() {
    tell(|it| {
        it.post_json("/networks/create", &json!({"Name": "home"}));
        let host = json!({"HostConfig": {"NetworkMode": "home"}});
        it.container_with("inhabitant", "sleep 1000", &host);
        it.start("inhabitant");
        it.get("/containers/inhabitant/json");
        it.remove("inhabitant");
        let host = json!({"HostConfig": {"NetworkMode": "nowhere"}});
        it.container_with("stray", "sleep 1000", &host);
        it.post("/containers/stray/start");
        it.remove("stray");
        it.ask("DELETE", "/networks/home");
    });
}

#[test]
fn pruning_removes_networks_that_nobody_is_on() {
    tell(|it| {
        it.post_json("/networks/create", &json!({"Name": "empty", "Labels": {"group": "empty"}}));
        let empty = filters(&json!({"label": ["group=empty"]}));
        it.post(&format!("/networks/prune?{empty}"));
        it.post(&format!("/networks/prune?{empty}"));
    });
}

#[test]
fn ports_are_open_while_the_container_runs() {
    tell(|it| {
        let more = json!({
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "9000/tcp": {}},
            "HostConfig": {"PortBindings": {
                "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}],
                "53/udp": [{"HostPort": "15353"}],
            }},
        });
        it.container_with("open", "sleep 1000", &more);
        let ports = |it: &mut Story| {
            let found = it.quietly("GET", "/containers/open/json", "", b"").json();
            it.note(&found["NetworkSettings"]["Ports"].to_string());
            let listed = it.quietly(
                "GET",
                &format!("/containers/json?all=1&{}", filters(&json!({"label": ["story=open"]}))),
                "",
                b"",
            );
            let listed = listed.json();
            let mut rows = listed[0]["Ports"].as_array().cloned().unwrap_or_default();
            rows.sort_unstable_by_key(ToString::to_string);
            it.note(&json!(rows).to_string());
        };
        ports(it);
        it.start("open");
        ports(it);
        it.post("/containers/open/stop?t=0");
        ports(it);
        it.remove("open");
        for bindings in [
            json!({"x/tcp": [{"HostPort": "1"}]}),
            json!({"80/bogus": [{"HostPort": "1"}]}),
            json!({"80/tcp": [{"HostPort": "x"}]}),
        ] {
            let host = json!({"PortBindings": bindings});
            let wanted = json!({"Image": "busybox:1", "Cmd": ["true"], "HostConfig": host});
            it.post_json("/containers/create?name=unopenable", &wanted);
        }
        it.remove("unopenable");
    });
}
