//! Several messages in one WebSocket message, both ways.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use futures_util::SinkExt;
use kit::{RawClient, Site, next_frame, raw_client};
use serde_json::{Value, json};

/// What JSON has behind each message of a batch.
const MARK: char = '\u{18}';

async fn send(client: &mut RawClient, messages: &[Value]) {
    let batch: String = messages.iter().map(|message| format!("{message}{MARK}")).collect();
    client.send(batch.into()).await.unwrap();
}

/// The messages of the next batch.
async fn receive(client: &mut RawClient) -> Vec<Value> {
    let frame = next_frame(client).await;
    let batch = frame.to_text().unwrap_or_else(|_| panic!("{frame:?}"));
    let rest = batch.strip_suffix(MARK).expect("a mark behind the last message");
    rest.split(MARK).map(|message| serde_json::from_str(message).unwrap()).collect()
}

fn hello() -> Value {
    json!([1, kit::REALM, {"roles": {"publisher": {}, "subscriber": {}}}])
}

fn subscribe(request: u64) -> Value {
    json!([32, request, {}, "test.topic"])
}

fn publish(request: u64) -> Value {
    json!([16, request, {"exclude_me": false}, "test.topic", [request]])
}

#[tokio::test]
async fn a_batch_is_handled_in_order_and_its_answers_share_a_frame() {
    let site = Site::start().await;
    let mut client = raw_client(&site, "wamp.2.json.batched").await;
    send(&mut client, &[hello()]).await;
    assert_eq!(receive(&mut client).await[0][0], 2);
    let requests: Vec<_> = [subscribe(1)].into_iter().chain((2..=50).map(publish)).collect();
    send(&mut client, &requests).await;
    // All that came was handled before anything was sent.
    let answers = receive(&mut client).await;
    assert_eq!(answers.len(), 50);
    assert_eq!((&answers[0][0], &answers[0][1]), (&json!(33), &json!(1)));
    for (request, event) in (2..=50_u64).zip(&answers[1..]) {
        assert_eq!((&event[0], &event[4]), (&json!(36), &json!([request])));
    }
}

#[tokio::test]
async fn a_long_batch_is_handled_in_whole_even_when_it_begins_the_session() {
    let site = Site::start().await;
    let mut client = raw_client(&site, "wamp.2.json.batched").await;
    let requests = [hello(), subscribe(1)].into_iter().chain((2..=2000).map(publish));
    send(&mut client, &requests.collect::<Vec<_>>()).await;
    let mut answers = Vec::new();
    while answers.len() < 2001 {
        answers.extend(receive(&mut client).await);
    }
    assert_eq!((&answers[0][0], &answers[1][0]), (&json!(2), &json!(33)));
    for (request, event) in (2..=2000_u64).zip(&answers[2..]) {
        assert_eq!((&event[0], &event[4]), (&json!(36), &json!([request])));
    }
}

#[tokio::test]
async fn a_long_message_has_a_frame_of_its_own_and_the_order_stays() {
    let site = Site::start().await;
    let mut client = raw_client(&site, "wamp.2.json.batched").await;
    send(&mut client, &[hello()]).await;
    receive(&mut client).await;
    let long = "x".repeat(100_000);
    let publish = |text: &str| json!([16, 9, {"exclude_me": false}, "test.topic", [text]]);
    send(&mut client, &[subscribe(1), publish("a"), publish(&long), publish("b")]).await;
    let mut batches = Vec::new();
    for messages in [2, 1, 1] {
        let batch = receive(&mut client).await;
        assert_eq!(batch.len(), messages);
        batches.extend(batch);
    }
    let texts: Vec<_> = batches[1..].iter().map(|event| event[4][0].clone()).collect();
    assert_eq!(texts, [json!("a"), json!(long), json!("b")]);
}

#[tokio::test]
async fn what_is_before_a_bad_message_is_handled_and_what_is_behind_it_is_not() {
    let site = Site::start().await;
    let mut client = raw_client(&site, "wamp.2.json.batched").await;
    send(&mut client, &[hello()]).await;
    receive(&mut client).await;
    send(&mut client, &[subscribe(1), json!([99, 1]), subscribe(2)]).await;
    let mut answers = receive(&mut client).await;
    if answers.len() == 1 {
        answers.extend(receive(&mut client).await);
    }
    assert_eq!((&answers[0][0], &answers[0][1]), (&json!(33), &json!(1)));
    assert_eq!(
        (&answers[1][0], &answers[1][2]),
        (&json!(3), &json!("wamp.error.protocol_violation"))
    );
    assert_eq!(answers.len(), 2);
    assert!(next_frame(&mut client).await.is_close());
}
