//! A client against a router that is odd, slow or wrong, and what a client says to it.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use std::time::Duration;

use drover_wamp::{
    Audience, Authentication, CallError, CallOptions, Client, ClientConfig, CloseReason,
    ConnectError, EndReason, InvocationPolicy, Payload, PublishOptions, RegisterOptions, Secret,
    Serializer, SessionId, Status, SubscribeOptions,
};
use futures_util::{SinkExt, StreamExt};
use kit::within;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

/// A router that says what it is told to, right or wrong, in JSON.
struct Evil {
    socket: WebSocketStream<TcpStream>,
}

impl Evil {
    async fn say(&mut self, message: &Value) {
        self.socket.send(message.to_string().into()).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        loop {
            let frame = within(self.socket.next()).await.unwrap().unwrap();
            if frame.is_text() {
                return serde_json::from_str(frame.to_text().unwrap()).unwrap();
            }
            assert!(frame.is_ping() || frame.is_pong(), "{frame:?}");
        }
    }

    /// Hears a request and answers `[code, its id, detail]`.
    async fn acknowledge(&mut self, code: u32, detail: u32) -> Value {
        let request = self.hear().await;
        self.say(&json!([code, request[1], detail])).await;
        request
    }
}

fn config(listener: &TcpListener) -> ClientConfig {
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    ClientConfig { serializers: vec![Serializer::Json], ..ClientConfig::new(url, "r") }
}

#[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
async fn accept(listener: &TcpListener) -> Evil {
    let (stream, _) = listener.accept().await.unwrap();
    let choose = |_: &Request, mut response: Response| {
        response.headers_mut().insert("Sec-WebSocket-Protocol", "wamp.2.json".parse().unwrap());
        Ok(response)
    };
    Evil { socket: tokio_tungstenite::accept_hdr_async(stream, choose).await.unwrap() }
}

/// A client that has joined, and the router that it joined.
async fn joined() -> (Client, Evil) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(&listener);
    let welcome = async {
        let mut evil = accept(&listener).await;
        assert_eq!(evil.hear().await[0], 1);
        evil.say(&json!([2, 42, {"roles": {"broker": {}, "dealer": {}}}])).await;
        evil
    };
    let (client, evil) = within(async { tokio::join!(Client::connect(&config), welcome) }).await;
    (client.unwrap(), evil)
}

#[tokio::test]
async fn a_procedure_that_the_router_takes_away_ends_with_its_reason() {
    let (client, mut evil) = joined().await;
    let options = RegisterOptions {
        invoke: InvocationPolicy::RoundRobin,
        force_reregister: true,
        ..RegisterOptions::default()
    };
    let registering = client.register("a.b", options);
    let (registration, request) =
        within(async { tokio::join!(registering, evil.acknowledge(65, 50)) }).await;
    let mut registration = registration.unwrap();
    assert_eq!(request[2], json!({"invoke": "roundrobin", "force_reregister": true}));
    assert_eq!(registration.status(), Status::Active(SessionId(42)));

    // A call that came before it is still answered.
    evil.say(&json!([68, 977, 50, {"caller": 7, "caller_authid": "ada", "timeout": 1500}])).await;
    evil.say(&json!([67, 0, {"registration": 50, "reason": "wamp.error.revoked"}])).await;
    let call = within(registration.next()).await.unwrap();
    let caller = call.caller.clone().unwrap();
    assert_eq!((caller.session, caller.authid.as_str()), (SessionId(7), "ada"));
    assert_eq!(call.timeout, Some(Duration::from_millis(1500)));
    call.finish(Ok(Payload::empty())).await;
    assert_eq!(evil.hear().await, json!([70, 977, {}]));

    assert!(within(registration.next()).await.is_none());
    let Status::Ended(EndReason::Revoked(Some(reason))) = registration.status() else {
        panic!("{:?}", registration.status())
    };
    assert_eq!(reason, "wamp.error.revoked");
}

#[tokio::test]
async fn a_topic_that_the_router_takes_away_ends_after_the_events_before() {
    let (client, mut evil) = joined().await;
    let options = SubscribeOptions { get_retained: true, ..SubscribeOptions::default() };
    let subscribing = client.subscribe("a.b", options);
    let (subscription, request) =
        within(async { tokio::join!(subscribing, evil.acknowledge(33, 60)) }).await;
    let mut subscription = subscription.unwrap();
    assert_eq!(request[2], json!({"get_retained": true}));
    evil.say(&json!([36, 60, 5, {"retained": true, "publisher": 7, "x_odd": []}, ["x"]])).await;
    evil.say(&json!([35, 0, {"subscription": 60}])).await;
    let event = within(subscription.next()).await.unwrap();
    assert_eq!((event.topic.as_str(), event.publication, event.is_retained), ("a.b", 5, true));
    assert_eq!(event.publisher.unwrap().session, SessionId(7));
    assert!(within(subscription.next()).await.is_none());
    assert_eq!(subscription.status(), Status::Ended(EndReason::Revoked(None)));
}

