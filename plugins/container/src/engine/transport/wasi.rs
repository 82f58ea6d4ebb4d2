//! Requests over `wasi:http`.

use std::io::{self, Read, Write};

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    Scheme,
};
use wasip2::io::streams::{InputStream, StreamError};

use super::{NoAnswer, Request, Response};

/// How the admin's grant is called.
const AUTHORITY: &str = "docker";
/// How much is read at once.
const PIECE: u64 = 64 << 10;

/// Sends a request and waits for the head of the answer.
pub(super) fn send(request: &Request) -> Result<Response, NoAnswer> {
    let invalid = || NoAnswer::Denied("it cannot be written as an HTTP request".to_owned());
    let outgoing = outgoing(request).ok_or_else(invalid)?;
    let body = outgoing.body().map_err(|()| invalid())?;
    let future = outgoing_handler::handle(outgoing, None).map_err(no_answer)?;
    // An engine may answer before it has read everything, so the answer has the last word.
    let written = write(body, &request.body);
    future.subscribe().block();
    let answer = future.get().and_then(Result::ok);
    let response = match answer {
        Some(Ok(response)) => response,
        Some(Err(error)) => return Err(no_answer(error)),
        None => return Err(NoAnswer::Broken("the host lost it".to_owned())),
    };
    written.or_else(|error| if response.status() < 400 { Err(error) } else { Ok(()) })?;
    incoming(response)
}

fn outgoing(request: &Request) -> Option<OutgoingRequest> {
    let fields = Fields::new();
    for (name, value) in &request.headers {
        fields.append(name, value.as_bytes()).ok()?;
    }
    if request.method != "GET" {
        fields.append("content-length", request.body.len().to_string().as_bytes()).ok()?;
    }
    let outgoing = OutgoingRequest::new(fields);
    let method = match request.method {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        other => Method::Other(other.to_owned()),
    };
    outgoing.set_method(&method).ok()?;
    outgoing.set_scheme(Some(&Scheme::Http)).ok()?;
    outgoing.set_authority(Some(AUTHORITY)).ok()?;
    outgoing.set_path_with_query(Some(&request.path)).ok()?;
    Some(outgoing)
}

fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), NoAnswer> {
    let broken = |error: &dyn std::fmt::Display| NoAnswer::Broken(error.to_string());
    if !bytes.is_empty() {
        let mut stream = body.write().map_err(|()| broken(&"its request has no body"))?;
        stream
            .write_all(bytes)
            .and_then(|()| Write::flush(&mut stream))
            .map_err(|error| broken(&error))?;
    }
    OutgoingBody::finish(body, None).map_err(|error| broken(&error))
}

fn incoming(response: IncomingResponse) -> Result<Response, NoAnswer> {
    let headers = response.headers().entries().into_iter().map(|(name, value)| {
        (name.to_ascii_lowercase(), String::from_utf8_lossy(&value).into_owned())
    });
    let headers = headers.collect();
    let broken = || NoAnswer::Broken("its answer has no body".to_owned());
    let body = response.consume().map_err(|()| broken())?;
    let stream = body.stream().map_err(|()| broken())?;
    let body = Box::new(Body { stream, rest: Vec::new(), read: 0, _body: body });
    Ok(Response { status: response.status(), headers, body })
}

/// The body of an answer. Its stream has to go before it does.
struct Body {
    stream: InputStream,
    /// What was read and not handed on yet.
    rest: Vec<u8>,
    /// How much of that was handed on.
    read: usize,
    _body: IncomingBody,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.rest.len() {
            self.read = 0;
            self.rest = match self.stream.blocking_read(PIECE) {
                Ok(bytes) => bytes,
                Err(StreamError::Closed) => Vec::new(),
                Err(StreamError::LastOperationFailed(error)) => {
                    return Err(io::Error::other(error.to_debug_string()));
                }
            };
        }
        let read = (&self.rest[self.read..]).read(buffer)?;
        self.read += read;
        Ok(read)
    }
}

fn no_answer(error: ErrorCode) -> NoAnswer {
    let why = error.to_string();
    match error {
        ErrorCode::HttpRequestDenied | ErrorCode::HttpRequestUriInvalid => NoAnswer::Denied(why),
        ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionTimeout
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable => NoAnswer::Unreachable(why),
        _ => NoAnswer::Broken(why),
    }
}
