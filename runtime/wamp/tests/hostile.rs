//! Peers that mean harm: they are held to their limits, the others are
//! answered all the while, and nothing of them stays behind.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use drover_wamp::{
    CallOptions, Client, Limits, Payload, PublishOptions, RegisterOptions, SubscribeOptions,
};
use kit::frames::{LAST, Peer, TEXT, frame};
use kit::{Site, within};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Registrations, subscriptions and pending calls of one session here.
const MAX_ENTRIES: usize = 1000;

/// How often an attack asks for what it gets [`MAX_ENTRIES`] times.
const ATTEMPTS: usize = 20_000;

/// How much is asked for before an attack reads the answers.
const CHUNK: usize = 500;

/// A router, somebody who watches it from inside, and an innocent peer.
struct Scene {
    site: Site,
    watcher: Client,
    innocent: Client,
}

impl Scene {
    async fn new() -> Self {
        Self::with_patience(Duration::from_secs(10)).await
    }

    async fn with_patience(handshake_timeout: Duration) -> Self {
        let site = Site::with_limits(Limits {
            max_message_bytes: kit::MAX_MESSAGE,
            max_queued_bytes: kit::MAX_MESSAGE,
            max_entries: MAX_ENTRIES,
            handshake_timeout,
            ..Limits::default()
        })
        .await;
        let (watcher, innocent) = (site.attach(), site.client().await);
        Self { site, watcher, innocent }
    }

    /// How many sessions there are, as the innocent learns over its connection.
    async fn count(&self) -> usize {
        within(self.innocent.call_as("wamp.session.count", &(), CallOptions::default()))
            .await
            .unwrap()
    }

    /// Waits for the attack, while the innocent asks and is answered.
    async fn endure<T>(&self, attack: impl Future<Output = T>) -> T {
        let asking = async {
            loop {
                self.count().await;
            }
        };
        self.count().await;
        tokio::select! {
            result = within(attack) => result,
            () = asking => unreachable!("the innocent never stops"),
        }
    }

    /// Waits until the attackers are gone, and makes sure that all of theirs is.
    async fn is_as_before(&self) {
        within(async { while self.count().await != 2 {} }).await;
        for list in ["wamp.registration.list", "wamp.subscription.list"] {
            let ids: BTreeMap<String, Vec<u64>> =
                within(self.watcher.call_as(list, &(), CallOptions::default())).await.unwrap();
            assert!(ids.values().all(Vec::is_empty), "{list}: {ids:?}");
        }
    }
}

fn text(message: &Value) -> Vec<u8> {
    frame(LAST | TEXT, message.to_string().as_bytes())
}

/// Sends requests and counts the answers that say that there is no more.
async fn refusals(peer: &mut Peer, requests: Vec<Value>) -> usize {
    let mut refused = 0;
    for chunk in requests.chunks(CHUNK) {
        let frames: Vec<_> = chunk.iter().flat_map(text).collect();
        peer.send(&frames).await;
        for _ in chunk {
            let answer = peer.message().await;
            refused += usize::from(answer[4] == "wamp.error.limit_reached");
        }
    }
    refused
}

/// Memory of this process, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

#[tokio::test]
async fn who_asks_without_end_and_reads_nothing_is_ended_alone() {
    let scene = Scene::new().await;
    let mut peer = Peer::join(&scene.site).await;
    let calls = text(&json!([48, 1, {}, "no.such.procedure"])).repeat(CHUNK);
    let attack = async { while peer.try_send(&calls).await.is_ok() {} };
    scene.endure(attack).await;
    scene.is_as_before().await;
}

#[tokio::test]
async fn a_subscriber_that_reads_nothing_is_ended_and_its_publisher_goes_on() {
    let scene = Scene::new().await;
    let mut peer = Peer::join(&scene.site).await;
    peer.send(&text(&json!([32, 1, {}, "test.t"]))).await;
    assert_eq!(peer.message().await[0], 33);
    let mut inbox = scene.innocent.subscribe("test.t", Default::default()).await.unwrap();
    let payload = Payload::one(&"x".repeat(100_000)).unwrap();
    let attack = async {
        let mut published = 0_u32;
        while scene.count().await == 3 {
            let options = PublishOptions { acknowledge: true, ..PublishOptions::default() };
            scene.watcher.publish("test.t", payload.clone(), options).await.unwrap();
            inbox.next().await.unwrap();
            published += 1;
        }
        published
    };
    assert!(scene.endure(attack).await > 10, "it is given the room that it has");
    drop(inbox);
    scene.is_as_before().await;
}