#[tokio::test]
async fn a_publication_carries_what_its_publisher_asked_for() {
    let (client, mut evil) = joined().await;
    let options = PublishOptions {
        acknowledge: true,
        disclose_me: true,
        retain: true,
        audience: Audience {
            exclude: Some(vec![SessionId(7)]),
            eligible_authrole: Some(vec!["operator".to_owned()]),
            ..Audience::default()
        },
        ..PublishOptions::default()
    };
    let publishing = client.publish("a.b", Payload::empty(), options);
    let (published, request) =
        within(async { tokio::join!(publishing, evil.acknowledge(17, 1)) }).await;
    published.unwrap();
    let expected = json!({"acknowledge": true, "disclose_me": true, "retain": true,
        "exclude": [7], "eligible_authrole": ["operator"]});
    assert_eq!(request[2], expected);
}

#[tokio::test]
async fn a_call_that_the_router_never_answers_ends_by_the_clients_own_clock() {
    let (client, mut evil) = joined().await;
    let options =
        CallOptions { disclose_me: true, ..CallOptions::within(Duration::from_millis(50)) };
    let call = client.call("a.b", Payload::empty(), options);
    let (answer, request) = within(async { tokio::join!(call, evil.hear()) }).await;
    assert_eq!(request[2], json!({"timeout": 50, "disclose_me": true}));
    assert!(matches!(answer, Err(CallError::Timeout { .. })), "{answer:?}");
    assert_eq!(evil.hear().await[0], 49, "the router is told");

    // What comes too late, or twice, or to nobody, harms nothing.
    for late in [
        json!([50, request[1], {}]),
        json!([50, request[1], {"progress": true}, [1]]),
        json!([8, 48, request[1], {}, "wamp.error.canceled"]),
        json!([50, 9999, {}]),
        json!([65, 9999, 1]),
        json!([36, 9999, 1, {}]),
        json!([69, 9999, {}]),
    ] {
        evil.say(&late).await;
    }
    let call = client.call_as::<_, u32>("a.b", &(1,), CallOptions::default());
    let answer = async {
        let request = evil.hear().await;
        evil.say(&json!([50, request[1], {}, [2]])).await;
    };
    let (answer, ()) = within(async { tokio::join!(call, answer) }).await;
    assert_eq!(answer.unwrap(), 2);
}

#[tokio::test]
async fn a_timeout_that_the_router_notices_first_is_the_same_timeout() {
    let (client, mut evil) = joined().await;
    let call = client.call("a.b", Payload::empty(), CallOptions::within(Duration::from_secs(60)));
    let refuse = async {
        let request = evil.hear().await;
        evil.say(&json!([8, 48, request[1], {}, "wamp.error.timeout"])).await;
    };
    let (answer, ()) = within(async { tokio::join!(call, refuse) }).await;
    assert!(matches!(answer, Err(CallError::Timeout { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_dropped_stream_of_results_cancels_its_call() {
    let (client, mut evil) = joined().await;
    let call = client.start("a.b", Payload::empty(), CallOptions::default());
    let (call, request) = within(async { tokio::join!(call, evil.hear()) }).await;
    assert_eq!(request[2], json!({"receive_progress": true}));
    let mut call = call.unwrap();
    evil.say(&json!([50, request[1], {"progress": true}, [1]])).await;
    assert_eq!(within(call.next()).await.unwrap().first::<u32>().unwrap(), 1);
    drop(call);
    let cancel = evil.hear().await;
    assert_eq!((&cancel[0], &cancel[1]), (&json!(49), &request[1]));
}

#[tokio::test]
async fn a_router_that_breaks_the_protocol_is_left_with_a_reason() {
    for (messages, words) in [
        (vec![json!([68, 9, 50, {}]), json!([68, 9, 50, {}])], "INVOCATION"),
        (vec![json!([48, 1, {}, "a.b"])], "CALL"),
        (vec![json!("no array")], "array"),
    ] {
        let (client, mut evil) = joined().await;
        let registering = client.register("a.b", RegisterOptions::default());
        let (registration, _) =
            within(async { tokio::join!(registering, evil.acknowledge(65, 50)) }).await;
        let _registration = registration.unwrap();
        for message in messages {
            evil.say(&message).await;
        }
        let reason = within(client.closed()).await;
        let CloseReason::Connection(text) = &reason else { panic!("{reason:?}") };
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn no_router_talks_a_client_into_another_proof() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let secret = Secret::new("correct horse");
    let authentication = Authentication::WampCra { authid: "ada".into(), secret };
    let config = ClientConfig { authentication, ..config(&listener) };
    let ask = async {
        let mut evil = accept(&listener).await;
        let hello = evil.hear().await;
        assert_eq!(hello[2]["authmethods"], json!(["wampcra"]));
        evil.say(&json!([4, "ticket", {}])).await;
        let mut said = String::new();
        while let Some(Ok(frame)) = evil.socket.next().await {
            said.push_str(frame.to_text().unwrap_or_default());
        }
        said
    };
    let (error, said) = within(async { tokio::join!(Client::connect(&config), ask) }).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::Authentication { .. }), "{error}");
    assert!(!said.contains("correct horse"), "{said}");
}
