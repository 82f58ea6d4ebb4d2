//! Requests over the network: what is granted goes out, and nothing else, and
//! whatever the other side does, the job ends with words that help.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drover_api::{ErrorCode, JobState};
use drover_plugin_host::{Host, Job, Limits, Outcome};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_util::sync::CancellationToken;

use crate::kit::{grants, host_with, job, packed_of};

/// A host whose plugin `a` asks for everything at `authority`, and is granted
/// what `grant` says.
struct Site {
    directory: TempDir,
    host: Host,
}

impl Site {
    async fn new(ask: &str, grant: &str) -> Self {
        Self::at(TempDir::new().unwrap(), ask, grant).await
    }

    async fn at(directory: TempDir, ask: &str, grant: &str) -> Self {
        let granted = grants(&format!("[a]\nhttp.{grant}"));
        let host = host_with(Limits::default(), granted, directory.path().join("state"));
        let manifest = format!("[[asks.http]]\n{ask}\nallow = [\"* /**\"]\nreason = \"r\"\n");
        let plugin = packed_of("fetches", directory.path(), "a", &manifest);
        host.load_file(&plugin).await.unwrap();
        Self { directory, host }
    }

    async fn run(&self, operation: &str, arguments: Value) -> Outcome {
        self.host.run(Job { plugin: "a".to_owned(), ..job(operation, arguments) }).await
    }

    async fn fetch(&self, url: &str) -> Outcome {
        self.run("fetch", json!({ "url": url })).await
    }
}

fn answer(outcome: &Outcome) -> &Value {
    assert_eq!(outcome.state, JobState::Ok, "{outcome:?}");
    &outcome.data
}

/// The error of a job, and what is in its log.
fn failure(outcome: &Outcome) -> String {
    let error = outcome.error.as_ref().unwrap_or_else(|| panic!("{outcome:?}"));
    let records: Vec<_> = outcome.records.iter().map(|record| record.data.as_str()).collect();
    format!("{}: {}\n{}", error.code, error.message, records.join("\n"))
}

fn assert_says(text: &str, words: &[&str]) {
    assert!(words.iter().all(|word| text.contains(word)), "{text} does not say {words:?}");
}

/// Reads one request, its body as far as its length is given.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return None;
        }
        text.push(byte[0]);
        if text.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

/// Answers each request of a connection with its own text.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin, number: usize) {
    while let Some(request) = read_request(&mut stream).await {
        let head = format!("HTTP/1.1 200 OK\r\nx-seen: {number}\r\n");
        let answer = format!("{head}content-length: {}\r\n\r\n{request}", request.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A server that says a text to each request and closes the connection, or
/// says nothing more.
async fn saying(text: &'static [u8], closes: Closes) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = read_request(&mut stream).await;
            let _ = stream.write_all(text).await;
            if closes == Closes::Never {
                kept.push(stream);
            }
        }
    });
    (address, tasks)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Closes {
    AtOnce,
    Never,
}

async fn echoing() -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(echo(stream, connections.len()));
        }
    });
    (address, tasks)
}

/// A site that is granted everything at a plain address.
async fn site_at(address: &str) -> Site {
    let ask = format!("authority = \"{address}\"\nscheme = \"http\"");
    Site::new(&ask, &format!("\"{address}\" = {{ scheme = \"http\", allow = [\"* /**\"] }}")).await
}

fn unix_echo(directory: &Path) -> JoinSet<()> {
    let listener = UnixListener::bind(directory.join("engine.sock")).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(echo(stream, connections.len()));
        }
    });
    tasks
}

async fn engine() -> (Site, JoinSet<()>) {
    let directory = TempDir::new().unwrap();
    let server = unix_echo(directory.path());
    let socket = directory.path().join("engine.sock");
    let token = directory.path().join("token");
    std::fs::write(&token, "Bearer s3cret\n").unwrap();
    let grant = format!(
        "engine = {{ socket = {socket:?}, headers.authorization = {{ file = {token:?} }}, allow = [\
         \"GET /open/**\", {{ request = \"POST /create\", query = [\"name\"], body = [\
         {{ at = \"/Privileged\", one_of = [false] }}] }}] }}"
    );
    let site =
        Site::at(directory, "authority = \"engine\"\nsocket = \"/run/x.sock\"", &grant).await;
    (site, server)
}

