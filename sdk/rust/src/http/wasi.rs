//! Requests through `wasi:http`.

use std::io::{self, Read};
use std::time::Duration;

use super::{Error, Request, Response};
use crate::bindings::network::wasi::clocks::monotonic_clock::subscribe_duration;
use crate::bindings::network::wasi::http::outgoing_handler::handle;
use crate::bindings::network::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method,
    OutgoingBody, OutgoingRequest, RequestOptions, Scheme, http_error_code,
};
use crate::bindings::network::wasi::io::poll::poll;
use crate::bindings::network::wasi::io::streams::{InputStream, OutputStream, StreamError};

/// What is read at once, in bytes.
const CHUNK: u64 = 64 << 10;

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    // Children before their parents, which are dropped in this order.
    stream: Option<OutputStream>,
    body: Option<OutgoingBody>,
    answer: FutureIncomingResponse,
}

impl Outgoing {
    pub(crate) fn begin(request: &Request, whole: Option<Vec<u8>>) -> Result<Self, Error> {
        let has_body = whole.as_ref().is_none_or(|body| !body.is_empty());
        let outgoing = head(request, whole.as_ref().filter(|_| has_body).map(Vec::len))?;
        let body = has_body.then(|| outgoing.body()).transpose();
        let body = body.map_err(|()| Error::Invalid("it has a body already".to_owned()))?;
        let stream = body.as_ref().map(OutgoingBody::write).transpose();
        let stream = stream.map_err(|()| Error::Invalid("it has a body already".to_owned()))?;
        let answer = handle(outgoing, options(request)).map_err(of_code)?;
        let mut outgoing = Self { stream, body, answer };
        let mut rest = whole.as_deref().unwrap_or_default();
        while !rest.is_empty() {
            match outgoing.write(rest) {
                Ok(length) => rest = &rest[length..],
                // The answer knows why nobody reads.
                Err(_) => break,
            }
        }
        Ok(outgoing)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(stream) = &self.stream else { return Err(io::ErrorKind::BrokenPipe.into()) };
        loop {
            let room = stream.check_write().map_err(of_stream)?;
            if room > 0 {
                let length = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
                stream.write(&bytes[..length]).map_err(of_stream)?;
                return Ok(length);
            }
            stream.subscribe().block();
        }
    }

    pub(crate) fn finish(mut self) -> Result<Response, Error> {
        self.stream = None;
        // If it fails, the answer knows why.
        let ended = self.body.take().map(|body| OutgoingBody::finish(body, None));
        self.answer.subscribe().block();
        let answer = match self.answer.get() {
            Some(Ok(Ok(answer))) => answer,
            Some(Ok(Err(code))) => return Err(of_code(code)),
            _ => return Err(Error::Broken("the host has lost the answer".to_owned())),
        };
        if let Some(Err(code)) = ended {
            return Err(of_code(code));
        }
        response(answer)
    }
}

fn head(request: &Request, length: Option<usize>) -> Result<OutgoingRequest, Error> {
    let invalid = |why: &str| Error::Invalid(format!("{why} ({} {})", request.method, request.url));
    let (scheme, rest) = match request.url.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        _ => return Err(invalid("its URL begins neither with `http://` nor with `https://`")),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let length = length.map(|length| ("content-length".to_owned(), length.to_string()));
    let headers = request.headers.iter().cloned().chain(length);
    let headers: Vec<_> = headers.map(|(name, value)| (name, value.into_bytes())).collect();
    let fields = Fields::from_list(&headers)
        .map_err(|error| invalid(&format!("a header is wrong: {error:?}")))?;
    let outgoing = OutgoingRequest::new(fields);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let parts = [
        outgoing.set_method(&method(&request.method)),
        outgoing.set_scheme(Some(&scheme)),
        outgoing.set_authority(Some(authority)),
        outgoing.set_path_with_query(Some(&path)),
    ];
    match parts.iter().all(Result::is_ok) {
        true => Ok(outgoing),
        false => Err(invalid("its method or URL is wrong")),
    }
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

/// None without limits of its own: the host keeps one of the instance's handles
/// for each, as long as the instance lives.
fn options(request: &Request) -> Option<RequestOptions> {
    if request.timeout.is_none() && request.idle_timeout.is_none() {
        return None;
    }
    let options = RequestOptions::new();
    let nanoseconds =
        |limit: std::time::Duration| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    // The host has both; where one had not, the job's deadline is left.
    let _ = options.set_first_byte_timeout(request.timeout.map(nanoseconds));
    let _ = options.set_between_bytes_timeout(request.idle_timeout.map(nanoseconds));
    Some(options)
}

fn response(answer: IncomingResponse) -> Result<Response, Error> {
    let lost = |()| Error::Broken("the host has lost the answer".to_owned());
    let headers = answer.headers().entries().into_iter();
    let headers = headers.map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()));
    let body = answer.consume().map_err(lost)?;
    let stream = body.stream().map_err(lost)?;
    let incoming = Incoming { left: Vec::new(), at: 0, stream, _body: body };
    Ok(Response {
        status: answer.status(),
        headers: headers.collect(),
        body: super::Incoming::from_host(incoming),
    })
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// What was read from the host and not yet by the plugin.
    left: Vec<u8>,
    at: usize,
    // The child before its parent, which are dropped in this order.
    stream: InputStream,
    _body: IncomingBody,
}

