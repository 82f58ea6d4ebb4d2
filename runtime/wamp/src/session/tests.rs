//! What a session owes those who wait, with numbers for those who wait.

use super::*;
use crate::message::{
    EventDetails, InvocationDetails, ProgressDetails, RegisterDetails, Revocation, SubscribeDetails,
};

#[derive(Debug)]
enum Numbers {}

impl Ports for Numbers {
    type Call = u32;
    type Reply = u32;
    type Registration = u32;
    type Subscription = u32;
    type Invocation = u32;
}

type Test = Session<Numbers>;

fn result(request: RequestId, progress: bool) -> Message {
    Message::Result { request, details: ProgressDetails { progress }, payload: Payload::empty() }
}

fn event(subscription: u64) -> Message {
    let details = EventDetails::default();
    Message::Event { subscription, publication: 1, details, payload: Payload::empty() }
}

#[test]
fn a_call_hears_its_results_and_nothing_after_the_answer() {
    let mut session = Test::new();
    let (request, _) = session.call("a.b", Payload::empty(), CallDetails::default(), 7);
    let effect = session.receive(result(request, true)).unwrap();
    assert!(matches!(effect, Effect::Progress(_, 7, _)));
    assert!(matches!(session.receive(result(request, false)).unwrap(), Effect::Answered(7, Ok(_))));
    assert!(matches!(session.receive(result(request, false)).unwrap(), Effect::None));
    assert!(session.cancel(request).is_none(), "there is nothing left to cancel");
}

#[test]
fn a_cancelled_call_hears_nothing() {
    let mut session = Test::new();
    let (request, _) = session.call("a.b", Payload::empty(), CallDetails::default(), 7);
    assert!(matches!(session.cancel(request), Some(Message::Cancel { .. })));
    assert!(matches!(session.receive(result(request, false)).unwrap(), Effect::None));
}

#[test]
fn a_registration_that_was_given_up_too_early_is_undone_when_it_comes() {
    let mut session = Test::new();
    let (key, _) = session.register("a.b", RegisterDetails::default(), 1, 2);
    assert!(session.unregister(key, None).is_none());
    let registered = Message::Registered { request: key, registration: 50 };
    let effect = session.receive(registered).unwrap();
    assert!(matches!(effect, Effect::Send(Message::Unregister { registration: 50, .. })));
}

#[test]
fn an_invocation_that_crosses_the_unregister_is_refused() {
    let mut session = Test::new();
    let (key, _) = session.register("a.b", RegisterDetails::default(), 1, 2);
    session.receive(Message::Registered { request: key, registration: 50 }).unwrap();
    assert!(session.unregister(key, None).is_some());
    let details = InvocationDetails::default();
    let payload = Payload::empty();
    let invocation = Message::Invocation { request: 9, registration: 50, details, payload };
    let effect = session.receive(invocation).unwrap();
    assert!(matches!(
        effect,
        Effect::Send(Message::Error { kind: RequestKind::Invocation, request: 9, .. })
    ));
}

#[test]
fn an_answer_of_the_wrong_kind_answers_nothing() {
    let mut session = Test::new();
    let (key, _) = session.register("a.b", RegisterDetails::default(), 1, 2);
    for message in [
        Message::Published { request: key, publication: 9 },
        Message::Subscribed { request: key, subscription: 50 },
        Message::Unregistered { request: key, revocation: None },
        Message::error(RequestKind::Subscribe, key, "a.b", "no"),
    ] {
        assert!(matches!(session.receive(message).unwrap(), Effect::None));
    }
    let registered = Message::Registered { request: key, registration: 50 };
    let effect = session.receive(registered).unwrap();
    assert!(matches!(effect, Effect::Acknowledged(1, Ok(None))));
}

#[test]
fn an_invocation_is_answered_once() {
    let mut session = Test::new();
    session.accept(9, 3);
    assert!(session.progress(9, Payload::empty()).is_some());
    assert!(session.answer(9, Ok(Payload::empty())).is_some());
    assert!(session.answer(9, Ok(Payload::empty())).is_none());
    assert!(session.progress(9, Payload::empty()).is_none());
}

