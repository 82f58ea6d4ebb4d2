//! What comes from outside may be anything; the sender is told, the others go on.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use std::time::Duration;

use drover_wamp::{
    CallError, CallOptions, Client, ClientConfig, CloseReason, ConnectError, Limits, Payload,
    RealmConfig, Router, RouterConfig, Serializer,
};
use kit::{Site, next_frame, raw_client, raw_session, receive, send, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Sends bytes to the port and returns all that comes back.
async fn exchange(site: &Site, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset is as good an end as any.
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn assert_alive(site: &Site) {
    let client = site.client().await;
    let error = within(client.call("no.such", Payload::empty(), CallOptions::default())).await;
    assert!(error.unwrap_err().to_string().contains("nobody has registered"));
}

fn close_code(frame: &Frame) -> CloseCode {
    let Frame::Close(Some(frame)) = frame else { panic!("{frame:?}") };
    frame.code
}

#[tokio::test]
async fn what_is_no_websocket_gets_a_plain_answer_or_none() {
    let site = Site::start().await;
    for (request, expected) in [
        ("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", "426 Upgrade Required"),
        ("GET /else HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found"),
        ("POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "426 Upgrade Required"),
    ] {
        let request = request.replace("Host: x", "Host: x\r\nConnection: close");
        let answer = exchange(&site, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{answer}");
    }
    for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], &[0xff; 100_000], b"SSH-2.0-OpenSSH\r\n"]
    {
        let answer = exchange(&site, garbage).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_alive(&site).await;
}

#[tokio::test]
async fn a_connection_that_sends_nothing_is_closed() {
    let limits = Limits { handshake_timeout: Duration::from_secs(1), ..Limits::default() };
    let site = Site::with_limits(limits).await;
    assert_eq!(exchange(&site, b"GET /ws").await, "");
    let mut client = raw_client(&site, "wamp.2.json").await;
    let abort = receive(&mut client).await;
    assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.protocol_violation")));
}

#[tokio::test]
async fn pages_of_strangers_are_refused() {
    let site = Site::start().await;
    let request = "GET /ws HTTP/1.1\r\nHost: evil.example\r\nConnection: Upgrade, close\r\n\
        Upgrade: websocket\r\nOrigin: http://evil.example\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: wamp.2.json\r\n\r\n";
    let answer = exchange(&site, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("evil.example"), "{answer}");
}

#[tokio::test]
async fn an_unknown_subprotocol_is_refused_in_words() {
    let site = Site::start().await;
    let request = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: wamp.2.ubjson\r\n\r\n";
    let answer = exchange(&site, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("wamp.2.msgpack"), "{answer}");
}

#[tokio::test]
async fn a_wrong_realm_is_refused_with_the_realms_there_are() {
    let site = Site::start().await;
    let config = ClientConfig { realm: "nosuch".into(), ..site.config() };
    let error = within(Client::connect(&config)).await.unwrap_err();
    let ConnectError::Aborted { uri, message } = error else { panic!("{error}") };
    assert_eq!(uri, "wamp.error.no_such_realm");
    assert!(message.contains("nosuch") && message.contains(kit::REALM), "{message}");
    assert!(site.router.attach("nosuch").is_err());
}

#[tokio::test]
async fn a_message_that_breaks_the_protocol_ends_that_session_with_a_reason() {
    let site = Site::start().await;
    for message in [
        json!([1, kit::REALM, {"roles": {"caller": {}}}]),
        json!([48, 1, {}]),
        json!([99, 1]),
        json!({"no": "array"}),
        json!([33, 1, 1]),
    ] {
        let (mut client, _) = raw_session(&site).await;
        send(&mut client, &message).await;
        let abort = receive(&mut client).await;
        assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.protocol_violation")));
        assert!(next_frame(&mut client).await.is_close());
    }
    for hello in [json!([48, 1, {}, "a.b"]), json!([1, kit::REALM, {"roles": {}}])] {
        let mut client = raw_client(&site, "wamp.2.json").await;
        send(&mut client, &hello).await;
        assert_eq!(receive(&mut client).await[0], 3, "{hello}");
    }
    assert_alive(&site).await;
}

#[tokio::test]
async fn a_frame_of_the_wrong_kind_ends_that_session() {
    use futures_util::SinkExt;
    let site = Site::start().await;
    let (mut client, _) = raw_session(&site).await;
    client.send(Frame::Binary(vec![0x91].into())).await.unwrap();
    assert_eq!(receive(&mut client).await[0], 3);
    assert_eq!(close_code(&next_frame(&mut client).await), CloseCode::Protocol);
    assert_alive(&site).await;
}

#[tokio::test]
async fn an_invalid_name_is_an_error_and_the_session_goes_on() {
    let site = Site::start().await;
    let (mut client, _) = raw_session(&site).await;
    for (message, kind) in [
        (json!([48, 1, {}, "a..b"]), 48),
        (json!([64, 2, {}, "a b"]), 64),
        (json!([32, 3, {}, "#"]), 32),
        (json!([16, 4, {"acknowledge": true}, ""]), 16),
    ] {
        send(&mut client, &message).await;
        let error = receive(&mut client).await;
        assert_eq!((&error[0], &error[1]), (&json!(8), &json!(kind)));
        assert_eq!(error[4], "wamp.error.invalid_uri");
    }
    send(&mut client, &json!([34, 5, 12345])).await;
    assert_eq!(receive(&mut client).await[4], "wamp.error.no_such_subscription");
    send(&mut client, &json!([66, 6, 12345])).await;
    assert_eq!(receive(&mut client).await[4], "wamp.error.no_such_registration");
    send(&mut client, &json!([6, {}, "wamp.close.normal"])).await;
    assert_eq!(receive(&mut client).await, json!([6, {}, "wamp.close.goodbye_and_out"]));
    assert_eq!(close_code(&next_frame(&mut client).await), CloseCode::Normal);
}

#[tokio::test]
async fn a_message_of_twenty_megabytes_ends_that_session_with_1009() {
    use futures_util::{SinkExt, StreamExt};
    let site = Site::start().await;
    let (client, _) = raw_session(&site).await;
    let (mut sink, mut stream) = client.split();
    let long = json!([48, 1, {}, "a.b", ["x".repeat(20 << 20)]]).to_string();
    let send = async { sink.send(Frame::text(long)).await };
    let read = async {
        while let Some(Ok(frame)) = stream.next().await {
            if frame.is_close() {
                return Some(frame);
            }
        }
        None
    };
    let (_, frame) = within(async { tokio::join!(send, read) }).await;
    let frame = frame.expect("a reason");
    assert_eq!(close_code(&frame), CloseCode::Size);
    assert!(frame.to_text().unwrap().contains("longer than the limit"), "{frame:?}");
    assert_alive(&site).await;
}

#[tokio::test]
async fn a_message_in_many_fragments_is_one_message() {
    let site = Site::start().await;
    // Long enough for many frames in both directions.
    let text = "x".repeat(kit::MAX_MESSAGE - 1000);
    let (callee, caller) = (site.client().await, site.connect(Serializer::Json).await);
    let mut echo = callee.register("test.echo", Default::default()).await.unwrap();
    let payload = Payload::one(&text).unwrap();
    let call = caller.call("test.echo", payload, CallOptions::default());
    let serve = async {
        let invocation = echo.next().await.unwrap();
        let answer = invocation.payload.clone();
        invocation.finish(Ok(answer)).await;
    };
    let (answer, ()) = within(async { tokio::join!(call, serve) }).await;
    assert!(answer.unwrap().first::<String>().unwrap() == text);
}

#[tokio::test]
async fn a_router_that_stops_says_so_and_a_client_knows_why() {
    let site = Site::start().await;
    let client = site.client().await;
    let mut registration = client.register("test.x", Default::default()).await.unwrap();
    let call = client.call("test.x", Payload::empty(), CallOptions::default());
    let stop = site.stop();
    let (answer, ()) = within(async { tokio::join!(call, stop) }).await;
    let reason = within(client.closed()).await;
    assert!(
        matches!(&reason, CloseReason::Goodbye { uri, .. } if uri == "wamp.close.system_shutdown"),
        "{reason}"
    );
    assert!(answer.is_err());
    assert!(within(registration.next()).await.is_none());
    let error = client.call("test.x", Payload::empty(), CallOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("wamp.close.system_shutdown"), "{error}");
}

#[tokio::test]
async fn a_peer_that_is_silent_is_given_up() {
    let limits = Limits { ping_interval: Duration::from_millis(20), ..Limits::default() };
    let site = Site::with_limits(limits).await;
    let watcher = site.attach();
    let mut left = watcher.subscribe("wamp.session.on_leave", Default::default()).await.unwrap();
    let client = site.client().await;
    // It answers no pings, because nobody reads on its behalf.
    let (_silent, session) = raw_session(&site).await;
    let event = within(left.next()).await.unwrap();
    assert_eq!(event.payload.first::<u64>().unwrap(), session);
    // One that answers has stayed all the while, though it said nothing else.
    let error = within(client.call("a.b", Payload::empty(), CallOptions::default())).await;
    assert!(matches!(error, Err(CallError::Application(_))), "{error:?}");
}

#[tokio::test]
async fn a_full_router_says_so() {
    let site = Site::with_limits(Limits { max_sessions: 1, ..Limits::default() }).await;
    let _first = site.client().await;
    let error = within(Client::connect(&site.config())).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn who_cannot_connect_is_told_why() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    let connect = |url: String| async move {
        let mut config = ClientConfig::new(url, kit::REALM);
        config.connect_timeout = Duration::from_millis(100);
        within(Client::connect(&config)).await.unwrap_err()
    };
    let silent = connect(format!("ws://{address}/ws")).await;
    assert!(matches!(silent, ConnectError::Timeout { .. }), "{silent}");
    drop(nobody);
    let unreachable = connect(format!("ws://{address}/ws")).await;
    assert!(matches!(unreachable, ConnectError::Unreachable { .. }), "{unreachable}");
    for url in ["", "http://x/", "ws://", "wss://"] {
        let error = connect(url.into()).await;
        assert!(matches!(error, ConnectError::Url { .. }), "{url}: {error}");
    }
    let site = Site::start().await;
    let elsewhere = connect(format!("ws://{}/else", site.address)).await;
    assert!(elsewhere.to_string().contains("404"), "{elsewhere}");
}

#[tokio::test]
async fn a_client_survives_a_router_that_is_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = ClientConfig::new(format!("ws://{}/ws", listener.local_addr().unwrap()), "r");
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 mail.example.org ESMTP\r\n").await.unwrap();
        stream.shutdown().await.ok();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let (error, ()) = within(async { tokio::join!(Client::connect(&config), serve) }).await;
    assert!(matches!(error, Err(ConnectError::Refused { .. })), "{error:?}");
}

#[tokio::test]
async fn a_closed_client_is_closed_for_good() {
    let router = Router::new(RouterConfig {
        realms: vec![RealmConfig::open("r")],
        ..RouterConfig::default()
    })
    .unwrap();
    let local = router.attach("r").unwrap();
    let site = Site::start().await;
    for client in [local, site.client().await] {
        let clone = client.clone();
        within(client.close()).await;
        within(client.close()).await;
        assert_eq!(within(clone.closed()).await, CloseReason::Local);
        let answer = clone.call("a.b", Payload::empty(), CallOptions::default()).await;
        assert!(answer.is_err());
    }
    let payload = Payload::one(&Value::Null).unwrap();
    assert_eq!(payload.first::<Value>().unwrap(), Value::Null);
}

#[tokio::test]
async fn an_odd_option_is_refused_and_the_session_goes_on() {
    let site = Site::start().await;
    let (mut client, _) = raw_session(&site).await;
    for request in [
        json!([32, 1, {"match": "regex"}, "a.b"]),
        json!([64, 2, {"invoke": "all"}, "a.b"]),
        json!([48, 3, {"timeout": -1}, "a.b"]),
        json!([48, 4, {"timeout": 1.5}, "a.b"]),
        json!([48, 5, {"receive_progress": "yes"}, "a.b"]),
        json!([16, 6, {"acknowledge": true, "eligible": "me"}, "a.b"]),
    ] {
        send(&mut client, &request).await;
        let error = receive(&mut client).await;
        let (kind, id) = (request[0].clone(), request[1].clone());
        assert_eq!(error[0], 8, "{error}");
        assert_eq!((&error[1], &error[2]), (&kind, &id), "{error}");
        assert_eq!(error[4], "wamp.error.invalid_argument");
    }
    // Who did not ask for an answer gets none.
    send(&mut client, &json!([16, 7, {"eligible": "me"}, "a.b"])).await;
    send(&mut client, &json!([32, 8, {"match": null, "x_unknown": {"a": [1]}}, "a.b"])).await;
    let subscribed = receive(&mut client).await;
    assert_eq!((&subscribed[0], &subscribed[1]), (&json!(33), &json!(8)), "{subscribed}");
}