#[tokio::test]
async fn a_socket_is_reached_under_its_name_and_connections_are_kept() {
    let (site, _server) = engine().await;
    for _ in 0..2 {
        let outcome = site.fetch("http://engine/open/a?b=c").await;
        let answer = answer(&outcome);
        assert_eq!((&answer["status"], &answer["seen"]), (&json!(200), &json!("0")));
        let body = answer["body"].as_str().unwrap();
        assert_says(body, &["GET /open/a?b=c HTTP/1.1", "host: engine", "Bearer s3cret"]);
    }
}

#[tokio::test]
async fn what_no_rule_allows_is_denied_and_taken_down_without_secrets() {
    let (site, _server) = engine().await;
    for (method, url, words) in [
        ("POST", "http://engine/open/a?t=s3cret", "POST http://engine/open/a\": no rule"),
        ("GET", "http://engine/closed", "GET http://engine/closed\": no rule"),
        ("GET", "http://engine/open/../closed", "ambiguous"),
        ("GET", "http://engine/open/%2e%2e/closed", "ambiguous"),
        ("GET", "http://engine/open//closed", "ambiguous"),
        ("GET", "https://engine/open/a", "https://engine is not both asked for and granted"),
        ("GET", "http://other/open/a", "http://other is not both asked for and granted"),
        ("GET", "http://engine:81/open/a", "http://engine:81 is not"),
        ("CONNECT", "http://engine/open/a", "its manifest does not ask for it"),
        ("POST", "http://engine/create?force=1", "no rule"),
    ] {
        let arguments = json!({ "url": url, "method": method });
        let said = failure(&site.run("fetch", arguments).await);
        assert_says(&said, &["is not granted", "denied to `a`: http.send", words]);
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[tokio::test]
async fn a_body_is_judged_before_a_byte_goes_out() {
    let (site, _server) = engine().await;
    let create = |body: &str| {
        let arguments =
            json!({"url": "http://engine/create?name=x", "method": "POST", "body": body});
        site.run("fetch", arguments)
    };
    for body in ["", "{\"Privileged\": false}", "{\"Other\": 1}"] {
        let outcome = create(body).await;
        let text = answer(&outcome)["body"].as_str().unwrap().to_owned();
        assert!(text.ends_with(&format!("\r\n\r\n{body}")), "{text}");
    }
    for (body, words) in [
        ("{\"Privileged\": true}", "what its body has at `/Privileged`"),
        ("{\"privileged\": 7331}", "what its body has at `/Privileged`"),
        ("{\"a\": 1, \"A\": 7331}", "cannot be checked"),
        ("Privileged=7331", "cannot be checked"),
        (&"7331 ".repeat(300_000), "more than 1048576 bytes"),
    ] {
        let said = failure(&create(body).await);
        assert_says(&said, &["POST http://engine/create", words]);
        assert!(!said.contains("7331"), "{said}");
    }
    let coded = json!({
        "url": "http://engine/create", "method": "POST", "body": "{}",
        "header": ["content-encoding", "gzip"],
    });
    assert_says(&failure(&site.run("fetch", coded).await), &["content-encoding"]);
}

#[tokio::test]
async fn headers_of_the_connection_are_the_hosts() {
    let (site, _server) = engine().await;
    for name in ["host", "connection", "upgrade", "transfer-encoding", "x-http-method-override"] {
        let arguments = json!({"url": "http://engine/open/a", "header": [name, "x"]});
        assert_says(&failure(&site.run("fetch", arguments).await), &["a header is wrong"]);
    }
    let arguments = json!({"url": "http://engine/open/a", "header": ["authorization", "mine"]});
    let outcome = site.run("fetch", arguments).await;
    assert!(!answer(&outcome)["body"].as_str().unwrap().contains("mine"));
}

#[tokio::test]
async fn a_plugin_that_does_not_ask_is_not_loaded_and_the_lines_are_shown() {
    let directory = TempDir::new().unwrap();
    let host = host_with(Limits::default(), grants(""), directory.path().join("state"));
    let plain = packed_of("fetches", directory.path(), "a", "");
    let error = chain(&host.load_file(&plain).await.unwrap_err());
    assert_says(&error, &["wasi:http", "does not ask", "[asks]"]);
    let ask = "[[asks.http]]\nauthority = \"api.example.com\"\nallow = [\"GET /v1/**\"]\nreason = \"why not\"";
    let asking = packed_of("fetches", directory.path(), "a", ask);
    let error = chain(&host.load_file(&asking).await.unwrap_err());
    assert_says(
        &error,
        &[
            "# http.api.example.com: why not",
            "http.\"api.example.com\" = { allow = [\"GET /v1/**\"] }",
        ],
    );
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[tokio::test]
async fn large_bodies_go_through_in_both_directions() {
    const BIG: usize = 5_000_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = read_request(&mut stream).await.unwrap();
            let answer = if request.starts_with("POST") {
                let mut text = Vec::new();
                while !text.ends_with(b"\r\n0\r\n\r\n") {
                    assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0);
                }
                let bytes = text.iter().filter(|byte| **byte == b'x').count().to_string();
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{bytes}", bytes.len())
            } else {
                format!("HTTP/1.1 200 OK\r\n\r\n{}", "y".repeat(BIG))
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let site = site_at(&address).await;
    let url = format!("http://{address}/");
    let outcome = site.run("upload", json!({"url": url, "bytes": BIG})).await;
    assert_eq!(answer(&outcome), &json!(BIG.to_string()));
    let outcome = site.run("count", json!({ "url": url })).await;
    assert_eq!(answer(&outcome), &json!(BIG));
    // The rest of the answer is nobody's.
    let outcome = site.run("begin_only", json!({ "url": url })).await;
    assert_eq!(answer(&outcome), &json!(16));
}

#[tokio::test]
async fn whatever_a_server_does_the_plugin_is_told() {
    for (text, closes, words) in [
        (&b""[..], Closes::AtOnce, "the connection ended before the answer did"),
        (b"HTTP/1.1 200", Closes::AtOnce, "the connection ended before the answer did"),
        (b"nonsense\r\n\r\n", Closes::AtOnce, "HttpProtocolError"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", Closes::AtOnce, "ended before"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
            Closes::AtOnce,
            "ended before",
        ),
        (b"", Closes::Never, "no answer in time"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", Closes::Never, "no answer in time"),
    ] {
        let (address, _server) = saying(text, closes).await;
        let site = site_at(&address).await;
        let patience = if closes == Closes::Never { 100 } else { 30_000 };
        let arguments = json!({"url": format!("http://{address}/"), "timeout_ms": patience});
        assert_says(&failure(&site.run("fetch", arguments).await), &["failed: ", words]);
    }
}

#[tokio::test]
async fn an_answer_in_small_pieces_comes_whole_and_a_cut_is_noticed() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let pieces = "9\r\na line...\r\n".repeat(20_000);
    for end in [Some("0\r\n\r\n"), None] {
        let text = format!("{HEAD}{pieces}{}", end.unwrap_or_default()).leak();
        let (address, _server) = saying(text.as_bytes(), Closes::AtOnce).await;
        let site = site_at(&address).await;
        let outcome = site.run("count", json!({"url": format!("http://{address}/")})).await;
        match end {
            Some(_) => assert_eq!(answer(&outcome), &json!(9 * 20_000)),
            None => assert_says(&failure(&outcome), &["ended before"]),
        }
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let text = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let (address, _server) = saying(text, Closes::AtOnce).await;
    let site = site_at(&address).await;
    assert_eq!(answer(&site.fetch(&format!("http://{address}/")).await)["status"], 302);
}

#[tokio::test]
async fn the_deadline_and_a_cancellation_end_a_request_that_hangs() {
    let (address, _server) = saying(b"", Closes::Never).await;
    let site = site_at(&address).await;
    let arguments = json!({"url": format!("http://{address}/")});
    let fetch = || Job { plugin: "a".to_owned(), ..job("fetch", arguments.clone()) };
    let short = Job { timeout: Some(Duration::from_millis(200)), ..fetch() };
    let outcome = site.host.run(short).await;
    assert_eq!(outcome.error.unwrap().code, ErrorCode::Timeout);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let outcome = site.host.run(Job { cancel, ..fetch() }).await;
    assert_eq!(outcome.state, JobState::Killed);
}

#[tokio::test]
async fn a_place_where_nobody_is_has_its_reason_in_the_log() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let site = site_at(&address).await;
    let said = failure(&site.fetch(&format!("http://{address}/")).await);
    assert_says(&said, &["nobody is there", &format!("cannot connect to {address}"), "refused"]);

    let site = Site::new(
        "authority = \"engine\"\nsocket = \"/nowhere/x\"",
        "engine = { socket = \"/nowhere/x\", allow = [\"* /**\"] }",
    )
    .await;
    let said = failure(&site.fetch("http://engine/").await);
    assert_says(&said, &["cannot connect to the socket /nowhere/x", "No such file"]);
}

#[tokio::test]
async fn a_name_for_a_private_address_is_refused_unless_that_is_granted() {
    let (address, _server) = echoing().await;
    let name = address.replace("127.0.0.1", "localhost");
    let ask = format!("authority = \"{name}\"\nscheme = \"http\"");
    let url = format!("http://{name}/");
    let grant =
        |more: &str| format!("\"{name}\" = {{ scheme = \"http\", {more} allow = [\"* /**\"] }}");
    let site = Site::new(&ask, &grant("")).await;
    let said = failure(&site.fetch(&url).await);
    assert_says(&said, &["`localhost` stands for", "private network", "`private = true`"]);
    let site = Site::new(&ask, &grant("private = true,")).await;
    assert_eq!(answer(&site.fetch(&url).await)["status"], 200);
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_told() {
    let ask = "authority = \"nobody.invalid\"";
    let site = Site::new(ask, "\"nobody.invalid\" = { allow = [\"* /**\"] }").await;
    let said = failure(&site.fetch("https://nobody.invalid/").await);
    assert_says(&said, &["`nobody.invalid` is not known"]);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_made_anew() {
    let text = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (address, _server) = saying(text, Closes::AtOnce).await;
    let site = site_at(&address).await;
    for _ in 0..5 {
        let outcome = site.fetch(&format!("http://{address}/")).await;
        assert_eq!(answer(&outcome)["body"], "ok");
    }
}

/// A TLS server for `localhost`, and the file of its certificate.
async fn tls_echo(directory: &Path) -> (u16, JoinSet<()>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("ca.pem"), made.cert.pem()).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(made.cert.der().to_vec())], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, number) = (acceptor.clone(), connections.len());
            connections.spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    echo(stream, number).await;
                }
            });
        }
    });
    (port, tasks)
}

