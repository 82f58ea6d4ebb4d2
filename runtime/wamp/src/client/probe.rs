//! Going the way to a session step by step, for whoever wants to know where it ends.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::connect::{Opened, Upgraded, join, request, upgrade};
use super::dial::dial;
use super::error::ConnectError;
use super::{Client, ClientConfig};
use crate::outbox::Outbox;
use crate::stream::Stream;
use crate::wire::Wire;

/// What was found on the way to a session.
#[derive(Debug, Default)]
pub struct Probe {
    /// The addresses that the URL's host has; none if it has none.
    pub addresses: Vec<SocketAddr>,
    /// The certificates that the router proved itself with, its own first, in DER; none
    /// without TLS, or if they were not trusted.
    pub certificates: Vec<Vec<u8>>,
    /// The router's clock, as the header `Date` has it.
    pub date: Option<String>,
    /// What the router says that it is, in its WELCOME.
    pub router: Option<String>,
    /// What was in the way; none if the session was opened, which is closed again.
    pub fault: Option<ConnectError>,
}

/// Opens a session and closes it again, within twice the time that the configuration
/// gives a connection.
pub async fn probe(config: &ClientConfig) -> Probe {
    let mut probe = Probe::default();
    let after = config.connect_timeout * 2;
    let walked = timeout(after, walk(config, &mut probe)).await;
    let late = |_| ConnectError::Timeout { url: config.url.clone(), after };
    probe.fault = walked.map_err(late).flatten().err();
    probe
}

async fn walk(config: &ClientConfig, probe: &mut Probe) -> Result<(), ConnectError> {
    let (request, destination) = request(config)?;
    let unreachable = |source| ConnectError::Unreachable { url: config.url.clone(), source };
    let place = (destination.host.clone(), destination.port);
    probe.addresses = lookup_host(place).await.map_err(unreachable)?.collect();
    let stream = dial(config, destination).await?;
    if let Stream::Tls(stream) = &stream {
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        probe.certificates = chain.iter().map(|certificate| certificate.to_vec()).collect();
    }
    let Upgraded { socket, serializer, date } = upgrade(config, request, stream).await?;
    probe.date = date;
    let outbox = Arc::new(Outbox::new(config.max_queued_bytes));
    let (bytes, interval) = (config.max_message_bytes, config.ping_interval);
    let mut wire = Wire::new(socket, serializer, bytes, interval, Arc::clone(&outbox));
    let (session, router) = join(config, &mut wire, &outbox).await?;
    probe.router = Some(router);
    Client::of(config, Opened { session, wire, outbox, serializer }).close().await;
    Ok(())
}
