//! Messages as they were captured on the wire, any message there and back, and hostile bytes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Payload;
use crate::id::{MAX_ID, SessionId};
use crate::message::{
    CallDetails, CancelDetails, CancelMode, EventDetails, InvocationDetails, ProgressDetails,
    PublishDetails, ReasonDetails, RegisterDetails, RequestKind, SubscribeDetails,
};
use crate::uri::MatchPolicy;

fn frames(message: &Value) -> [(Form, Bytes); 3] {
    let text = Bytes::from(serde_json::to_vec(message).unwrap());
    let convert = |form| (form, transcode::convert(Form::Json, form, &text).unwrap());
    Form::ALL.map(convert)
}

/// Decodes in every form, and makes sure that all say the same.
fn decoded(message: &Value) -> Message {
    let [msgpack, cbor, json] = frames(message).map(|(form, frame)| {
        let message = decode(form, &frame).unwrap();
        encode(Form::Json, &message).unwrap();
        message
    });
    let as_json = |message: &Message| encode(Form::Json, message).unwrap();
    assert_eq!(as_json(&msgpack), as_json(&json), "{message}");
    assert_eq!(as_json(&cbor), as_json(&json), "{message}");
    msgpack
}

#[test]
fn what_real_peers_send_is_understood() {
    let hello = json!([1, "test_realm", {"roles": {
        "subscriber": {"features": {"publisher_identification": true, "pattern_based_subscription": true}},
        "publisher": {"features": {"x_acknowledged_event_delivery": true, "publisher_exclusion": true}},
        "caller": {"features": {"call_canceling": true, "payload_encryption_cryptobox": true}},
        "callee": {"features": {"call_canceling": true, "progressive_call_results": true}}}}]);
    let Message::Hello { realm, details } = decoded(&hello) else { panic!() };
    assert_eq!(realm, "test_realm");
    assert!(details.roles.callee.unwrap().features.call_canceling);

    let bare =
        json!([1, "r", {"roles": {"caller": {}, "callee": {}, "publisher": {}, "subscriber": {}}}]);
    let Message::Hello { details, .. } = decoded(&bare) else { panic!() };
    assert!(!details.roles.is_empty() && !details.roles.callee.unwrap().features.call_canceling);

    let welcome = json!([2, 452_374_221_681_205_u64, {"realm": "test_realm", "authid": "HA6K",
        "authrole": "iocs_agent", "authmethod": "anonymous", "authextra": {"x_cb_pid": 7},
        "roles": {"broker": {"features": {"event_retention": true}}, "dealer": {"features": {}}}}]);
    assert!(matches!(
        decoded(&welcome),
        Message::Welcome { session: SessionId(452_374_221_681_205), .. }
    ));

    let subscribe = json!([32, 4, {"match": "wildcard"}, "observatory..feeds.heartbeat"]);
    let Message::Subscribe { options, .. } = decoded(&subscribe) else { panic!() };
    assert_eq!(options.policy, MatchPolicy::Wildcard);

    let invocation =
        json!([68, 26, 2_959_509_055_311_897_u64, {}, ["wait", "count", {}], {"timeout": 0.5}]);
    let Message::Invocation { payload, .. } = decoded(&invocation) else { panic!() };
    assert_eq!(payload.args::<Value>().unwrap(), json!(["wait", "count", {}]));
    assert_eq!(payload.kwargs::<Value>().unwrap(), json!({"timeout": 0.5}));

    let result = json!([50, 1, {"callee": 178_941_891_311_888_u64, "callee_authid": "EVQT"}, [[0, "No session active.", {}]]]);
    assert!(matches!(decoded(&result), Message::Result { request: 1, .. }));

    let error = json!([8, 48, 8, {}, "wamp.error.no_such_procedure", ["no callee registered"]]);
    assert!(matches!(decoded(&error), Message::Error { kind: RequestKind::Call, request: 8, .. }));

    let abort =
        json!([3, {"message": "no realm \"x\" exists on this router"}, "wamp.error.no_such_realm"]);
    assert!(matches!(decoded(&abort), Message::Abort { .. }));

    let event =
        json!([36, 1, 2, {"topic": "observatory.fake1.feeds.heartbeat"}, [[{"acq": 1}, {}]]]);
    let Message::Event { details, .. } = decoded(&event) else { panic!() };
    assert_eq!(details.topic.as_deref(), Some("observatory.fake1.feeds.heartbeat"));

    let revoked = json!([67, 0, {"registration": 5, "reason": "x"}]);
    assert!(matches!(decoded(&revoked), Message::Unregistered { request: 0, revocation: Some(_) }));
}