#[tokio::test]
async fn a_server_proves_who_it_is() {
    let directory = TempDir::new().unwrap();
    let (port, _server) = tls_echo(directory.path()).await;
    let ca = directory.path().join("ca.pem");
    let reach = async |host: &str, more: &str| {
        let ask = format!("authority = \"{host}:{port}\"");
        let grant = format!("\"{host}:{port}\" = {{ {more} allow = [\"GET /**\"] }}");
        Site::new(&ask, &grant).await.fetch(&format!("https://{host}:{port}/x")).await
    };
    let trusted = reach("localhost", &format!("private = true, ca_file = {ca:?},")).await;
    assert_says(answer(&trusted)["body"].as_str().unwrap(), &["GET /x HTTP/1.1"]);
    let unknown = failure(&reach("localhost", "private = true,").await);
    assert_says(&unknown, &["signed by nobody who is trusted", "`ca_file`"]);
    let other_name = failure(&reach("127.0.0.1", &format!("ca_file = {ca:?},")).await);
    assert_says(&other_name, &["for another name"]);
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"HTTP/1.1 400 no\r\n\r\n").await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    let site = Site::new(
        &format!("authority = \"{address}\""),
        &format!("\"{address}\" = {{ allow = [\"GET /**\"] }}"),
    )
    .await;
    let said = failure(&site.fetch(&format!("https://{address}/")).await);
    assert_says(&said, &["cannot speak TLS", &address, "does not speak TLS"]);
}

