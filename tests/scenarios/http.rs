//! What programs that speak no WAMP can do with a controller.

use drover_tests::http;
use drover_wamp::{Client, ClientConfig, SubscribeOptions};
use serde_json::{Value, json};

use crate::site;

/// Where a site's controller listens, as `host:port`.
fn address(site: &drover_tests::Site) -> &str {
    site.url.trim_start_matches("ws://").trim_end_matches("/ws")
}

fn post(site: &drover_tests::Site, path: &str, body: &Value) -> Value {
    let answer = http(address(site), &format!("POST {path}"), "", &body.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn an_operation_of_a_node_is_called_with_one_request() {
    let site = site();
    let _a = site.agent(1, "a");
    let greet = |arguments: Value| {
        let procedure = "drover.node.1.1.hello.greet";
        post(&site, "/call", &json!({"procedure": procedure, "kwargs": arguments}))
    };

    let answer = greet(json!({"name": "Ada"}));
    assert!(answer["args"][0].to_string().contains("Hello, Ada!"), "{answer}");
    assert_eq!(answer.get("error"), None);

    // What the node refuses is an answer with an error.
    let refused = greet(json!({}));
    assert_eq!(refused["error"], "drover.error.invalid_arguments", "{refused}");
    let nobody = post(&site, "/call", &json!({"procedure": "drover.node.1.9.hello.greet"}));
    assert_eq!(nobody["error"], "wamp.error.no_such_procedure", "{nobody}");

    let nodes = post(&site, "/call", &json!({"procedure": "drover.controller.nodes"}));
    assert_eq!(nodes["args"][0][0]["description"]["name"], "a");
}

#[tokio::test]
async fn a_publication_reaches_whoever_has_subscribed() {
    let site = site();
    let client = Client::connect(&ClientConfig::new(&site.url, "drover")).await.unwrap();
    let mut notes = client.subscribe("site.note", SubscribeOptions::default()).await.unwrap();

    let answer = post(&site, "/publish", &json!({"topic": "site.note", "args": ["tea is ready"]}));

    assert!(answer["id"].is_u64(), "{answer}");
    let note = notes.next().await.unwrap();
    assert_eq!(note.payload.first::<String>().unwrap(), "tea is ready");
}

#[test]
fn a_load_balancer_can_ask_how_the_controller_is() {
    let site = site();
    for (path, key, value) in
        [("/health", "status", "alive"), ("/ready", "status", "ready"), ("/info", "name", "drover")]
    {
        let answer = http(address(&site), &format!("GET {path}"), "", "");
        assert_eq!((answer.status, &answer.json()[key]), (200, &json!(value)), "{answer:?}");
        let head = http(address(&site), &format!("HEAD {path}"), "", "");
        assert_eq!((head.status, head.body.as_str()), (200, ""));
    }
}

#[test]
fn a_wrong_request_is_refused_with_the_reason() {
    let site = site();
    let foreign = "Origin: http://evil.example\n";
    let form = "Content-Type: application/x-www-form-urlencoded\n";
    for (request, headers, body, status, words) in [
        ("GET /call", "", "", 405, "POST, PUT, OPTIONS"),
        ("POST /call", form, "{}", 400, "application/json"),
        ("POST /call", "", "{", 400, "no JSON"),
        ("POST /call", "", "{}", 400, "`procedure`"),
        ("POST /call", foreign, "{}", 403, "evil.example"),
        ("GET /ws", "", "", 426, "wamp.2.msgpack"),
        ("GET /favicon.ico", "", "", 404, "/ws"),
    ] {
        let answer = http(address(&site), request, headers, body);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(words), "{answer:?}");
    }
}

/// The README's lines, `curl [--json 'BODY'] http://127.0.0.1:7117/PATH`.
#[test]
fn the_readmes_requests_are_answered_as_they_stand() {
    let site = site();
    let _a = site.agent(1, "a");
    let lines = crate::documents::block("sh", "curl http://127.0.0.1:7117/health");
    for line in lines.lines() {
        let (options, path) = line.split_once("http://127.0.0.1:7117").unwrap();
        let answer = match options.split('\'').nth(1) {
            Some(body) => {
                let json = "Content-Type: application/json\n";
                http(address(&site), &format!("POST {path}"), json, body)
            }
            None => http(address(&site), &format!("GET {path}"), "", ""),
        };
        assert_eq!(answer.status, 200, "{line}: {answer:?}");
        assert_eq!(answer.json().get("error"), None, "{line}: {answer:?}");
    }
    assert!(lines.lines().count() >= 6, "{lines}");
}
