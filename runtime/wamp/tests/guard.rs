//! A realm with a guard: whom it lets in, what it hears, and tokens over HTTP.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use drover_wamp::{
    Admitting, Allow, Applicant, Authentication, CallError, CallOptions, Caller, Client,
    ClientConfig, ConnectError, Ending, Guard, Guarded, Guest, MatchPolicy, Payload, Permission,
    Proof, RealmConfig, Refused, RegisterOptions, Registration, Router, RouterConfig, Secret,
    SigningKey, Verdict, uri,
};
use kit::http::{Answer, ask};
use kit::{REALM, Site, within};
use serde_json::json;
use tokio::task::JoinSet;

/// Lets in whoever has the ticket `good`, or the key of all sevens, under their
/// role; lets nobody call `test.no`.
#[derive(Debug, Default)]
struct Doorman {
    heard: Mutex<Vec<String>>,
}

impl Doorman {
    fn note(&self, text: String) {
        self.heard.lock().unwrap().push(text);
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

impl Guard for Doorman {
    fn admit(&self, applicant: Applicant) -> Admitting<'_> {
        Box::pin(async move {
            let is_good = match &applicant.proof {
                Proof::Ticket(ticket) => ticket.is("good"),
                Proof::Key(key) => *key == key_of(7).public_key(),
            };
            if !is_good {
                let is_slow = matches!(&applicant.proof, Proof::Ticket(one) if one.is("slow down"));
                return Err(Refused {
                    uri: uri::error::AUTHENTICATION_DENIED,
                    text: "not you".to_owned(),
                    retry_in: is_slow.then_some(Duration::from_secs(7)),
                });
            }
            let allow = Allow { call: true, ..Allow::default() };
            let permissions = vec![Permission {
                uri: "test.".to_owned(),
                policy: MatchPolicy::Prefix,
                allow,
                disclose: Default::default(),
            }];
            Ok(Guest {
                authid: applicant.authid.unwrap_or_else(|| "guest".to_owned()),
                role: applicant.role.unwrap_or_else(|| "visitor".to_owned()),
                permissions,
                badge: "a badge".to_owned(),
            })
        })
    }

    fn call(&self, caller: &Caller, procedure: &str, _payload: &Payload) -> Verdict {
        assert!(caller.peer.is_none_or(|peer| peer.ip().is_loopback()));
        let Caller { authid, badge, .. } = caller;
        self.note(format!("{authid} {} {procedure}", badge.as_deref().unwrap_or("none")));
        match procedure {
            "test.no" => Verdict::Deny("the doorman says no".to_owned()),
            "test.unheard" => Verdict::Pass,
            _ => Verdict::Watch(42),
        }
    }

    fn ended(&self, call: u64, ending: Ending<'_>) {
        self.note(format!("{call} {ending:?}"));
    }
}

fn key_of(byte: u8) -> SigningKey {
    SigningKey::from_seed(&[byte; 32]).unwrap()
}

/// A router whose guard it is, that nobody joins unknown, with a callee.
async fn site() -> (Site, Arc<Doorman>, JoinSet<()>) {
    let doorman = Arc::new(Doorman::default());
    let mut realm = RealmConfig::open(REALM);
    realm.anonymous = None;
    let guarded = Some(Guarded { realm: REALM.to_owned(), guard: doorman.clone() });
    let config = RouterConfig { realms: vec![realm], guarded, ..RouterConfig::default() };
    let site = Site::of(Router::new(config).unwrap(), None).await;
    let callee = site.attach();
    let all = RegisterOptions { policy: MatchPolicy::Prefix, ..RegisterOptions::default() };
    let calls = callee.register("test.", all).await.unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(serve(calls));
    (site, doorman, serving)
}

/// Answers everything but `test.wait`.
async fn serve(mut calls: Registration) {
    let mut waiting = Vec::new();
    while let Some(call) = calls.next().await {
        match call.procedure.as_str() {
            "test.wait" => waiting.push(call),
            _ => call.finish(Ok(Payload::one("hello").unwrap())).await,
        }
    }
}

fn with_ticket(site: &Site, ticket: &str) -> ClientConfig {
    let authentication =
        Authentication::Ticket { authid: "tina".into(), ticket: Secret::new(ticket) };
    ClientConfig { authentication, ..site.config() }
}

async fn refusal(config: &ClientConfig) -> (String, String) {
    match within(Client::connect(config)).await.unwrap_err() {
        ConnectError::Aborted { uri, message } => (uri, message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn whoever_the_guard_knows_joins_with_what_it_allows() {
    let (site, doorman, _serving) = site().await;
    let key = Authentication::Cryptosign { authid: None, key: Arc::new(key_of(7)) };
    let with_key = ClientConfig { authentication: key, ..site.config() };
    for config in [with_ticket(&site, "good"), with_key] {
        let client = within(Client::connect(&config)).await.unwrap();
        let answer: String =
            within(client.call_as("test.hello", &(), CallOptions::default())).await.unwrap();
        assert_eq!(answer, "hello");
        let refused = within(client.subscribe("test.news", Default::default())).await.unwrap_err();
        assert!(refused.to_string().contains("role `visitor` may not subscribe"), "{refused}");
    }
    let heard = doorman.heard();
    assert_eq!(heard[..2], ["tina a badge test.hello", "42 Answered"]);
}

#[tokio::test]
async fn whoever_it_does_not_know_hears_its_words_and_wrong_signatures_never_reach_it() {
    let (site, _, _serving) = site().await;
    let (uri, text) = refusal(&with_ticket(&site, "bad")).await;
    assert_eq!((uri.as_str(), text.as_str()), (uri::error::AUTHENTICATION_DENIED, "not you"));
    let key = Authentication::Cryptosign { authid: None, key: Arc::new(key_of(8)) };
    let stranger = ClientConfig { authentication: key, ..site.config() };
    assert_eq!(refusal(&stranger).await.1, "not you");
    let (uri, _) = refusal(&site.config()).await;
    assert_eq!(uri, uri::error::NO_AUTH_METHOD);
}

#[tokio::test]
async fn the_guard_hears_how_calls_end_and_can_refuse_them() {
    let (site, doorman, _serving) = site().await;
    let client = within(Client::connect(&with_ticket(&site, "good"))).await.unwrap();
    let call = |name: &'static str| client.call(name, Payload::empty(), CallOptions::default());
    let refused = within(call("test.no")).await.unwrap_err();
    let CallError::Application(error) = refused else { panic!("{refused:?}") };
    assert_eq!(error.uri, uri::error::NOT_AUTHORIZED);
    assert!(error.to_string().contains("the doorman says no"));
    // What the role's rules deny, the guard hears as well.
    assert!(within(call("other.thing")).await.is_err());
    assert!(within(call("test.unheard")).await.is_ok());
    let waiting =
        client.start("test.wait", Payload::empty(), CallOptions::default()).await.unwrap();
    // The answer to a later call shows that the first has arrived.
    assert!(within(call("test.hello")).await.is_ok());
    drop(waiting);
    within(client.close()).await;
    let expected = [
        "tina a badge test.no",
        "tina a badge other.thing",
        "42 Failed(\"wamp.error.not_authorized\")",
        "tina a badge test.unheard",
        "tina a badge test.wait",
        "tina a badge test.hello",
        "42 Answered",
    ];
    assert_eq!(doorman.heard()[..7], expected);
    within(async {
        while doorman.heard().len() < 8 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let last = doorman.heard()[7].clone();
    assert!(last == "42 Left" || last.contains("canceled"), "{last}");
}

async fn post(site: &Site, token: Option<&str>) -> Answer {
    let token = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\n"));
    let body = json!({"procedure": "test.hello"}).to_string();
    ask(site, "POST /call", &token, &body).await
}

#[tokio::test]
async fn a_request_with_a_token_is_made_as_whom_the_guard_knows_by_it() {
    let (site, doorman, _serving) = site().await;
    let answer = post(&site, Some("good")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["args"], json!(["hello"]));
    assert_eq!(doorman.heard()[0], "guest a badge test.hello");

    for (token, status) in [(None, 401), (Some("bad"), 401), (Some("slow down"), 429)] {
        let answer = post(&site, token).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.head.to_lowercase().contains("retry-after: 8"), status == 429);
        assert!(!answer.body.contains("bad"), "{answer:?}");
    }
}
