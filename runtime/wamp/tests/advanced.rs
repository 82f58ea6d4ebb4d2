//! The advanced profile as users of the client see it, on our router over sockets.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use std::collections::HashSet;
use std::time::Duration;

use drover_wamp::{
    Audience, CallError, CallOptions, Client, EndReason, Event, InvocationPolicy, Link, LinkConfig,
    Payload, PublishOptions, RegisterOptions, Registration, Status, SubscribeOptions, Subscription,
    uri,
};
use kit::{Site, within};
use tokio::task::JoinSet;

fn shared(invoke: InvocationPolicy) -> RegisterOptions {
    RegisterOptions { invoke, ..RegisterOptions::default() }
}

fn acknowledged() -> PublishOptions {
    PublishOptions { acknowledge: true, ..PublishOptions::default() }
}

fn text(text: &str) -> Payload {
    Payload::one(text).unwrap()
}

/// Answers every call with the callee's name.
fn serve(callees: &mut JoinSet<()>, mut registration: Registration, name: &'static str) {
    callees.spawn(async move {
        while let Some(call) = registration.next().await {
            call.finish(Ok(text(name))).await;
        }
    });
}

async fn ask(caller: &Client) -> String {
    within(caller.call_as("test.p", &(), CallOptions::default())).await.unwrap()
}

async fn next_text(subscription: &mut Subscription) -> String {
    within(subscription.next()).await.unwrap().payload.first().unwrap()
}

#[tokio::test]
async fn callees_share_a_procedure_by_the_policy_that_they_agree_on() {
    use InvocationPolicy::{First, Last, Random, RoundRobin};
    for (policy, expected) in [
        (First, Some(["a", "a", "a", "a"])),
        (Last, Some(["c", "c", "c", "c"])),
        (RoundRobin, Some(["a", "b", "c", "a"])),
        (Random, None),
    ] {
        let site = Site::start().await;
        let mut callees = JoinSet::new();
        for name in ["a", "b", "c"] {
            let callee = site.client().await;
            let registration = within(callee.register("test.p", shared(policy))).await.unwrap();
            serve(&mut callees, registration, name);
        }
        let caller = site.client().await;
        match expected {
            Some(expected) => {
                for name in expected {
                    assert_eq!(ask(&caller).await, name, "{policy}");
                }
            }
            None => {
                let mut heard = HashSet::new();
                while heard.len() < 3 {
                    heard.insert(ask(&caller).await);
                }
            }
        }
    }
}

#[tokio::test]
async fn callees_that_disagree_do_not_share() {
    let site = Site::start().await;
    let (one, other) = (site.client().await, site.client().await);
    let _held = within(one.register("test.p", shared(InvocationPolicy::First))).await.unwrap();
    let error = within(other.register("test.p", shared(InvocationPolicy::Last))).await.unwrap_err();
    let CallError::Application(error) = error else { panic!("{error:?}") };
    assert_eq!(error.uri, uri::error::INVOCATION_POLICY_CONFLICT);
}

#[tokio::test]
async fn a_procedure_taken_by_force_ends_its_former_registration_as_revoked() {
    let site = Site::start().await;
    let taker = site.client().await;
    let force = || RegisterOptions { force_reregister: true, ..RegisterOptions::default() };
    let session = site.client().await;
    let link = Link::open(LinkConfig::new(site.config())).unwrap();
    let of_session = within(session.register("test.p", RegisterOptions::default())).await.unwrap();
    let of_link = link.register("test.q", RegisterOptions::default()).unwrap();
    within(of_link.settled()).await.unwrap();

    let mut callees = JoinSet::new();
    for (mut lost, procedure) in [(of_session, "test.p"), (of_link, "test.q")] {
        let registration = within(taker.register(procedure, force())).await.unwrap();
        serve(&mut callees, registration, "taker");
        assert!(within(lost.next()).await.is_none());
        assert!(matches!(lost.status(), Status::Ended(EndReason::Revoked(_))), "{lost:?}");
        // There is nothing left of it that could take the procedure away again.
        drop(lost);
    }
    assert_eq!(ask(&session).await, "taker");
}

