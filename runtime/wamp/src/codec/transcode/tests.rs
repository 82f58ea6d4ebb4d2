//! Values through chains of forms, and what forms cannot say.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::codec::binary;

fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zä\\\\\"\n]{0,40}".prop_map(Value::from),
    ];
    scalar.prop_recursive(5, 64, 30, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..30).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,4}", inner, 0..30)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A value that CBOR can say, in one of the ways in which it can say it.
fn any_cbor() -> impl Strategy<Value = Vec<u8>> {
    let head = |major, argument: u64| {
        let mut out = Vec::new();
        cbor::write_head(&mut out, major, argument);
        out
    };
    let string = move |major, bytes: Vec<u8>| [head(major, bytes.len() as u64), bytes].concat();
    let chunked =
        move |first: u8, chunks: Vec<Vec<u8>>| [vec![first], chunks.concat(), vec![0xff]].concat();
    let texts = move || "[a-zä]{0,30}".prop_map(move |text| string(Major::Text, text.into_bytes()));
    let binaries = move || {
        prop::collection::vec(any::<u8>(), 0..30)
            .prop_map(move |bytes| string(Major::Binary, bytes))
    };
    let scalar = prop_oneof![
        any::<u64>().prop_map(move |value| head(Major::Unsigned, value)),
        any::<u64>().prop_map(move |value| head(Major::Negative, value)),
        any::<[u8; 2]>().prop_map(|bits| [&[0xf9][..], &bits].concat()),
        any::<[u8; 4]>().prop_map(|bits| [&[0xfa][..], &bits].concat()),
        any::<[u8; 8]>().prop_map(|bits| [&[0xfb][..], &bits].concat()),
        (0xe0..=0xf7_u8).prop_map(|simple| vec![simple]),
        (32..=255_u8).prop_map(|simple| vec![0xf8, simple]),
        (2..=3_u8, prop::collection::vec(any::<u8>(), 0..20)).prop_map(move |(tag, digits)| [
            vec![0xc0 | tag],
            string(Major::Binary, digits)
        ]
        .concat()),
        (4..1000_u64, texts()).prop_map(move |(tag, text)| [head(Major::Tag, tag), text].concat()),
        texts(),
        binaries(),
        prop::collection::vec(texts(), 0..3).prop_map(move |chunks| chunked(0x7f, chunks)),
        prop::collection::vec(binaries(), 0..3).prop_map(move |chunks| chunked(0x5f, chunks)),
    ];
    let keys = scalar.clone();
    scalar.prop_recursive(5, 64, 30, move |inner| {
        let items = || prop::collection::vec(inner.clone(), 0..30);
        let entries = || prop::collection::vec((keys.clone(), inner.clone()), 0..30);
        let flat = |entries: Vec<(Vec<u8>, Vec<u8>)>| {
            entries.into_iter().flat_map(|(key, value)| [key, value]).collect::<Vec<_>>()
        };
        prop_oneof![
            items().prop_map(move |items| {
                [head(Major::Sequence, items.len() as u64), items.concat()].concat()
            }),
            items().prop_map(move |items| chunked(0x9f, items)),
            entries().prop_map(move |entries| {
                [head(Major::Map, entries.len() as u64), flat(entries).concat()].concat()
            }),
            entries().prop_map(move |entries| chunked(0xbf, flat(entries))),
        ]
    })
}

/// The end of the first value, by the walk that checks frames.
fn skip(form: Form, bytes: &[u8]) -> Result<usize, String> {
    match form {
        Form::Msgpack => binary::skip::<Msgpack>(bytes, 0),
        Form::Cbor => binary::skip::<Cbor>(bytes, 0),
        Form::Json => serde_json::from_slice::<Value>(bytes)
            .map(|_| bytes.len())
            .map_err(|error| error.to_string()),
    }
}

fn any_form() -> impl Strategy<Value = Form> {
    prop::sample::select(Form::ALL.to_vec())
}

