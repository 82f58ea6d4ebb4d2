//! A router behind TLS: who speaks it gets in, who does not is told nothing, and nobody else notices.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use std::sync::Arc;

use drover_wamp::{Limits, RealmConfig, Router, RouterConfig, TlsError, TlsFiles, TlsIdentity};
use futures_util::{SinkExt, StreamExt};
use kit::{REALM, Site, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A self-signed certificate for `localhost`.
struct Certificate {
    pem: String,
    key: String,
    roots: RootCertStore,
}

fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    Certificate { pem: made.cert.pem(), key: made.signing_key.serialize_pem(), roots }
}

async fn site(certificate: &Certificate) -> Site {
    let identity =
        TlsIdentity::from_pem(certificate.pem.as_bytes(), certificate.key.as_bytes()).unwrap();
    let router = Router::new(RouterConfig {
        realms: vec![RealmConfig::open(REALM)],
        limits: Limits { max_message_bytes: kit::MAX_MESSAGE, ..Limits::default() },
        ..RouterConfig::default()
    })
    .unwrap();
    Site::of(router, Some(identity)).await
}

async fn dial(site: &Site, roots: RootCertStore) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(site.address).await?;
    let name = "localhost".try_into().unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// A message that takes many TLS records, there and back over one session.
async fn assert_serves(site: &Site, certificate: &Certificate) {
    let stream = dial(site, certificate.roots.clone()).await.unwrap();
    let mut request = "wss://localhost/ws".into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "wamp.2.json".parse().unwrap());
    let (mut client, _) = within(tokio_tungstenite::client_async(request, stream)).await.unwrap();
    let roles = json!({"publisher": {}, "subscriber": {}});
    let long = "x".repeat(kit::MAX_MESSAGE - 1000);
    for (message, answer) in [
        (json!([1, REALM, {"roles": roles}]), 2),
        (json!([32, 1, {}, "a.b"]), 33),
        (json!([16, 2, {"exclude_me": false}, "a.b", [long]]), 36),
    ] {
        client.send(Message::text(message.to_string())).await.unwrap();
        let text = within(client.next()).await.unwrap().unwrap();
        let received: Value = serde_json::from_str(text.to_text().unwrap()).unwrap();
        assert_eq!(received[0], answer);
        if answer == 36 {
            assert_eq!(received[4], message[4]);
        }
    }
}

#[tokio::test]
async fn a_session_over_tls_is_a_session() {
    let certificate = certificate();
    let site = site(&certificate).await;
    assert_serves(&site, &certificate).await;
    within(site.stop()).await;
}

#[tokio::test]
async fn who_does_not_speak_tls_is_dropped_and_the_others_go_on() {
    let certificate = certificate();
    let site = site(&certificate).await;
    for bytes in [&b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 70_000], &[0xff; 70_000]] {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    assert_serves(&site, &certificate).await;
}

#[tokio::test]
async fn a_client_that_trusts_somebody_else_does_not_get_in() {
    let certificate = certificate();
    let site = site(&certificate).await;
    assert!(dial(&site, self::certificate().roots).await.is_err());
    assert_serves(&site, &certificate).await;
}

#[test]
fn files_that_are_no_certificate_or_key_are_refused_in_words() {
    let (one, other) = (certificate(), certificate());
    let refused = |pem: &str, key: &str| {
        TlsIdentity::from_pem(pem.as_bytes(), key.as_bytes()).unwrap_err().to_string()
    };
    assert!(refused("", &one.key).contains("no certificate"));
    assert!(refused(&one.key, &one.key).contains("BEGIN CERTIFICATE"));
    assert!(refused(&one.pem[..100], &one.key).contains("broken"));
    assert!(refused(&one.pem, "").contains("no private key"));
    assert!(refused(&one.pem, &one.pem).contains("BEGIN PRIVATE KEY"));
    let mismatch = refused(&one.pem, &other.key);
    assert!(mismatch.contains("cannot be used"), "{mismatch}");

    let directory = std::env::temp_dir().join("no-such-directory-of-drover");
    let files = TlsFiles {
        certificates: directory.join("a.pem"),
        key: directory.join("b.pem"),
        client_ca: None,
    };
    let error = TlsIdentity::read(&files).unwrap_err();
    assert!(matches!(&error, TlsError::Read { path, .. } if path.ends_with("a.pem")), "{error}");
}
