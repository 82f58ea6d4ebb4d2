//! Pages: what a procedure answers, for whoever can only GET.

use std::time::Duration;

use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::Visit;
use super::bridge::Bridge;
use super::origin::Asker;
use super::reply::{self, Reply};
use crate::client::{CallError, CallOptions};
use crate::payload::Payload;
use crate::uri;

/// How long a procedure may take to answer with a page.
const PATIENCE: Duration = Duration::from_secs(30);

/// A page, whose text a procedure answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpPage {
    /// Where it is. A `*` stands for letters and digits, one at least.
    pub path: &'static str,
    /// The procedure, in which each `*` is what it stood for.
    pub procedure: &'static str,
    /// What the text is.
    pub content_type: &'static str,
}

impl HttpPage {
    /// The procedure, if this is the page at `path`.
    pub(super) fn procedure(&self, path: &str) -> Option<String> {
        let mut literals = self.path.split('*');
        let mut rest = path.strip_prefix(literals.next()?)?;
        let mut answering = self.procedure.split('*');
        let mut procedure = answering.next()?.to_owned();
        for literal in literals {
            let is_other = |letter: char| !letter.is_ascii_alphanumeric();
            let (word, after) = rest.split_at(rest.find(is_other).unwrap_or(rest.len()));
            if word.is_empty() {
                return None;
            }
            procedure = procedure + word + answering.next().unwrap_or_default();
            rest = after.strip_prefix(literal)?;
        }
        rest.is_empty().then_some(procedure)
    }

    /// Answers a request for the page as whoever asks for it.
    pub(super) async fn answer<B>(
        &self,
        procedure: &str,
        bridge: &Bridge,
        request: &Request<B>,
        visit: Visit<'_>,
    ) -> Reply {
        let mut reply = self.read(procedure, bridge, request, visit).await;
        reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply
    }

    async fn read<B>(
        &self,
        procedure: &str,
        bridge: &Bridge,
        request: &Request<B>,
        visit: Visit<'_>,
    ) -> Reply {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let text = format!("{} is nothing to do here, only GET", request.method());
            let mut reply = reply::text(StatusCode::METHOD_NOT_ALLOWED, &text);
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return reply;
        }
        if let Asker::Stranger(origin) = visit.router.http.origins.asker(request.headers()) {
            let text = format!("pages of {origin} may not read this");
            return reply::text(StatusCode::FORBIDDEN, &text);
        }
        let session = match bridge.session_of(request.headers(), visit).await {
            Ok(session) => session,
            Err(refusal) => return refusal,
        };
        let options = CallOptions::within(PATIENCE);
        let asked = tokio::select! {
            asked = session.call(procedure, Payload::empty(), options) => asked,
            () = visit.stop.cancelled() => {
                let text = "this router is being stopped";
                return reply::text(StatusCode::SERVICE_UNAVAILABLE, text);
            }
        };
        let text = asked.and_then(|answer| Ok(answer.first::<String>()?));
        match text {
            Ok(text) => {
                let mut reply = reply::text(StatusCode::OK, text.trim_end_matches('\n'));
                let content_type = HeaderValue::from_static(self.content_type);
                reply.headers_mut().insert(CONTENT_TYPE, content_type);
                reply
            }
            Err(error) => {
                let status = status_of(&error, request.headers());
                reply::text(status, &error.to_string())
            }
        }
    }
}

fn status_of(error: &CallError, headers: &HeaderMap) -> StatusCode {
    let CallError::Application(refused) = error else { return StatusCode::SERVICE_UNAVAILABLE };
    match refused.uri.as_str() {
        uri::error::NO_SUCH_PROCEDURE => StatusCode::NOT_FOUND,
        uri::error::NOT_AUTHORIZED if headers.contains_key(AUTHORIZATION) => StatusCode::FORBIDDEN,
        uri::error::NOT_AUTHORIZED => StatusCode::UNAUTHORIZED,
        _ => StatusCode::BAD_GATEWAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_a_word_and_stands_for_it_in_the_procedure() {
        let page = |path, procedure| HttpPage { path, procedure, content_type: "text/plain" };
        let own = page("/metrics", "site.metrics");
        assert_eq!(own.procedure("/metrics").as_deref(), Some("site.metrics"));
        for other in ["/metrics/", "/metric", "/metrics?x", ""] {
            assert_eq!(own.procedure(other), None, "{other}");
        }
        let nodes = page("/nodes/*.*/x", "node.*.*.x");
        assert_eq!(nodes.procedure("/nodes/1.70/x").as_deref(), Some("node.1.70.x"));
        for other in ["/nodes/1./x", "/nodes/1.7.8/x", "/nodes/1.7/x/", "/nodes/1.%37/x"] {
            assert_eq!(nodes.procedure(other), None, "{other}");
        }
    }
}