#[test]
fn subscriptions_of_one_topic_share_the_routers_until_the_last_is_given_up() {
    let mut session = Test::new();
    let (first, _) = session.subscribe("t", SubscribeDetails::default(), 1, 10);
    let (second, _) = session.subscribe("t", SubscribeDetails::default(), 2, 20);
    session.receive(Message::Subscribed { request: first, subscription: 50 }).unwrap();
    // The second is on its way, and would lose the subscription that it gets.
    assert!(session.unsubscribe(first, None).is_none());
    session.receive(Message::Subscribed { request: second, subscription: 50 }).unwrap();
    let Effect::Event(subscribers, published) = session.receive(event(50)).unwrap() else {
        panic!()
    };
    assert_eq!((subscribers, published.topic.as_str()), (vec![20], "t"));
    assert!(matches!(
        session.unsubscribe(second, None),
        Some(Message::Unsubscribe { subscription: 50, .. })
    ));
    assert!(matches!(session.receive(event(50)).unwrap(), Effect::None));
}

#[test]
fn what_was_held_back_for_a_subscription_is_sent_when_that_is_refused() {
    let mut session = Test::new();
    let (first, _) = session.subscribe("t", SubscribeDetails::default(), 1, 10);
    session.receive(Message::Subscribed { request: first, subscription: 50 }).unwrap();
    let (second, _) = session.subscribe("t", SubscribeDetails::default(), 2, 20);
    let (third, _) = session.subscribe("t", SubscribeDetails::default(), 3, 30);
    assert!(session.unsubscribe(first, None).is_none());
    let refused = |request| Message::error(RequestKind::Subscribe, request, "a.b", "no");
    let effect = session.receive(refused(second)).unwrap();
    assert!(matches!(effect, Effect::Acknowledged(2, Err(_))), "the third may still get it");
    let effect = session.receive(refused(third)).unwrap();
    let Effect::Refused(3, _, Message::Unsubscribe { subscription: 50, .. }) = effect else {
        panic!("{effect:?}")
    };
    assert!(matches!(session.receive(event(50)).unwrap(), Effect::None));
}

#[test]
fn a_call_that_nobody_waits_for_is_not_kept_at_the_router() {
    let mut session = Test::new();
    let (request, _) = session.call("a.b", Payload::empty(), CallDetails::default(), 7);
    let Some(Message::Cancel { options, .. }) = session.cancel(request) else { panic!() };
    assert_eq!(options.mode, Some(CancelMode::KillNoWait));
}

#[test]
fn a_goodbye_is_answered_unless_it_is_the_answer() {
    let mut session = Test::new();
    let goodbye = || Message::goodbye(uri::close::NORMAL);
    let Effect::Left { answer: Some(_), .. } = session.receive(goodbye()).unwrap() else {
        panic!()
    };
    let mut session = Test::new();
    assert!(session.leave().is_some());
    assert!(session.leave().is_none());
    let Effect::Left { answer: None, .. } = session.receive(goodbye()).unwrap() else { panic!() };
}

#[test]
fn everybody_who_waits_is_told_of_the_end() {
    let mut session = Test::new();
    session.call("a.b", Payload::empty(), CallDetails::default(), 1);
    let (key, _) = session.register("a.b", RegisterDetails::default(), 2, 3);
    session.receive(Message::Registered { request: key, registration: 50 }).unwrap();
    session.subscribe("t", SubscribeDetails::default(), 4, 5);
    session.accept(9, 6);
    let bereaved = session.end();
    assert_eq!(bereaved.calls, [1]);
    assert_eq!(bereaved.registrations, [3]);
    assert_eq!(bereaved.replies, [4]);
    assert_eq!(bereaved.invocations, [6]);
}

#[test]
fn what_is_no_message_for_a_client_is_an_error() {
    let mut session = Test::new();
    assert!(session.receive(Message::Cancel { request: 1, options: Default::default() }).is_err());
}

fn invocation(request: RequestId, registration: u64) -> Message {
    let details = InvocationDetails::default();
    Message::Invocation { request, registration, details, payload: Payload::empty() }
}

fn revocation(registration: Option<u64>, subscription: Option<u64>) -> Option<Box<Revocation>> {
    let reason = Some("wamp.reason".to_owned());
    Some(Box::new(Revocation { registration, subscription, reason }))
}

