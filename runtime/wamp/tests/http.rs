//! HTTP on the router's port: what monitors ask, and what HTTP itself demands.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use std::time::Duration;

use drover_wamp::{
    Download, HttpConfig, HttpFiles, Limits, Pace, RealmConfig, Router, RouterConfig, TlsOptions,
};
use kit::http::{Http, ask};
use kit::{Site, raw_session};
use serde_json::json;

#[tokio::test]
async fn monitors_are_told_that_it_is_alive_and_ready() {
    let site = Site::start().await;
    for (path, status) in [("/health", "alive"), ("/ready", "ready")] {
        let answer = ask(&site, &format!("GET {path}"), "", "").await;
        assert_eq!((answer.status, answer.json()), (200, json!({"status": status})));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let head = ask(&site, &format!("HEAD {path}"), "", "").await;
        assert_eq!(head.status, 200);
        let post = ask(&site, &format!("POST {path}"), "", "{}").await;
        assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    }
}

#[tokio::test]
async fn what_the_router_is_can_be_asked_and_names_no_realm() {
    let site = Site::start().await;
    let answer = ask(&site, "GET /info?x=1", "", "").await;
    let info = answer.json();
    assert_eq!((answer.status, &info["name"], &info["realms"]), (200, &json!("drover"), &json!(1)));
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert!(!answer.body.contains(kit::REALM), "{answer:?}");
}

#[tokio::test]
async fn a_full_router_is_alive_and_not_ready() {
    let site = Site::with_limits(Limits { max_sessions: 1, ..Limits::default() }).await;
    let (_first, _) = raw_session(&site).await;
    assert_eq!(ask(&site, "GET /health", "", "").await.status, 200);
    let ready = ask(&site, "GET /ready", "", "").await;
    assert_eq!((ready.status, ready.json()), (503, json!({"status": "full"})));
    let other = ask(&site, "GET /ws", "", "").await;
    assert_eq!((other.status, other.header("connection")), (503, Some("close")));
}

#[tokio::test]
async fn many_requests_go_over_one_connection_and_even_at_once() {
    let site = Site::start().await;
    let mut http = Http::connect(&site).await;
    for _ in 0..3 {
        assert_eq!(http.ask("GET /health", "", "").await.status, 200);
    }
    http.send(&b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20)).await;
    for _ in 0..20 {
        assert_eq!(http.answer().await.status, 200);
    }
    let last = http.ask("GET /health", "Connection: close\n", "").await;
    assert_eq!(last.header("connection"), Some("close"));
    assert!(http.is_closed().await);
}

#[tokio::test]
async fn an_old_client_gets_its_answer_and_is_let_go() {
    let site = Site::start().await;
    let mut http = Http::connect(&site).await;
    http.send(b"GET /health HTTP/1.0\r\n\r\n").await;
    assert_eq!(http.answer().await.status, 200);
    assert!(http.is_closed().await);
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused_or_the_last_of_its_connection() {
    let site = Site::start().await;
    let hidden = "GET /info HTTP/1.1\r\nHost: x\r\n\r\n";
    let refused = |head: &str| format!("POST /call HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{hidden}");
    for request in [
        refused("Content-Length: 5\r\nContent-Length: 6"),
        refused("Content-Length: +5"),
        refused("Content-Length: 5, 6"),
        refused("Content-Length: 0x5"),
        refused("Content-Length: -1"),
        refused("Content-Length: 99999999999999999999999"),
        refused("Transfer-Encoding: identity"),
        refused("Transfer-Encoding: chunked, gzip"),
        refused("Content-Length : 5"),
        refused("X: y\r\n Content-Length: 5"),
        refused("X\0: y"),
        format!("POST /call HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n{hidden}", "x".repeat(10_000)),
        format!("GET /{} HTTP/1.1\r\n\r\n{hidden}", "x".repeat(10_000)),
        format!("GET /health HTTP/1.1\r\n{}\r\n{hidden}", "X: y\r\n".repeat(200)),
    ] {
        let mut http = Http::connect(&site).await;
        http.send(request.as_bytes()).await;
        let answer = http.answer().await;
        assert!((400..500).contains(&answer.status), "{request}: {answer:?}");
        assert!(http.is_closed().await, "{request}");
    }
    // Chunks win over a length, and nothing behind them is taken for a request.
    for order in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
    ] {
        let mut http = Http::connect(&site).await;
        let request = format!("POST /call HTTP/1.1\r\nHost: x\r\n{order}\r\n\r\n0\r\n\r\n{hidden}");
        http.send(request.as_bytes()).await;
        assert_eq!(http.answer().await.status, 404);
        assert!(http.is_closed().await, "{order}");
    }
}

