//! A router on a loopback socket, and clients for it.

#![allow(dead_code, reason = "every test file uses its own part of the kit")]

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use drover_wamp::{Client, ClientConfig, Limits, Router, RouterConfig, Serializer};
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
        let router = Router::new(RouterConfig { realms: vec![REALM.to_owned()], limits });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut serving = JoinSet::new();
        let (served, until) = (router.clone(), stop.clone());
        serving.spawn(async move { served.serve(listener, until).await });
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