/// A session that holds registration 50 and, twice, subscription 60.
fn holder() -> (Test, RequestId, [RequestId; 2]) {
    let mut session = Test::new();
    let (key, _) = session.register("a.b", RegisterDetails::default(), 1, 2);
    session.receive(Message::Registered { request: key, registration: 50 }).unwrap();
    let keys = [3, 4].map(|port| {
        let (key, _) = session.subscribe("t", SubscribeDetails::default(), 1, port);
        session.receive(Message::Subscribed { request: key, subscription: 60 }).unwrap();
        key
    });
    (session, key, keys)
}

#[test]
fn a_revoked_registration_is_over_and_there_is_nothing_left_to_unregister() {
    let (mut session, key, _) = holder();
    let revoked = Message::Unregistered { request: 0, revocation: revocation(Some(50), None) };
    let effect = session.receive(revoked.clone()).unwrap();
    let Effect::RegistrationRevoked(2, Some(reason)) = effect else { panic!("{effect:?}") };
    assert_eq!(reason, "wamp.reason");
    assert!(session.unregister(key, None).is_none());
    assert!(matches!(session.receive(revoked).unwrap(), Effect::None), "a second time");
    assert!(matches!(session.receive(invocation(9, 50)).unwrap(), Effect::Send(_)));
}

#[test]
fn a_revoked_subscription_is_over_for_all_who_share_it() {
    let (mut session, _, keys) = holder();
    let revoked = Message::Unsubscribed { request: 0, revocation: revocation(None, Some(60)) };
    let effect = session.receive(revoked).unwrap();
    let Effect::SubscriptionRevoked(mut ports, _) = effect else { panic!("{effect:?}") };
    ports.sort_unstable();
    assert_eq!(ports, [3, 4]);
    assert!(keys.into_iter().all(|key| session.unsubscribe(key, None).is_none()));
    assert!(matches!(session.receive(event(60)).unwrap(), Effect::None));
}

#[test]
fn a_revocation_of_nothing_is_ignored() {
    let (mut session, ..) = holder();
    for revocation in [None, revocation(None, None), revocation(Some(1), Some(1))] {
        for message in [
            Message::Unregistered { request: 0, revocation: revocation.clone() },
            Message::Unsubscribed { request: 0, revocation },
        ] {
            assert!(matches!(session.receive(message).unwrap(), Effect::None));
        }
    }
}

#[test]
fn ids_of_invocations_are_whatever_the_router_likes_but_none_is_used_twice_at_a_time() {
    let (mut session, ..) = holder();
    for request in [21, 7, u64::MAX, 0] {
        let effect = session.receive(invocation(request, 50)).unwrap();
        assert!(matches!(effect, Effect::Invoked(2, Invoked { request: id, .. }) if id == request));
        session.accept(request, 1);
        assert!(session.receive(invocation(request, 50)).is_err());
        session.answer(request, Ok(Payload::empty())).unwrap();
    }
    assert!(matches!(session.receive(invocation(7, 50)).unwrap(), Effect::Invoked(..)));
}

#[test]
fn answers_that_come_twice_or_to_nothing_are_ignored() {
    let (mut session, key, [subscribed, _]) = holder();
    for message in [
        Message::Registered { request: key, registration: 51 },
        Message::Registered { request: 99, registration: 51 },
        Message::Subscribed { request: subscribed, subscription: 61 },
        Message::Published { request: 99, publication: 1 },
        Message::Unregistered { request: 99, revocation: None },
        Message::error(RequestKind::Register, key, "a.b", ""),
        Message::error(RequestKind::Call, 99, "a.b", ""),
        Message::Interrupt { request: 99, options: Default::default() },
        result(99, true),
        result(99, false),
    ] {
        let name = message.name();
        assert!(matches!(session.receive(message).unwrap(), Effect::None), "{name}");
    }
    assert!(
        matches!(session.receive(event(60)).unwrap(), Effect::Event(ports, _) if ports.len() == 2)
    );
}

#[test]
fn one_id_is_not_given_to_two_registrations() {
    let (mut session, ..) = holder();
    let (second, _) = session.register("c.d", RegisterDetails::default(), 5, 6);
    assert!(session.receive(Message::Registered { request: second, registration: 50 }).is_err());
    assert!(session.end().replies.contains(&5), "who waits is told of the end");
}
