//! A link over several sessions: what lives on, what fails, what waits.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use std::time::Duration;

use drover_wamp::{
    Absence, CallError, CallOptions, EndReason, Link, LinkConfig, LinkState, Payload,
    PublishOptions, RegisterOptions, Registration, Status, SubscribeOptions, uri,
};
use kit::{Site, within};
use tokio::sync::watch;

fn config(site: &Site) -> LinkConfig {
    let waits = Duration::from_millis(20);
    LinkConfig { first_wait: waits, longest_wait: waits, ..LinkConfig::new(site.config()) }
}

fn open(site: &Site) -> Link {
    Link::open(config(site)).unwrap()
}

fn acknowledged() -> PublishOptions {
    PublishOptions { acknowledge: true, ..PublishOptions::default() }
}

async fn until_away(state: &mut watch::Receiver<LinkState>) {
    within(state.wait_for(|state| matches!(state, LinkState::Away(_)))).await.unwrap();
}

/// Answers one call with a text.
async fn answer(registration: &mut Registration, text: &str) {
    let call = within(registration.next()).await.unwrap();
    call.finish(Ok(Payload::one(text).unwrap())).await;
}

#[tokio::test]
async fn registrations_and_subscriptions_live_on_when_the_router_restarts() {
    let site = Site::start().await;
    let link = open(&site);
    let mut registration = link.register("test.p", RegisterOptions::default()).unwrap();
    let mut subscription = link.subscribe("test.t", SubscribeOptions::default()).unwrap();
    within(registration.settled()).await.unwrap();
    let mut status = registration.watch();

    let address = site.address;
    site.stop().await;
    within(status.wait_for(|status| matches!(status, Status::Waiting { .. }))).await.unwrap();
    let site = Site::start_at(address).await;

    let session = within(registration.settled()).await.unwrap();
    assert_eq!(within(subscription.settled()).await.unwrap(), session);
    let peer = site.client().await;
    let call = peer.call_as::<_, String>("test.p", &(), CallOptions::default());
    let (answered, ()) =
        within(async { tokio::join!(call, answer(&mut registration, "here")) }).await;
    assert_eq!(answered.unwrap(), "here");
    within(peer.publish("test.t", Payload::one(&7).unwrap(), acknowledged())).await.unwrap();
    assert_eq!(within(subscription.next()).await.unwrap().payload.first::<u32>().unwrap(), 7);
}

#[tokio::test]
async fn a_call_in_flight_fails_with_its_session_and_a_new_one_waits_for_the_next() {
    let site = Site::start().await;
    let link = open(&site);
    // In the router's own process, so that it stays when the router stops to listen.
    let callee = site.attach();
    let mut slow = callee.register("test.p", RegisterOptions::default()).await.unwrap();
    let running =
        within(link.start("test.p", Payload::empty(), CallOptions::default())).await.unwrap();
    let _never_answered = within(slow.next()).await.unwrap();

    let address = site.address;
    let mut state = link.watch();
    site.stop().await;
    assert!(matches!(within(running.answer()).await, Err(CallError::Closed(_))));
    until_away(&mut state).await;

    let call = link.call_as::<_, String>("test.p", &(), CallOptions::default());
    let serve = async {
        let site = Site::start_at(address).await;
        // In the router's own process, so that it has registered before the link is back.
        let callee = site.attach();
        let mut registration = callee.register("test.p", RegisterOptions::default()).await.unwrap();
        answer(&mut registration, "again").await;
        site
    };
    let (answered, _site) = within(async { tokio::join!(call, serve) }).await;
    assert_eq!(answered.unwrap(), "again");
}

