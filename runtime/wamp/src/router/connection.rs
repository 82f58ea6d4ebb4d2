//! One connection to the router, from its first byte to its last.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;

use super::auth::Fresh;
use super::entrance::{Admission, Entrance};
use super::guard::Refused;
use super::handshake::{Application, Handshake, Step};
use super::http::{self, Visit};
use super::{Limits, Router, Seat, Standing};
use crate::Serializer;
use crate::id::SessionId;
use crate::message::{ClientRoles, Message};
use crate::outbox::{Outbox, Outgoing};
use crate::stream::Stream;
use crate::tls::TlsIdentity;
use crate::uri;
use crate::wire::{End, Incoming, Wire};

/// How long a peer has to take leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a connection needs to know of the router.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) router: Router,
    pub(super) peer: SocketAddr,
    pub(super) stop: CancellationToken,
    /// What the listener proves itself with, if it speaks TLS.
    pub(super) tls: Option<TlsIdentity>,
    /// Whether there is room for one more session.
    pub(super) has_room: bool,
}

/// Why a connection is over, from our side.
enum Finish {
    /// The wire ended.
    End(End),
    /// The peer has to be told that it broke the protocol.
    Abort { uri: &'static str, text: String },
    /// The peer has to be told that its proof is wrong.
    Denied { authid: String, method: &'static str, uri: &'static str, text: String },
    /// The session said goodbye.
    Left,
    /// The router stops.
    Stopped,
}

impl Connection {
    /// Serves the connection to its end.
    pub(super) async fn run(self, stream: TcpStream) {
        let peer = self.peer;
        // Without it every answer would wait for the acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        // What comes before the session and after it is in boxes that are there
        // only then: an idle session is to be small.
        let Some((socket, serializer)) = Box::pin(self.upgrade(stream)).await else { return };
        let outbox = Arc::new(Outbox::new(self.limits().max_queued_bytes));
        let mut wire = Wire::new(
            socket,
            serializer,
            self.limits().max_message_bytes,
            self.limits().ping_interval,
            Arc::clone(&outbox),
        );
        let finish = match Box::pin(self.shake_hands(&mut wire, &outbox)).await {
            Ok(seat) => {
                let session = seat.session();
                tracing::debug!(%peer, %session, %serializer, "session joined");
                let finish = self.serve(&mut wire, &outbox, &seat).await;
                // Registrations are free before the farewell, which may take a while.
                seat.leave();
                finish
            }
            Err(finish) => finish,
        };
        Box::pin(self.finish(wire, &outbox, finish)).await;
    }

    /// Lets the peer speak HTTP until that becomes a session, or ends.
    async fn upgrade(&self, stream: TcpStream) -> Option<(WebSocketStream<Stream>, Serializer)> {
        let peer = self.peer;
        let secured = tokio::select! {
            secured = timeout(self.limits().handshake_timeout, self.secure(stream)) => secured,
            () = self.stop.cancelled() => return None,
        };
        let stream = match secured {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::info!(%peer, %error, "connection is not encrypted as it should be");
                return None;
            }
            Err(_) => {
                tracing::info!(%peer, "connection agreed on no encryption in time");
                return None;
            }
        };
        let visit = Visit {
            router: &self.router,
            peer: self.peer,
            stop: &self.stop,
            has_room: self.has_room,
        };
        let served = match self.has_room {
            true => http::serve(stream, visit).await,
            false => {
                let limit = self.limits().max_sessions;
                tracing::warn!(%peer, limit, "too many sessions");
                timeout(FAREWELL, http::serve(stream, visit)).await.unwrap_or(Ok(None))
            }
        };
        served.unwrap_or_else(|error| {
            tracing::debug!(%peer, error = &error as &dyn Error, "connection broke, or is no HTTP");
            None
        })
    }

    async fn secure(&self, stream: TcpStream) -> io::Result<Stream> {
        match &self.tls {
            Some(tls) => tls.accept(stream).await,
            None => Ok(Stream::Plain(stream)),
        }
    }

    fn limits(&self) -> &Limits {
        &self.router.limits
    }

    /// Lets the peer join, if it says who it is in time.
    async fn shake_hands(&self, wire: &mut Wire, outbox: &Arc<Outbox>) -> Result<Seat, Finish> {
        let deadline = Instant::now() + self.limits().handshake_timeout;
        let mut handshake = Handshake::new(&self.router.entrances, self.peer);
        loop {
            let incoming = tokio::select! {
                incoming = timeout_at(deadline, wire.next()) => incoming,
                () = self.stop.cancelled() => return Err(Finish::Stopped),
            };
            let uri = uri::error::PROTOCOL_VIOLATION;
            let message = match incoming {
                Ok(Ok(Incoming::Message(message))) => message,
                Ok(Ok(Incoming::Undeliverable { why, .. } | Incoming::BadRequest { why, .. })) => {
                    return Err(Finish::Abort { uri, text: why });
                }
                Ok(Err(end)) => return Err(Finish::End(end)),
                Err(_) => {
                    let text = format!("no {} came in time", handshake.wants());
                    return Err(Finish::Abort { uri, text });
                }
            };
            match handshake.receive(message, &fresh()) {
                Step::Ask(question) => {
                    outbox.send_anyway(question);
                }
                Step::Join { entrance, roles, admission } => {
                    return Ok(self.join(entrance, &roles, admission, outbox));
                }
                Step::Apply(application) => {
                    let decided = tokio::select! {
                        decided = timeout_at(deadline, application.decide(self.peer)) => decided,
                        () = self.stop.cancelled() => return Err(Finish::Stopped),
                    };
                    let Application { entrance, roles, authid, method, .. } = *application;
                    return match decided {
                        Ok(Ok(admission)) => Ok(self.join(entrance, &roles, admission, outbox)),
                        Ok(Err(Refused { uri, text, .. })) => {
                            Err(Finish::Denied { authid, method, uri, text })
                        }
                        Err(_) => {
                            let text = "too many others want to join: try again later".to_owned();
                            Err(Finish::Abort { uri: uri::error::UNAVAILABLE, text })
                        }
                    };
                }
                Step::Abort { uri, text } => return Err(Finish::Abort { uri, text }),
                Step::Deny { entrance, authid, method, uri, text } => {
                    entrance.failed(self.peer, &authid, method);
                    return Err(Finish::Denied { authid, method, uri, text });
                }
                Step::Left => return Err(Finish::Left),
            }
        }
    }

