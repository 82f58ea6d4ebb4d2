//! What is refused, and with which words.

use serde_json::json;

use crate::tell;

#[test]
fn a_creation_is_refused_with_its_reason() {
    tell(|it| {
        let good = json!({"Image": "busybox:1", "Cmd": ["true"]});
        it.post_json("/containers/create?name=x", &good);
        it.post_json("/containers/create?name=-x", &good);
        it.post_json("/containers/create?name=refused", &json!({"Image": "busybox:1"}));
        it.post_json("/containers/create?name=refused", &json!({"Image": "none", "Cmd": ["x"]}));
        it.post_json("/containers/create?name=refused", &json!(null));
        let limits = json!({"Image": "busybox:1", "Cmd": ["x"], "HostConfig": {"Memory": 1}});
        it.post_json("/containers/create?name=refused", &limits);
        let policy = json!({"RestartPolicy": {"Name": "bogus"}});
        let policy = json!({"Image": "busybox:1", "Cmd": ["x"], "HostConfig": policy});
        it.post_json("/containers/create?name=refused", &policy);
        let json = "Content-Type: application/json\r\n";
        it.noted("POST", "/containers/create", json, b"{\"Ima");
        it.noted("POST", "/containers/create", json, b"");
        it.noted("POST", "/containers/create", "Content-Type: text/plain\r\n", b"{}");
        it.post_json("/containers/create?name=taken", &good);
        it.post_json("/containers/create?name=taken", &good);
        it.remove("taken");
    });
}

#[test]
fn a_container_that_is_not_there_is_not_found() {
    tell(|it| {
        for path in ["json", "logs?stdout=1", "top", "changes", "stats?stream=0", "archive?path=/x"]
        {
            it.get(&format!("/containers/none/{path}"));
        }
        for path in ["start", "stop", "restart", "kill", "pause", "unpause", "rename?name=other"] {
            it.post(&format!("/containers/none/{path}"));
        }
        it.post_json("/containers/none/exec", &json!({"Cmd": ["true"]}));
        it.post("/containers/none/attach?stream=1");
        it.ask("DELETE", "/containers/none");
        it.get("/exec/none/json");
        it.post_json("/exec/none/start", &json!({}));
    });
}

#[test]
fn a_container_that_does_not_run_refuses_what_needs_it() {
    tell(|it| {
        it.container("idle", "sleep 1000");
        for path in ["stop", "kill", "kill?signal=BOGUS", "pause", "unpause", "resize?h=1&w=1"] {
            it.post(&format!("/containers/idle/{path}"));
        }
        it.get("/containers/idle/top");
        it.post_json("/containers/idle/exec", &json!({"Cmd": ["true"]}));
        it.remove("idle");
    });
}

#[test]
fn a_page_that_is_not_there_is_not_found() {
    tell(|it| {
        it.get("/nosuch");
        it.post("/containers/json");
        it.ask("DELETE", "/version");
        it.ask_plainly("GET", "/v1.99/info");
        it.ask_plainly("GET", "/v1.11/info");
    });
}
