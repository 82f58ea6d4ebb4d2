//! The bridge: calls and publications over plain HTTP, as Crossbar's clients make them.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use std::time::Duration;

use drover_wamp::{
    Allow, ApplicationError, HttpBridge, HttpConfig, Limits, MatchPolicy, Payload, Permission,
    RealmConfig, Registration, RoleConfig, Router, RouterConfig,
};
use kit::http::{Answer, Http, ask};
use kit::{MAX_MESSAGE, REALM, Site, within};
use serde_json::{Value, json};

const JSON: &str = "Content-Type: application/json\n";

/// A router whose bridge may do everything with `test.` and nothing else.
fn config() -> RouterConfig {
    let mut realm = RealmConfig::open(REALM);
    let permission = Permission {
        uri: "test.".to_owned(),
        policy: MatchPolicy::Prefix,
        allow: Allow { call: true, publish: true, ..Allow::default() },
        disclose: Default::default(),
    };
    realm.roles.push(RoleConfig { name: "web".to_owned(), permissions: vec![permission] });
    RouterConfig {
        realms: vec![realm],
        limits: Limits { max_message_bytes: MAX_MESSAGE, ..Limits::default() },
        http: HttpConfig {
            bridge: Some(HttpBridge { realm: REALM.to_owned(), role: "web".to_owned() }),
            allowed_origins: vec!["https://console.example".to_owned()],
            ..HttpConfig::default()
        },
        ..RouterConfig::default()
    }
}

async fn site() -> Site {
    Site::of(Router::new(config()).unwrap(), None).await
}

async fn post(site: &Site, path: &str, body: &Value) -> Answer {
    ask(site, &format!("POST {path}"), "", &body.to_string()).await
}

/// Answers the next call with what `answer` makes of it.
async fn serve_once(
    registration: &mut Registration,
    answer: impl FnOnce(Payload) -> Result<Payload, ApplicationError>,
) {
    let invocation = within(registration.next()).await.unwrap();
    let payload = invocation.payload.clone();
    invocation.finish(answer(payload)).await;
}

#[tokio::test]
async fn a_call_answers_with_what_the_procedure_answers() {
    let site = site().await;
    let mut echo = site.attach().register("test.echo", Default::default()).await.unwrap();
    for (args, kwargs, answer) in [
        (json!([]), json!({}), json!({"args": [null]})),
        (json!([1.5, "ä"]), json!({}), json!({"args": [1.5, "ä"]})),
        (json!([]), json!({"k": {"n": null}}), json!({"kwargs": {"k": {"n": null}}})),
        (json!(["\u{0}ECD/"]), json!({"k": 1}), json!({"args": ["\u{0}ECD/"], "kwargs": {"k": 1}})),
    ] {
        let body = json!({"procedure": "test.echo", "args": args, "kwargs": kwargs});
        let (reply, ()) = tokio::join!(post(&site, "/call", &body), serve_once(&mut echo, Ok));
        assert_eq!((reply.status, reply.json()), (200, answer));
        assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    }
}

#[tokio::test]
async fn an_error_of_the_procedure_is_an_answer_like_another() {
    let site = site().await;
    let mut broken = site.attach().register("test.broken", Default::default()).await.unwrap();
    let body = json!({"procedure": "test.broken"});
    let fail = |_| Err(ApplicationError::new("test.error.broken", "it is broken"));
    let (answer, ()) = tokio::join!(post(&site, "/call", &body), serve_once(&mut broken, fail));
    let expected = json!({"error": "test.error.broken", "args": ["it is broken"], "kwargs": {}});
    assert_eq!((answer.status, answer.json()), (200, expected));

    for (procedure, error) in [
        ("test.nobody", "wamp.error.no_such_procedure"),
        ("other.nobody", "wamp.error.not_authorized"),
        ("test..x", "wamp.error.invalid_uri"),
    ] {
        let answer = post(&site, "/call", &json!({"procedure": procedure})).await;
        assert_eq!((answer.status, &answer.json()["error"]), (200, &json!(error)), "{answer:?}");
        assert!(answer.json()["args"][0].is_string(), "{answer:?}");
    }
    let denied = post(&site, "/publish", &json!({"topic": "other.topic"})).await;
    assert_eq!(denied.json()["error"], "wamp.error.not_authorized");
}

