//! The way to the engine: one request, one answer whose body is read as it comes.

use drover_sdk::Failure;
use drover_sdk::channel::{self, Channel};
use drover_sdk::http::{self, Error, Response, Upload};

use super::failure::{self, DENIED, ENGINE_BROKEN, ENGINE_UNREACHABLE, INVALID};

/// The engine, as the admin's grant names it.
const ENGINE: &str = "http://docker";

/// A request; its path begins with `/` and has the query.
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// One without headers and body.
    pub(crate) fn plain(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }
}

/// Sends a request to the engine and waits for the head of the answer. `what`
/// completes "cannot …" in errors.
pub(crate) fn send(request: &Request, what: &str) -> Result<Response, Failure> {
    finish(start(request, what)?, request, what)
}

/// Sends a request to the engine and leaves its answer to [`finish`].
pub(crate) fn start(request: &Request, what: &str) -> Result<Upload, Failure> {
    call(request).start().map_err(|error| failed(&error, request, what))
}

/// Waits for the head of the answer to a request that was sent.
pub(crate) fn finish(sent: Upload, request: &Request, what: &str) -> Result<Response, Failure> {
    sent.finish().map_err(|error| failed(&error, request, what))
}

/// Sends a request to the engine and makes a stream in both directions of its
/// connection. `what` completes "cannot …" in errors.
pub(crate) fn open(request: &Request, what: &str) -> Result<Channel, Failure> {
    channel::open(call(request), "tcp").map_err(|error| match error {
        Error::Status { status, body } => {
            failure::refused(status, &failure::words(body.as_bytes()), what)
        }
        error => failed(&error, request, what),
    })
}

fn call(request: &Request) -> http::Request {
    let Request { method, path, headers, body } = request;
    let call = http::Request::new(*method, format!("{ENGINE}{path}")).body(body.clone());
    headers.iter().fold(call, |call, (name, value)| call.header(*name, value))
}

fn failed(error: &Error, request: &Request, what: &str) -> Failure {
    let path = request.path.split('?').next().unwrap_or_default();
    let (code, why) = match error {
        Error::Denied => {
            let asked = format!("{} {path}", request.method);
            (
                DENIED,
                format!(
                    "the node's admin does not allow {asked}, see the grants of this plugin under `http.docker` and the job's log"
                ),
            )
        }
        Error::Invalid(_) => (INVALID, error.to_string()),
        Error::Unreachable(_) => {
            let cure = "see whether the engine runs, and which socket is granted as `docker`";
            (ENGINE_UNREACHABLE, format!("{error}: {cure}"))
        }
        Error::TimedOut | Error::Broken(_) | Error::Status { .. } => {
            (ENGINE_BROKEN, format!("the engine gave no answer: {error}"))
        }
    };
    Failure::new(code, format!("cannot {what}: {why}"))
}
