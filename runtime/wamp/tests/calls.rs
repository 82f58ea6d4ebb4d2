//! Calls between sessions: over sockets, in process, in different serializers.

mod kit;

use std::time::Duration;

use drover_wamp::{
    ApplicationError, CallError, CallOptions, MatchPolicy, Payload, RegisterOptions, Serializer,
};
use kit::{Site, within};
use serde_json::{Value, json};

fn prefix() -> RegisterOptions {
    RegisterOptions { policy: MatchPolicy::Prefix, ..RegisterOptions::default() }
}

#[tokio::test]
async fn a_call_is_answered_between_any_two_serializers_and_in_process() {
    let site = Site::start().await;
    let arguments = json!({"text": "ä\n", "list": [1, -1, 1.5, null, true], "deep": {"a": {}}});
    let mut sessions = vec![site.attach()];
    for serializer in Serializer::ALL {
        sessions.push(site.connect(*serializer).await);
    }
    for callee in &sessions {
        let mut echo = callee.register("test.echo", RegisterOptions::default()).await.unwrap();
        for caller in &sessions {
            let payload = Payload::one(&arguments).unwrap();
            let keywords = Payload::keyword(&json!({"k": [1]})).unwrap();
            let payload = payload.with_keywords_of(keywords);
            let call = caller.call("test.echo", payload, CallOptions::default());
            let serve = async {
                let invocation = echo.next().await.unwrap();
                let answer = invocation.payload.clone();
                assert_eq!(invocation.procedure, "test.echo");
                invocation.finish(Ok(answer)).await;
            };
            let (answer, ()) = within(async { tokio::join!(call, serve) }).await;
            let answer = answer.unwrap();
            assert_eq!(answer.first::<Value>().unwrap(), arguments);
            assert_eq!(answer.kwargs::<Value>().unwrap(), json!({"k": [1]}));
        }
        within(echo.unregister()).await.unwrap();
    }
    site.stop().await;
}

#[tokio::test]
async fn a_prefix_is_told_which_name_was_called() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.client().await);
    let mut node = callee.register("drover.node.1.7.", prefix()).await.unwrap();
    let call = caller.call("drover.node.1.7.run", Payload::empty(), CallOptions::default());
    let serve = async {
        let invocation = node.next().await.unwrap();
        let name = Payload::one(&invocation.procedure).unwrap();
        invocation.finish(Ok(name)).await;
    };
    let (answer, ()) = within(async { tokio::join!(call, serve) }).await;
    assert_eq!(answer.unwrap().first::<String>().unwrap(), "drover.node.1.7.run");
    let error =
        within(caller.call("drover.node.1.8.run", Payload::empty(), CallOptions::default()));
    let CallError::Application(error) = error.await.unwrap_err() else { panic!() };
    assert_eq!(error.uri, drover_wamp::uri::error::NO_SUCH_PROCEDURE);
    assert!(error.to_string().contains("drover.node.1.8.run"), "{error}");
}

#[tokio::test]
async fn an_error_reaches_the_caller_with_its_uri_and_arguments() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.connect(Serializer::Json).await);
    let mut node = callee.register("test.fail", RegisterOptions::default()).await.unwrap();
    let call = caller.call("test.fail", Payload::empty(), CallOptions::default());
    let serve = async {
        let error = ApplicationError::new("drover.error.busy", "too much to do");
        node.next().await.unwrap().finish(Err(error)).await;
    };
    let (answer, ()) = within(async { tokio::join!(call, serve) }).await;
    assert_eq!(answer.unwrap_err().to_string(), "too much to do (drover.error.busy)");
}

