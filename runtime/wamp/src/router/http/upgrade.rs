//! Which requests become WebSockets.

use data_encoding::BASE64;
use hyper::body::Body;
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{HeaderMap, Method, Request, StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::origin::{Asker, Origins};
use crate::Serializer;

/// A WebSocket as it was agreed upon.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    /// The proof that the request was understood.
    pub(super) accept: HeaderValue,
    pub(super) serializer: Serializer,
}

/// Finds out what to speak, or the status and text of a refusal.
pub(super) fn check<B: Body>(
    request: &Request<B>,
    origins: &Origins,
) -> Result<Agreed, (StatusCode, String)> {
    let spoken = Serializer::list(Serializer::ALL);
    let headers = request.headers();
    let is_upgrade = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has_token(headers, UPGRADE, "websocket")
        && has_token(headers, CONNECTION, "upgrade");
    if !is_upgrade {
        let text = format!("this is a WAMP router: open a WebSocket here that speaks {spoken}");
        return Err((StatusCode::UPGRADE_REQUIRED, text));
    }
    if let Asker::Stranger(origin) = origins.asker(headers) {
        let text = format!("pages of {origin} may not open sessions here");
        return Err((StatusCode::FORBIDDEN, text));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let text = "this router speaks WebSocket version 13".into();
        return Err((StatusCode::UPGRADE_REQUIRED, text));
    }
    // What follows the head is the WebSocket; a body would be taken for its first frames.
    if !request.body().is_end_stream() {
        let text = "a request for a WebSocket has no body".into();
        return Err((StatusCode::BAD_REQUEST, text));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(|key| key.as_bytes().trim_ascii());
    let is_key = |key: &[u8]| BASE64.decode(key).is_ok_and(|bytes| bytes.len() == 16);
    let Some(key) = key.filter(|key| is_key(key)) else {
        let text = "the header Sec-WebSocket-Key is missing, or is not 16 bytes in base64".into();
        return Err((StatusCode::BAD_REQUEST, text));
    };
    // The client's first choice that we know.
    match tokens(headers, SEC_WEBSOCKET_PROTOCOL).find_map(Serializer::from_subprotocol) {
        Some(serializer) => {
            let accept = HeaderValue::from_str(&derive_accept_key(key));
            Ok(Agreed { accept: accept.expect("base64 has no control characters"), serializer })
        }
        None => {
            let text = format!("offer a Sec-WebSocket-Protocol that is spoken here: {spoken}");
            Err((StatusCode::BAD_REQUEST, text))
        }
    }
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|candidate| candidate.eq_ignore_ascii_case(token))
}

/// The elements of a list, which may be spread over several header lines.
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};
    use hyper::body::Bytes;

    use super::*;

    /// The request that all browsers send, with these headers instead.
    fn request(changes: &[(&str, &str)]) -> Request<Empty<Bytes>> {
        let mut request = Request::get("/ws?x=1").body(Empty::new()).unwrap();
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "wamp.2.ubjson, wamp.2.json.batched, wamp.2.msgpack"),
        ]
        .iter()
        .chain(changes)
        {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    }

    fn refusal<B: Body>(request: &Request<B>) -> (u16, String) {
        let (status, text) = check(request, &Origins::default()).unwrap_err();
        (status.as_u16(), text)
    }

    #[test]
    fn the_clients_first_known_subprotocol_is_taken() {
        let agreed = check(&request(&[]), &Origins::default()).unwrap();
        // The pair of key and answer that RFC 6455 gives as its example.
        assert_eq!(agreed.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(agreed.serializer, Serializer::JsonBatched);
    }

    #[test]
    fn what_is_no_request_for_a_websocket_is_refused_with_the_reason() {
        for (name, value, status, words) in [
            ("connection", "keep-alive", 426, "wamp.2.msgpack"),
            ("upgrade", "h2c", 426, "wamp.2.msgpack"),
            ("sec-websocket-version", "8", 426, "version 13"),
            ("sec-websocket-key", "", 400, "Sec-WebSocket-Key"),
            ("sec-websocket-key", "dG9vIHNob3J0", 400, "Sec-WebSocket-Key"),
            ("sec-websocket-protocol", "", 400, "wamp.2.msgpack"),
            ("sec-websocket-protocol", "chat", 400, "wamp.2.msgpack"),
            ("origin", "http://a.example", 403, "http://a.example"),
            ("origin", "null", 403, "null"),
        ] {
            let (answered, text) = refusal(&request(&[(name, value)]));
            assert_eq!(answered, status, "{name}: {value}");
            assert!(text.contains(words), "{text}");
        }
        let mut post = request(&[]);
        *post.method_mut() = Method::POST;
        assert_eq!(refusal(&post).0, 426);
        let mut old = request(&[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(refusal(&old).0, 426);
        let (parts, _) = request(&[]).into_parts();
        assert_eq!(refusal(&Request::from_parts(parts, Full::new(Bytes::from("x")))).0, 400);
    }
}