#[tokio::test]
async fn one_byte_at_a_time_is_no_way_to_stay() {
    let scene = Scene::with_patience(Duration::from_millis(300)).await;
    let mut slow = Vec::new();
    // An HTTP head without an end, and a HELLO that never is one.
    slow.push(TcpStream::connect(scene.site.address).await.unwrap());
    slow[0].write_all(b"GET /ws HTTP/1.1\r\nX-Slow: ").await.unwrap();
    slow.push(Peer::connect(&scene.site, "wamp.2.json").await.into_stream());
    slow[1].write_all(&text(&json!([1, "x".repeat(60_000)]))[..8]).await.unwrap();
    for stream in slow {
        let (mut read, mut write) = stream.into_split();
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        let trickle = async {
            loop {
                pace.tick().await;
                if write.write_all(b"x").await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let mut answer = Vec::new();
        let attack = async {
            tokio::select! {
                // A reset is as good an end as any.
                _ = read.read_to_end(&mut answer) => {}
                () = trickle => {}
            }
        };
        scene.endure(attack).await;
    }
    scene.is_as_before().await;
}

#[tokio::test]
async fn thousands_of_sessions_cost_little_and_leave_nothing() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    // Both ends of every connection are in this process.
    let many = usize::try_from(hard.saturating_sub(1000) / 2).unwrap().min(9000);
    let scene = Scene::new().await;
    let before = memory();
    let mut peers = Vec::with_capacity(many);
    while peers.len() < many {
        let attack = async {
            for _ in 0..1000.min(many - peers.len()) {
                peers.push(Peer::join(&scene.site).await);
            }
        };
        scene.endure(attack).await;
    }
    assert_eq!(scene.count().await, many + 2);
    let each = memory().saturating_sub(before) / u64::try_from(many).unwrap();
    assert!(each < 64 * 1024, "a session takes {each} bytes, both ends together");
    drop(peers);
    scene.is_as_before().await;
}

#[tokio::test]
async fn who_registers_without_end_is_refused_one_by_one() {
    let scene = Scene::new().await;
    let mut peer = Peer::join(&scene.site).await;
    let register = |number| json!([64, number, {}, format!("test.p{number}")]);
    let requests = (1..=ATTEMPTS).map(register).collect();
    assert_eq!(scene.endure(refusals(&mut peer, requests)).await, ATTEMPTS - MAX_ENTRIES);
    let subscribe = |number| json!([32, number, {"match": "prefix"}, format!("test.t{number}")]);
    let requests = (1..=ATTEMPTS).map(subscribe).collect();
    assert_eq!(scene.endure(refusals(&mut peer, requests)).await, ATTEMPTS - MAX_ENTRIES);
    drop(peer);
    scene.is_as_before().await;
}

#[tokio::test]
async fn calls_that_nobody_answers_are_so_many_and_no_more() {
    let scene = Scene::new().await;
    let mut callee = Peer::join(&scene.site).await;
    callee.send(&text(&json!([64, 1, {}, "test.black.hole"]))).await;
    assert_eq!(callee.message().await[0], 65);
    let mut caller = Peer::join(&scene.site).await;
    let call = |number| json!([48, number, {}, "test.black.hole", ["x".repeat(100)]]);
    let pending: Vec<_> = (1..=MAX_ENTRIES).flat_map(|number| text(&call(number))).collect();
    caller.send(&pending).await;
    let requests = (MAX_ENTRIES + 1..=ATTEMPTS).map(call).collect();
    assert_eq!(scene.endure(refusals(&mut caller, requests)).await, ATTEMPTS - MAX_ENTRIES);
    // Nobody owes anything to who has gone, and the callee is there for others.
    drop(caller);
    within(async { while scene.count().await != 3 {} }).await;
    let mut other = Peer::join(&scene.site).await;
    other.send(&text(&call(1))).await;
    drop(callee);
    let answer = within(other.message()).await;
    assert_eq!((&answer[2], &answer[4]), (&json!(1), &json!("wamp.error.canceled")));
    drop(other);
    scene.is_as_before().await;
}

#[tokio::test]
async fn sessions_that_come_and_go_leave_nothing() {
    let scene = Scene::new().await;
    let churn = async {
        for round in 0..200 {
            let client = scene.site.client().await;
            let registration = client.register("test.p", RegisterOptions::default());
            let _registration = within(registration).await;
            let _inbox = within(client.subscribe("test.t", SubscribeOptions::default())).await;
            let call = client.call("test.none", Payload::empty(), CallOptions::default());
            assert!(within(call).await.is_err());
            // Every other one goes without a word.
            if round % 2 == 0 {
                within(client.close()).await;
            }
        }
    };
    scene.endure(churn).await;
    scene.is_as_before().await;
}

#[tokio::test]
async fn a_storm_of_events_reaches_every_subscriber_in_order() {
    const SUBSCRIBERS: usize = 100;
    const EVENTS: u32 = 100;
    let scene = Scene::new().await;
    let mut subscribers = JoinSet::new();
    for _ in 0..SUBSCRIBERS {
        let client = scene.site.client().await;
        let mut inbox = client.subscribe("test.t", SubscribeOptions::default()).await.unwrap();
        subscribers.spawn(async move {
            for expected in 0..EVENTS {
                let event = within(inbox.next()).await.unwrap();
                assert_eq!(event.payload.first::<u32>().unwrap(), expected);
            }
            client.close().await;
        });
    }
    let storm = async {
        for number in 0..EVENTS {
            let payload = Payload::one(&number).unwrap();
            let options = PublishOptions { acknowledge: true, ..PublishOptions::default() };
            scene.watcher.publish("test.t", payload, options).await.unwrap();
        }
        while let Some(ended) = subscribers.join_next().await {
            ended.unwrap();
        }
    };
    scene.endure(storm).await;
    scene.is_as_before().await;
}
