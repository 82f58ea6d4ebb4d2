//! Volumes.

use serde_json::json;

use crate::listing::filters;
use crate::tell;

#[test]
fn a_volume_is_made_once_and_removed_when_nobody_has_it() {
    tell(|it| {
        it.post_json("/volumes/create", &json!({"Name": "kept", "Labels": {"a": "b"}}));
        it.post_json("/volumes/create", &json!({"Name": "kept"}));
        it.post_json("/volumes/create", &json!({"Name": "-bad/"}));
        it.get("/volumes/kept");
        it.get("/volumes/none");
        it.get(&format!("/volumes?{}", filters(&json!({"name": ["kept"]}))));
        it.get(&format!("/volumes?{}", filters(&json!({"bogus": ["kept"]}))));
        let host = json!({"Binds": ["kept:/data:ro", "fresh:/more"]});
        it.container_with("keeper", "sleep 1000", &json!({"HostConfig": host}));
        it.start("keeper");
        it.get("/containers/keeper/json");
        it.ask("DELETE", "/volumes/kept");
        it.remove("keeper");
        it.ask("DELETE", "/volumes/kept");
        it.ask("DELETE", "/volumes/fresh");
        it.ask("DELETE", "/volumes/none");
        it.ask("DELETE", "/volumes/none?force=1");
        it.note_events(&json!({"volume": ["kept"]}));
    });
}

#[test]
fn pruning_removes_volumes_that_nobody_has() {
    tell(|it| {
        it.post_json("/volumes/create", &json!({"Name": "loose", "Labels": {"group": "loose"}}));
        let loose = filters(&json!({"label": ["group=loose"]}));
        it.post(&format!("/volumes/prune?{loose}"));
        it.post(&format!("/volumes/prune?{loose}"));
    });
}

#[test]
fn mounts_of_each_kind_come_back() {
    tell(|it| {
        it.post_json("/volumes/create", &json!({"Name": "mounted"}));
        let host = json!({
            "Mounts": [
                {"Type": "volume", "Source": "mounted", "Target": "/v", "ReadOnly": true},
                {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1_048_576}},
                {"Type": "bind", "Source": "/var", "Target": "/b", "ReadOnly": true},
            ],
            "Binds": ["/var:/c:ro"],
        });
        it.container_with("mounts", "sleep 1000", &json!({"HostConfig": host}));
        it.start("mounts");
        it.get("/containers/mounts/json");
        it.remove("mounts");
        it.ask("DELETE", "/volumes/mounted");
        for mount in [
            json!({"Type": "bogus", "Source": "a", "Target": "/b"}),
            json!({"Type": "volume", "Source": "a"}),
            json!({"Type": "bind", "Target": "/b"}),
            json!({"Type": "tmpfs", "Source": "a", "Target": "/b"}),
        ] {
            let wanted =
                json!({"Image": "busybox:1", "Cmd": ["true"], "HostConfig": {"Mounts": [mount]}});
            it.post_json("/containers/create?name=unmountable", &wanted);
        }
    });
}