#[tokio::test]
async fn a_publication_reaches_the_subscribers_and_has_an_id() {
    let site = site().await;
    let client = site.attach();
    let mut events = client.subscribe("test.topic", Default::default()).await.unwrap();
    let options = json!({"exclude_me": true, "exclude": null, "acknowledge": false});
    let body = json!({"topic": "test.topic", "args": [1], "kwargs": {"k": 2}, "options": options});
    let answer = post(&site, "/publish", &body).await;
    assert_eq!(answer.status, 200);
    assert!(answer.json()["id"].as_u64().is_some_and(|id| id > 0), "{answer:?}");
    let event = within(events.next()).await.unwrap();
    assert_eq!(event.payload.first::<u64>().unwrap(), 1);
    assert_eq!(event.payload.kwargs::<Value>().unwrap(), json!({"k": 2}));
}

#[tokio::test]
async fn all_requests_go_through_one_session() {
    let site = site().await;
    let watcher = site.attach();
    let mut joined = watcher.subscribe("wamp.session.on_join", Default::default()).await.unwrap();
    for _ in 0..3 {
        post(&site, "/call", &json!({"procedure": "test.nobody"})).await;
    }
    let first: Value = within(joined.next()).await.unwrap().payload.first().unwrap();
    assert_eq!(first["authrole"], "web");
    let _next = site.attach();
    let next: Value = within(joined.next()).await.unwrap().payload.first().unwrap();
    assert_ne!(next["authrole"], "web");
}

#[tokio::test]
async fn a_body_may_come_in_every_form_that_http_has() {
    let site = site().await;
    let body = r#"{"procedure": "test.nobody"}"#;
    let found = |answer: &Answer| answer.body.contains("no_such_procedure");
    for headers in [
        "",
        JSON,
        "Content-Type: application/json; charset=UTF-8\n",
        "Content-Type: APPLICATION/JSON;charset=\"utf8\"\n",
    ] {
        let answer = ask(&site, "POST /call", headers, body).await;
        assert!(answer.status == 200 && found(&answer), "{headers}: {answer:?}");
    }
    assert!(found(&ask(&site, "PUT /call?x=1", "", body).await));

    let mut http = Http::connect(&site).await;
    let (one, two) = body.split_at(5);
    let chunks = format!("{:x}\r\n{one}\r\n{:X};x=y\r\n{two}\r\n0\r\nX: y\r\n\r\n", 5, two.len());
    let head = "POST /call HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    http.send(format!("{head}{chunks}{head}{chunks}").as_bytes()).await;
    assert!(found(&http.answer().await));
    assert!(found(&http.answer().await));

    let length = body.len();
    let head = format!("POST /call HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n");
    http.send(format!("{head}Expect: 100-continue\r\n\r\n").as_bytes()).await;
    assert_eq!(http.head().await.status, 100);
    http.send(body.as_bytes()).await;
    assert!(found(&http.answer().await));
}

