//! Messages as the specification has them and as they were captured on the
//! wire, any message there and back, odd options, and hostile bytes.

mod any;
mod golden;

use any::any_message;
use data_encoding::HEXLOWER;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Payload;
use crate::id::SessionId;
use crate::message::{CallDetails, CancelDetails, PublishDetails, RequestKind, SubscribeDetails};
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

#[test]
fn the_examples_of_the_specification_are_read_and_written() {
    for [text, msgpack, cbor] in golden::EXAMPLES {
        let hex = |hex: &str| Bytes::from(HEXLOWER.decode(hex.as_bytes()).unwrap());
        let frames = [
            (Form::Msgpack, hex(msgpack)),
            (Form::Cbor, hex(cbor)),
            (Form::Json, Bytes::from_static(text.as_bytes())),
        ];
        let in_json = |(form, frame): &(Form, Bytes)| {
            encode(Form::Json, &decode(*form, frame).unwrap()).unwrap()
        };
        // What is told of roles, and of who published, is more when we write it.
        let is_fuller = text.contains("roles") || text.contains("publisher");
        for (form, frame) in &frames {
            let message = decode(*form, frame).unwrap();
            assert_eq!(encode(Form::Json, &message).unwrap(), in_json(&frames[0]), "{text}");
            if !is_fuller {
                assert_eq!(&encode(*form, &message).unwrap(), frame, "{form:?} {text}");
            }
        }
    }
}

#[test]
fn no_arguments_before_keyword_arguments_are_passed_on_as_the_same() {
    // The first byte chooses the form; what is of another one is refused.
    for form in 0..3 {
        super::trial::run(&[&[form][..], b"[48,1,{},\"a\",null,{\"b\":1}]"].concat());
        super::trial::run(&[&[form][..], b"\x86\x18\x30\x01\xa0\x61a\xf6\xa1\x61b\x01"].concat());
        super::trial::run(&[&[form][..], b"\x96\x30\x01\x80\xa1a\xc0\x81\xa1b\x01"].concat());
    }
}

#[test]
fn unknown_options_are_ignored_and_null_is_the_default() {
    let subscribe = decoded(&json!([32, 1, {"match": null, "get_retained": null, "x": [1]}, "a"]));
    let Message::Subscribe { options, .. } = subscribe else { panic!() };
    assert_eq!(options, SubscribeDetails::default());
    let publish = json!([16, 1, {"exclude_me": null, "exclude": null, "retain": true}, "a"]);
    let Message::Publish { options, .. } = decoded(&publish) else { panic!() };
    assert_eq!(options, PublishDetails { retain: true, ..PublishDetails::default() });
    let call = decoded(&json!([48, 1, null, "a", null, {"k": null}]));
    let Message::Call { options, payload, .. } = call else { panic!() };
    assert_eq!(options, CallDetails::default());
    assert_eq!(payload.args::<Value>().unwrap(), json!([]));
    assert_eq!(payload.kwargs::<Value>().unwrap(), json!({"k": null}));
    let hello = json!([1, "r", {"roles": {"caller": {"features": null}, "callee": null},
        "authid": null, "authmethods": null, "authextra": {"pubkey": null, "x": 1}}]);
    let Message::Hello { details, .. } = decoded(&hello) else { panic!() };
    assert!(details.roles.caller.is_some() && details.roles.callee.is_none());
}

#[test]
fn an_odd_option_is_the_fault_of_its_request_alone() {
    for request in [
        json!([48, 7, {"receive_progress": 5}, "a"]),
        json!([48, 7, {"timeout": -1}, "a"]),
        json!([48, 7, {"timeout": 0.5}, "a"]),
        json!([32, 7, {"match": "regex"}, "a"]),
        json!([64, 7, {"invoke": "all", "match": null}, "a"]),
        json!([16, 7, {"eligible": 5, "acknowledge": true}, "a"]),
        json!([68, 7, 1, {"procedure": 5}]),
    ] {
        for (form, frame) in frames(&request) {
            let Err(DecodeError::BadRequest { answer, .. }) = decode(form, &frame) else {
                panic!("{form:?}: {request}");
            };
            let Some(Message::Error { kind, request: 7, error, .. }) = answer.as_deref() else {
                panic!("{answer:?}");
            };
            assert_eq!(Some(kind.code()), request[0].as_u64());
            assert_eq!(error, crate::uri::error::INVALID_ARGUMENT);
        }
    }
    for (form, frame) in frames(&json!([16, 7, {"eligible": 5}, "a"])) {
        let unanswered = decode(form, &frame);
        assert!(matches!(unanswered, Err(DecodeError::BadRequest { answer: None, .. })));
    }
    let cancel = decoded(&json!([49, 7, {"mode": "gently"}]));
    assert_eq!(cancel, Message::Cancel { request: 7, options: CancelDetails::default() });
}

