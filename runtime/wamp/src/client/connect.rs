//! Opening a session: address, WebSocket, HELLO.

use std::sync::Arc;

use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, Response};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::ClientConfig;
use super::dial::{Destination, dial};
use super::error::ConnectError;
use crate::Serializer;
use crate::id::SessionId;
use crate::message::{
    AuthenticateDetails, ChallengeDetails, ClientRoles, Features, HelloDetails, Message, Role,
};
use crate::outbox::Outbox;
use crate::stream::Stream;
use crate::wire::{Incoming, Wire, socket_config};

const SUBPROTOCOL: &str = "Sec-WebSocket-Protocol";

/// A session that has just been welcomed.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) session: SessionId,
    pub(super) wire: Wire,
    pub(super) outbox: Arc<Outbox>,
    pub(super) serializer: Serializer,
}

/// Opens a session; the caller bounds the time.
pub(super) async fn open(config: &ClientConfig) -> Result<Opened, ConnectError> {
    let (socket, serializer) = open_socket(config).await?;
    // What waits here holds back whoever sends more, so a little over one
    // message is enough, and keeps heartbeats from waiting behind megabytes.
    let outbox = Arc::new(Outbox::new(config.max_queued_bytes));
    let mut wire = Wire::new(
        socket,
        serializer,
        config.max_message_bytes,
        config.ping_interval,
        Arc::clone(&outbox),
    );
    let (session, _) = join(config, &mut wire, &outbox).await?;
    Ok(Opened { session, wire, outbox, serializer })
}

/// From HELLO to WELCOME; the session, and what the router says that it is.
pub(super) async fn join(
    config: &ClientConfig,
    wire: &mut Wire,
    outbox: &Outbox,
) -> Result<(SessionId, String), ConnectError> {
    let mut details = HelloDetails {
        roles: our_roles(),
        agent: Some(concat!("drover ", env!("CARGO_PKG_VERSION")).to_owned()),
        authrole: config.role.clone(),
        ..HelloDetails::default()
    };
    config.authentication.introduce(&mut details);
    outbox.send_anyway(Message::Hello { realm: config.realm.clone(), details: Box::new(details) });
    let ended = |reason: String| ConnectError::Ended { url: config.url.clone(), reason };
    let mut was_asked = false;
    loop {
        match wire.next().await {
            Ok(Incoming::Message(Message::Welcome { session, details })) => {
                return Ok((session, details.agent));
            }
            Ok(Incoming::Message(Message::Challenge { method, extra })) if !was_asked => {
                was_asked = true;
                let signature = prove(config, method, *extra).await?;
                let extra = Box::new(AuthenticateDetails::default());
                outbox.send_anyway(Message::Authenticate { signature, extra });
            }
            Ok(Incoming::Message(Message::Abort { details, reason })) => {
                let message = details.message.unwrap_or_else(|| "it gives no reason".to_owned());
                return Err(ConnectError::Aborted { uri: reason, message });
            }
            Ok(Incoming::Message(other)) => {
                return Err(ended(format!("{} came where WELCOME was due", other.name())));
            }
            Ok(Incoming::Undeliverable { why, .. } | Incoming::BadRequest { why, .. }) => {
                return Err(ended(why));
            }
            Err(end) => return Err(ended(end.to_string())),
        }
    }
}

/// The signature for a CHALLENGE.
async fn prove(
    config: &ClientConfig,
    method: String,
    challenge: ChallengeDetails,
) -> Result<String, ConnectError> {
    let authentication = config.authentication.clone();
    // Deriving a key takes as long as the router says, up to a second.
    let proof = tokio::task::spawn_blocking(move || authentication.answer(&method, &challenge));
    let failed = |reason| ConnectError::Authentication { url: config.url.clone(), reason };
    proof.await.map_err(|error| failed(error.to_string()))?.map_err(failed)
}

async fn open_socket(
    config: &ClientConfig,
) -> Result<(WebSocketStream<Stream>, Serializer), ConnectError> {
    let (request, destination) = request(config)?;
    let stream = dial(config, destination).await?;
    let Upgraded { socket, serializer, .. } = upgrade(config, request, stream).await?;
    Ok((socket, serializer))
}