#[tokio::test]
async fn what_is_no_request_of_the_bridge_is_told_so_in_its_own_form() {
    let site = site().await;
    let body = r#"{"procedure": "test.x", "topic": "test.x"}"#;
    for (request, headers, body, status) in [
        ("POST /call", "Content-Type: text/plain\n", body, 400),
        ("POST /call", "Content-Type: application/x-www-form-urlencoded\n", body, 400),
        ("POST /call", "Content-Type: application/json; charset=latin1\n", body, 400),
        ("POST /call", JSON, "", 400),
        ("POST /call", JSON, "[]", 400),
        ("POST /call", JSON, "{\"procedure\": ", 400),
        ("POST /call", JSON, r#"{"topic": "a.b"}"#, 400),
        ("POST /publish", JSON, r#"{"procedure": "a.b"}"#, 400),
        ("GET /call", "", "", 405),
        ("DELETE /publish", JSON, body, 405),
    ] {
        let answer = ask(&site, request, headers, body).await;
        assert_eq!(answer.status, status, "{request} {body}: {answer:?}");
        let json = answer.json();
        assert!(json["error"].is_string(), "{answer:?}");
        assert_eq!((&json["args"], &json["kwargs"]), (&json!([]), &json!({})));
        assert_eq!(answer.header("allow"), Some("POST, PUT, OPTIONS"));
    }
}

#[tokio::test]
async fn pages_of_strangers_reach_nothing_and_those_allowed_are_told_so() {
    let site = site().await;
    let mut echo = site.attach().register("test.echo", Default::default()).await.unwrap();
    let body = r#"{"procedure": "test.echo", "args": [1]}"#;
    let preflight = "Access-Control-Request-Method: POST\n\
        Access-Control-Request-Headers: content-type, x-mine\n";
    // The third has made its own name point here.
    for origin in ["http://evil.example", "null", "http://evil.example:7117"] {
        let headers = format!("Origin: {origin}\n{preflight}");
        for request in ["OPTIONS /call", "POST /call", "POST /publish"] {
            let answer = ask(&site, request, &headers, body).await;
            assert_eq!(answer.status, 403, "{answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    for origin in ["http://localhost:3000", "https://console.example"] {
        let asked =
            ask(&site, "OPTIONS /call", &format!("Origin: {origin}\n{preflight}"), "").await;
        assert_eq!(asked.status, 200);
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", "POST, PUT, OPTIONS"),
            ("access-control-allow-headers", "content-type, x-mine"),
            ("vary", "Origin"),
        ] {
            assert_eq!(asked.header(name), Some(value), "{asked:?}");
        }
        let headers = format!("Origin: {origin}\n{JSON}");
        let call = ask(&site, "POST /call", &headers, body);
        // Only these calls arrive: the first would have been a stranger's.
        let (answer, ()) = tokio::join!(call, serve_once(&mut echo, Ok));
        assert_eq!(answer.json(), json!({"args": [1]}));
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_it_has_all_come() {
    let site = site().await;
    let limit = format!("{MAX_MESSAGE} bytes");
    let mut announced = Http::connect(&site).await;
    let head = "POST /call HTTP/1.1\r\nHost: x\r\n";
    announced.send(format!("{head}Content-Length: 99999999999\r\n\r\n").as_bytes()).await;
    let answer = announced.answer().await;
    assert!(answer.status == 413 && answer.body.contains(&limit), "{answer:?}");
    assert!(announced.is_closed().await);

    let mut endless = Http::connect(&site).await;
    endless.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..=MAX_MESSAGE / 0x10000 {
        endless.send(chunk.as_bytes()).await;
    }
    let answer = endless.answer().await;
    assert!(answer.status == 413 && answer.body.contains(&limit), "{answer:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let mut config = config();
    config.limits.http_timeout = Duration::from_millis(100);
    let site = Site::of(Router::new(config).unwrap(), None).await;
    let mut http = Http::connect(&site).await;
    http.send(b"POST /call HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{").await;
    assert_eq!(http.answer().await.status, 408);
    assert!(http.is_closed().await);
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_its_call() {
    let site = site().await;
    let mut slow = site.attach().register("test.slow", Default::default()).await.unwrap();
    let mut http = Http::connect(&site).await;
    http.send(b"POST /call HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\n").await;
    http.send(br#"{"procedure": "test.slow"}"#).await;
    let invocation = within(slow.next()).await.unwrap();
    // Others are served all the while.
    let other = post(&site, "/call", &json!({"procedure": "test.nobody"})).await;
    assert_eq!(other.status, 200);
    assert!(!invocation.cancelled().is_cancelled());
    drop(http);
    within(invocation.cancelled().cancelled()).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_let_go() {
    let mut config = config();
    config.limits.http_timeout = Duration::from_millis(100);
    config.limits.max_sessions = 1;
    let site = Site::of(Router::new(config).unwrap(), None).await;
    let mut long = site.attach().register("test.long", Default::default()).await.unwrap();
    let mut http = Http::connect(&site).await;
    let body = r#"{"procedure": "test.long"}"#;
    let length = body.len();
    let request =
        format!("POST /call HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    // The answers of so many calls are more than all the buffers on the way take.
    http.send(request.repeat(64).as_bytes()).await;
    let answer = Payload::one(&"x".repeat(MAX_MESSAGE - 1000)).unwrap();
    serve_once(&mut long, |_| Ok(answer.clone())).await;
    let serve = async {
        while let Some(invocation) = long.next().await {
            invocation.finish(Ok(answer.clone())).await;
        }
    };
    let is_let_go = async {
        while ask(&site, "GET /ready", "", "").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = within(is_let_go) => {}
        () = serve => unreachable!("the session goes on"),
    }
}

#[tokio::test]
async fn a_router_that_stops_says_so_to_whoever_waits() {
    let site = site().await;
    let mut slow = site.attach().register("test.slow", Default::default()).await.unwrap();
    let mut http = Http::connect(&site).await;
    let asked = http.ask("POST /call", "", r#"{"procedure": "test.slow"}"#);
    let stop = async {
        let invocation = within(slow.next()).await.unwrap();
        site.stop().await;
        drop(invocation);
    };
    let (answer, ()) = within(async { tokio::join!(asked, stop) }).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    assert!(answer.body.contains("being stopped"), "{answer:?}");
}

#[tokio::test]
async fn a_bridge_into_nowhere_is_no_configuration() {
    for (realm, role, words) in [("nosuch", "web", "no such realm"), (REALM, "nosuch", "`nosuch`")]
    {
        let mut config = config();
        config.http.bridge = Some(HttpBridge { realm: realm.into(), role: role.into() });
        let error = Router::new(config).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("http.bridge"), "{error}");
    }
}
