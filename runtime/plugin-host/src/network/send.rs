//! Requests of `wasi:http`, from the gate to the last byte of the answer.

use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use drover_grants::{BODY_LIMIT, BodyRule, HttpRequest, HttpTarget, Scheme};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error as HttpError, ForbiddenHeaderFilter, RequestOptions, WasiBody,
    WasiHttpHooks,
};

use super::Network;
use super::answer::Answer;
use super::connection::Connection;
use super::dial::{Stream, dial};
use super::gate::{Gate, Pass, Passenger};
use super::pool::Key;
use super::pouring::{Lent, Pouring};
use crate::call::Call;

/// Requests and streams of one instance that are under way at the same time.
const UNDER_WAY: usize = 128;

/// Headers that are the host's beside those that `wasi:http` forbids: of the
/// connection, and such as make some servers take another method or path for
/// the one that was checked.
const FORBIDDEN: [&str; 9] = [
    "expect",
    "te",
    "trailer",
    "via",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// An instance's way out. Clones are the same.
#[derive(Clone)]
pub(crate) struct Courier {
    gate: Gate,
    network: Arc<Network>,
    under_way: Arc<Semaphore>,
}

type Answered = (Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>);

impl Courier {
    pub(crate) fn new(call: &Call, network: &Arc<Network>) -> Self {
        Self {
            gate: Gate::new(call),
            network: Arc::clone(network),
            under_way: Arc::new(Semaphore::new(UNDER_WAY)),
        }
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// One of the requests and streams that may be under way; none if all are.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.under_way).try_acquire_owned().ok()
    }

    /// Connects to a place, and takes down why it cannot.
    pub(crate) async fn dial(
        &self,
        target: &HttpTarget,
        limit: Option<Duration>,
    ) -> Result<Stream, HttpError> {
        match dial(&self.network, target, limit).await {
            Ok(stream) => Ok(stream),
            Err(error) => {
                self.gate.witness().warn(&error.to_string()).await;
                Err(error.code())
            }
        }
    }

    async fn send(
        self,
        request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<Answered, HttpError> {
        let (mut parts, body) = request.into_parts();
        let passenger = passenger(&parts)?;
        let Pass { target, body: rule } = match self.gate.judge(&passenger) {
            Ok(pass) => pass,
            Err(reason) => return Err(self.denied(&passenger, &reason).await),
        };
        let place = self.place().ok_or(HttpError::ConnectionLimitReached)?;
        let (body, rest) = match rule {
            Some(rule) => (self.checked(&rule, &mut parts, body).await?, None),
            None => held(&parts, body),
        };
        let request = Request::from_parts(addressed(parts, &target)?, body);
        let answer = self.exchange(&target, request, options, place);
        let Some(mut rest) = rest else {
            return Ok((answer.await?, Box::new(async { Ok(()) })));
        };
        let mut answer = std::pin::pin!(answer);
        let answer = tokio::select! {
            biased;
            answer = &mut answer => return Ok((answer?, Box::new(rest))),
            ended = &mut rest => { ended?; answer.await? }
        };
        Ok((answer, Box::new(async { Ok(()) })))
    }

    async fn denied(&self, passenger: &Passenger<'_>, reason: &str) -> HttpError {
        self.gate.deny(passenger, reason).await;
        HttpError::HttpRequestDenied
    }

    /// The body as a whole, if it keeps the rule.
    async fn checked(
        &self,
        rule: &BodyRule,
        parts: &mut Parts,
        body: WasiBody,
    ) -> Result<WasiBody, HttpError> {
        if parts.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            let reason = "its body cannot be checked: it has a content-encoding";
            return Err(self.denied(&passenger(parts)?, reason).await);
        }
        let whole = match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(whole) => whole.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let reason =
                    format!("its body cannot be checked: it has more than {BODY_LIMIT} bytes");
                return Err(self.denied(&passenger(parts)?, &reason).await);
            }
            Err(_) => return Err(HttpError::HttpRequestBodySize(None)),
        };
        if let Err(denial) = rule.check(&whole) {
            return Err(self.denied(&passenger(parts)?, &denial.to_string()).await);
        }
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
        Ok(Full::new(whole).map_err(|never| match never {}).boxed_unsync())
    }

    /// Sends a request over a connection that waits, or over a new one.
    async fn exchange(
        &self,
        target: &HttpTarget,
        mut request: Request<WasiBody>,
        options: RequestOptions,
        place: OwnedSemaphorePermit,
    ) -> Result<Response<WasiBody>, HttpError> {
        let key = Key::new(&self.gate.witness().plugin, target);
        let mut again = repeatable(&request);
        let waiting = self.network.pool.take(&key).await;
        // What must not be sent twice is not sent where nobody reads it.
        let waiting = waiting.filter(|waiting| again.is_some() || waiting.is_quiet());
        let (mut connection, mut is_new) = match waiting {
            Some(connection) => (connection, false),
            None => (self.connect(target, options).await?, true),
        };
        loop {
            let answer = connection.send(request);
            let answer = match options.first_byte_timeout {
                Some(limit) => {
                    timeout(limit, answer).await.map_err(|_| HttpError::HttpResponseTimeout)?
                }
                None => answer.await,
            };
            let mut error = match answer {
                Ok(answer) => {
                    let network = Arc::clone(&self.network);
                    let lent = Lent { network, key, connection, _place: place };
                    return Ok(answer.map(|body| {
                        let body = Pouring::new(body, lent);
                        Answer::new(body, options.between_bytes_timeout).boxed_unsync()
                    }));
                }
                Err(error) => error,
            };
            // One that waited may have been closed by the server meanwhile; what
            // was not sent over it, or does no harm twice, is sent over a new one.
            let repeated = || Some(Request::from_parts(again.take()?, empty()));
            match error.take_message().or_else(repeated) {
                Some(unsent) if !is_new => request = unsent,
                _ => return Err(of_answer(&error.into_error())),
            }
            (connection, is_new) = (self.connect(target, options).await?, true);
        }
    }

    async fn connect(
        &self,
        target: &HttpTarget,
        options: RequestOptions,
    ) -> Result<Connection, HttpError> {
        let stream = self.dial(target, options.connect_timeout).await?;
        let socket = match stream.as_fd().try_clone_to_owned() {
            Ok(socket) => socket,
            Err(error) => {
                let text = format!("cannot keep the connection to {}: {error}", target.authority);
                self.gate.witness().warn(&text).await;
                return Err(HttpError::ConnectionLimitReached);
            }
        };
        Connection::over(stream, socket).await.map_err(|error| of_answer(&error))
    }
}