#[tokio::test]
async fn a_call_waits_for_a_session_no_longer_than_its_timeout() {
    let site = Site::start().await;
    let config = config(&site);
    site.stop().await;
    let link = Link::open(config).unwrap();
    let options = CallOptions::within(Duration::from_millis(50));
    let error = within(link.call("test.p", Payload::empty(), options)).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn publications_and_calls_that_do_not_wait_are_refused_while_there_is_no_session() {
    let site = Site::start().await;
    let config = LinkConfig { absence: Absence::Fail, ..config(&site) };
    site.stop().await;
    let link = Link::open(config).unwrap();
    let mut state = link.watch();
    let has_failed =
        |state: &LinkState| matches!(state, LinkState::Away(away) if away.error.is_some());
    within(state.wait_for(has_failed)).await.unwrap();
    let published = link.publish("test.t", Payload::empty(), PublishOptions::default()).await;
    let called = link.call("test.p", Payload::empty(), CallOptions::default()).await;
    for error in [published.unwrap_err(), called.unwrap_err()] {
        assert!(matches!(error, CallError::Away(_)), "{error:?}");
        assert!(error.to_string().contains("cannot reach the router"), "{error}");
    }
}

#[tokio::test]
async fn a_procedure_that_somebody_has_is_taken_when_it_is_free() {
    let site = Site::start().await;
    let other = site.client().await;
    let theirs = other.register("test.p", RegisterOptions::default()).await.unwrap();
    let link = open(&site);
    let ours = link.register("test.p", RegisterOptions::default()).unwrap();
    let mut status = ours.watch();
    let is_refused = |status: &Status| matches!(status, Status::Waiting { refusal: Some(_) });
    let refused = within(status.wait_for(is_refused)).await.unwrap().clone();
    let Status::Waiting { refusal: Some(CallError::Application(refusal)) } = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refusal.uri, uri::error::PROCEDURE_ALREADY_EXISTS);
    drop(theirs);
    within(ours.settled()).await.unwrap();
}

#[tokio::test]
async fn another_refusal_ends_what_was_asked_for_and_nothing_else() {
    let site = Site::start().await;
    let link = open(&site);
    let mut reserved = link.register("wamp.mine", RegisterOptions::default()).unwrap();
    let reason = within(reserved.settled()).await.unwrap_err();
    assert!(matches!(reason, EndReason::Refused(CallError::Application(_))), "{reason:?}");
    assert!(within(reserved.next()).await.is_none());
    assert!(matches!(link.state(), LinkState::Connected(_)));
}

#[tokio::test]
async fn what_is_given_up_is_gone_from_the_router_and_does_not_come_back() {
    let site = Site::start().await;
    let link = open(&site);
    let registration = link.register("test.p", RegisterOptions::default()).unwrap();
    within(registration.settled()).await.unwrap();
    within(registration.unregister()).await.unwrap();
    let other = site.client().await;
    let theirs = within(other.register("test.p", RegisterOptions::default())).await.unwrap();
    within(theirs.unregister()).await.unwrap();

    let dropped = link.register("test.p", RegisterOptions::default()).unwrap();
    within(dropped.settled()).await.unwrap();
    drop(dropped);
    let waiting = open(&site);
    let next = waiting.register("test.p", RegisterOptions::default()).unwrap();
    within(next.settled()).await.unwrap();
}

#[tokio::test]
async fn a_link_ends_when_it_is_closed_and_when_its_last_handle_is_dropped() {
    let site = Site::start().await;
    let watcher = site.attach();
    let mut left = watcher.subscribe(uri::ON_LEAVE, SubscribeOptions::default()).await.unwrap();

    let link = open(&site);
    let mut registration = link.register("test.p", RegisterOptions::default()).unwrap();
    let session = within(registration.settled()).await.unwrap();
    within(link.close()).await;
    assert!(within(registration.next()).await.is_none());
    assert!(matches!(registration.status(), Status::Ended(EndReason::Session(_))));
    let error = link.call("test.p", Payload::empty(), CallOptions::default()).await.unwrap_err();
    assert!(matches!(error, CallError::Closed(_)), "{error:?}");
    assert_eq!(within(left.next()).await.unwrap().payload.first::<u64>().unwrap(), session.0);

    let link = open(&site);
    let registration = link.register("test.p", RegisterOptions::default()).unwrap();
    let session = within(registration.settled()).await.unwrap();
    drop(link);
    assert!(matches!(registration.status(), Status::Active(_)), "a registration keeps the link");
    drop(registration);
    assert_eq!(within(left.next()).await.unwrap().payload.first::<u64>().unwrap(), session.0);
}

#[tokio::test]
async fn a_link_to_no_url_is_refused_at_once() {
    let site = Site::start().await;
    let mut config = config(&site);
    config.client.url = "http://x/".to_owned();
    assert!(Link::open(config).is_err());
}
