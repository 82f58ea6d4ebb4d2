//! The bridge: calls and publications by programs that speak HTTP and no WAMP.
//!
//! As Crossbar has it, so that its clients work unchanged: one POST of a JSON
//! object for each. An error of the called procedure is an answer like
//! another, with status 200. Signed requests (`key`, `secret`) are Crossbar's
//! own and not understood here.
//!
//! A call lasts as long as the procedure does; a client that hangs up cancels it.
//!
//! A request with `Authorization: Bearer TOKEN` is carried out as whom the guard
//! admits with that ticket, any other as the configured role.

use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{HeaderMap, Method, Request, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;

use super::Visit;
use super::body;
use super::cors::{self, METHODS};
use super::origin::Asker;
use super::reply::{self, Reply};
use super::translate::{self, Asked, Service};
use crate::auth::Secret;
use crate::client::{ApplicationError, CallError, CallOptions, Client, ConnectError};
use crate::router::{Applicant, HttpBridge, Proof, Refused, Router};
use crate::uri;

/// How many requests may be under way. Operations are waited for for hours, so
/// it must not be few; each keeps its connection and little else.
const MAX_REQUESTS: usize = 4096;

/// The session through which requests without a token go.
#[derive(Debug)]
pub(in crate::router) struct Bridge {
    config: Option<HttpBridge>,
    /// Opened with the first request, and again when somebody has ended it.
    session: Mutex<Option<Client>>,
    requests: Semaphore,
}

/// A request that is not carried out: the status, and why.
type Denied = (StatusCode, String);

/// What a request without a token is told where it needs one.
const NO_TOKEN: &str = "the bridge wants to know who you are: send `Authorization: Bearer TOKEN`";

/// What a request for a file without one is told.
const NO_TOKEN_FOR_FILES: &str =
    "this is only for those who may read it: send `Authorization: Bearer TOKEN`";

impl Bridge {
    pub(in crate::router) fn new(config: Option<HttpBridge>) -> Self {
        Self { config, session: Mutex::new(None), requests: Semaphore::new(MAX_REQUESTS) }
    }

    /// Whether requests without a token are carried out.
    pub(super) fn has_own_session(&self) -> bool {
        self.config.is_some()
    }

    /// Answers a request, whatever its method.
    pub(super) async fn answer(
        &self,
        service: Service,
        request: Request<Incoming>,
        visit: Visit<'_>,
    ) -> Reply {
        let (head, body) = request.into_parts();
        let asker = visit.router.http.origins.asker(&head.headers);
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
                    answer = self.serve(service, &head.headers, body, visit) => answer,
                    () = visit.stop.cancelled() => {
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

    /// Refuses whoever may not call a procedure, nor has a ticket for files.
    pub(super) async fn may_call(
        &self,
        procedure: &str,
        headers: &HeaderMap,
        visit: Visit<'_>,
    ) -> Result<(), Box<Reply>> {
        let denied = |(status, text): Denied| Box::new(failure(status, &text));
        let may = match token(headers).map_err(denied)? {
            Some(ticket) if visit.router.opens_files(&ticket) => true,
            Some(token) => {
                let proof = Proof::Ticket(token);
                let applicant = Applicant { peer: visit.peer, authid: None, role: None, proof };
                let admission = visit.router.admit_guest(applicant).await;
                let admission = admission.unwrap_or_else(|| Err(knows_no_tokens()));
                admission.map_err(|refused| Box::new(refusal(&refused)))?.may_call(procedure)
            }
            None => match &self.config {
                Some(HttpBridge { realm, role }) => visit.router.may_call(realm, role, procedure),
                None => {
                    return Err(denied((StatusCode::UNAUTHORIZED, NO_TOKEN_FOR_FILES.to_owned())));
                }
            },
        };
        if may {
            return Ok(());
        }
        let text = format!("you may not have this, as you may not call {procedure}");
        Err(denied((StatusCode::FORBIDDEN, text)))
    }

    async fn serve(
        &self,
        service: Service,
        headers: &HeaderMap,
        body: Incoming,
        visit: Visit<'_>,
    ) -> Result<Reply, Denied> {
        check_content_type(headers)?;
        let router = visit.router;
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
        match self.session_of(headers, visit).await {
            Ok(session) => respond(carry_out(&session, asked).await),
            Err(refusal) => Ok(refusal),
        }
    }

    /// The session of whoever makes a request with these headers, or what to tell them.
    pub(super) async fn session_of(
        &self,
        headers: &HeaderMap,
        visit: Visit<'_>,
    ) -> Result<Client, Reply> {
        let denied = |(status, text): Denied| failure(status, &text);
        match (token(headers).map_err(denied)?, &self.config) {
            (Some(token), _) => guest(token, visit).await.map_err(|refused| refusal(&refused)),
            (None, Some(config)) => self.session(config, visit.router).map_err(|error| {
                let text = format!("the bridge cannot join its realm: {error}");
                failure(StatusCode::SERVICE_UNAVAILABLE, &text)
            }),
            (None, None) => Err(failure(StatusCode::UNAUTHORIZED, NO_TOKEN)),
        }
    }

    fn session(&self, config: &HttpBridge, router: &Router) -> Result<Client, ConnectError> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &*session
            && session.closed().now_or_never().is_none()
        {
            return Ok(session.clone());
        }
        let opened = router.attach_as(&config.realm, &config.role)?;
        Ok(session.insert(opened).clone())
    }
}

/// The token that a request has, if it has one.
fn token(headers: &HeaderMap) -> Result<Option<Secret>, Denied> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let words = value.to_str().ok().and_then(|text| text.split_once(' '));
    match words {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(Some(Secret::new(token.trim())))
        }
        _ => Err((StatusCode::UNAUTHORIZED, NO_TOKEN.to_owned())),
    }
}

/// A session of whoever has the token.
async fn guest(token: Secret, visit: Visit<'_>) -> Result<Client, Refused> {
    let proof = Proof::Ticket(token);
    let applicant = Applicant { peer: visit.peer, authid: None, role: None, proof };
    visit.router.attach_guest(applicant).await.unwrap_or_else(|| Err(knows_no_tokens()))
}

fn knows_no_tokens() -> Refused {
    let text = "this router knows no tokens: leave the header `Authorization` out".to_owned();
    Refused { uri: uri::error::NO_AUTH_METHOD, text, retry_in: None }
}

/// Says why a token does not count, and when to come back if that helps.
fn refusal(refused: &Refused) -> Reply {
    let Some(wait) = refused.retry_in else {
        return failure(StatusCode::UNAUTHORIZED, &refused.text);
    };
    let mut reply = failure(StatusCode::TOO_MANY_REQUESTS, &refused.text);
    let seconds = wait.as_secs().saturating_add(1);
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    reply
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
    if status == StatusCode::UNAUTHORIZED {
        reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    reply
}
