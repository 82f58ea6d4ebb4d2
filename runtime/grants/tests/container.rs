//! The grants that come with the container plugin do what they say, by the
//! general rules for requests and bodies alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use drover_grants::{Allowance, Decision, Grants, HttpDenial, HttpRequest, Manifest, decide};
use serde_json::{Value, json};

fn plugin(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/container").join(file)
}

/// What the plugin may do with one of its grants.
fn granted(file: &str) -> Allowance {
    let manifest = std::fs::read_to_string(plugin("plugin.toml")).unwrap();
    let manifest = Manifest::from_toml(&manifest).unwrap();
    let nowhere = tempfile::tempdir().unwrap();
    let grants = Grants::load(&plugin(&format!("grants/{file}.toml")), nowhere.path()).unwrap();
    match decide("container", &manifest.asks, &grants) {
        Decision::Allowed { allowance, unasked } => {
            assert!(unasked.is_empty(), "{file}: {unasked:?}");
            allowance
        }
        Decision::Missing(missing) => panic!("{file}: {missing:?}"),
    }
}

/// Judges a request such as `GET /v1.41/info?x=y` with its body.
fn judge(allowance: &Allowance, request: &str, body: &[u8]) -> Result<(), HttpDenial> {
    let (method, target) = request.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let request = HttpRequest { method, path, query, is_upgrade: false };
    match allowance.http.first().unwrap().check(&request)? {
        Some(rule) => rule.check(body),
        None => Ok(()),
    }
}

fn create(allowance: &Allowance, body: &str) -> Result<(), HttpDenial> {
    judge(allowance, "POST /v1.41/containers/create?name=web", body.as_bytes())
}

const READ: &[&str] = &[
    "GET /_ping",
    "GET /v1.41/info",
    "GET /v1.41/containers/json?all=true",
    "GET /v1.41/containers/web/json",
    "GET /v1.41/containers/web/logs?stdout=true&follow=true",
    "GET /v1.41/containers/web/stats?stream=false",
    "GET /v1.41/images/registry:5000/team/app:1/json",
    "GET /v1.41/networks",
    "GET /v1.41/volumes/data",
    "GET /v1.41/events?since=1.5",
    "POST /v1.41/containers/web/wait?condition=not-running",
];

const LIFE_CYCLE: &[&str] = &[
    "POST /v1.41/containers/web/start",
    "POST /v1.41/containers/web/stop?t=3",
    "POST /v1.41/containers/web/restart",
    "POST /v1.41/containers/web/kill?signal=SIGHUP",
    "POST /v1.41/containers/web/pause",
    "POST /v1.41/containers/web/rename?name=b",
    "POST /v1.41/containers/web/update",
];

const CREATE: &[&str] = &[
    "POST /v1.41/containers/create",
    "POST /v1.41/containers/web/exec",
    "POST /v1.41/containers/web/attach?stream=true&stdin=true",
    "DELETE /v1.41/containers/web?force=true",
    "GET /v1.41/containers/web/archive?path=/etc",
    "PUT /v1.41/containers/web/archive?path=/",
    "POST /v1.41/images/create?fromImage=app&tag=1",
    "POST /v1.41/images/registry:5000/team/app/push?tag=1",
    "DELETE /v1.41/images/team/app:1",
    "POST /v1.41/build?t=app:1",
    "POST /v1.41/networks/front/connect",
    "POST /v1.41/volumes/create",
    "POST /v1.41/volumes/prune",
];

const NEVER: &[&str] = &[
    "POST /v1.41/swarm/init",
    "POST /v1.41/plugins/pull",
    "POST /v1.41/commit",
    "GET /v1.41/secrets",
    "GET /v1.41/containers/web/attach/ws",
    "GET /v1.41/containers/web/export",
    "POST /containers/create",
    "POST /v1.41/x/../containers/web/start",
    "POST /v1.41/containers/a%2Fb/start",
    "POST /v1.41//containers/web/start",
];

#[test]
fn each_grant_allows_what_it_says_and_nothing_else() {
    for (file, allowed, denied) in [
        ("read-only", [READ, &[], &[]], [LIFE_CYCLE, CREATE, NEVER]),
        ("life-cycle", [READ, LIFE_CYCLE, &[]], [CREATE, NEVER, &[]]),
        ("create", [READ, LIFE_CYCLE, CREATE], [NEVER, &[], &[]]),
    ] {
        let allowance = granted(file);
        for request in allowed.concat() {
            assert_eq!(judge(&allowance, request, b""), Ok(()), "{file}: {request}");
        }
        for request in denied.concat() {
            assert!(judge(&allowance, request, b"").is_err(), "{file}: {request}");
        }
    }
}

#[test]
fn a_container_may_be_created_within_its_bounds() {
    let allowance = granted("create");
    for host in [
        json!({}),
        json!(null),
        json!({ "Privileged": false, "CapAdd": null, "Devices": [], "Memory": 64 }),
        json!({ "NetworkMode": "bridge", "SecurityOpt": ["no-new-privileges"] }),
        json!({ "Binds": ["/srv/site:/site:ro", "data:/data"] }),
        json!({ "Mounts": [
            { "Type": "bind", "Source": "/srv/site", "Target": "/site" },
            { "Type": "volume", "Source": "data", "Target": "/data" },
            { "Type": "tmpfs", "Target": "/tmp" },
        ] }),
        json!({ "RestartPolicy": { "Name": "always" }, "PidsLimit": 9, "OomScoreAdj": 5 }),
    ] {
        let body = json!({ "Image": "app", "HostConfig": host }).to_string();
        assert_eq!(create(&allowance, &body), Ok(()), "{body}");
    }
}

