//! A router on a loopback socket, and clients for it.

#![allow(dead_code, reason = "every test file uses its own part of the kit")]
#![allow(clippy::unwrap_used, reason = "only tests use it")]

pub(crate) mod frames;
pub(crate) mod http;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use drover_wamp::{
    Client, ClientConfig, Limits, RealmConfig, Router, RouterConfig, Serializer, TlsIdentity,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) const REALM: &str = "test";

/// The longest message of the routers and clients here.
pub(crate) const MAX_MESSAGE: usize = 1 << 20;

/// Waits for something that happens soon, or never.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it takes too long")
}

/// A router that listens.
pub(crate) struct Site {
    pub(crate) router: Router,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    serving: JoinSet<std::io::Result<()>>,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with_limits(Limits { max_message_bytes: MAX_MESSAGE, ..Limits::default() }).await
    }

    pub(crate) async fn with_limits(limits: Limits) -> Self {
        Self::with_realms(vec![RealmConfig::open(REALM)], limits).await
    }

    pub(crate) async fn with_realms(realms: Vec<RealmConfig>, limits: Limits) -> Self {
        Self::listen(realms, limits, "127.0.0.1:0".parse().unwrap()).await
    }

    /// A router where another one was.
    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let limits = Limits { max_message_bytes: MAX_MESSAGE, ..Limits::default() };
        Self::listen(vec![RealmConfig::open(REALM)], limits, address).await
    }

    async fn listen(realms: Vec<RealmConfig>, limits: Limits, address: SocketAddr) -> Self {
        let router =
            Router::new(RouterConfig { realms, limits, ..RouterConfig::default() }).unwrap();
        Self::of_at(router, None, address).await
    }

    /// A listener of the router, with TLS if there is an identity.
    pub(crate) async fn of(router: Router, identity: Option<TlsIdentity>) -> Self {
        Self::of_at(router, identity, "127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn of_at(
        router: Router,
        identity: Option<TlsIdentity>,
        address: SocketAddr,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut serving = JoinSet::new();
        let (served, until) = (router.clone(), stop.clone());
        serving.spawn(async move {
            match identity {
                Some(identity) => served.serve_tls(listener, identity, until).await,
                None => served.serve(listener, until).await,
            }
        });
        Self { router, address, stop, serving }
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new(format!("ws://{}/ws", self.address), REALM);
        config.max_message_bytes = MAX_MESSAGE;
        config
    }

    pub(crate) async fn connect(&self, serializer: Serializer) -> Client {
        let config = ClientConfig { serializers: vec![serializer], ..self.config() };
        within(Client::connect(&config)).await.unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        within(Client::connect(&self.config())).await.unwrap()
    }

    pub(crate) fn attach(&self) -> Client {
        self.router.attach(REALM).unwrap()
    }

    /// Stops the router, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        within(self.serving.join_next()).await.unwrap().unwrap().unwrap();
    }
}

/// A client that says what it is told to, right or wrong, in JSON.
pub(crate) type RawClient =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// Connects without a HELLO.
pub(crate) async fn raw_client(site: &Site, subprotocol: &str) -> RawClient {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let mut request = format!("ws://{}/ws", site.address).into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocol.parse().unwrap());
    let (client, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    client
}

/// Connects and joins; the session's id is beside the client.
pub(crate) async fn raw_session(site: &Site) -> (RawClient, u64) {
    let mut client = raw_client(site, "wamp.2.json").await;
    let roles = serde_json::json!({"caller": {}, "callee": {}, "publisher": {}, "subscriber": {}});
    send(&mut client, &serde_json::json!([1, REALM, {"roles": roles}])).await;
    let welcome = receive(&mut client).await;
    assert_eq!(welcome[0], 2, "{welcome}");
    (client, welcome[1].as_u64().unwrap())
}

pub(crate) async fn send(client: &mut RawClient, message: &serde_json::Value) {
    use futures_util::SinkExt;
    client.send(message.to_string().into()).await.unwrap();
}

/// The next message.
pub(crate) async fn receive(client: &mut RawClient) -> serde_json::Value {
    let frame = next_frame(client).await;
    serde_json::from_str(frame.to_text().unwrap()).unwrap_or_else(|_| panic!("{frame:?}"))
}

/// The next frame that is no ping.
pub(crate) async fn next_frame(client: &mut RawClient) -> tokio_tungstenite::tungstenite::Message {
    use futures_util::StreamExt;
    loop {
        let frame = within(client.next()).await.unwrap().unwrap();
        if !frame.is_ping() && !frame.is_pong() {
            return frame;
        }
    }
}
