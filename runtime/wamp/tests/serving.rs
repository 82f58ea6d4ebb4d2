//! Handlers of calls: typed, many at a time and not too many.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use drover_wamp::{
    ApplicationError, CallError, CallOptions, Client, EndReason, Payload, RegisterOptions, uri,
};
use kit::{Site, within};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

async fn call<R: serde::de::DeserializeOwned>(
    client: &Client,
    arguments: &impl serde::Serialize,
) -> Result<R, CallError> {
    within(client.call_as("test.p", arguments, CallOptions::default())).await
}

fn uri_of<T: std::fmt::Debug>(answer: Result<T, CallError>) -> String {
    let Err(CallError::Application(error)) = answer else { panic!("{answer:?}") };
    error.uri
}

#[tokio::test]
async fn a_typed_handler_answers_typed_calls_and_refuses_what_it_cannot_read() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.client().await);
    let registration = callee.register("test.p", RegisterOptions::default()).await.unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(registration.serve_as(TWO, |(a, b): (i64, i64)| async move {
        a.checked_add(b).ok_or_else(|| ApplicationError::new("test.error.overflow", "too large"))
    }));

    assert_eq!(call::<i64>(&caller, &(19, 23)).await.unwrap(), 42);
    assert_eq!(call::<i64>(&caller, &vec![1, 2]).await.unwrap(), 3);
    assert_eq!(uri_of(call::<i64>(&caller, &(i64::MAX, 1)).await), "test.error.overflow");
    assert_eq!(uri_of(call::<i64>(&caller, &("a", 1)).await), uri::error::INVALID_ARGUMENT);
    assert_eq!(uri_of(call::<i64>(&caller, &()).await), uri::error::INVALID_ARGUMENT);
    assert!(matches!(call::<String>(&caller, &(1, 2)).await, Err(CallError::Payload(_))));

    within(callee.close()).await;
    let reason = within(serving.join_next()).await.unwrap().unwrap();
    assert!(matches!(reason, EndReason::Session(_)), "{reason:?}");
}

#[tokio::test]
async fn arguments_are_positional_keywords_or_none_by_their_nature() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.client().await);
    let mut registration = callee.register("test.p", RegisterOptions::default()).await.unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Some(call) = registration.next().await {
            let payload = call.payload.clone();
            call.finish(Ok(payload)).await;
        }
    });
    let keywords = BTreeMap::from([("a", 1)]);
    let payload = Payload::arguments(&keywords).unwrap();
    let echoed = within(caller.call("test.p", payload, CallOptions::default())).await.unwrap();
    assert_eq!(echoed.kwargs::<BTreeMap<String, u32>>().unwrap()["a"], 1);
    assert_eq!(call::<u32>(&caller, &(7,)).await.unwrap(), 7);
    call::<()>(&caller, &()).await.unwrap();
    assert_eq!(call::<Option<u32>>(&caller, &()).await.unwrap(), None);
    assert!(matches!(call::<u32>(&caller, &5).await, Err(CallError::Payload(_))));
}

#[tokio::test]
async fn no_more_handlers_run_at_a_time_than_may() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.client().await);
    let registration = callee.register("test.p", RegisterOptions::default()).await.unwrap();
    let (started, mut starts) = mpsc::channel::<oneshot::Sender<()>>(8);
    let mut serving = JoinSet::new();
    serving.spawn(registration.serve_as(TWO, move |_: Vec<u32>| {
        let started = started.clone();
        async move {
            let (go, gone) = oneshot::channel();
            started.send(go).await.unwrap();
            gone.await.unwrap();
            Ok(())
        }
    }));
    let mut calls = JoinSet::new();
    for _ in 0..3 {
        let caller = caller.clone();
        calls.spawn(async move { call::<()>(&caller, &()).await });
    }
    let first = within(starts.recv()).await.unwrap();
    let second = within(starts.recv()).await.unwrap();
    assert!(starts.try_recv().is_err(), "a third handler runs");
    first.send(()).unwrap();
    let third = within(starts.recv()).await.unwrap();
    second.send(()).unwrap();
    third.send(()).unwrap();
    while let Some(answer) = within(calls.join_next()).await {
        answer.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_handler_that_panics_or_is_dropped_leaves_no_caller_waiting() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.client().await);
    let registration = callee.register("test.p", RegisterOptions::default()).await.unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(registration.serve_as(TWO, |(what,): (String,)| async move {
        assert_eq!(what, "wait", "a handler that panics");
        std::future::pending::<Result<(), ApplicationError>>().await
    }));
    assert_eq!(uri_of(call::<()>(&caller, &("panic",)).await), uri::error::CANCELED);
    let waiting = call::<()>(&caller, &("wait",));
    let drop_it = async {
        call::<()>(&caller, &("panic",)).await.unwrap_err();
        serving.shutdown().await;
    };
    let (answer, ()) = tokio::join!(waiting, drop_it);
    assert_eq!(uri_of(answer), uri::error::CANCELED);
}