#[test]
fn a_call_is_written_as_the_specification_says() {
    let call = |payload| Message::Call {
        request: 7,
        options: CallDetails::default(),
        procedure: "a.b".into(),
        payload,
    };
    let keywords = Payload::keyword(&json!({"k": 1})).unwrap();
    for (payload, expected) in [
        (Payload::empty(), json!([48, 7, {}, "a.b"])),
        (Payload::one("x").unwrap(), json!([48, 7, {}, "a.b", ["x"]])),
        (keywords, json!([48, 7, {}, "a.b", [], {"k": 1}])),
    ] {
        let message = call(payload);
        for form in Form::ALL {
            let frame = encode(form, &message).unwrap();
            assert_eq!(form.read::<Value>(&frame).unwrap(), expected);
        }
    }
}

#[test]
fn arguments_are_slices_of_the_frame() {
    let frame = frames(&json!([50, 1, {}, ["some argument"]]))[0].1.clone();
    let Message::Result { payload, .. } = decode(Form::Msgpack, &frame).unwrap() else { panic!() };
    let args = payload.args.unwrap().bytes;
    assert!(frame.as_ptr_range().contains(&args.as_ptr()));
}

#[test]
fn what_is_no_message_is_refused() {
    for message in [
        json!({}),
        json!([]),
        json!(["48", 1, {}, "a"]),
        json!([4, "unknown type"]),
        json!([48, 1, {}]),
        json!([48, -1, {}, "a"]),
        json!([48, (1_u64 << 53) + 1, {}, "a"]),
        json!([48, 1, [], "a"]),
        json!([48, 1, {}, 5]),
        json!([48, 1, {}, "a", {}]),
        json!([48, 1, {}, "a", [], []]),
        json!([8, 50, 1, {}, "a"]),
        json!([50, 1, {}, [], {}, 6, 7, 8]),
    ] {
        for (form, frame) in frames(&message) {
            assert!(decode(form, &frame).is_err(), "{form:?}: {message}");
        }
    }
    for text in ["", "[", "[48,1,{},\"a\"", "[48,1,{},\"a\"]]", "[48,1,{},\"a\",[nil]]"] {
        assert!(decode(Form::Json, &Bytes::from(text)).is_err(), "{text}");
    }
    let deep = format!("[48,1,{{}},\"a\",{}{}]", "[".repeat(5000), "]".repeat(5000));
    assert!(decode(Form::Json, &Bytes::from(deep)).is_err());
}

