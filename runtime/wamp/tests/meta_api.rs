//! The router's own procedures, over sockets and in the same process.

mod kit;

use std::collections::BTreeMap;

use drover_wamp::{
    CallOptions, CloseReason, Payload, Serializer, SessionId, SubscribeOptions, uri,
};
use kit::{Site, within};

#[tokio::test]
async fn a_killed_session_ends_with_the_reason_and_leaves_its_testament() {
    let site = Site::start().await;
    let killer = site.client().await;
    for victim in [site.client().await, site.attach()] {
        let subscribed = killer.subscribe("last.words", SubscribeOptions::default());
        let mut last_words = within(subscribed).await.unwrap();
        let testament = Payload::positional(&("last.words", ("farewell",), ())).unwrap();
        let add = "wamp.session.add_testament";
        within(victim.call(add, testament, CallOptions::default())).await.unwrap();

        let why = BTreeMap::from([("reason", "site.error.broken"), ("message", "it is broken")]);
        let payload = Payload::one(&victim.session()).unwrap();
        let payload = payload.with_keywords_of(Payload::keyword(&why).unwrap());
        let kill = "wamp.session.kill";
        within(killer.call(kill, payload, CallOptions::default())).await.unwrap();

        let expected = CloseReason::Goodbye {
            uri: "site.error.broken".to_owned(),
            message: Some("it is broken".to_owned()),
        };
        assert_eq!(within(victim.closed()).await, expected);
        let event = within(last_words.next()).await.unwrap();
        assert_eq!(event.payload.first::<String>().unwrap(), "farewell");
        let sessions: Vec<SessionId> =
            within(killer.call_as("wamp.session.list", &(), CallOptions::default())).await.unwrap();
        assert!(!sessions.contains(&victim.session()));
    }
}

#[tokio::test]
async fn every_serializer_can_ask_and_leave_a_testament() {
    let site = Site::start().await;
    let watcher = site.client().await;
    let mut events = watcher.subscribe("last.words", SubscribeOptions::default()).await.unwrap();
    for serializer in Serializer::ALL {
        let client = site.connect(*serializer).await;
        let count: usize =
            within(client.call_as("wamp.session.count", &(), CallOptions::default()))
                .await
                .unwrap();
        assert_eq!(count, 2, "{serializer}");
        let _subscription =
            client.subscribe("some.topic", SubscribeOptions::default()).await.unwrap();
        let options = CallOptions::default();
        let lookup = client.call_as("wamp.subscription.lookup", &("some.topic",), options);
        let id: u64 = within(lookup).await.unwrap();
        let options = CallOptions::default();
        let details: BTreeMap<String, serde_json::Value> =
            within(client.call_as("wamp.subscription.get", &(id,), options)).await.unwrap();
        assert_eq!(details["uri"], "some.topic");
        let keywords = BTreeMap::from([("serializer", serializer.to_string())]);
        let testament = Payload::positional(&("last.words", [1, 2], keywords)).unwrap();
        let add = "wamp.session.add_testament";
        within(client.call(add, testament, CallOptions::default())).await.unwrap();
        within(client.close()).await;
        let event = within(events.next()).await.unwrap();
        let keywords: BTreeMap<String, String> = event.payload.kwargs().unwrap();
        assert_eq!(event.payload.args::<Vec<u64>>().unwrap(), [1, 2]);
        assert_eq!(keywords["serializer"], serializer.to_string());
        let options = CallOptions::default();
        let count: usize =
            within(watcher.call_as("wamp.session.count", &(), options)).await.unwrap();
        assert_eq!(count, 1, "who left a testament has gone");
    }
}

#[tokio::test]
async fn an_error_of_the_router_says_what_was_expected() {
    let site = Site::start().await;
    let client = site.client().await;
    let options = CallOptions::default();
    let error = within(client.call("wamp.session.get", Payload::empty(), options)).await;
    let error = error.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(uri::error::INVALID_ARGUMENT), "{text}");
    assert!(text.contains("the id of a session"), "{text}");
}
