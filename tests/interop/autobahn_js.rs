//! autobahn-js on our router, as a web console would use it.

use drover_tests::{Peer, PeerError};
use serde_json::{Value, json};

use crate::{REALM, site};

/// What autobahn-js offers of what we speak.
const SERIALIZERS: [&str; 3] = ["json", "msgpack", "cbor"];

/// Values that JavaScript can tell apart; in JSON it knows no bytes.
fn values(serializer: &str) -> Value {
    let mut values = json!([null, true, -1, 4294967296_u64, 0.5, "naïve ☃", [], {}, [{"a": [1]}]]);
    if serializer != "json" {
        values.as_array_mut().into_iter().for_each(|all| all.push(json!({"$bytes": "00ff80"})));
    }
    values
}

#[test]
fn a_javascript_client_calls_is_called_and_hears_events() {
    let site = site();
    let [browser, other] = [Peer::javascript(), Peer::python()];
    for serializer in SERIALIZERS {
        let session = browser.join(&site.url, REALM, serializer);
        assert_eq!(session.welcome["serializer"], serializer);
        let python = other.join(&site.url, REALM, "msgpack");
        let name = |what: &str| format!("com.example.{serializer}.{what}");
        let kwargs = json!({"key": "value"});
        let sent = json!({"args": values(serializer), "kwargs": kwargs});

        for (callee, caller, who) in [(&session, &python, "js"), (&python, &session, "python")] {
            for does in ["echo", "refuse", "count"] {
                callee.register(&name(&format!("{who}.{does}")), does, json!({})).unwrap();
            }
            let echo =
                caller.call(&name(&format!("{who}.echo")), values(serializer), kwargs.clone());
            assert_eq!(echo, Ok(sent.clone()), "{who} answers in {serializer}");

            let refuse = name(&format!("{who}.refuse"));
            let refused = PeerError {
                uri: "com.example.refused".to_owned(),
                args: values(serializer),
                kwargs: kwargs.clone(),
            };
            assert_eq!(caller.call(&refuse, values(serializer), kwargs.clone()), Err(refused));

            let count = name(&format!("{who}.count"));
            let call = caller.begin(&count, json!([2]), json!({}), json!({}));
            let counted = caller.result(call).unwrap();
            assert_eq!(counted["args"], json!(["counted"]));
            let steps = caller.progress(call);
            assert_eq!(steps.len(), 2, "{who} counts in {serializer}: {steps:?}");
            assert_eq!(steps[1], json!({"args": [1], "kwargs": {"of": 2}}));
        }

        for (publisher, subscriber) in [(&session, &python), (&python, &session)] {
            let pattern = json!({"match": "wildcard"});
            let subscription = subscriber.subscribe(&name(".feeds."), pattern).unwrap();
            let topic = name("any.feeds.beat");
            publisher.publish(&topic, values(serializer), kwargs.clone(), json!({})).unwrap();
            let event = &subscriber.events(subscription, 1)[0];
            assert_eq!(event["topic"], json!(topic));
            assert_eq!((&event["args"], &event["kwargs"]), (&values(serializer), &kwargs));
        }
        session.leave();
    }
}
