//! Events between sessions.

mod kit;

use drover_wamp::{
    Limits, MatchPolicy, Payload, PublishOptions, Serializer, SessionId, SubscribeOptions, uri,
};
use kit::{Site, within};

fn acknowledged() -> PublishOptions {
    PublishOptions { acknowledge: true, ..PublishOptions::default() }
}

#[tokio::test]
async fn an_event_reaches_every_subscriber_in_its_own_serializer() {
    let site = Site::start().await;
    let publisher = site.client().await;
    let mut subscribers = vec![site.attach()];
    for serializer in Serializer::ALL {
        subscribers.push(site.connect(*serializer).await);
    }
    let mut inboxes = Vec::new();
    for client in subscribers {
        for (topic, policy) in [
            ("drover.node.heartbeat", MatchPolicy::Exact),
            ("drover.", MatchPolicy::Prefix),
            ("drover..heartbeat", MatchPolicy::Wildcard),
        ] {
            let options = SubscribeOptions { policy, ..SubscribeOptions::default() };
            inboxes.push(client.subscribe(topic, options).await.unwrap());
        }
    }
    for is_urgent in [false, true] {
        let options = PublishOptions { is_urgent, ..acknowledged() };
        let payload = Payload::one(&(1, "two")).unwrap();
        within(publisher.publish("drover.node.heartbeat", payload, options)).await.unwrap();
        for inbox in &mut inboxes {
            let event = within(inbox.next()).await.unwrap();
            assert_eq!(event.topic, "drover.node.heartbeat");
            assert_eq!(event.payload.first::<(u32, String)>().unwrap(), (1, "two".to_owned()));
        }
    }
}

#[tokio::test]
async fn a_publisher_hears_itself_only_if_it_wants_to() {
    let site = Site::start().await;
    let client = site.client().await;
    let mut inbox = client.subscribe("test.t", SubscribeOptions::default()).await.unwrap();
    let number = |number: u32| Payload::one(&number).unwrap();
    within(client.publish("test.t", number(1), acknowledged())).await.unwrap();
    let to_me = PublishOptions { exclude_me: false, ..acknowledged() };
    within(client.publish("test.t", number(2), to_me)).await.unwrap();
    assert_eq!(within(inbox.next()).await.unwrap().payload.first::<u32>().unwrap(), 2);
}

#[tokio::test]
async fn the_router_tells_who_has_left_however_it_left() {
    let site = Site::start().await;
    let watcher = site.attach();
    let mut left = watcher.subscribe(uri::ON_LEAVE, SubscribeOptions::default()).await.unwrap();
    let (polite, rude, local) = (site.client().await, site.client().await, site.attach());
    let expected = [(&polite, "anonymous"), (&rude, "anonymous"), (&local, "trusted")];
    let mut expected = expected.map(|(client, role)| (client.session(), role.to_owned()));
    polite.close().await;
    let first = within(left.next()).await.unwrap();
    drop((rude, local));
    let events = [first, within(left.next()).await.unwrap(), within(left.next()).await.unwrap()];
    let mut told = events.map(|event| {
        let (session, _, role): (SessionId, String, String) = event.payload.args().unwrap();
        (session, role)
    });
    told[1..].sort_unstable();
    expected[1..].sort_unstable();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_subscription_that_is_not_read_says_how_many_events_it_lost() {
    let site = Site::start().await;
    let (publisher, subscriber) = (site.client().await, site.client().await);
    let options = SubscribeOptions { max_queued_bytes: 1, ..SubscribeOptions::default() };
    let mut inbox = subscriber.subscribe("test.t", options).await.unwrap();
    let mut witness = subscriber.subscribe("test.t", SubscribeOptions::default()).await.unwrap();
    for number in 0..5_u32 {
        let payload = Payload::one(&number).unwrap();
        within(publisher.publish("test.t", payload, acknowledged())).await.unwrap();
        within(witness.next()).await.unwrap();
    }
    let first = within(inbox.next()).await.unwrap();
    assert_eq!((first.payload.first::<u32>().unwrap(), first.missed), (0, 0));
    within(publisher.publish("test.t", Payload::one(&5_u32).unwrap(), acknowledged()))
        .await
        .unwrap();
    let next = within(inbox.next()).await.unwrap();
    assert_eq!((next.payload.first::<u32>().unwrap(), next.missed), (5, 4));
}

#[tokio::test]
async fn a_subscriber_that_reads_nothing_loses_its_session_and_the_others_notice_nothing() {
    let limits = Limits {
        max_message_bytes: kit::MAX_MESSAGE,
        max_queued_bytes: kit::MAX_MESSAGE,
        ..Limits::default()
    };
    let site = Site::with_limits(limits).await;
    let watcher = site.attach();
    let mut left = watcher.subscribe(uri::ON_LEAVE, SubscribeOptions::default()).await.unwrap();
    let (mut sloth, session) = kit::raw_session(&site).await;
    kit::send(&mut sloth, &serde_json::json!([32, 1, {}, "test.flood"])).await;
    assert_eq!(kit::receive(&mut sloth).await[0], 33);
    let good = site.client().await;
    let mut inbox = good.subscribe("test.flood", SubscribeOptions::default()).await.unwrap();

    let publisher = site.client().await;
    let payload = Payload::one(&"x".repeat(500_000)).unwrap();
    let gone = async {
        loop {
            tokio::select! {
                event = left.next() => return event.unwrap(),
                sent = publisher.publish("test.flood", payload.clone(), acknowledged()) => {
                    sent.unwrap();
                    assert_eq!(inbox.next().await.unwrap().missed, 0);
                }
            }
        }
    };
    let (who, _, _): (u64, String, String) = within(gone).await.payload.args().unwrap();
    assert_eq!(who, session);
}
