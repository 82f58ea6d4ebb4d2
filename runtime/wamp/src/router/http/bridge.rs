//! The bridge: calls and publications by programs that speak HTTP and no WAMP.
//!
//! As Crossbar has it, so that its clients work unchanged: one POST of a JSON
//! object for each. An error of the called procedure is an answer like
//! another, with status 200. Signed requests (`key`, `secret`) are Crossbar's
//! own and not understood here.
//!
//! A call lasts as long as the procedure does; a client that hangs up cancels it.

use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::body;
use super::cors::{self, METHODS};
use super::origin::Asker;
use super::reply::{self, Reply};
use super::translate::{self, Asked, Service};
use crate::client::{ApplicationError, CallError, CallOptions, Client, ConnectError};
use crate::router::{HttpBridge, Router};
use crate::uri;

/// How many requests may be under way. Operations are waited for for hours, so
/// it must not be few; each keeps its connection and little else.
const MAX_REQUESTS: usize = 4096;

/// The session through which all requests go.
#[derive(Debug)]
pub(in crate::router) struct Bridge {
    config: HttpBridge,
    /// Opened with the first request, and again when somebody has ended it.
    session: Mutex<Option<Client>>,
    requests: Semaphore,
}

/// A request that is not carried out: the status, and why.
type Denied = (StatusCode, String);

impl Bridge {
    pub(in crate::router) fn new(config: HttpBridge) -> Self {
        Self { config, session: Mutex::new(None), requests: Semaphore::new(MAX_REQUESTS) }
    }

    /// Answers a request, whatever its method.
    pub(super) async fn answer(
        &self,
        service: Service,
        request: Request<Incoming>,
        router: &Router,
        stop: &CancellationToken,
    ) -> Reply {
        let (head, body) = request.into_parts();
        let asker = router.http.origins.asker(&head.headers);
        let mut reply = match (asker, head.method) {
            (Asker::Stranger(origin), _) => {
                return failure(
                    StatusCode::FORBIDDEN,
                    &format!("pages of {origin} may not use the bridge"),
                );
            }
            (_, Method::OPTIONS) => reply::empty(StatusCode::OK),
            (_, Method::POST | Method::PUT) => {
                let answer = tokio::select! {
                    answer = self.serve(service, &head.headers, body, router) => answer,
                    () = stop.cancelled() => {
                        Err((StatusCode::SERVICE_UNAVAILABLE, "this router is being stopped".into()))
                    }
                };
                answer.unwrap_or_else(|(status, text)| failure(status, &text))
            }
            (_, method) => {
                let text = format!("{method} is nothing to do here, only {METHODS}");
                failure(StatusCode::METHOD_NOT_ALLOWED, &text)
            }
        };
        let headers = reply.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static(METHODS));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        cors::allow(asker, &head.headers, headers);
        reply
    }

    async fn serve(
        &self,
        service: Service,
        headers: &HeaderMap,
        body: Incoming,
        router: &Router,
    ) -> Result<Reply, Denied> {
        check_content_type(headers)?;
        let Ok(_permit) = self.requests.try_acquire() else {
            let text = format!("{MAX_REQUESTS} requests are under way already, try again later");
            return Err((StatusCode::SERVICE_UNAVAILABLE, text));
        };
        let limits = &router.limits;
        let body = body::read(body, limits.max_message_bytes, limits.http_timeout).await?;
        let asked =
            translate::request(service, &body).map_err(|text| (StatusCode::BAD_REQUEST, text))?;
        // It may be long, and a call may last.
        drop(body);
        let session = self.session(router).map_err(|error| {
            (StatusCode::SERVICE_UNAVAILABLE, format!("the bridge cannot join its realm: {error}"))
        })?;
        respond(carry_out(&session, asked).await)
    }

    fn session(&self, router: &Router) -> Result<Client, ConnectError> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &*session
            && session.closed().now_or_never().is_none()
        {
            return Ok(session.clone());
        }
        let opened = router.attach_as(&self.config.realm, &self.config.role)?;
        Ok(session.insert(opened).clone())
    }
}

/// A missing type is fine; one that is not JSON in UTF-8 is a mistake, or a
/// page that passes a form off as a call.
fn check_content_type(headers: &HeaderMap) -> Result<(), Denied> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next() == Some("application/json");
    let is_utf8 = parts.all(|part| match part.split_once('=') {
        Some(("charset", charset)) => matches!(charset.trim_matches('"'), "utf-8" | "utf8"),
        _ => true,
    });
    if is_json && is_utf8 {
        return Ok(());
    }
    let text = format!("the body must be application/json in UTF-8, not {value}");
    Err((StatusCode::BAD_REQUEST, text))
}

async fn carry_out(session: &Client, asked: Asked) -> Result<String, CallError> {
    match asked {
        Asked::Call { procedure, payload } => {
            let answer = session.call(&procedure, payload, CallOptions::default()).await?;
            Ok(translate::result(&answer)?)
        }
        Asked::Publish { topic, payload, details } => {
            let publication = session.publish_with(&topic, payload, *details, false).await?;
            Ok(translate::published(publication))
        }
    }
}

fn respond(answer: Result<String, CallError>) -> Result<Reply, Denied> {
    let error = match answer {
        Ok(json) => return Ok(reply::json(StatusCode::OK, json)),
        Err(CallError::Application(error)) => error,
        Err(CallError::InvalidUri(error)) => {
            ApplicationError::new(uri::error::INVALID_URI, &error.to_string())
        }
        Err(error) => {
            let status = match &error {
                CallError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                // What a callee answered has no form in JSON.
                CallError::Payload(_) => StatusCode::INTERNAL_SERVER_ERROR,
                // The session is gone; whether the request was carried out is unknown.
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            return Err((status, error.to_string()));
        }
    };
    let json = translate::error(&error)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(reply::json(StatusCode::OK, json))
}

/// A request that did not become a call.
fn failure(status: StatusCode, text: &str) -> Reply {
    let mut reply =
        reply::json(status, json!({"error": text, "args": [], "kwargs": {}}).to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    reply
}
