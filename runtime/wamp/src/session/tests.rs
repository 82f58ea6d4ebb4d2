//! What a session owes those who wait, with numbers for those who wait.

use super::*;
use crate::message::{EventDetails, InvocationDetails};

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
    let (request, _) = session.call("a.b", Payload::empty(), true, 7);
    let effect = session.receive(result(request, true)).unwrap();
    assert!(matches!(effect, Effect::Progress(_, 7, _)));
    assert!(matches!(session.receive(result(request, false)).unwrap(), Effect::Answered(7, Ok(_))));
    assert!(matches!(session.receive(result(request, false)).unwrap(), Effect::None));
    assert!(session.cancel(request).is_none(), "there is nothing left to cancel");
}

#[test]
fn a_cancelled_call_hears_nothing() {
    let mut session = Test::new();
    let (request, _) = session.call("a.b", Payload::empty(), false, 7);
    assert!(matches!(session.cancel(request), Some(Message::Cancel { .. })));
    assert!(matches!(session.receive(result(request, false)).unwrap(), Effect::None));
}

#[test]
fn a_registration_that_was_given_up_too_early_is_undone_when_it_comes() {
    let mut session = Test::new();
    let (key, _) = session.register("a.b", MatchPolicy::Exact, 1, 2);
    assert!(session.unregister(key, None).is_none());
    let registered = Message::Registered { request: key, registration: 50 };
    let effect = session.receive(registered).unwrap();
    assert!(matches!(effect, Effect::Send(Message::Unregister { registration: 50, .. })));
}

#[test]
fn an_invocation_that_crosses_the_unregister_is_refused() {
    let mut session = Test::new();
    let (key, _) = session.register("a.b", MatchPolicy::Exact, 1, 2);
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
    let (first, _) = session.subscribe("t", MatchPolicy::Exact, 1, 10);
    let (second, _) = session.subscribe("t", MatchPolicy::Exact, 2, 20);
    session.receive(Message::Subscribed { request: first, subscription: 50 }).unwrap();
    // The second is on its way, and would lose the subscription that it gets.
    assert!(session.unsubscribe(first, None).is_none());
    session.receive(Message::Subscribed { request: second, subscription: 50 }).unwrap();
    let Effect::Event { subscribers, topic, .. } = session.receive(event(50)).unwrap() else {
        panic!()
    };
    assert_eq!((subscribers, topic.as_str()), (vec![20], "t"));
    assert!(matches!(
        session.unsubscribe(second, None),
        Some(Message::Unsubscribe { subscription: 50, .. })
    ));
    assert!(matches!(session.receive(event(50)).unwrap(), Effect::None));
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
    session.call("a.b", Payload::empty(), false, 1);
    let (key, _) = session.register("a.b", MatchPolicy::Exact, 2, 3);
    session.receive(Message::Registered { request: key, registration: 50 }).unwrap();
    session.subscribe("t", MatchPolicy::Exact, 4, 5);
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
