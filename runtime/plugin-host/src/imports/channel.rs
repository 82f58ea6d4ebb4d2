//! `wit/channel.wit`: streams of bytes that begin as HTTP requests.

use std::io;
use std::time::Duration;

use drover_grants::{BODY_LIMIT, HttpRequest, Scheme};
use tokio::time::timeout;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};
use wasmtime_wasi_http::Error as HttpError;

use crate::bindings::drover::plugin::channel::{Error, Host, Opened, Refusal, Request};
use crate::instance::State;
use crate::network::{Asking, Passenger, duplex};

impl Host for State {
    async fn open(
        &mut self,
        request: Request,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<Opened, Error>> {
        let opened = self.open_channel(request);
        let opened = match timeout_ms {
            Some(limit) => {
                let limit = Duration::from_millis(limit.into());
                timeout(limit, opened).await.unwrap_or(Err(Error::TimedOut))
            }
            None => opened.await,
        };
        let Channel { status, headers, input, output } = match opened {
            Ok(channel) => channel,
            Err(error) => return Ok(Err(error)),
        };
        let table = self.table();
        let (input, output) = (table.push(input)?, table.push(output)?);
        Ok(Ok(Opened { status, headers, input, output }))
    }
}

/// An open stream that the plugin does not have yet.
struct Channel {
    status: u16,
    headers: Vec<(String, String)>,
    input: DynInputStream,
    output: DynOutputStream,
}

impl State {
    async fn open_channel(&mut self, request: Request) -> Result<Channel, Error> {
        let Request { method, url, protocol, headers, body } = request;
        if body.len() > BODY_LIMIT {
            return Err(Error::InvalidRequest(format!(
                "its body has more than {BODY_LIMIT} bytes"
            )));
        }
        let asking =
            Asking::new(&method, &url, &protocol, &headers, body).map_err(Error::InvalidRequest)?;
        let passenger = passenger(&asking)?;
        let courier = &self.courier;
        let judged = courier.gate().judge(&passenger).and_then(|pass| {
            let body = pass.body.as_ref().map(|rule| rule.check(asking.body()));
            body.transpose().map_err(|denial| denial.to_string())?;
            Ok(pass.target)
        });
        let target = match judged {
            Ok(target) => target,
            Err(reason) => {
                courier.gate().deny(&passenger, &reason).await;
                return Err(Error::Denied(reason));
            }
        };
        let place = courier.place().ok_or(Error::TooMany)?;
        let mut stream = courier.dial(&target, None).await.map_err(unreachable)?;
        let answered = asking.ask(&mut stream, &target).await.map_err(|error| broken(&error))?;
        if !answered.is_stream() {
            let status = answered.status;
            let body = answered.body(&mut stream).await;
            return Err(Error::Refused(Refusal { status, body }));
        }
        let (input, output) = duplex(stream, answered.rest, place);
        Ok(Channel {
            status: answered.status,
            headers: answered.headers,
            input: Box::new(input),
            output: Box::new(output),
        })
    }
}

fn passenger(asking: &Asking) -> Result<Passenger<'_>, Error> {
    let authority = asking.uri.authority();
    let no_authority = || Error::InvalidRequest("its URL has no host".to_owned());
    Ok(Passenger {
        call: "channel.open",
        scheme: if asking.uri.scheme_str() == Some("http") { Scheme::Http } else { Scheme::Https },
        authority: authority.ok_or_else(no_authority)?.as_str(),
        request: HttpRequest {
            method: asking.method.as_str(),
            path: asking.uri.path(),
            query: asking.uri.query(),
            is_upgrade: true,
        },
    })
}

fn unreachable(error: HttpError) -> Error {
    match error {
        HttpError::ConnectionTimeout => Error::TimedOut,
        error => Error::Unreachable(error.to_string()),
    }
}

fn broken(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::Broken("the connection ended before the answer did".to_owned())
        }
        _ => Error::Broken(error.to_string()),
    }
}