#[tokio::test]
async fn partial_results_arrive_in_order_and_all_before_the_answer() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.client().await);
    let mut node = callee.register("test.count", RegisterOptions::default()).await.unwrap();
    let call = caller.start("test.count", Payload::empty(), CallOptions::default());
    let serve = async {
        let invocation = node.next().await.unwrap();
        assert!(invocation.wants_progress);
        for number in 0..1000 {
            invocation.progress(Payload::one(&number).unwrap()).await.unwrap();
        }
        invocation.finish(Ok(Payload::one("done").unwrap())).await;
    };
    let listen = async {
        let mut call = call.await.unwrap();
        let mut numbers = Vec::new();
        while let Some(payload) = call.next().await {
            numbers.push(payload.first::<u32>().unwrap());
        }
        (call.answer().await, numbers)
    };
    let ((answer, numbers), ()) = within(async { tokio::join!(listen, serve) }).await;
    assert_eq!(answer.unwrap().first::<String>().unwrap(), "done");
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_receiver_that_reads_no_partial_results_loses_its_call_and_nothing_else() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.client().await);
    let mut node = callee.register("test.flood", RegisterOptions::default()).await.unwrap();
    let call = caller.start("test.flood", Payload::empty(), CallOptions::default());
    let payload = Payload::one(&"x".repeat(100_000)).unwrap();
    let serve = async {
        let invocation = node.next().await.unwrap();
        while !invocation.cancelled().is_cancelled() {
            invocation.progress(payload.clone()).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (call, ()) = within(async { tokio::join!(call, serve) }).await;
    // It is read only now that it has been given up at the callee.
    let answer = within(call.unwrap().answer()).await;
    assert!(matches!(answer, Err(CallError::SlowReceiver { .. })), "{answer:?}");
    let error = within(caller.call("no.such", Payload::empty(), CallOptions::default())).await;
    assert!(matches!(error, Err(CallError::Application(_))), "the session is as good as before");
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_at_the_callee() {
    let site = Site::start().await;
    for caller in [site.client().await, site.attach()] {
        let callee = site.client().await;
        let mut node = callee.register("test.wait", RegisterOptions::default()).await.unwrap();
        let call = caller.call("test.wait", Payload::empty(), CallOptions::default());
        let invocation = within(async {
            tokio::select! {
                _ = call => panic!("nobody answers"),
                invocation = node.next() => invocation.unwrap(),
            }
        })
        .await;
        within(invocation.cancelled().cancelled()).await;
        invocation.finish(Ok(Payload::empty())).await;
    }
}

#[tokio::test]
async fn a_cancelled_call_still_hears_what_the_callee_answers() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.client().await);
    let mut node = callee.register("test.wait", RegisterOptions::default()).await.unwrap();
    let call = caller.start("test.wait", Payload::empty(), CallOptions::default());
    let call = within(call).await.unwrap();
    let invocation = within(node.next()).await.unwrap();
    call.cancel();
    let serve = async {
        invocation.cancelled().cancelled().await;
        invocation.finish(Ok(Payload::one("killed").unwrap())).await;
    };
    let (answer, ()) = within(async { tokio::join!(call.answer(), serve) }).await;
    assert_eq!(answer.unwrap().first::<String>().unwrap(), "killed");
}

#[tokio::test]
async fn a_call_without_an_answer_times_out_and_is_cancelled() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.client().await);
    let mut node = callee.register("test.wait", RegisterOptions::default()).await.unwrap();
    let options =
        CallOptions { timeout: Some(Duration::from_millis(20)), ..CallOptions::default() };
    let call = caller.call("test.wait", Payload::empty(), options);
    let serve = async {
        let invocation = node.next().await.unwrap();
        invocation.cancelled().cancelled().await;
    };
    let (answer, ()) = within(async { tokio::join!(call, serve) }).await;
    assert!(matches!(answer, Err(CallError::Timeout { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_call_that_the_callee_drops_is_answered() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.client().await);
    let mut node = callee.register("test.drop", RegisterOptions::default()).await.unwrap();
    let call = caller.call("test.drop", Payload::empty(), CallOptions::default());
    let serve = async { drop(node.next().await) };
    let (answer, ()) = within(async { tokio::join!(call, serve) }).await;
    let CallError::Application(error) = answer.unwrap_err() else { panic!() };
    assert_eq!(error.uri, drover_wamp::uri::error::CANCELED);
}

#[tokio::test]
async fn a_call_is_answered_when_its_callee_goes_away() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.client().await);
    let mut node = callee.register("test.leave", RegisterOptions::default()).await.unwrap();
    let call = caller.call("test.leave", Payload::empty(), CallOptions::default());
    let leave = async {
        let _invocation = node.next().await.unwrap();
        callee.close().await;
    };
    let (answer, ()) = within(async { tokio::join!(call, leave) }).await;
    let CallError::Application(error) = answer.unwrap_err() else { panic!() };
    assert_eq!(error.uri, drover_wamp::uri::error::CANCELED);
}