/// Prints what a denied request takes, for those who look.
#[tokio::test]
async fn denied_requests_come_back_soon() {
    let (site, _server) = engine().await;
    let outcome =
        site.run("fetch_often", json!({"url": "http://engine/closed", "times": 500})).await;
    let answer = answer(&outcome);
    assert_eq!(answer[0], 0);
    println!("{} µs a denied request", answer[1]);
    let outcome =
        site.run("fetch_often", json!({"url": "http://engine/open/x", "times": 500})).await;
    assert_eq!(outcome.data[0], 500);
    println!("{} µs a request that is answered", outcome.data[1]);
    assert!(site.directory.path().exists());
}

/// An engine that opens a stream, gives back all that it gets, and then says
/// `over`; `head` is its answer.
async fn streaming(head: &'static str) -> (Site, JoinSet<()>) {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = read_request(&mut stream).await.unwrap();
            assert!(request.contains("upgrade: tcp\r\n"), "{request}");
            assert!(request.contains("connection: Upgrade\r\n"), "{request}");
            stream.write_all(head.as_bytes()).await.unwrap();
            let (mut reader, mut writer) = stream.split();
            if tokio::io::copy(&mut reader, &mut writer).await.is_ok() {
                let _ = writer.write_all(b"over").await;
            }
        }
    });
    let grant = format!(
        "engine = {{ socket = {socket:?}, allow = [\"GET /plain\", {{ request = \"POST /exec\", \
         upgrade = true, body = [{{ at = \"/Privileged\", one_of = [false] }}] }}] }}"
    );
    let ask = "authority = \"engine\"\nsocket = \"/x\"";
    let manifest = format!(
        "[[asks.http]]\n{ask}\nallow = [{{ request = \"* /**\", upgrade = true }}]\nreason = \"r\"\n"
    );
    let granted = grants(&format!("[a]\nhttp.{grant}"));
    let host = host_with(Limits::default(), granted, directory.path().join("state"));
    let plugin = packed_of("fetches", directory.path(), "a", &manifest);
    host.load_file(&plugin).await.unwrap();
    (Site { directory, host }, server)
}

