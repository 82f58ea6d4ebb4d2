//! Containers from their creation to their removal.

use serde_json::json;

use crate::tell;

#[test]
fn a_container_is_created_started_stopped_and_removed() {
    tell(|it| {
        let wanted = json!({
            "Image": "busybox:1",
            "Cmd": ["sleep", "1000"],
            "Env": ["A=b"],
            "Labels": {"role": "test"},
        });
        it.post_json("/containers/create?name=life", &wanted);
        it.get("/containers/life/json");
        it.post("/containers/life/start");
        it.post("/containers/life/start");
        it.get("/containers/life/json");
        it.post("/containers/life/stop?t=0");
        it.post("/containers/life/stop?t=0");
        it.get("/containers/life/json");
        it.post("/containers/life/start");
        it.ask("DELETE", "/containers/life");
        it.post("/containers/life/kill");
        it.post("/containers/life/wait");
        it.post("/containers/life/kill");
        it.ask("DELETE", "/containers/life");
        it.ask("DELETE", "/containers/life");
    });
}

#[test]
fn a_restart_runs_the_program_again() {
    tell(|it| {
        it.container("again", "echo run; sleep 1000");
        it.post("/containers/again/restart?t=0");
        it.post("/containers/again/restart?t=0");
        it.wait_until("/containers/again/json", |found| found["State"]["Running"] == true);
        it.get("/containers/again/json");
        it.remove("again");
    });
}

#[test]
fn a_paused_container_refuses_what_needs_it_to_run() {
    tell(|it| {
        it.container("still", "sleep 1000");
        it.post("/containers/still/pause");
        it.start("still");
        it.post("/containers/still/unpause");
        it.post("/containers/still/pause");
        it.post("/containers/still/pause");
        it.post("/containers/still/start");
        it.post_json("/containers/still/exec", &json!({"Cmd": ["true"]}));
        it.ask("DELETE", "/containers/still");
        it.get("/containers/json?filters=%7B%22label%22%3A%5B%22story%3Dstill%22%5D%7D");
        it.post("/containers/still/unpause");
        it.ask("DELETE", "/containers/still?force=1");
    });
}

#[test]
fn a_program_that_traps_term_ends_by_itself() {
    tell(|it| {
        it.container("polite", "trap 'exit 7' TERM; echo ready; sleep 1000 & wait");
        it.start("polite");
        let mut lines = it.open("GET", "/containers/polite/logs?stdout=1&follow=1", "", b"");
        let ready = lines.more().map(|line| line.ends_with(b"ready\n"));
        it.note(&format!("ready: {ready:?}"));
        it.post("/containers/polite/stop?t=30");
        it.post("/containers/polite/wait");
        it.remove("polite");
    });
}

#[test]
fn a_name_and_limits_can_be_changed() {
    tell(|it| {
        it.container("first", "sleep 1000");
        it.container("other", "sleep 1000");
        it.start("first");
        it.post("/containers/first/rename?name=other");
        it.post("/containers/first/rename?name=");
        it.post("/containers/first/rename?name=first");
        it.post("/containers/first/rename?name=!");
        it.post("/containers/first/rename?name=second");
        it.get("/containers/first/json");
        let limits = json!({"Memory": 67_108_864, "MemorySwap": 67_108_864});
        it.post_json("/containers/second/update", &limits);
        it.post_json("/containers/second/update", &json!({"Memory": 134_217_728}));
        it.post_json("/containers/second/update", &json!({"Memory": 1}));
        let policy = json!({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}});
        it.post_json("/containers/second/update", &policy);
        it.post_json("/containers/second/update", &json!({"RestartPolicy": {"Name": "bogus"}}));
        it.post_json("/containers/none/update", &limits);
        it.get("/containers/second/json");
        it.remove("second");
        it.remove("other");
    });
}

#[test]
fn waiting_ends_with_the_code_of_the_program() {
    tell(|it| {
        it.container("code", "exit 3");
        let created = it.open("POST", "/containers/code/wait?condition=next-exit", "", b"");
        it.start("code");
        it.note(&String::from_utf8_lossy(&created.rest()));
        it.post("/containers/code/wait");
        it.post("/containers/none/wait");
        let removed = it.open("POST", "/containers/code/wait?condition=removed", "", b"");
        it.remove("code");
        it.note(&String::from_utf8_lossy(&removed.rest()));
    });
}

#[test]
fn a_container_can_remove_itself() {
    tell(|it| {
        let own = json!({"HostConfig": {"AutoRemove": true}});
        it.container_with("gone", "exit 4", &own);
        let removed = it.open("POST", "/containers/gone/wait?condition=removed", "", b"");
        it.start("gone");
        it.note(&String::from_utf8_lossy(&removed.rest()));
        it.get("/containers/gone/json");
    });
}

#[test]
fn a_program_that_fails_is_started_again_as_often_as_allowed() {
    tell(|it| {
        let policy = json!({"Name": "on-failure", "MaximumRetryCount": 2});
        it.container_with("retry", "exit 5", &json!({"HostConfig": {"RestartPolicy": policy}}));
        it.start("retry");
        it.wait_until("/containers/retry/json", |found| {
            found["RestartCount"] == 2 && found["State"]["Status"] == "exited"
        });
        it.get("/containers/retry/json");
        it.remove("retry");
    });
}

#[test]
fn a_program_that_takes_too_much_memory_is_killed() {
    tell(|it| {
        let limits = json!({"Memory": 33_554_432, "MemorySwap": 33_554_432});
        let more = json!({"Cmd": ["tail", "/dev/zero"], "HostConfig": limits});
        it.container_with("greedy", "", &more);
        it.start("greedy");
        it.post("/containers/greedy/wait");
        it.get("/containers/greedy/json");
        it.remove("greedy");
    });
}

#[test]
fn a_program_that_is_not_there_cannot_be_started() {
    tell(|it| {
        it.container_with("absent", "", &json!({"Cmd": ["nope"]}));
        it.post("/containers/absent/start");
        it.get("/containers/absent/json");
        it.remove("absent");
    });
}

#[test]
fn what_a_host_configuration_says_comes_back() {
    tell(|it| {
        let host = json!({
            "Memory": 67_108_864,
            "CpuShares": 512,
            "NetworkMode": "none",
            "Privileged": false,
            "ReadonlyRootfs": true,
            "CapAdd": ["NET_ADMIN"],
            "ExtraHosts": ["there:10.0.0.1"],
            "Init": true,
            "Tmpfs": {"/run": "size=1m"},
            "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
        });
        let more = json!({
            "HostConfig": host,
            "ExposedPorts": {"80/tcp": {}},
            "WorkingDir": "/tmp",
            "StopSignal": "SIGINT",
            "StopTimeout": 3,
            "Hostname": "here",
            "User": "0:0",
        });
        it.container_with("full", "sleep 1000", &more);
        it.get("/containers/full/json");
        it.start("full");
        it.get("/containers/full/json");
        it.remove("full");
    });
}