#[tokio::test]
async fn who_never_ends_the_head_of_a_request_is_let_go() {
    let limits = Limits { handshake_timeout: Duration::from_millis(200), ..Limits::default() };
    let site = Site::with_limits(limits).await;
    let mut silent = Http::connect(&site).await;
    let mut slow = Http::connect(&site).await;
    slow.send(b"GET /health HTTP/1.1\r\nHost:").await;
    // One that has been served is no better afterwards.
    let mut served = Http::connect(&site).await;
    assert_eq!(served.ask("GET /health", "", "").await.status, 200);
    for http in [&mut silent, &mut slow, &mut served] {
        assert!(http.is_closed().await);
    }
}

#[tokio::test]
async fn a_router_that_stops_lets_its_http_connections_go() {
    let site = Site::start().await;
    let mut idle = Http::connect(&site).await;
    assert_eq!(idle.ask("GET /health", "", "").await.status, 200);
    site.stop().await;
    assert!(idle.is_closed().await);
}

#[tokio::test]
async fn there_is_no_bridge_unless_it_is_configured() {
    let site = Site::start().await;
    let answer = ask(&site, "POST /call", "", r#"{"procedure": "a.b"}"#).await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("no bridge"), "{answer:?}");
}

/// A site that hands out one file, and the directory that it is in.
async fn site_with_files(content: &[u8]) -> (Site, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("abc123"), content).unwrap();
    std::fs::write(dir.path().join("index.db"), "nobody's").unwrap();
    let files = HttpFiles {
        path: "/catalog/".to_owned(),
        dir: dir.path().to_owned(),
        pace: Pace::new(1 << 30),
        procedure: None,
    };
    let config = RouterConfig {
        realms: vec![RealmConfig::open(kit::REALM)],
        http: HttpConfig { files: Some(files), ..HttpConfig::default() },
        ..RouterConfig::default()
    };
    (Site::of(Router::new(config).unwrap(), None).await, dir)
}

#[tokio::test]
async fn a_file_is_handed_out_whole_and_in_parts() {
    // More than one piece, and no round number of them.
    let content: Vec<u8> = (0..200_001_u32).map(|number| b'a' + (number % 23) as u8).collect();
    let (site, _dir) = site_with_files(&content).await;
    let text = String::from_utf8(content).unwrap();

    let whole = ask(&site, "GET /catalog/abc123", "", "").await;
    assert_eq!((whole.status, whole.header("content-length")), (200, Some("200001")));
    assert_eq!(whole.header("etag"), Some("\"abc123\""));
    assert!(whole.body == text);

    let part = ask(&site, "GET /catalog/abc123", "Range: bytes=70000-150000\n", "").await;
    assert_eq!(part.status, 206);
    assert_eq!(part.header("content-range"), Some("bytes 70000-150000/200001"));
    assert!(part.body == text[70_000..=150_000]);
    let rest = ask(&site, "GET /catalog/abc123", "Range: bytes=200000-\n", "").await;
    assert_eq!((rest.status, rest.body.as_str()), (206, &text[200_000..]));

    let beyond = ask(&site, "GET /catalog/abc123", "Range: bytes=200001-\n", "").await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */200001")));
    let head = ask(&site, "HEAD /catalog/abc123", "", "").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("200001")));
    let post = ask(&site, "POST /catalog/abc123", "", "x").await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn a_download_goes_on_where_it_stopped() {
    let content: Vec<u8> = (0..200_001_u32).map(|number| (number % 251) as u8).collect();
    let (site, _dir) = site_with_files(&content).await;
    let url = |name: &str| format!("http://{}/catalog/{name}", site.address);
    let begin = async |name: &str, offset| {
        Download::begin(&url(name), &TlsOptions::default(), None, offset, Duration::from_secs(30))
            .await
    };
    for from in [0, 70_000, 200_000] {
        let mut download = begin("abc123", from).await.unwrap();
        assert_eq!((download.offset(), download.length()), (from, 200_001));
        let mut came = Vec::new();
        while let Some(bytes) = download.next().await.unwrap() {
            came.extend_from_slice(&bytes);
        }
        assert!(came == content[usize::try_from(from).unwrap()..]);
    }
    let error = begin("nothing", 0).await.unwrap_err();
    assert!(error.to_string().contains("answers with status 404"), "{error}");
}

#[tokio::test]
async fn nothing_but_files_by_their_names_is_handed_out() {
    let (site, _dir) = site_with_files(b"content").await;
    for path in ["", "nothing", "index.db", "../index.db", "%2e%2e/abc123", "abc123/", "."] {
        let answer = ask(&site, &format!("GET /catalog/{path}"), "", "").await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
}