fn talk(text: &str, times: u32) -> Value {
    json!({"url": "http://engine/exec", "text": text, "times": times, "body": "{}"})
}

#[tokio::test]
async fn a_stream_goes_both_ways_and_ends_one_way_at_a_time() {
    for head in
        ["HTTP/1.1 101 UPGRADED\r\nupgrade: tcp\r\n\r\nhello", "HTTP/1.1 200 OK\r\n\r\nhello"]
    {
        let (site, _server) = streaming(head).await;
        let outcome = site.run("talk", talk("how are you?", 1)).await;
        assert_eq!(answer(&outcome), &json!([21, "ellohow are you?over"]));
        let outcome = site.run("talk", talk(&"x".repeat(100_000), 50)).await;
        assert_eq!(answer(&outcome)[0], 5_000_009);
    }
}

#[tokio::test]
async fn a_stream_needs_a_rule_that_says_so_and_a_body_that_keeps_it() {
    let (site, _server) = streaming("HTTP/1.1 101 x\r\n\r\n").await;
    for (path, body, words) in [
        ("plain", "{}", "no rule of its grants"),
        ("other", "{}", "no rule of its grants"),
        ("exec/../exec", "{}", "ambiguous"),
        ("exec", "{\"privileged\": true}", "/Privileged"),
    ] {
        let mut arguments = talk("", 0);
        arguments["url"] = json!(format!("http://engine/{path}"));
        arguments["body"] = json!(body);
        let said = failure(&site.run("talk", arguments).await);
        assert_says(&said, &["is not granted", "denied to `a`: channel.open \"POST", words]);
    }
}

#[tokio::test]
async fn an_answer_that_is_no_stream_is_shown() {
    let head = "HTTP/1.1 404 Not Found\r\ncontent-length: 12\r\n\r\nno such exec";
    let (site, _server) = streaming(head).await;
    let said = failure(&site.run("talk", talk("x", 1)).await);
    assert_says(&said, &["status 404: no such exec"]);
    let (site, _server) = streaming("nonsense\r\n\r\n").await;
    assert_says(&failure(&site.run("talk", talk("x", 1)).await), &["the answer is no HTTP"]);
}
