//! The WebSocket layer frame by frame: the cases of the Autobahn test suite
//! by hand, in its groups 1 to 7, 9 and 10. (Groups 12 and 13 are about
//! compression, which is not offered.)
//!
//! The suite wants an echo. Here the router's answer to a call that cannot be
//! made takes its place: an ERROR with the call's request id.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use drover_wamp::Limits;
use kit::frames::{
    BINARY, CLOSE, CONTINUATION, Frame, LAST, PING, PONG, Peer, TEXT, close, frame, unmasked,
};
use kit::{MAX_MESSAGE, Site, within};
use serde_json::{Value, json};

/// What the router is to send, in order.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Pong(Vec<u8>),
    /// An ERROR for the call with this request id.
    Answer(u64),
    /// The connection is closed with this code.
    Closed(Option<u16>),
}

use Seen::{Answer, Closed, Pong};

/// One exchange: what the peer sends after it has joined, and what it sees.
struct Case {
    group: &'static str,
    sent: Vec<Vec<u8>>,
    seen: Vec<Seen>,
}

fn case(group: &'static str, sent: Vec<Vec<u8>>, seen: Vec<Seen>) -> Case {
    Case { group, sent, seen }
}

/// Frames after which the connection is to be closed with `code`.
fn fails(group: &'static str, sent: Vec<Vec<u8>>, code: u16) -> Case {
    Case { group, sent, seen: vec![Closed(Some(code))] }
}

/// A call that gets an ERROR, of exactly so many bytes.
fn call(request: u64, length: usize) -> Vec<u8> {
    let frame = json!([48, request, {}, "a..b", [""]]).to_string();
    let padding = "*".repeat(length.saturating_sub(frame.len()));
    json!([48, request, {}, "a..b", [padding]]).to_string().into_bytes()
}

fn text(payload: &[u8]) -> Vec<u8> {
    frame(LAST | TEXT, payload)
}

/// A text message in fragments of so many bytes.
fn fragments(payload: &[u8], length: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(length);
    let part = |(index, part): (usize, &[u8])| {
        let kind = if index == 0 { TEXT } else { CONTINUATION };
        frame(if index + 1 == count { LAST | kind } else { kind }, part)
    };
    payload.chunks(length).enumerate().map(part).collect()
}

/// What comes until as much has been seen as is expected.
async fn observe(peer: &mut Peer, expected: &[Seen]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let wants_answers = expected.iter().any(|seen| matches!(seen, Answer(_)));
    while seen.len() < expected.len() {
        match peer.next().await {
            Some(Frame { first, payload }) if first == LAST | PONG => seen.push(Pong(payload)),
            Some(Frame { first, payload }) if first == LAST | CLOSE => {
                let code = payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
                seen.push(Closed(code));
                assert_eq!(peer.next().await, None, "nothing follows a close frame");
            }
            Some(Frame { first, payload }) if first == LAST | TEXT => {
                let message: Value = serde_json::from_slice(&payload).unwrap();
                match message[0].as_u64() {
                    // Why the connection will be closed, in WAMP.
                    Some(3) => assert_eq!(message[2], "wamp.error.protocol_violation"),
                    Some(8) if wants_answers => seen.push(Answer(message[2].as_u64().unwrap())),
                    Some(8) => {}
                    _ => panic!("{message}"),
                }
            }
            Some(other) => panic!("{other:?}"),
            None => {
                seen.push(Closed(None));
                break;
            }
        }
    }
    seen
}

/// Pongs may overtake answers, and each kind is in order.
fn in_order(seen: &[Seen]) -> (Vec<&Seen>, Vec<&Seen>) {
    seen.iter().partition(|seen| matches!(seen, Pong(_)))
}

