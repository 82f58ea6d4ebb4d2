//! The HTTP interface on the socket: connections, faults, and the control of
//! faults.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::answer::{Answer, Body, Refusal};
use super::api;
use super::call::{Call, NEWEST_API};
use super::fault::{Fault, FaultKind};
use super::model::{ENGINE_VERSION, EventLog};
use super::shared::Shared;

/// How large a request may be: an image archive is one.
const LARGEST_BODY: usize = 1 << 30;

/// Where faults are set from outside: `POST` a fault, `DELETE` all of them.
const CONTROL: &str = "/_drover/faults";

/// What the owner tells the server.
pub(crate) enum Order {
    GoAway(SyncSender<io::Result<()>>),
    ComeBack(SyncSender<io::Result<()>>),
}

/// What goes on with a connection after its last answer.
pub(crate) type Session = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where a request leaves the session that its connection goes on with.
pub(crate) type SessionSlot = Arc<Mutex<Option<Session>>>;

type Answered = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// Serves until the owner's handle is gone.
pub(crate) async fn serve(
    listener: std::os::unix::net::UnixListener,
    socket: PathBuf,
    shared: Arc<Shared>,
    orders: mpsc::WeakSender<Order>,
    mut inbox: mpsc::Receiver<Order>,
) {
    let mut listener = UnixListener::from_std(listener).ok();
    let mut connections = JoinSet::new();
    let keep_time = shared.keep_time();
    tokio::pin!(keep_time);
    loop {
        tokio::select! {
            order = inbox.recv() => match order {
                None => break,
                Some(Order::GoAway(reply)) => {
                    listener = None;
                    connections.shutdown().await;
                    // Who asked may have gone with its connection.
                    let _ = reply.send(Ok(()));
                }
                Some(Order::ComeBack(reply)) => {
                    let outcome = if listener.is_some() {
                        Ok(())
                    } else {
                        shared.with(|model, _| model.events = EventLog::default());
                        bind_again(&socket).map(|bound| listener = Some(bound))
                    };
                    let _ = reply.send(outcome);
                }
            },
            Ok(stream) = accept(listener.as_ref()) => {
                connections.spawn(connection(stream, shared.clone(), orders.clone()));
            }
            Some(_) = connections.join_next() => {}
            () = &mut keep_time => break,
        }
    }
    connections.shutdown().await;
}

fn bind_again(socket: &Path) -> io::Result<UnixListener> {
    std::fs::remove_file(socket)?;
    UnixListener::bind(socket)
}

async fn accept(listener: Option<&UnixListener>) -> io::Result<UnixStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn connection(stream: UnixStream, shared: Arc<Shared>, orders: mpsc::WeakSender<Order>) {
    let slot = SessionSlot::default();
    let service = service_fn(|request| {
        let (shared, slot, orders) = (shared.clone(), slot.clone(), orders.clone());
        async move { respond(request, &shared, &slot, &orders).await }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    let session = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    // A client that leaves in the middle of an answer is nothing to tell anyone.
    if let (Ok(()), Some(session)) = (served, session) {
        session.await;
    }
}

/// Answers one request; an error closes the connection instead.
async fn respond(
    mut request: Request<Incoming>,
    shared: &Arc<Shared>,
    slot: &SessionSlot,
    orders: &mpsc::WeakSender<Order>,
) -> io::Result<Answered> {
    let wants_upgrade = request.headers().contains_key(UPGRADE);
    let upgrade = wants_upgrade.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let mut call = Call::new(&parts, upgrade);
    if call.path == CONTROL {
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        return control(&call.method, &body, shared).map(whole);
    }
    shared.note(format!("{} {}", call.method, call.path));
    let fault = shared.faults().next(&call.method, &call.path);
    match &fault {
        Some(FaultKind::Refused) => return Err(io::Error::other("a fault on demand")),
        Some(FaultKind::Status { status, message }) => {
            return Ok(whole(Refusal::new(*status, message.as_str()).into()));
        }
        Some(FaultKind::Gone) => {
            if let Some(orders) = orders.upgrade() {
                let (reply, _) = sync_channel(1);
                // The server ends this connection before it could answer.
                let _ = orders.send(Order::GoAway(reply)).await;
            }
            return std::future::pending().await;
        }
        Some(slow @ FaultKind::SlowMs(_)) => tokio::time::sleep(slow.delay()).await,
        Some(FaultKind::HalfAnswer) | None => {}
    }
    let body = Limited::new(body, LARGEST_BODY).collect().await;
    call.body = body.map_err(io::Error::other)?.to_bytes();
    let answer = match call.check_version() {
        Ok(()) => api::answer(&mut call, shared, slot).await.unwrap_or_else(Answer::from),
        Err(answer) => answer,
    };
    if fault == Some(FaultKind::HalfAnswer) { Ok(half(answer)) } else { Ok(whole(answer)) }
}

/// Sets and ends faults.
fn control(method: &str, body: &[u8], shared: &Shared) -> io::Result<Answer> {
    match method {
        "POST" => match serde_json::from_slice::<Fault>(body) {
            Ok(fault) => shared.faults().add(fault),
            Err(error) => return Ok(Refusal::bad_request(error.to_string()).into()),
        },
        "DELETE" => shared.faults().clear(),
        _ => return Ok(Refusal::not_found("page not found").into()),
    }
    Ok(Answer::empty(204))
}

fn whole(answer: Answer) -> Answered {
    let (head, body) = split(answer);
    let body = match body {
        Body::Whole(bytes) => Full::new(bytes).map_err(never).boxed_unsync(),
        Body::Chunks(chunks) => {
            StreamBody::new(chunks.map(|chunk| Ok(Frame::data(chunk)))).boxed_unsync()
        }
    };
    head.map(|()| body)
}

/// The first half of an answer, and then the connection's end.
fn half(answer: Answer) -> Answered {
    let (mut head, body) = split(answer);
    // What is there is sent while the body waits, so it waits once.
    let cut = stream::once(async {
        tokio::task::yield_now().await;
        Err(io::Error::other("a fault on demand"))
    });
    let body = match body {
        Body::Whole(bytes) => {
            head.headers_mut().insert(CONTENT_LENGTH, bytes.len().into());
            let first = bytes.slice(..bytes.len() / 2);
            StreamBody::new(stream::iter([Ok(Frame::data(first))]).chain(cut)).boxed_unsync()
        }
        Body::Chunks(chunks) => {
            let first = chunks.take(1).map(|chunk| Ok(Frame::data(chunk)));
            StreamBody::new(first.chain(cut)).boxed_unsync()
        }
    };
    head.map(|()| body)
}

/// The head, with the headers that every answer has.
fn split(answer: Answer) -> (Response<()>, Body) {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    let mut headers = vec![
        ("Api-Version", format!("1.{NEWEST_API}")),
        ("Docker-Experimental", "false".to_owned()),
        ("Ostype", "linux".to_owned()),
        ("Server", format!("Docker/{ENGINE_VERSION} (linux)")),
    ];
    if answer.status == 101 {
        headers.push((CONNECTION.as_str(), "Upgrade".to_owned()));
        headers.push((UPGRADE.as_str(), "tcp".to_owned()));
    }
    if let Some(content_type) = answer.content_type {
        headers.push((CONTENT_TYPE.as_str(), content_type.to_owned()));
    }
    headers.extend(answer.headers);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) =
            (hyper::header::HeaderName::try_from(name), hyper::header::HeaderValue::try_from(value))
        {
            head.headers_mut().insert(name, value);
        }
    }
    (head, answer.body)
}

fn never(never: Infallible) -> io::Error {
    match never {}
}