fn any_payload() -> impl Strategy<Value = Payload> {
    let words = || prop::collection::vec("[a-zä\"]{0,6}", 0..4);
    prop_oneof![
        Just(Payload::empty()),
        words().prop_map(|args| Payload::positional(&args).unwrap()),
        words().prop_map(|args| {
            let keywords = Payload::keyword(&json!({"words": args, "n": 1.5})).unwrap();
            Payload::positional(&args).unwrap().with_keywords_of(keywords)
        }),
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    let id = || 1..=MAX_ID;
    let mode =
        prop::sample::select(vec![CancelMode::Skip, CancelMode::Kill, CancelMode::KillNoWait]);
    let policy =
        prop::sample::select(vec![MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard]);
    let reason = || prop::option::of("[a-z ]{0,9}").prop_map(|message| ReasonDetails { message });
    prop_oneof![
        "[a-z]{1,9}".prop_map(|realm| Message::Hello { realm, details: Box::default() }),
        id().prop_map(|id| Message::Welcome { session: SessionId(id), details: Box::default() }),
        reason().prop_map(|details| Message::Abort { details, reason: "a.b".into() }),
        reason().prop_map(|details| Message::Goodbye { details, reason: "a.b".into() }),
        (id(), any_payload()).prop_map(|(request, payload)| Message::Error {
            kind: RequestKind::Invocation,
            request,
            error: "a.b".into(),
            payload
        }),
        (id(), any::<(bool, bool)>(), any_payload()).prop_map(
            |(request, (acknowledge, exclude_me), payload)| Message::Publish {
                request,
                options: PublishDetails { acknowledge, exclude_me, ..Default::default() },
                topic: "a.b".into(),
                payload
            }
        ),
        (id(), id()).prop_map(|(request, publication)| Message::Published { request, publication }),
        (id(), policy).prop_map(|(request, policy)| Message::Subscribe {
            request,
            options: SubscribeDetails { policy, ..Default::default() },
            topic: "a..b".into()
        }),
        (id(), id())
            .prop_map(|(request, subscription)| Message::Subscribed { request, subscription }),
        (id(), id())
            .prop_map(|(request, subscription)| Message::Unsubscribe { request, subscription }),
        id().prop_map(|request| Message::Unsubscribed { request, revocation: None }),
        (id(), id(), prop::option::of("[a-z.]{1,9}"), any_payload()).prop_map(
            |(subscription, publication, topic, payload)| {
                Message::Event {
                    subscription,
                    publication,
                    details: EventDetails { topic, ..Default::default() },
                    payload,
                }
            }
        ),
        (id(), any::<bool>(), any_payload()).prop_map(|(request, receive_progress, payload)| {
            Message::Call {
                request,
                options: CallDetails { receive_progress, ..Default::default() },
                procedure: "a.b".into(),
                payload,
            }
        }),
        (id(), prop::option::of(mode.clone())).prop_map(|(request, mode)| Message::Cancel {
            request,
            options: CancelDetails { mode }
        }),
        (id(), any::<bool>(), any_payload()).prop_map(|(request, progress, payload)| {
            Message::Result { request, details: ProgressDetails { progress }, payload }
        }),
        (id(), id())
            .prop_map(|(request, registration)| Message::Registered { request, registration }),
        (id(), id())
            .prop_map(|(request, registration)| Message::Unregister { request, registration }),
        id().prop_map(|request| Message::Register {
            request,
            options: RegisterDetails { policy: MatchPolicy::Prefix, ..Default::default() },
            procedure: "a.".into()
        }),
        id().prop_map(|request| Message::Unregistered { request, revocation: None }),
        (id(), id(), any::<bool>(), any_payload()).prop_map(
            |(request, registration, receive_progress, payload)| {
                let details = InvocationDetails {
                    procedure: Some("a.b".into()),
                    receive_progress,
                    ..Default::default()
                };
                Message::Invocation { request, registration, details, payload }
            }
        ),
        (id(), prop::option::of(mode)).prop_map(|(request, mode)| Message::Interrupt {
            request,
            options: CancelDetails { mode }
        }),
        (id(), any::<bool>(), any_payload()).prop_map(|(request, progress, payload)| {
            Message::Yield { request, options: ProgressDetails { progress }, payload }
        }),
    ]
}

proptest! {
    #[test]
    fn every_message_reads_back_as_it_was_written(message in any_message()) {
        let packed = encode(Form::Msgpack, &message).unwrap();
        prop_assert_eq!(&decode(Form::Msgpack, &packed).unwrap(), &message);
        // Through JSON and back the arguments change their form, and nothing else.
        let text = encode(Form::Json, &message).unwrap();
        let back = decode(Form::Json, &text).unwrap();
        prop_assert_eq!(encode(Form::Msgpack, &back).unwrap(), packed);
    }

    #[test]
    fn a_damaged_message_is_an_error_at_most(
        message in any_message(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        for form in [Form::Msgpack, Form::Json] {
            let mut frame = encode(form, &message).unwrap().to_vec();
            let at = at.index(frame.len());
            frame[at] = byte;
            frame.truncate(cut.index(frame.len()) + 1);
            if let Ok(message) = decode(form, &Bytes::from(frame)) {
                // Whatever is let through can be passed on.
                let packed = encode(Form::Msgpack, &message);
                if let Ok(packed) = packed {
                    prop_assert!(decode(Form::Msgpack, &packed).is_ok());
                }
            }
        }
    }

    #[test]
    fn random_bytes_are_an_error_at_most(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let frame = Bytes::from(bytes);
        let _ = decode(Form::Msgpack, &frame);
        let _ = decode(Form::Json, &frame);
    }
}