/// What would give a container power over the host.
fn escapes() -> Vec<(&'static str, Value)> {
    let driver = json!({ "Options": { "type": "none", "o": "bind", "device": "/" } });
    let of_driver = json!({ "Type": "volume", "VolumeOptions": { "DriverConfig": driver } });
    let shared = json!({ "Type": "bind", "Source": "/srv/a", "Target": "/a",
                         "BindOptions": { "Propagation": "rshared" } });
    vec![
        ("Privileged", json!(true)),
        ("Privileged", json!("true")),
        ("Privileged", json!(1)),
        ("PidMode", json!("host")),
        ("PidMode", json!("container:web")),
        ("IpcMode", json!("host")),
        ("UTSMode", json!("host")),
        ("UsernsMode", json!("host")),
        ("CgroupnsMode", json!("host")),
        ("NetworkMode", json!("host")),
        ("NetworkMode", json!("container:web")),
        ("Binds", json!(["/:/host"])),
        ("Binds", json!(["/etc/passwd:/x:ro"])),
        ("Binds", json!(["/srv/../etc:/x"])),
        ("Binds", json!(["/srv/a:/a", "/var/run/docker.sock:/s"])),
        ("Binds", json!("/:/host")),
        ("Mounts", json!([{ "Type": "bind", "Source": "/", "Target": "/host" }])),
        ("Mounts", json!([{ "Type": "bind", "Source": "/srv/..", "Target": "/host" }])),
        ("Mounts", json!([{ "Type": "npipe", "Source": "a", "Target": "/a" }])),
        ("Mounts", json!([shared])),
        ("Mounts", json!([of_driver])),
        ("VolumeDriver", json!("other")),
        ("VolumesFrom", json!(["web"])),
        ("CapAdd", json!(["SYS_ADMIN"])),
        ("CapAdd", json!("ALL")),
        ("Devices", json!([{ "PathOnHost": "/dev/sda" }])),
        ("DeviceRequests", json!([{ "Count": -1 }])),
        ("DeviceCgroupRules", json!(["a *:* rwm"])),
        ("SecurityOpt", json!(["seccomp=unconfined"])),
        ("SecurityOpt", json!(["no-new-privileges", "apparmor:unconfined"])),
        ("SecurityOpt", json!(["systempaths=unconfined"])),
        ("Runtime", json!("other")),
        ("CgroupParent", json!("/")),
        ("Sysctls", json!({ "kernel.shmmax": "1" })),
        ("MaskedPaths", json!([])),
        ("ReadonlyPaths", json!([])),
        ("OomScoreAdj", json!(-1000)),
        ("LogConfig", json!({ "Type": "syslog" })),
    ]
}

#[test]
fn no_container_gets_power_over_the_host_however_it_is_spelled() {
    let allowance = granted("create");
    for (key, value) in escapes() {
        let (small, large) = (key.to_lowercase(), key.to_uppercase());
        let escaped: String = key.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        // For readers that fold, the long s is an s.
        let long = small.replacen('s', "\u{17f}", 1);
        for body in [
            format!(r#"{{"Image":"app","HostConfig":{{"{key}":{value}}}}}"#),
            format!(r#"{{"image":"app","hostconfig":{{"{small}":{value}}}}}"#),
            format!(r#"{{"HOSTCONFIG":{{"{large}":{value}}}}}"#),
            format!(r#"{{"HostConfig":{{"{escaped}":{value}}}}}"#),
            format!("{{\"Ho\u{17f}tConfig\":{{\"{key}\":{value}}}}}"),
            format!(r#"{{"HostConfig":{{"{long}":{value}}}}}"#),
            // Twice, with the harmless one first or last.
            format!(r#"{{"HostConfig":{{}},"HostConfig":{{"{key}":{value}}}}}"#),
            format!(r#"{{"HostConfig":{{"{key}":{value}}},"hostconfig":{{}}}}"#),
            format!(r#"{{"HostConfig":{{"{key}":null,"{small}":{value}}}}}"#),
            format!("{{\"HostConfig\"\t:\n{{\"{key}\"\r : {value} }} }}"),
            format!(r#"{{"HostConfig":{{"{key}":{value}}}}} {{}}"#),
            format!(r#"[{{"HostConfig":{{"{key}":{value}}}}}]"#),
        ] {
            assert!(create(&allowance, &body).is_err(), "{body}");
        }
    }
}

#[test]
fn other_ways_to_that_power_are_closed_as_well() {
    let allowance = granted("create");
    for (request, body) in [
        ("POST /v1.41/containers/web/exec", r#"{"Cmd":["sh"],"Privileged":true}"#),
        ("POST /v1.12/containers/web/start", r#"{"Privileged":true}"#),
        ("POST /v1.12/containers/web/start", r#"{"Binds":["/:/host"]}"#),
        ("POST /v1.41/containers/web/update", r#"{"Devices":[{"PathOnHost":"/dev/sda"}]}"#),
        ("POST /v1.41/volumes/create", r#"{"DriverOpts":{"device":"/","o":"bind"}}"#),
        ("POST /v1.41/volumes/create", r#"{"Driver":"other"}"#),
        ("POST /v1.41/networks/create", r#"{"Name":"a","Driver":"macvlan"}"#),
        ("POST /v1.41/images/create?fromSrc=http://10.0.0.1/", ""),
        ("POST /v1.41/build?networkmode=host", ""),
        ("POST /v1.41/build?remote=http://10.0.0.1/", ""),
    ] {
        assert!(judge(&allowance, request, body.as_bytes()).is_err(), "{request} {body}");
    }
    let harmless = r#"{"Cmd":["sh"],"Privileged":false}"#;
    let exec = "POST /v1.41/containers/web/exec";
    assert_eq!(judge(&allowance, exec, harmless.as_bytes()), Ok(()));
}