#[test]
fn ids_may_be_written_as_floats() {
    let message = decoded(&json!([34.0, 1.0, 9_007_199_254_740_992.0]));
    assert_eq!(message, Message::Unsubscribe { request: 1, subscription: 1 << 53 });
    for id in [json!(-1.0), json!(1.5), json!(9_007_199_254_740_994.0), json!(1e300)] {
        for (form, frame) in frames(&json!([34, 1, id])) {
            assert!(decode(form, &frame).is_err(), "{id}");
        }
    }
}

#[test]
fn arguments_keep_no_frame_in_memory_that_is_much_longer_than_they_are() {
    for (padding, is_slice) in [(10, true), (100_000, false)] {
        let request = json!([48, 7, {"x_unknown": "x".repeat(padding)}, "a.b", ["argument"]]);
        for (form, frame) in frames(&request) {
            let Ok(Message::Call { payload, .. }) = decode(form, &frame) else { panic!() };
            let args = payload.args.unwrap().bytes;
            assert_eq!(frame.as_ptr_range().contains(&args.as_ptr()), is_slice, "{form:?}");
        }
    }
}

#[test]
fn what_is_wrong_is_told_in_few_words() {
    let long = "ä".repeat(100_000);
    for request in [json!([1, "realm", long]), json!([32, 7, {"match": long}, "a.b"])] {
        for (form, frame) in frames(&request) {
            let (Err(DecodeError::Malformed(text))
            | Err(DecodeError::BadRequest { why: text, .. })) = decode(form, &frame)
            else {
                panic!("{form:?}");
            };
            assert!(text.len() <= 300, "{}", text.len());
        }
    }
}

proptest! {
    #[test]
    fn every_message_reads_back_as_it_was_written(message in any_message()) {
        let packed = encode(Form::Msgpack, &message).unwrap();
        prop_assert_eq!(&decode(Form::Msgpack, &packed).unwrap(), &message);
        for form in [Form::Cbor, Form::Json] {
            // There and back the arguments change their form, and nothing else.
            let frame = encode(form, &message).unwrap();
            let back = decode(form, &frame).unwrap();
            prop_assert_eq!(&encode(form, &back).unwrap(), &frame);
            prop_assert_eq!(&encode(Form::Msgpack, &back).unwrap(), &packed);
        }
    }

    #[test]
    fn a_damaged_message_is_an_error_at_most(
        message in any_message(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        for form in Form::ALL {
            let mut frame = encode(form, &message).unwrap().to_vec();
            let at = at.index(frame.len());
            frame[at] = byte;
            for frame in [Bytes::copy_from_slice(&frame[..=cut.index(frame.len())]), frame.into()] {
                let Ok(message) = decode(form, &frame) else { continue };
                // Whatever is let through can be passed on.
                for to in Form::ALL {
                    if let Ok(passed) = encode(to, &message) {
                        prop_assert!(decode(to, &passed).is_ok());
                    } else {
                        // JSON is not looked into for texts that are none.
                        prop_assert_eq!(form, Form::Json);
                    }
                }
            }
        }
    }

    #[test]
    fn random_bytes_are_an_error_at_most(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let frame = Bytes::from(bytes);
        for form in Form::ALL {
            let _ = decode(form, &frame);
            let mut rest = frame.clone();
            while !rest.is_empty() {
                let before = rest.len();
                let Ok(message) = batch::take(form, &mut rest) else { break };
                let _ = decode(form, &message);
                prop_assert!(rest.len() < before);
            }
        }
    }
}
