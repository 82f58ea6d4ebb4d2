//! Calls: shared and taken registrations, timeouts, and who learns of whom.

use super::*;
use crate::message::{InvocationPolicy, Revocation};
use crate::router::config::{Disclose, Permission};
use crate::router::permissions::Permissions;

fn register_as(request: u64, invoke: InvocationPolicy, force_reregister: bool) -> Message {
    let options = RegisterDetails { invoke, force_reregister, ..RegisterDetails::default() };
    Message::Register { request, options, procedure: "a.b".into() }
}

fn call_within(request: u64, milliseconds: u64) -> Message {
    let options = CallDetails { timeout: Some(milliseconds), ..CallDetails::default() };
    Message::Call { request, options, procedure: "a.b".into(), payload: Payload::empty() }
}

/// Who gets the next calls.
fn callees(bench: &mut Bench, caller: SessionId, calls: u64) -> Vec<SessionId> {
    for request in 0..calls {
        bench.send(caller, call(1000 + request, "a.b")).unwrap();
    }
    let news = bench.news();
    let invoked = news.iter().filter(|(_, m)| matches!(m, Message::Invocation { .. }));
    let invoked = invoked.map(|(to, _)| *to).collect();
    for (to, message) in news {
        if let Message::Invocation { request, .. } = message {
            bench.send(to, answer(request)).unwrap();
        }
    }
    bench.news();
    invoked
}

