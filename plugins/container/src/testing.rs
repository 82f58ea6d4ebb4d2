//! An engine for unit tests: what it is asked for, and what it answers.

use std::cell::RefCell;
use std::collections::VecDeque;

use drover_sdk::Failure;
use drover_sdk::http::{Error, Request, Response};
use drover_sdk::testing::{Heard, Host, HttpAnswers, with_host};
use serde_json::Value;

/// One exchange that a test expects.
pub(crate) struct Exchange {
    request: String,
    status: u16,
    body: Vec<u8>,
}

/// The engine answers `request`, such as `POST /containers/web/start`, with
/// `status` and `body`. The version in the path is left out.
pub(crate) fn on(request: impl Into<String>, status: u16, body: impl Into<Vec<u8>>) -> Exchange {
    Exchange { request: request.into(), status, body: body.into() }
}

/// An answer of JSON.
pub(crate) fn json(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

thread_local! {
    static EXPECTED: RefCell<VecDeque<Exchange>> = const { RefCell::new(VecDeque::new()) };
    static BODIES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What a test finds out.
pub(crate) struct Outcome {
    pub(crate) answer: Result<Value, Failure>,
    pub(crate) heard: Heard,
    /// The bodies of the requests, in order.
    pub(crate) bodies: Vec<Vec<u8>>,
}

impl Outcome {
    /// The body of a request as JSON.
    pub(crate) fn body(&self, index: usize) -> Value {
        serde_json::from_slice(&self.bodies[index]).unwrap()
    }

    /// The code of the failure that the answer is.
    pub(crate) fn code(&self) -> &str {
        &self.answer.as_ref().unwrap_err().code
    }
}

/// Runs an operation against an engine that expects exactly these requests in
/// this order.
pub(crate) fn run(operation: &str, arguments: &Value, exchanges: Vec<Exchange>) -> Outcome {
    run_with(Vec::new(), operation, arguments, exchanges)
}

/// Like [`run`], with `data` beside the arguments.
pub(crate) fn run_with(
    data: Vec<u8>,
    operation: &str,
    arguments: &Value,
    exchanges: Vec<Exchange>,
) -> Outcome {
    run_in(host(data), operation, arguments, exchanges)
}

/// A host whose plugin has spoken with the engine before, and a job with `data`.
pub(crate) fn host(data: Vec<u8>) -> Host {
    let state = [("api-version".to_owned(), b"1.41".to_vec())].into();
    Host { job_data: data, state, ..Host::default() }
}

/// Like [`run`], in a host of the test's own.
pub(crate) fn run_in(
    host: Host,
    operation: &str,
    arguments: &Value,
    exchanges: Vec<Exchange>,
) -> Outcome {
    let host = Host { http: HttpAnswers::new(answer), ..host };
    EXPECTED.set(exchanges.into());
    BODIES.take();
    let (answer, heard) = with_host(host, || crate::PLUGIN.run(operation, &arguments.to_string()));
    let left: Vec<_> = EXPECTED.take().into_iter().map(|exchange| exchange.request).collect();
    assert!(left.is_empty(), "not asked for: {left:?}; the answer is {answer:?}");
    let answer = match answer {
        Ok(json) => Ok(serde_json::from_str(&json).unwrap()),
        Err(drover_sdk::RunError::Failed(failure)) => Err(failure),
        Err(error) => panic!("{operation} {arguments}: {error:?}"),
    };
    Outcome { answer, heard, bodies: BODIES.take() }
}

/// What the engine of the test answers.
fn answer(request: &Request) -> Result<Response, Error> {
    let path = request.url.strip_prefix("http://docker").expect("it is for the engine");
    let asked = format!("{} {}", request.method, unversioned(path));
    BODIES.with_borrow_mut(|bodies| bodies.push(request.body.clone()));
    let exchange = EXPECTED.with_borrow_mut(VecDeque::pop_front);
    let Some(exchange) = exchange else { panic!("nobody expected {asked}") };
    assert_eq!(asked, exchange.request);
    if exchange.status == 0 {
        return Err(Error::Unreachable("connection refused".to_owned()));
    }
    let headers = vec![("api-version".to_owned(), "1.41".to_owned())];
    Ok(Response { headers, ..Response::new(exchange.status, exchange.body) })
}

fn unversioned(path: &str) -> &str {
    let rest = path.strip_prefix("/v1.").and_then(|rest| rest.split_once('/'));
    rest.map_or(path, |(version, _)| &path[version.len() + 4..])
}
