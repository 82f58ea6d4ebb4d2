//! The body of a request, bounded in length and time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

/// Reads a body as a whole, or says with what status it is refused, and why.
pub(super) async fn read(
    body: Incoming,
    max_bytes: usize,
    patience: Duration,
) -> Result<Bytes, (StatusCode, String)> {
    let too_long = || {
        let text = format!("the body is longer than the limit of {max_bytes} bytes");
        (StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    // Who announces too much is told before sending it.
    if body.size_hint().lower() > u64::try_from(max_bytes).unwrap_or(u64::MAX) {
        return Err(too_long());
    }
    match timeout(patience, Limited::new(body, max_bytes).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long()),
        Ok(Err(error)) => {
            Err((StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}")))
        }
        Err(_) => {
            let text = format!("the body did not come within {} s", patience.as_secs_f32());
            Err((StatusCode::REQUEST_TIMEOUT, text))
        }
    }
}