#[test]
fn callees_share_a_procedure_and_the_others_go_on_when_one_leaves() {
    let mut bench = Bench::new();
    let (first, second, caller) = (bench.join(true), bench.join(true), bench.join(true));
    bench.send(first, register_as(1, InvocationPolicy::RoundRobin, false)).unwrap();
    bench.send(second, register_as(1, InvocationPolicy::RoundRobin, false)).unwrap();
    let ids: Vec<_> = bench
        .news()
        .into_iter()
        .map(|(_, message)| match message {
            Message::Registered { registration, .. } => registration,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids[0], ids[1], "one registration for both");
    assert_eq!(callees(&mut bench, caller, 3), [first, second, first]);
    bench.send(caller, call(1, "a.b")).unwrap();
    bench.leave(second);
    assert_eq!(errors(&bench.news()), [(caller, RequestKind::Call, error::CANCELED)]);
    assert_eq!(callees(&mut bench, caller, 2), [first, first]);
    bench.send(first, Message::Unregister { request: 2, registration: ids[0] }).unwrap();
    bench.news();
    bench.send(caller, call(2, "a.b")).unwrap();
    assert_eq!(errors(&bench.news()), [(caller, RequestKind::Call, error::NO_SUCH_PROCEDURE)]);
}

#[test]
fn a_procedure_is_shared_by_one_policy_and_by_each_session_once() {
    use InvocationPolicy::{First, Last, Single};
    for (there, wanted, by_the_same, expected) in [
        (Single, Single, false, error::PROCEDURE_ALREADY_EXISTS),
        (Single, First, false, error::PROCEDURE_ALREADY_EXISTS),
        (First, Single, false, error::INVOCATION_POLICY_CONFLICT),
        (First, Last, false, error::INVOCATION_POLICY_CONFLICT),
        (First, First, true, error::PROCEDURE_ALREADY_EXISTS),
    ] {
        let mut bench = Bench::new();
        let (callee, other) = (bench.join(true), bench.join(true));
        bench.send(callee, register_as(1, there, false)).unwrap();
        bench.news();
        let from = if by_the_same { callee } else { other };
        bench.send(from, register_as(2, wanted, false)).unwrap();
        assert_eq!(
            errors(&bench.news()),
            [(from, RequestKind::Register, expected)],
            "{there} {wanted}"
        );
    }
}

#[test]
fn who_registers_by_force_gets_the_calls_and_the_old_callee_learns_it() {
    for understands in [true, false] {
        let mut bench = Bench::new();
        let (old, new, caller) = (bench.join(understands), bench.join(true), bench.join(true));
        let lost = bench.register(old, "a.b", MatchPolicy::Exact);
        bench.send(caller, call(1, "a.b")).unwrap();
        bench.news();

        bench.send(new, register_as(1, InvocationPolicy::Single, true)).unwrap();
        let news = bench.news();
        let told = news.iter().find_map(|(to, message)| match message {
            Message::Unregistered { request: 0, revocation } if *to == old => revocation.clone(),
            _ => None,
        });
        let expected = Revocation {
            registration: Some(lost),
            subscription: None,
            reason: Some(error::UNREGISTERED.to_owned()),
        };
        assert_eq!(told, understands.then(|| Box::new(expected)));
        assert!(matches!(news.last(), Some((to, Message::Registered { .. })) if *to == new));

        // What the old callee has taken is still its to answer.
        bench.send(old, answer(1)).unwrap();
        assert!(matches!(bench.news()[..], [(to, Message::Result { .. })] if to == caller));
        assert_eq!(callees(&mut bench, caller, 1), [new]);
        bench.send(old, Message::Unregister { request: 2, registration: lost }).unwrap();
        let refused = (old, RequestKind::Unregister, error::NO_SUCH_REGISTRATION);
        assert_eq!(errors(&bench.news()), [refused]);
    }
}

#[test]
fn a_call_ends_when_its_time_is_over_and_not_before() {
    for can_be_interrupted in [true, false] {
        let mut bench = Bench::new();
        let (callee, caller) = (bench.join(can_be_interrupted), bench.join(true));
        bench.register(callee, "a.b", MatchPolicy::Exact);
        bench.wait(Duration::from_secs(5));
        bench.send(caller, call_within(1, 100)).unwrap();
        bench.send(caller, call_within(2, 50)).unwrap();
        bench.send(caller, call_within(3, 0)).unwrap();
        bench.send(caller, call_within(4, u64::MAX)).unwrap();
        bench.news();
        assert_eq!(bench.realm.next_deadline(), Some(Duration::from_millis(5050)));

        bench.wait(Duration::from_millis(99));
        let news = bench.news();
        assert_eq!(errors(&news), [(caller, RequestKind::Call, error::TIMEOUT)]);
        let interrupted = news.iter().any(|(to, message)| {
            let mode = Some(CancelMode::KillNoWait);
            *to == callee
                && *message == Message::Interrupt { request: 2, options: CancelDetails { mode } }
        });
        assert_eq!(interrupted, can_be_interrupted);

        // An answer in time; progress would not have prolonged it.
        bench.send(callee, answer(1)).unwrap();
        bench.news();
        bench.wait(Duration::from_secs(60));
        assert_eq!(bench.news(), []);
        bench.send(callee, answer(2)).unwrap();
        assert_eq!(bench.news(), [], "it is too late");
    }
}

#[test]
fn a_call_that_is_being_cancelled_ends_in_time_as_well() {
    let mut bench = Bench::new();
    let (callee, caller) = (bench.join(true), bench.join(true));
    bench.register(callee, "a.b", MatchPolicy::Exact);
    bench.send(caller, call_within(1, 100)).unwrap();
    bench.send(caller, cancel(1, CancelMode::Kill)).unwrap();
    bench.news();
    bench.wait(Duration::from_millis(100));
    assert_eq!(errors(&bench.news()), [(caller, RequestKind::Call, error::TIMEOUT)]);
    assert_eq!(bench.realm.next_deadline(), None);
}

#[test]
fn the_role_decides_who_learns_of_whom() {
    for (disclosure, asks, is_told) in [
        (Disclosure::Never, true, false),
        (Disclosure::OnRequest, false, false),
        (Disclosure::OnRequest, true, true),
        (Disclosure::Always, false, true),
    ] {
        let mut admission = Admission::trusted();
        let disclose = Disclose { caller: disclosure, publisher: disclosure };
        let rule = Permission { disclose, ..Permission::everything() };
        admission.permissions = Arc::new(Permissions::new("trusted", &[rule]));
        let authid = admission.identity.authid.clone();
        let mut bench = Bench::new();
        let (other, session) = (bench.join(true), bench.join_as(admission, true));
        bench.register(other, "a.b", MatchPolicy::Exact);
        bench.subscribe(other, "a.b", MatchPolicy::Exact);

        let options = CallDetails { disclose_me: asks, ..CallDetails::default() };
        let (procedure, payload) = ("a.b".to_owned(), Payload::empty());
        bench.send(session, Message::Call { request: 1, options, procedure, payload }).unwrap();
        let options = PublishDetails { disclose_me: asks, ..PublishDetails::default() };
        bench.send(session, publish("a.b", options)).unwrap();
        let news = bench.news();
        let [(_, Message::Invocation { details: invocation, .. }), (_, event)] = &news[..] else {
            panic!("{news:?}")
        };
        let Message::Event { details: event, .. } = event else { panic!("{event:?}") };
        let principal = Principal { session, authid, authrole: "trusted".to_owned() };
        let expected = is_told.then(|| Arc::new(principal));
        assert_eq!((&invocation.caller, &event.publisher), (&expected, &expected));
    }
}

#[test]
fn a_call_is_answered_once_however_many_of_its_partial_results_cannot_be_written() {
    let mut bench = Bench::new();
    let (callee, caller) = (bench.join(true), bench.join(true));
    bench.register(callee, "a.b", MatchPolicy::Exact);
    let partial = |request| Message::Result {
        request,
        details: ProgressDetails { progress: true },
        payload: Payload::empty(),
    };
    let fail = |bench: &mut Bench, message| {
        let mut outputs = Vec::new();
        bench.realm.undeliverable(caller, message, "no form", &mut outputs);
        bench.keep(outputs);
        bench.news()
    };
    let refused = [(caller, RequestKind::Call, error::PAYLOAD_SIZE_EXCEEDED)];

    bench.send(caller, call(1, "a.b")).unwrap();
    bench.news();
    let news = fail(&mut bench, partial(1));
    let told: Vec<_> = news.iter().filter(|(to, _)| *to == caller).cloned().collect();
    assert_eq!(errors(&told), refused);
    assert_eq!(fail(&mut bench, partial(1)), []);

    bench.send(caller, call(2, "a.b")).unwrap();
    bench.send(callee, answer(2)).unwrap();
    bench.news();
    assert_eq!(fail(&mut bench, partial(2)), [], "the answer is behind it");
}

#[test]
fn an_error_that_cannot_be_written_becomes_one_that_can() {
    let mut bench = Bench::new();
    let caller = bench.join(true);
    for (own, told) in [
        ("a.b.failed".to_owned(), "a.b.failed"),
        ("x".repeat(1 << 20), error::PAYLOAD_SIZE_EXCEEDED),
    ] {
        let message = Message::error(RequestKind::Call, 1, &own, "text");
        let mut outputs = Vec::new();
        bench.realm.undeliverable(caller, message, "too long", &mut outputs);
        bench.keep(outputs);
        let news = bench.news();
        let [(to, Message::Error { error, .. })] = &news[..] else { panic!("{news:?}") };
        assert_eq!((*to, error.as_str()), (caller, told));
    }
}
