//! Answers `com.example.add` and `com.example.countdown`, whatever happens to the router.
//!
//! `cargo run --example callee -- ws://127.0.0.1:8080/ws realm1`

use std::num::NonZeroUsize;
use std::time::Duration;

use drover_wamp::{
    ApplicationError, ClientConfig, Invocation, Link, LinkConfig, Payload, RegisterOptions,
};

/// How many calls of one procedure run at a time.
const AT_A_TIME: NonZeroUsize = NonZeroUsize::new(16).expect("it is not zero");

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:8080/ws".to_owned());
    let realm = arguments.next().unwrap_or_else(|| "realm1".to_owned());

    let link = Link::open(LinkConfig::new(ClientConfig::new(url, realm)))?;
    let add = link.register("com.example.add", RegisterOptions::default())?;
    let countdown = link.register("com.example.countdown", RegisterOptions::default())?;
    let (first, second) = tokio::join!(
        add.serve_as(AT_A_TIME, |(a, b): (i64, i64)| async move {
            a.checked_add(b).ok_or_else(|| {
                ApplicationError::new("com.example.error.too_large", "the sum has no room")
            })
        }),
        countdown.serve(AT_A_TIME, count_down),
    );
    Err(format!("no longer serving: {first}; {second}").into())
}

/// Counts down in partial results, until the caller has heard enough.
async fn count_down(call: Invocation) {
    let from: u32 = call.payload.first().unwrap_or(10);
    for number in (1..=from).rev() {
        let number = Payload::one(&number).unwrap_or_default();
        if call.cancelled().is_cancelled() || call.progress(number).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    call.finish(Payload::one("lift-off").map_err(|error| {
        ApplicationError::new(drover_wamp::uri::error::RUNTIME_ERROR, &error.to_string())
    }))
    .await;
}