proptest! {
    #[test]
    fn a_value_survives_any_chain_of_forms(
        value in any_json(),
        chain in prop::collection::vec(any_form(), 1..6),
    ) {
        let mut form = Form::Json;
        let mut bytes = Bytes::from(serde_json::to_vec(&value).unwrap());
        for next in chain {
            bytes = convert(form, next, &bytes).unwrap();
            form = next;
            prop_assert_eq!(skip(form, &bytes), Ok(bytes.len()));
            prop_assert_eq!(form.read::<Value>(&bytes).unwrap(), value.clone());
        }
    }

    #[test]
    fn whatever_is_said_in_cbor_can_be_said_in_every_form(value in any_cbor()) {
        prop_assert_eq!(skip(Form::Cbor, &value), Ok(value.len()));
        let packed = convert(Form::Cbor, Form::Msgpack, &value).unwrap();
        prop_assert_eq!(skip(Form::Msgpack, &packed), Ok(packed.len()));
        // What msgpack can say, CBOR can: from here on nothing changes any more.
        let there = convert(Form::Msgpack, Form::Cbor, &packed).unwrap();
        prop_assert_eq!(convert(Form::Cbor, Form::Msgpack, &there).unwrap(), packed.clone());
        let text = convert(Form::Cbor, Form::Json, &value).unwrap();
        prop_assert_eq!(&convert(Form::Msgpack, Form::Json, &packed).unwrap(), &text);
        prop_assert!(skip(Form::Json, &text).is_ok());
    }

    #[test]
    fn hostile_bytes_are_an_error_at_most(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        from in any_form(),
        to in any_form(),
    ) {
        // What the walk lets through can be converted, and is well-formed then.
        let end = skip(from, &bytes);
        match convert(from, to, &bytes) {
            Ok(out) if from != to => prop_assert_eq!(skip(to, &out), Ok(out.len())),
            Ok(_) => {}
            Err(error) => prop_assert!(end.is_err() || from == Form::Json, "{}", error),
        }
    }
}

#[test]
fn binary_travels_as_the_specification_says() {
    let packed = [0xc4, 0x03, 0x10, 0x20, 0xff];
    let text = convert(Form::Msgpack, Form::Json, &packed).unwrap();
    assert_eq!(&text[..], br#""\u0000ECD/""#);
    assert_eq!(&convert(Form::Json, Form::Msgpack, &text).unwrap()[..], packed);
    let cbor = convert(Form::Json, Form::Cbor, &text).unwrap();
    assert_eq!(&cbor[..], [0x43, 0x10, 0x20, 0xff]);
    assert_eq!(convert(Form::Cbor, Form::Json, &cbor).unwrap(), text);
}

#[test]
fn what_json_cannot_write_becomes_what_comes_nearest() {
    // {"n": NaN, "x": ext(5, 0xff)}
    let mut packed = vec![0x82, 0xa1, b'n', 0xcb];
    packed.extend(f64::NAN.to_be_bytes());
    packed.extend([0xa1, b'x', 0xd4, 0x05, 0xff]);
    let text = convert(Form::Msgpack, Form::Json, &packed).unwrap();
    let value: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(value, json!({"n": null, "x": "\u{0}/w=="}));
}

#[test]
fn keys_become_texts() {
    // {1: 0, -1: 1, true: 2, nil: 3, 1.5: 4, "x": 5}
    let cbor = b"\xa6\x01\x00\x20\x01\xf5\x02\xf6\x03\xf9\x3e\x00\x04\x61x\x05";
    let expected = json!({"1": 0, "-1": 1, "true": 2, "null": 3, "1.5": 4, "x": 5});
    for form in [Form::Msgpack, Form::Json] {
        let bytes = convert(Form::Cbor, form, cbor).unwrap();
        assert_eq!(skip(form, &bytes), Ok(bytes.len()));
        assert_eq!(form.read::<Value>(&bytes).unwrap(), expected);
    }
}

#[test]
fn what_does_not_tell_its_length_is_told_it() {
    // [_ {_ "a": (_ "b", "c")}, true]
    let cbor = [0x9f, 0xbf, 0x61, b'a', 0x7f, 0x61, b'b', 0x61, b'c', 0xff, 0xff, 0xf5, 0xff];
    let packed = convert(Form::Cbor, Form::Msgpack, &cbor).unwrap();
    assert_eq!(&packed[..], [0x92, 0x81, 0xa1, b'a', 0xa2, b'b', b'c', 0xc3]);
    let text = convert(Form::Cbor, Form::Json, &cbor).unwrap();
    assert_eq!(&text[..], br#"[{"a":"bc"},true]"#);
}

#[test]
fn integers_beyond_64_bits_are_rounded() {
    // The integer 2^64, with a tag, and in JSON.
    let large = [0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let packed = convert(Form::Cbor, Form::Msgpack, &large).unwrap();
    assert_eq!(Form::Msgpack.read::<f64>(&packed).unwrap(), 2_f64.powi(64));
    let packed = convert(Form::Json, Form::Msgpack, b"18446744073709551616").unwrap();
    assert_eq!(Form::Msgpack.read::<f64>(&packed).unwrap(), 2_f64.powi(64));
}
