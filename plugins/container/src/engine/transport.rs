//! The way to the engine: one request, one answer whose body is read as it comes.

#[cfg(target_family = "wasm")]
mod wasi;

use std::io::Read;

use drover_sdk::Failure;

/// A request; its path begins with `/` and has the query.
#[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "only a real host hears all"))]
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

/// The head of an answer, and its body as it comes.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names are in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Box<dyn Read>,
}

impl Response {
    /// The header of a name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "only a real host says all"))]
pub(crate) enum NoAnswer {
    /// The admin does not allow the request.
    Denied(String),
    /// Nobody listens.
    Unreachable(String),
    /// The engine broke off.
    Broken(String),
}

/// Sends a request to the engine and waits for the head of the answer. `what`
/// completes "cannot …" in errors.
pub(crate) fn send(request: &Request, what: &str) -> Result<Response, Failure> {
    #[cfg(target_family = "wasm")]
    let answer = wasi::send(request);
    #[cfg(test)]
    let answer = crate::testing::answer(request);
    #[cfg(not(any(test, target_family = "wasm")))]
    let answer = Err(NoAnswer::Unreachable("only a component has a host".to_owned()));
    answer.map_err(|why| why.into_failure(request, what))
}

impl NoAnswer {
    fn into_failure(self, request: &Request, what: &str) -> Failure {
        use super::failure::{DENIED, ENGINE_BROKEN, ENGINE_UNREACHABLE};
        let Request { method, path, .. } = request;
        let path = path.split('?').next().unwrap_or_default();
        let (code, why) = match self {
            Self::Denied(why) => {
                let grant = "allow it in the grants of this plugin, under `http.docker`";
                (
                    DENIED,
                    format!("the node's admin does not allow {method} {path} ({why}): {grant}"),
                )
            }
            Self::Unreachable(why) => {
                let cure = "see whether it runs, and which socket is granted as `docker`";
                (ENGINE_UNREACHABLE, format!("the engine cannot be reached ({why}): {cure}"))
            }
            Self::Broken(why) => (ENGINE_BROKEN, format!("the engine gave no answer: {why}")),
        };
        Failure::new(code, format!("cannot {what}: {why}"))
    }
}