impl Incoming {
    /// Whether there is something that was read from the host already.
    pub(super) fn is_ready(&self) -> bool {
        self.at < self.left.len()
    }

    pub(super) fn read_now(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.is_ready() {
            let left = std::mem::take(&mut self.left).split_off(self.at);
            self.at = 0;
            return Ok(Some(left));
        }
        match self.stream.read(CHUNK) {
            Ok(bytes) => Ok((!bytes.is_empty()).then_some(bytes)),
            Err(StreamError::Closed) => Ok(Some(Vec::new())),
            Err(error) => Err(of_stream(error)),
        }
    }
}

/// Waits until one of these can go on; which ones, in ascending order.
pub(super) fn wait(answers: &[&Incoming], at_most: Duration) -> Vec<usize> {
    let late = subscribe_duration(u64::try_from(at_most.as_nanos()).unwrap_or(u64::MAX));
    let streams: Vec<_> = answers.iter().map(|answer| answer.stream.subscribe()).collect();
    let pollables: Vec<_> = streams.iter().chain([&late]).collect();
    // WASI says them in any order.
    let mut ready: Vec<_> = poll(&pollables).into_iter().map(|index| index as usize).collect();
    ready.retain(|index| *index < answers.len());
    ready.sort_unstable();
    ready
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.at == self.left.len() {
            match self.stream.blocking_read(CHUNK) {
                Ok(bytes) => (self.left, self.at) = (bytes, 0),
                Err(StreamError::Closed) => return Ok(0),
                Err(error) => return Err(of_stream(error)),
            }
        }
        let length = buffer.len().min(self.left.len() - self.at);
        buffer[..length].copy_from_slice(&self.left[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

fn of_stream(error: StreamError) -> io::Error {
    match error {
        StreamError::Closed => io::ErrorKind::BrokenPipe.into(),
        StreamError::LastOperationFailed(error) => match http_error_code(&error) {
            Some(code) => of_code(code).into(),
            None => of_text(error.to_debug_string()).into(),
        },
    }
}

/// Hosts with wasmtime 48 know the code of an error in a body only as text.
fn of_text(text: String) -> Error {
    match text.as_str() {
        "connection read timeout" => Error::TimedOut,
        "incomplete HTTP response" => {
            Error::Broken("the connection ended before the answer did".to_owned())
        }
        _ => Error::Broken(text),
    }
}

fn of_code(code: ErrorCode) -> Error {
    let text = code.to_string();
    match code {
        ErrorCode::HttpRequestDenied => Error::Denied,
        ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => Error::TimedOut,
        ErrorCode::ConnectionLimitReached => {
            Error::Unreachable("too many requests are under way".to_owned())
        }
        ErrorCode::DnsTimeout
        | ErrorCode::DnsError(_)
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationIpProhibited
        | ErrorCode::DestinationIpUnroutable
        | ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionTimeout
        | ErrorCode::TlsProtocolError
        | ErrorCode::TlsCertificateError
        | ErrorCode::TlsAlertReceived(_) => Error::Unreachable(text),
        ErrorCode::HttpRequestLengthRequired
        | ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong => Error::Invalid(text),
        ErrorCode::HttpResponseIncomplete | ErrorCode::ConnectionTerminated => {
            Error::Broken("the connection ended before the answer did".to_owned())
        }
        _ => Error::Broken(text),
    }
}
