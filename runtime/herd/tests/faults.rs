//! The simulated engine's faults, as a client meets them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use drover_herd::{Engine, Fault, FaultKind};

/// The whole answer; an error if the connection could not be made.
fn ask(socket: &Path, request: &str, body: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn engine() -> (tempfile::TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let engine = Engine::start(socket).unwrap();
    (folder, engine)
}

#[test]
fn a_fault_ends_after_its_number_of_times() {
    let (_folder, engine) = engine();
    let kind = FaultKind::Status { status: 500, message: "no space left".to_owned() };
    engine.fail(Fault::new("/info", kind).times(1));
    let failed = ask(engine.socket(), "GET /v1.41/info", "").unwrap();
    assert!(failed.starts_with("HTTP/1.1 500"), "{failed}");
    assert!(failed.contains("no space left"), "{failed}");
    let good = ask(engine.socket(), "GET /v1.41/info", "").unwrap();
    assert!(good.starts_with("HTTP/1.1 200"), "{good}");
    assert_eq!(engine.requests(), ["GET /info", "GET /info"]);
}

#[test]
fn a_refused_request_has_no_answer() {
    let (_folder, engine) = engine();
    engine.fail(Fault::new("*", FaultKind::Refused));
    let answer = ask(engine.socket(), "GET /info", "");
    assert!(answer.as_ref().is_err() || answer.as_ref().is_ok_and(String::is_empty), "{answer:?}");
}

#[test]
fn half_an_answer_is_shorter_than_it_says() {
    let (_folder, engine) = engine();
    let whole = ask(engine.socket(), "GET /version", "").unwrap();
    engine.fail(Fault::new("/version", FaultKind::HalfAnswer));
    let half = ask(engine.socket(), "GET /version", "").unwrap();
    assert!(half.starts_with("HTTP/1.1 200"), "{half}");
    assert!(half.len() < whole.len(), "{half}");
}

#[test]
fn a_slow_answer_is_late_and_whole() {
    let (_folder, engine) = engine();
    engine.fail(Fault::new("/_ping", FaultKind::SlowMs(50)));
    let asked = Instant::now();
    let answer = ask(engine.socket(), "GET /_ping", "").unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(50));
    assert!(answer.ends_with("OK"), "{answer}");
}

#[test]
fn an_engine_that_is_gone_refuses_until_it_is_back() {
    let (_folder, engine) = engine();
    engine.add_image("busybox:1");
    engine.fail(Fault::new("/containers/json", FaultKind::Gone));
    let answer = ask(engine.socket(), "GET /containers/json", "");
    assert!(answer.as_ref().is_err() || answer.as_ref().is_ok_and(String::is_empty), "{answer:?}");
    engine.go_away();
    let refused = ask(engine.socket(), "GET /_ping", "").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    engine.recover().unwrap();
    let images = ask(engine.socket(), "GET /images/json", "").unwrap();
    assert!(images.contains("busybox:1"), "{images}");
}

#[test]
fn a_client_can_set_and_end_faults() {
    let (_folder, engine) = engine();
    let fault = r#"{"path": "/info", "kind": {"status": {"status": 503, "message": "later"}}}"#;
    let set = ask(engine.socket(), "POST /_drover/faults", fault).unwrap();
    assert!(set.starts_with("HTTP/1.1 204"), "{set}");
    let failed = ask(engine.socket(), "GET /info", "").unwrap();
    assert!(failed.starts_with("HTTP/1.1 503"), "{failed}");
    ask(engine.socket(), "DELETE /_drover/faults", "").unwrap();
    let good = ask(engine.socket(), "GET /info", "").unwrap();
    assert!(good.starts_with("HTTP/1.1 200"), "{good}");
}

#[test]
fn a_dropped_engine_leaves_no_socket() {
    let (_folder, engine) = engine();
    let socket = engine.socket().to_owned();
    drop(engine);
    assert!(!socket.exists());
}
