//! What browsers want to hear before they hand an answer to a page.

use hyper::HeaderMap;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderValue, VARY,
};

use super::origin::Asker;

/// What the bridge can be asked with.
pub(super) const METHODS: &str = "POST, PUT, OPTIONS";

/// Adds to `reply` that the asker may read it, and to the answer of a
/// preflight that the request may come.
pub(super) fn allow(asker: Asker<'_>, asked: &HeaderMap, reply: &mut HeaderMap) {
    let origin = match asker {
        Asker::Program => Some(HeaderValue::from_static("*")),
        Asker::Page(origin) => HeaderValue::from_str(origin).ok(),
        Asker::Stranger(_) => None,
    };
    let Some(origin) = origin else { return };
    reply.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    reply.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    reply.insert(VARY, HeaderValue::from_static("Origin"));
    if asked.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        reply.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    }
    if let Some(headers) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        reply.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
    }
}