/// Runs each case twice: sent at once, and octet by octet.
async fn run(cases: Vec<Case>) {
    let site = Site::start().await;
    for Case { group, sent, seen } in cases {
        let bytes = sent.concat();
        let step = bytes.len().max(1).min(if bytes.len() < 300 { 1 } else { 997 });
        for piece in [bytes.len().max(1), step] {
            let mut peer = Peer::join(&site).await;
            for piece in bytes.chunks(piece) {
                // It may have heard enough.
                if peer.try_send(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let observed = within(observe(&mut peer, &seen)).await;
            assert_eq!(in_order(&observed), in_order(&seen), "{group}, in pieces of {piece}");
            if !matches!(seen.last(), Some(Closed(_))) {
                peer.send(&frame(LAST | PING, b"still here")).await;
                let expected = [Pong(b"still here".to_vec())];
                assert_eq!(observe(&mut peer, &expected).await, expected, "{group}");
            }
        }
    }
}

#[tokio::test]
async fn group_1_messages_of_every_length() {
    let lengths = [40, 125, 126, 127, 128, 65_535, 65_536];
    let one = |length| case("1.1", vec![text(&call(1, length))], vec![Answer(1)]);
    let mut cases: Vec<_> = lengths.into_iter().map(one).collect();
    let all = lengths.iter().map(|length| text(&call(2, *length))).collect();
    cases.push(case("1.1, together", all, lengths.iter().map(|_| Answer(2)).collect()));
    // No message is empty, and a session in JSON has no binary ones.
    cases.push(fails("1.1.1", vec![text(b"")], 1002));
    cases.push(fails("1.2.1", vec![frame(LAST | BINARY, b"")], 1002));
    cases.push(fails("1.2.2", vec![frame(LAST | BINARY, &call(1, 125))], 1002));
    run(cases).await;
}

#[tokio::test]
async fn group_1_binary_messages_of_every_length() {
    let site = Site::start().await;
    let mut peer = Peer::connect(&site, "wamp.2.msgpack").await;
    let hello = rmp_serde::to_vec(&json!([1, kit::REALM, {"roles": {"caller": {}}}])).unwrap();
    peer.send(&frame(LAST | BINARY, &hello)).await;
    assert_eq!(peer.next().await.unwrap().first, LAST | BINARY);
    for length in [0, 60, 100, 180, 65_500, 65_600] {
        let call = json!([48, length, {}, "a..b", ["*".repeat(length)]]);
        peer.send(&frame(LAST | BINARY, &rmp_serde::to_vec(&call).unwrap())).await;
        let answer = peer.next().await.unwrap();
        let answer: Value = rmp_serde::from_slice(&answer.payload).unwrap();
        assert_eq!((&answer[0], &answer[2]), (&json!(8), &json!(length)));
    }
}

#[tokio::test]
async fn group_2_pings_and_pongs() {
    let ping = |payload: &[u8]| frame(LAST | PING, payload);
    let long = [0xfe; 125];
    let many: Vec<_> = (0..10).map(|index| format!("payload-{index}").into_bytes()).collect();
    run(vec![
        case("2.1", vec![ping(b"")], vec![Pong(vec![])]),
        case("2.2", vec![ping(b"Hello, world!")], vec![Pong(b"Hello, world!".to_vec())]),
        case("2.3", vec![ping(b"\x00\xff\xfe\xfd")], vec![Pong(b"\x00\xff\xfe\xfd".to_vec())]),
        case("2.4, 2.6", vec![ping(&long)], vec![Pong(long.to_vec())]),
        fails("2.5", vec![ping(&[0xfe; 126])], 1002),
        case("2.7", vec![frame(LAST | PONG, b"")], vec![]),
        case("2.8", vec![frame(LAST | PONG, b"unasked for")], vec![]),
        case("2.9", vec![frame(LAST | PONG, b"x"), ping(b"y")], vec![Pong(b"y".to_vec())]),
        case(
            "2.10, 2.11",
            many.iter().map(|payload| ping(payload)).collect(),
            many.iter().cloned().map(Pong).collect(),
        ),
    ])
    .await;
}

#[tokio::test]
async fn group_3_reserved_bits() {
    let hello = call(1, 0);
    let mut cases = Vec::new();
    for (group, bits) in
        [("3.1", 1), ("3.2", 2), ("3.3", 3), ("3.4", 4), ("3.5", 5), ("3.6", 6), ("3.7", 7)]
    {
        for kind in [TEXT, PING, PONG, CLOSE] {
            let wrong = frame(LAST | bits << 4 | kind, b"");
            cases.push(fails(group, vec![wrong.clone()], 1002));
            let sent = vec![text(&hello), wrong, frame(LAST | PING, b"")];
            cases.push(case(group, sent, vec![Answer(1), Closed(Some(1002))]));
        }
    }
    run(cases).await;
}

#[tokio::test]
async fn group_4_reserved_kinds() {
    let mut cases = Vec::new();
    for kind in (3..8).chain(11..16) {
        let group = if kind < 8 { "4.1" } else { "4.2" };
        for payload in [&b""[..], b"reserved"] {
            cases.push(fails(group, vec![frame(LAST | kind, payload)], 1002));
            let sent =
                vec![text(&call(1, 0)), frame(LAST | kind, payload), frame(LAST | PING, b"")];
            cases.push(case(group, sent, vec![Answer(1), Closed(Some(1002))]));
        }
    }
    run(cases).await;
}

#[tokio::test]
async fn group_5_fragments() {
    let message = call(1, 100);
    let (one, two) = message.split_at(50);
    let (start, end) = (frame(TEXT, one), frame(LAST | CONTINUATION, two));
    let ping = frame(LAST | PING, b"between");
    let pong = || Pong(b"between".to_vec());
    let mut cases = vec![
        fails("5.1", vec![frame(PING, b"a"), frame(LAST | CONTINUATION, b"b")], 1002),
        fails("5.2", vec![frame(PONG, b"a"), frame(LAST | CONTINUATION, b"b")], 1002),
        case("5.3, 5.4, 5.5", vec![start.clone(), end.clone()], vec![Answer(1)]),
        case(
            "5.6, 5.7, 5.8",
            vec![start.clone(), ping.clone(), end.clone()],
            vec![pong(), Answer(1)],
        ),
        fails("5.15", vec![start.clone(), end.clone(), frame(CONTINUATION, b"c")], 1002),
        fails("5.16, 5.17, 5.18", vec![start.clone(), frame(LAST | TEXT, two)], 1002),
        fails("5.18", vec![start.clone(), frame(LAST | BINARY, two)], 1002),
        case(
            "5.19, 5.20",
            [fragments(&message, 20), vec![ping.clone()], fragments(&message, 7)].concat(),
            vec![Answer(1), pong(), Answer(1)],
        ),
    ];
    for first in [LAST | CONTINUATION, CONTINUATION] {
        for payload in [&b"nothing to continue"[..], b""] {
            let sent = vec![frame(first, payload), text(&message)];
            cases.push(fails("5.9 to 5.14", sent, 1002));
        }
    }
    let mut interleaved = Vec::new();
    for fragment in fragments(&message, 10) {
        interleaved.extend([fragment, ping.clone()]);
    }
    let mut seen: Vec<_> = (0..9).map(|_| pong()).collect();
    seen.extend([Answer(1), pong()]);
    cases.push(case("5.20", interleaved, seen));
    run(cases).await;
}

#[tokio::test]
async fn group_6_text_is_utf_8() {
    // Greek, an astral character, and both ends of every length.
    let valid = "κόσμε 𝄞 \u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}\u{fffe}\u{feff}";
    let message = json!([48, 1, {}, "a..b", [valid]]).to_string().into_bytes();
    let mut cases = vec![
        case("6.2.1", vec![text(&message)], vec![Answer(1)]),
        case("6.2.2 to 6.2.4", fragments(&message, 1), vec![Answer(1)]),
        case(
            "6.1.3",
            vec![frame(TEXT, b""), frame(CONTINUATION, &message), frame(LAST | CONTINUATION, b"")],
            vec![Answer(1)],
        ),
        // No message is empty.
        fails("6.1.2", vec![frame(TEXT, b""), frame(LAST | CONTINUATION, b"")], 1002),
    ];
    for wrong in [
        // Alone, cut off, too long for what they say, surrogates, too large.
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..],
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80",
        b"\xc0\x20",
        b"\xe0\x20",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9d\x84",
        b"\xfe",
        b"\xff",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xf4\x90\x80\x80",
    ] {
        cases.push(fails("6.3, 6.6 to 6.21", vec![text(wrong)], 1007));
        let whole = [b"[48,1,{},\"a..b\",[\"", wrong, b"\"]]"].concat();
        cases.push(fails("6.3, 6.6 to 6.21", vec![text(&whole)], 1007));
        cases.push(fails("6.4, in fragments", fragments(&whole, 1), 1007));
        // It is noticed before the end of the message.
        let mut unfinished = fragments(&whole, 1);
        unfinished.pop();
        cases.push(fails("6.4, unfinished", unfinished, 1007));
    }
    run(cases).await;
}

#[tokio::test]
async fn group_7_closing() {
    let normal = || close(1000, b"");
    let reason = [b'*'; 123];
    let closed = |code| vec![Closed(Some(code))];
    // What is sent in the same breath as a close frame may go unanswered.
    let mut cases = vec![
        case("7.1.1", vec![text(&call(1, 0)), normal()], closed(1000)),
        case("7.1.2", vec![normal(), normal()], closed(1000)),
        case("7.1.3", vec![normal(), frame(LAST | PING, b"")], closed(1000)),
        case("7.1.4", vec![normal(), text(&call(1, 0))], closed(1000)),
        case(
            "7.1.5",
            vec![frame(TEXT, b"["), normal(), frame(LAST | CONTINUATION, b"]")],
            closed(1000),
        ),
        case(
            "7.1.6",
            vec![text(&call(1, 200_000)), normal(), frame(LAST | PING, b"")],
            closed(1000),
        ),
        case("7.3.1", vec![frame(LAST | CLOSE, b"")], vec![Closed(None)]),
        fails("7.3.2", vec![frame(LAST | CLOSE, b"a")], 1002),
        case("7.3.3", vec![normal()], closed(1000)),
        case("7.3.4", vec![close(1000, b"Hello World!")], closed(1000)),
        case("7.3.5", vec![close(1000, &reason)], closed(1000)),
        fails("7.3.6", vec![close(1000, &[b'*'; 124])], 1002),
        fails("7.5.1", vec![close(1000, b"\xce\xba\xed\xa0\x80")], 1007),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        cases.push(case("7.7", vec![close(code, b"")], closed(code)));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(fails("7.9, 7.13", vec![close(code, b"")], 1002));
    }
    run(cases).await;
}

#[tokio::test]
async fn groups_9_and_10_long_messages() {
    let mut cases = Vec::new();
    for length in [1 << 16, 1 << 18, MAX_MESSAGE] {
        cases.push(case("9.1", vec![text(&call(1, length))], vec![Answer(1)]));
    }
    let long = call(1, MAX_MESSAGE);
    for length in [64, 256, 1300, 65_536] {
        cases.push(case("9.3, 10.1", fragments(&long, length), vec![Answer(1)]));
    }
    let many = (0..1000).map(|request| text(&call(request, 1024))).collect();
    cases.push(case("9.7", many, (0..1000).map(Answer).collect()));
    // Beyond the limit, in one frame and in many.
    let too_long = call(1, 2 * MAX_MESSAGE);
    cases.push(fails("9.1, too long", vec![text(&too_long)], 1009));
    cases.push(fails("9.3, too long", fragments(&too_long, 65_536), 1009));
    run(cases).await;
}

#[tokio::test]
async fn frames_that_no_client_may_send_are_refused() {
    let mut endless = frame(LAST | TEXT, b"");
    endless[1] = 0xff;
    endless.splice(2..2, [0xff; 8]);
    run(vec![
        fails("unmasked", vec![unmasked(LAST | TEXT, &call(1, 0))], 1002),
        fails("unmasked", vec![unmasked(LAST | PING, b"")], 1002),
        fails("unmasked", vec![unmasked(LAST | CLOSE, &1000_u16.to_be_bytes())], 1002),
        fails("a length beyond all limits", vec![endless], 1009),
    ])
    .await;
}

#[tokio::test]
async fn a_flood_of_pings_from_a_peer_that_reads_nothing_holds_nobody_up() {
    let site = Site::with_limits(Limits { max_sessions: 2, ..Limits::default() }).await;
    let mut peer = Peer::join(&site).await;
    let burst = frame(LAST | PING, &[b'*'; 125]).repeat(1000);
    let flood = async {
        // More than the buffers on the way take; it is never read.
        for _ in 0..100 {
            peer.send(&burst).await;
        }
    };
    let other = async {
        let mut other = Peer::join(&site).await;
        for request in 0..100 {
            other.send(&text(&call(request, 0))).await;
            assert_eq!(observe(&mut other, &[Answer(request)]).await, [Answer(request)]);
        }
    };
    within(async { tokio::join!(flood, other) }).await;
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_told_why_it_was_ended() {
    let limits = Limits {
        max_message_bytes: MAX_MESSAGE,
        max_queued_bytes: MAX_MESSAGE,
        ..Limits::default()
    };
    let site = Site::with_limits(limits).await;
    let watcher = site.attach();
    let mut left = watcher.subscribe("wamp.session.on_leave", Default::default()).await.unwrap();
    let mut peer = Peer::join(&site).await;
    let subscribe = json!([32, 1, {}, "test.flood"]).to_string();
    peer.send(&text(subscribe.as_bytes())).await;
    assert_eq!(peer.message().await[0], 33);
    let payload = drover_wamp::Payload::one(&"x".repeat(500_000)).unwrap();
    let publish = async {
        loop {
            let sent = watcher.publish("test.flood", payload.clone(), Default::default());
            sent.await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        event = within(left.next()) => assert!(event.is_some()),
        () = publish => unreachable!("it goes on"),
    }
    // What was on the way comes through, then the reason.
    let farewell = loop {
        let frame = peer.next().await.expect("a reason");
        if frame.first == LAST | CLOSE {
            break frame.payload;
        }
    };
    assert_eq!(farewell[..2], 1008_u16.to_be_bytes());
    assert!(farewell[2..].starts_with(b"the peer reads too slowly"), "{farewell:?}");
}