/// A stream that is a WebSocket from now on.
pub(super) struct Upgraded {
    pub(super) socket: WebSocketStream<Stream>,
    pub(super) serializer: Serializer,
    /// The router's clock, as it says.
    pub(super) date: Option<String>,
}

pub(super) async fn upgrade(
    config: &ClientConfig,
    request: Request<()>,
    stream: Stream,
) -> Result<Upgraded, ConnectError> {
    let url = &config.url;
    let refused = |reason: String| ConnectError::Refused { url: url.clone(), reason };
    let socket_config = socket_config(config.max_message_bytes);
    let (socket, response) = client_async_with_config(request, stream, Some(socket_config))
        .await
        .map_err(|error| match error {
        WsError::Http(response) => refused(in_words(&response)),
        WsError::Io(source) => ConnectError::of_stream(url, source),
        other => refused(format!("it answered with no WebSocket: {other}")),
    })?;
    let chosen = response.headers().get(SUBPROTOCOL).and_then(|name| name.to_str().ok());
    let serializer = chosen.and_then(Serializer::from_subprotocol);
    let serializer = serializer.ok_or_else(|| refused("it chose no serializer of ours".into()))?;
    let date = response.headers().get("Date").and_then(|date| date.to_str().ok());
    let date = date.map(str::to_owned);
    Ok(Upgraded { socket, serializer, date })
}

impl ClientConfig {
    /// Checks what can be checked without a router.
    ///
    /// # Errors
    /// When the URL can be none of a router.
    pub fn check(&self) -> Result<(), ConnectError> {
        request(self).map(|_| ())
    }
}

/// The request to send, and where to send it.
pub(super) fn request(config: &ClientConfig) -> Result<(Request<()>, Destination), ConnectError> {
    let invalid = |reason: &str| ConnectError::Url {
        url: config.url.clone(),
        reason: format!("{reason}; it looks like ws://HOST:PORT/ws or wss://HOST:PORT/ws"),
    };
    let request = config.url.as_str().into_client_request();
    let mut request = request.map_err(|error| invalid(&error.to_string()))?;
    let has_tls = match request.uri().scheme_str() {
        Some("ws") => false,
        Some("wss") => true,
        _ => return Err(invalid("it does not begin with ws:// or wss://")),
    };
    let host = request.uri().host().ok_or_else(|| invalid("it names no host"))?;
    // An IPv6 address stands in brackets in a URL, and nowhere else.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = request.uri().port_u16().unwrap_or(if has_tls { 443 } else { 80 });
    let offer = HeaderValue::from_str(&Serializer::list(&config.serializers));
    let offer = offer.map_err(|error| invalid(&error.to_string()))?;
    request.headers_mut().insert(SUBPROTOCOL, offer);
    Ok((request, Destination { host, port, has_tls }))
}

fn in_words(response: &Response<Option<Vec<u8>>>) -> String {
    let body = response.body().as_deref().unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => {
            format!("{} ({})", line.chars().take(300).collect::<String>(), response.status())
        }
        _ => response.status().to_string(),
    }
}

pub(super) fn our_roles() -> ClientRoles {
    let role = |features| Some(Role { features });
    ClientRoles {
        caller: role(Features {
            call_canceling: true,
            call_timeout: true,
            caller_identification: true,
            progressive_call_results: true,
            ..Features::default()
        }),
        callee: role(Features {
            call_canceling: true,
            caller_identification: true,
            pattern_based_registration: true,
            progressive_call_results: true,
            registration_revocation: true,
            shared_registration: true,
            ..Features::default()
        }),
        publisher: role(Features {
            publisher_exclusion: true,
            publisher_identification: true,
            subscriber_blackwhite_listing: true,
            ..Features::default()
        }),
        subscriber: role(Features {
            event_retention: true,
            pattern_based_subscription: true,
            publisher_identification: true,
            ..Features::default()
        }),
    }
}