#[tokio::test]
async fn a_name_is_registered_once_and_free_again_when_its_holder_drops_it() {
    let site = Site::start().await;
    let (first, second) = (site.client().await, site.client().await);
    let registration = first.register("test.name", RegisterOptions::default()).await.unwrap();
    let refused = second.register("test.name", RegisterOptions::default()).await;
    let CallError::Application(error) = refused.unwrap_err() else { panic!() };
    assert_eq!(error.uri, drover_wamp::uri::error::PROCEDURE_ALREADY_EXISTS);
    drop(registration);
    within(async {
        // Dropping does not wait for the router; the next one on the same session does.
        first.register("test.other", RegisterOptions::default()).await.unwrap();
        second.register("test.name", RegisterOptions::default()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_callee_without_room_refuses_and_stays() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.client().await);
    let options = RegisterOptions { max_queued_bytes: 1, ..RegisterOptions::default() };
    let mut node = callee.register("test.busy", options).await.unwrap();
    let call = || caller.call("test.busy", Payload::empty(), CallOptions::default());
    // Nobody takes the first; the second finds the queue full.
    let (mut first, mut second) = (Box::pin(call()), Box::pin(call()));
    let refused = within(async {
        tokio::select! { biased; r = &mut first => r, r = &mut second => r }
    });
    let CallError::Application(error) = refused.await.unwrap_err() else { panic!() };
    assert_eq!(error.uri, drover_wamp::uri::error::UNAVAILABLE);
    within(node.next()).await.unwrap().finish(Ok(Payload::empty())).await;
    within(first).await.unwrap();
}

#[tokio::test]
async fn what_is_too_long_or_misnamed_is_refused_before_it_is_sent() {
    let site = Site::start().await;
    let caller = site.client().await;
    let long = Payload::one(&"x".repeat(kit::MAX_MESSAGE + 1)).unwrap();
    let error = caller.call("test.x", long, CallOptions::default()).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { .. }), "{error}");
    for name in ["", "a..b", "a b"] {
        let error = caller.call(name, Payload::empty(), CallOptions::default()).await.unwrap_err();
        assert!(matches!(error, CallError::InvalidUri(_)), "{error}");
    }
    let error = within(caller.call("test.x", Payload::empty(), CallOptions::default())).await;
    assert!(matches!(error, Err(CallError::Application(_))), "the session is as good as before");
}

#[tokio::test]
async fn an_answer_that_is_too_long_becomes_an_error() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.connect(Serializer::Json).await);
    let mut node = callee.register("test.long", RegisterOptions::default()).await.unwrap();
    // The one is too long as it is, the other becomes so on its way to JSON.
    for length in [kit::MAX_MESSAGE + 1, kit::MAX_MESSAGE - 1000] {
        let call = caller.call("test.long", Payload::empty(), CallOptions::default());
        let answer = Payload::one(&"\u{1}".repeat(length)).unwrap();
        let serve = async { node.next().await.unwrap().finish(Ok(answer)).await };
        let (answer, ()) = within(async { tokio::join!(call, serve) }).await;
        let CallError::Application(error) = answer.unwrap_err() else { panic!() };
        assert_eq!(error.uri, drover_wamp::uri::error::PAYLOAD_SIZE_EXCEEDED);
    }
}

#[tokio::test]
async fn many_calls_on_one_connection_are_all_answered() {
    let site = Site::start().await;
    let (callee, caller) = (site.client().await, site.client().await);
    let mut node = callee.register("test.many", RegisterOptions::default()).await.unwrap();
    let serve = async {
        while let Some(invocation) = node.next().await {
            let answer = invocation.payload.clone();
            invocation.finish(Ok(answer)).await;
        }
    };
    let calls = (0..2000_u32).map(|number| {
        let caller = caller.clone();
        async move {
            let payload = Payload::one(&number).unwrap();
            let answer = caller.call("test.many", payload, CallOptions::default()).await.unwrap();
            assert_eq!(answer.first::<u32>().unwrap(), number);
        }
    });
    within(async {
        tokio::select! {
            () = serve => panic!("the session ended"),
            _ = futures_util::future::join_all(calls) => {}
        }
    })
    .await;
}