    fn join(
        &self,
        entrance: &Entrance,
        roles: &ClientRoles,
        admission: Admission,
        outbox: &Arc<Outbox>,
    ) -> Seat {
        let admission = admission.with_peer(self.peer);
        entrance.hall.join(admission, roles, outbox, |session, details| {
            outbox.send_or_overflow(Outgoing::Own(Message::Welcome {
                session,
                details: Box::new(details),
            }));
        })
    }

    async fn serve(&self, wire: &mut Wire, outbox: &Outbox, seat: &Seat) -> Finish {
        let mut has_warned = false;
        loop {
            let incoming = tokio::select! {
                incoming = wire.next() => incoming,
                () = self.stop.cancelled() => return Finish::Stopped,
            };
            match incoming {
                Ok(Incoming::Message(message)) => match seat.receive(message) {
                    Ok(Standing::Joined) => {}
                    Ok(Standing::Left) => return Finish::Left,
                    Err(violation) => {
                        let uri = uri::error::PROTOCOL_VIOLATION;
                        return Finish::Abort { uri, text: violation.to_string() };
                    }
                },
                Ok(Incoming::BadRequest { answer, why }) => {
                    tracing::debug!(session = %seat.session(), why, "request makes no sense");
                    if let Some(answer) = answer {
                        outbox.send_or_overflow(Outgoing::Own(*answer));
                    }
                }
                Ok(Incoming::Undeliverable { message, why }) => {
                    let (session, kind) = (seat.session(), message.name());
                    // Others choose how many there are, and the log is not theirs.
                    if std::mem::replace(&mut has_warned, true) {
                        tracing::debug!(%session, kind, why, "message cannot be delivered");
                    } else {
                        tracing::warn!(%session, kind, why, "message cannot be delivered");
                    }
                    seat.undeliverable(message, &why);
                }
                Err(end) => return Finish::End(end),
            }
        }
    }

    /// Says why the connection ends, to the peer and to the log.
    async fn finish(&self, wire: Wire, outbox: &Outbox, finish: Finish) {
        let peer = self.peer;
        match finish {
            Finish::Left => {
                tracing::debug!(%peer, "session said goodbye");
                wire.finish(CloseCode::Normal, "", FAREWELL).await;
            }
            Finish::Stopped => {
                outbox.send_anyway(Message::goodbye(uri::close::SYSTEM_SHUTDOWN));
                wire.finish(CloseCode::Away, uri::close::SYSTEM_SHUTDOWN, FAREWELL).await;
            }
            Finish::Abort { uri, text } => {
                tracing::info!(%peer, uri, text, "session aborted");
                outbox.send_anyway(Message::abort(uri, &text));
                wire.finish(CloseCode::Normal, &text, FAREWELL).await;
            }
            Finish::Denied { authid, method, uri, text } => {
                // The start is enough to recognise it, whatever was sent.
                let authid: String = authid.chars().take(100).collect();
                tracing::warn!(%peer, ?authid, method, uri, "authentication failed");
                outbox.send_anyway(Message::abort(uri, &text));
                wire.finish(CloseCode::Normal, &text, FAREWELL).await;
            }
            Finish::End(end @ (End::Violation(_) | End::BadText)) => {
                let text = end.to_string();
                tracing::info!(%peer, text, "session broke the protocol");
                outbox.send_anyway(Message::abort(uri::error::PROTOCOL_VIOLATION, &text));
                wire.finish(end.close_code(), &text, FAREWELL).await;
            }
            Finish::End(end @ (End::TooSlow | End::TooLong { .. } | End::Silent(_))) => {
                tracing::warn!(%peer, reason = %end, "session ended");
                wire.finish(end.close_code(), &end.to_string(), FAREWELL).await;
            }
            Finish::End(end @ (End::Closed { .. } | End::Drained)) => {
                tracing::debug!(%peer, reason = %end, "session ended");
                wire.finish(CloseCode::Normal, "", FAREWELL).await;
            }
            Finish::End(end @ End::Lost(_)) => {
                tracing::debug!(%peer, reason = %end, "session ended");
            }
        }
    }
}

fn fresh() -> Fresh {
    Fresh { nonce: rand::random(), session: SessionId::draw(), now: SystemTime::now() }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::RouterConfig;

    #[tokio::test]
    async fn the_task_of_an_idle_session_is_small() {
        let limits = Limits::default();
        let config = RouterConfig { limits, ..RouterConfig::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let connection = Connection {
            router: Router::new(config).unwrap(),
            peer: stream.peer_addr().unwrap(),
            stop: CancellationToken::new(),
            tls: None,
            has_room: true,
        };
        let bytes = size_of_val(&connection.run(stream));
        assert!(bytes <= 1536, "{bytes} bytes, ten thousand times");
    }
}