impl WasiHttpHooks for Courier {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_forbidden)
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _ending: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answered, HttpError>> + Send> {
        Box::new(self.clone().send(request, options.unwrap_or_default()))
    }
}

/// Whether a header is the host's.
pub(crate) fn is_forbidden(name: &HeaderName) -> bool {
    DEFAULT_FORBIDDEN_HEADERS.contains(name) || FORBIDDEN.contains(&name.as_str())
}

fn passenger(parts: &Parts) -> Result<Passenger<'_>, HttpError> {
    let scheme = match parts.uri.scheme_str() {
        Some("http") => Scheme::Http,
        _ => Scheme::Https,
    };
    Ok(Passenger {
        call: "http.send",
        scheme,
        authority: parts.uri.authority().ok_or(HttpError::HttpRequestUriInvalid)?.as_str(),
        request: HttpRequest {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query(),
            is_upgrade: false,
        },
    })
}

/// Leaves of the URL what a server gets to see, and adds what is the host's.
fn addressed(mut parts: Parts, target: &HttpTarget) -> Result<Parts, HttpError> {
    let uri = match parts.uri.query() {
        Some(query) => format!("{}?{query}", parts.uri.path()),
        None => parts.uri.path().to_owned(),
    };
    parts.uri = Uri::try_from(uri).map_err(|_| HttpError::HttpRequestUriInvalid)?;
    add_own_headers(&mut parts.headers, target)?;
    Ok(parts)
}

/// Puts the host's headers over the plugin's.
pub(crate) fn add_own_headers(
    headers: &mut HeaderMap,
    target: &HttpTarget,
) -> Result<(), HttpError> {
    let own = target.headers.iter().map(|(name, value)| (name.as_str(), value.reveal(), true));
    for (name, value, is_secret) in own.chain([(HOST.as_str(), target.authority.as_str(), false)]) {
        let name = HeaderName::try_from(name).map_err(|_| HttpError::ConfigurationError)?;
        let mut value = HeaderValue::try_from(value).map_err(|_| HttpError::ConfigurationError)?;
        value.set_sensitive(is_secret);
        headers.insert(name, value);
    }
    Ok(())
}

type Rest = Pin<Box<dyn Future<Output = Result<(), HttpError>> + Send>>;

/// Some clients open a body with every request and write nothing into it, which
/// is then read to its end here: such methods have none unless they say how long
/// it is.
fn held(parts: &Parts, mut body: WasiBody) -> (WasiBody, Option<Rest>) {
    let has_none =
        matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS);
    if !has_none || parts.headers.contains_key(CONTENT_LENGTH) || body.is_end_stream() {
        return (body, None);
    }
    let rest = async move {
        while let Some(frame) = body.frame().await {
            if frame?.data_ref().is_some_and(|data| !data.is_empty()) {
                return Err(HttpError::HttpRequestLengthRequired);
            }
        }
        Ok(())
    };
    (empty(), Some(Box::pin(rest)))
}

fn empty() -> WasiBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A request that only asks, and so may be sent twice.
fn repeatable(request: &Request<WasiBody>) -> Option<Parts> {
    let only_asks = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !only_asks || !request.body().is_end_stream() {
        return None;
    }
    let mut head = Request::new(());
    head.method_mut().clone_from(request.method());
    head.uri_mut().clone_from(request.uri());
    head.headers_mut().clone_from(request.headers());
    Some(head.into_parts().0)
}

/// An answer that did not begin.
fn of_answer(error: &hyper::Error) -> HttpError {
    if error.is_parse_too_large() {
        HttpError::HttpResponseHeaderSectionSize(None)
    } else if error.is_parse() || error.is_user() {
        HttpError::HttpProtocolError
    } else if error.is_incomplete_message() {
        HttpError::HttpResponseIncomplete
    } else {
        HttpError::ConnectionTerminated
    }
}
