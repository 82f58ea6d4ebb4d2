//! What a role may do, by messages as they are on the wire.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use drover_wamp::{
    Allow, CallOptions, Disclose, Limits, MatchPolicy, Payload, Permission, RealmConfig, RoleConfig,
};
use kit::{REALM, RawClient, Site, raw_session, receive, send, within};
use serde_json::{Value, json};

const NONE: Allow = Allow { call: false, register: false, publish: false, subscribe: false };
const ALL: Allow = Allow { call: true, register: true, publish: true, subscribe: true };

fn rule(uri: &str, policy: MatchPolicy, allow: Allow) -> Permission {
    Permission { uri: uri.to_owned(), policy, allow, disclose: Disclose::default() }
}

/// A realm whose guests live under `guest.`, without `guest.secret.`, and may
/// listen to `news.today`.
async fn site() -> Site {
    let guest = RoleConfig {
        name: "guest".to_owned(),
        permissions: vec![
            rule("guest.", MatchPolicy::Prefix, ALL),
            rule("guest.secret.", MatchPolicy::Prefix, NONE),
            rule("news.today", MatchPolicy::Exact, Allow { subscribe: true, ..NONE }),
            rule("room..door", MatchPolicy::Wildcard, Allow { call: true, ..NONE }),
        ],
    };
    let realm = RealmConfig {
        name: REALM.to_owned(),
        anonymous: Some(guest.name.clone()),
        roles: vec![guest],
        principals: vec![],
    };
    Site::with_realms(vec![realm], Limits::default()).await
}

async fn ask(client: &mut RawClient, message: &Value) -> Value {
    send(client, message).await;
    receive(client).await
}

#[tokio::test]
async fn what_is_denied_is_an_error_that_names_it_and_the_session_goes_on() {
    let site = site().await;
    let (mut client, _) = raw_session(&site).await;
    let publish = json!({"acknowledge": true});
    for (message, words) in [
        (json!([48, 1, {}, "other.x"]), "`guest` may not call `other.x`"),
        (json!([48, 2, {}, "guest.secret.x"]), "may not call `guest.secret.x`"),
        (json!([48, 3, {}, "wamp.session.list"]), "may not call `wamp.session.list`"),
        (json!([64, 4, {}, "room.1.door"]), "may not register `room.1.door`"),
        (json!([64, 5, {"match": "prefix"}, "guest."]), "may not register `guest.` as a prefix"),
        (json!([16, 6, publish, "news.today"]), "may not publish to `news.today`"),
        (json!([32, 7, {}, "news.tomorrow"]), "may not subscribe to `news.tomorrow`"),
        (json!([32, 8, {"match": "prefix"}, "news."]), "may not subscribe to `news.` as a prefix"),
        (json!([32, 9, {"match": "wildcard"}, "guest.."]), "`guest..` as a wildcard"),
        (json!([32, 10, {"match": "prefix"}, ""]), "may not subscribe to `` as a prefix"),
        (json!([32, 11, {}, "wamp.session.on_join"]), "may not subscribe"),
    ] {
        let error = ask(&mut client, &message).await;
        let expected = json!([8, message[0], message[1], "wamp.error.not_authorized"]);
        assert_eq!(json!([error[0], error[1], error[2], error[4]]), expected, "{message}");
        assert!(error[5][0].as_str().unwrap().contains(words), "{error}");
    }
    for (message, answer) in [
        (json!([32, 20, {"match": "prefix"}, "guest.public."]), 33),
        (json!([32, 21, {}, "news.today"]), 33),
        (json!([64, 22, {"match": "prefix"}, "guest.public."]), 65),
        (json!([16, 23, publish, "guest.x"]), 17),
    ] {
        assert_eq!(ask(&mut client, &message).await[0], answer, "{message}");
    }
    let error = ask(&mut client, &json!([48, 24, {}, "room.1.door"])).await;
    assert_eq!(error[4], "wamp.error.no_such_procedure", "allowed, though nobody is there");
}

#[tokio::test]
async fn a_denied_publication_without_acknowledgement_is_dropped_in_silence() {
    let site = site().await;
    let trusted = site.attach();
    let mut news = trusted.subscribe("news.today", Default::default()).await.unwrap();
    let (mut client, _) = raw_session(&site).await;
    send(&mut client, &json!([16, 1, {}, "news.today", ["forged"]])).await;
    let answer = ask(&mut client, &json!([16, 2, {"acknowledge": true}, "guest.x"])).await;
    assert_eq!((&answer[0], &answer[1]), (&json!(17), &json!(2)), "nothing came for the first");
    let other = site.attach();
    other.publish("news.today", Payload::one("true").unwrap(), Default::default()).await.unwrap();
    let event = within(news.next()).await.unwrap();
    assert_eq!(event.payload.first::<String>().unwrap(), "true");
}

#[tokio::test]
async fn a_session_of_this_process_may_do_everything_or_what_its_role_may() {
    let site = site().await;
    let _registration =
        site.attach().register("other.x", Default::default()).await.expect("it may do everything");
    let guest = site.router.attach_as(REALM, "guest").unwrap();
    let call = guest.call("other.x", Payload::empty(), CallOptions::default());
    let error = within(call).await.unwrap_err().to_string();
    assert!(error.contains("`guest` may not call `other.x`"), "{error}");
    let error = site.router.attach_as(REALM, "nobody").unwrap_err().to_string();
    assert!(error.contains("no role `nobody`") && error.contains("guest"), "{error}");
}