#[tokio::test]
async fn a_subscription_begins_with_the_event_that_was_retained_if_it_asks_for_it() {
    let site = Site::start().await;
    let (publisher, subscriber) = (site.client().await, site.client().await);
    let retain = || PublishOptions { retain: true, ..acknowledged() };
    for event in ["old", "kept"] {
        within(publisher.publish("test.t", text(event), retain())).await.unwrap();
    }
    within(publisher.publish("test.t", text("passing"), acknowledged())).await.unwrap();

    let options = SubscribeOptions { get_retained: true, ..SubscribeOptions::default() };
    let mut asks = within(subscriber.subscribe("test.t", options)).await.unwrap();
    let Event { payload, is_retained, .. } = within(asks.next()).await.unwrap();
    assert_eq!((payload.first::<String>().unwrap().as_str(), is_retained), ("kept", true));

    let other = site.client().await;
    let mut does_not = other.subscribe("test.t", SubscribeOptions::default()).await.unwrap();
    within(publisher.publish("test.t", text("new"), acknowledged())).await.unwrap();
    for subscription in [&mut asks, &mut does_not] {
        let Event { payload, is_retained, .. } = within(subscription.next()).await.unwrap();
        assert_eq!((payload.first::<String>().unwrap().as_str(), is_retained), ("new", false));
    }
}

#[tokio::test]
async fn an_event_reaches_only_the_audience_that_its_publisher_chose() {
    let site = Site::start().await;
    let publisher = site.client().await;
    let (a, b) = (site.client().await, site.client().await);
    let mut at_a = a.subscribe("test.t", SubscribeOptions::default()).await.unwrap();
    let mut at_b = b.subscribe("test.t", SubscribeOptions::default()).await.unwrap();
    let role = || Some(vec!["anonymous".to_owned()]);
    for (event, audience) in [
        ("not for b", Audience { exclude: Some(vec![b.session()]), ..Audience::default() }),
        ("for b alone", Audience { eligible: Some(vec![b.session()]), ..Audience::default() }),
        ("for nobody", Audience { exclude_authrole: role(), ..Audience::default() }),
        ("for nobody", Audience { eligible_authid: Some(vec![]), ..Audience::default() }),
        ("for all", Audience { eligible_authrole: role(), ..Audience::default() }),
    ] {
        let options = PublishOptions { audience, ..acknowledged() };
        within(publisher.publish("test.t", text(event), options)).await.unwrap();
    }
    assert_eq!(next_text(&mut at_a).await, "not for b");
    assert_eq!(next_text(&mut at_b).await, "for b alone");
    assert_eq!(next_text(&mut at_a).await, "for all");
    assert_eq!(next_text(&mut at_b).await, "for all");
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_a_timeout_and_its_callee_is_told_to_stop() {
    let site = Site::start().await;
    let (callee, link) = (site.client().await, Link::open(LinkConfig::new(site.config())).unwrap());
    let mut slow = callee.register("test.slow", RegisterOptions::default()).await.unwrap();
    let options = CallOptions::within(Duration::from_millis(20));
    let call = link.call("test.slow", Payload::empty(), options);
    let stopped = async {
        let invocation = slow.next().await.unwrap();
        invocation.cancelled().cancelled().await;
    };
    let (answer, ()) = within(async { tokio::join!(call, stopped) }).await;
    let error = answer.unwrap_err();
    assert!(matches!(&error, CallError::Timeout { .. }), "{error:?}");
    assert!(error.to_string().contains("test.slow"), "{error}");
}

#[tokio::test]
async fn the_other_side_learns_who_it_is_if_the_sender_says_so_and_not_otherwise() {
    let site = Site::start().await;
    let (receiver, sender) = (site.client().await, site.client().await);
    let mut calls = receiver.register("test.who", RegisterOptions::default()).await.unwrap();
    let mut events = receiver.subscribe("test.t", SubscribeOptions::default()).await.unwrap();
    for disclose_me in [false, true] {
        let options = CallOptions { disclose_me, ..CallOptions::default() };
        let call = sender.call("test.who", Payload::empty(), options);
        let answer = async {
            let call = calls.next().await.unwrap();
            let caller = call.caller.clone();
            call.finish(Ok(Payload::empty())).await;
            caller
        };
        let (answered, caller) = within(async { tokio::join!(call, answer) }).await;
        answered.unwrap();

        let options = PublishOptions { disclose_me, ..acknowledged() };
        within(sender.publish("test.t", Payload::empty(), options)).await.unwrap();
        let publisher = within(events.next()).await.unwrap().publisher;

        let expected = disclose_me.then(|| sender.session());
        assert_eq!(caller.map(|caller| caller.session), expected);
        assert_eq!(publisher.map(|publisher| publisher.session), expected);
    }
}
