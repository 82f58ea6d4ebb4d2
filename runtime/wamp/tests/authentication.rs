//! Who joins, and what others are told, by messages as they are on the wire.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as well")]

mod kit;

use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER};
use drover_wamp::{CraSecret, Limits, PrincipalConfig, RealmConfig, Secret, SigningKey};
use kit::{RawClient, Site, next_frame, raw_client, receive, send};
use ring::{hmac, pbkdf2, signature};
use serde_json::{Value, json};

/// A realm whose guests may stay, one where everybody has to be somebody, and
/// one that nobody can join.
async fn site(limits: Limits) -> Site {
    let principal = |authid: &str| PrincipalConfig {
        authid: authid.to_owned(),
        role: "anonymous".to_owned(),
        ticket: None,
        cra: None,
        public_keys: vec![],
    };
    let closed = |name: &str| RealmConfig { anonymous: None, ..RealmConfig::open(name) };
    let members = RealmConfig {
        principals: vec![
            PrincipalConfig { ticket: Some(Secret::new("letmein")), ..principal("tina") },
            PrincipalConfig {
                cra: Some(CraSecret::Plain(Secret::new("plain"))),
                ..principal("carl")
            },
            PrincipalConfig {
                cra: Some(CraSecret::salted(&Secret::new("salty"), "salt", 100, 32).unwrap()),
                ..principal("sally")
            },
            PrincipalConfig {
                public_keys: vec![SigningKey::from_seed(&[1; 32]).unwrap().public_key()],
                ..principal("kim")
            },
        ],
        ..closed("members")
    };
    let realms = vec![RealmConfig::open("guests"), members, closed("nobody")];
    Site::with_realms(realms, limits).await
}

fn hello(realm: &str, mut details: Value) -> Value {
    details["roles"] = json!({"caller": {}, "subscriber": {}});
    json!([1, realm, details])
}

/// Says hello as somebody; what comes back is beside the client.
async fn greet(site: &Site, authid: &str, method: &str) -> (RawClient, Value) {
    let mut client = raw_client(site, "wamp.2.json").await;
    let mut details = json!({"authid": authid, "authmethods": [method]});
    if method == "cryptosign" {
        let key = signing_key(1);
        let public = HEXLOWER.encode(signature::KeyPair::public_key(&key).as_ref());
        details["authextra"] = json!({"pubkey": public, "channel_binding": null});
    }
    send(&mut client, &hello("members", details)).await;
    let answer = receive(&mut client).await;
    (client, answer)
}

fn signing_key(seed: u8) -> signature::Ed25519KeyPair {
    signature::Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

/// What somebody with these secrets answers a challenge.
fn answer(challenge: &Value, secret: &str, seed: u8) -> Value {
    let extra = &challenge[2];
    let text = extra["challenge"].as_str().unwrap_or_default();
    let signature = match challenge[1].as_str().unwrap() {
        "ticket" => secret.to_owned(),
        "wampcra" => {
            let key = match (extra["salt"].as_str(), extra["iterations"].as_u64()) {
                (Some(salt), Some(rounds)) => {
                    let rounds = u32::try_from(rounds).unwrap().try_into().unwrap();
                    let mut key = vec![0; extra["keylen"].as_u64().unwrap().try_into().unwrap()];
                    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
                    pbkdf2::derive(algorithm, rounds, salt.as_bytes(), secret.as_bytes(), &mut key);
                    BASE64.encode(&key)
                }
                _ => secret.to_owned(),
            };
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
            BASE64.encode(hmac::sign(&key, text.as_bytes()).as_ref())
        }
        "cryptosign" => {
            let signature = signing_key(seed).sign(&HEXLOWER.decode(text.as_bytes()).unwrap());
            HEXLOWER.encode(signature.as_ref()) + text
        }
        other => panic!("{other}"),
    };
    json!([5, signature, {}])
}

fn assert_aborted(message: &Value, uri: &str) {
    assert_eq!((&message[0], &message[2]), (&json!(3), &json!(uri)), "{message}");
}

#[tokio::test]
async fn each_method_lets_in_whoever_has_the_secret_and_nobody_else() {
    let site = site(Limits::default()).await;
    for (authid, method, secret) in [
        ("tina", "ticket", "letmein"),
        ("carl", "wampcra", "plain"),
        ("sally", "wampcra", "salty"),
        ("kim", "cryptosign", ""),
    ] {
        let (mut client, challenge) = greet(&site, authid, method).await;
        assert_eq!((&challenge[0], &challenge[1]), (&json!(4), &json!(method)), "{challenge}");
        send(&mut client, &answer(&challenge, secret, 1)).await;
        let welcome = receive(&mut client).await;
        assert_eq!(welcome[0], 2, "{welcome}");
        let expected = json!([authid, "anonymous", method, "static", "members"]);
        let details = &welcome[2];
        let told = ["authid", "authrole", "authmethod", "authprovider", "realm"];
        assert_eq!(json!(told.map(|key| &details[key])), expected);

        let (mut client, challenge) = greet(&site, authid, method).await;
        send(&mut client, &answer(&challenge, "wrong", 2)).await;
        assert_aborted(&receive(&mut client).await, "wamp.error.authentication_denied");
        assert!(next_frame(&mut client).await.is_close());
    }
}

#[tokio::test]
async fn an_answer_is_good_for_its_own_question_only() {
    let site = site(Limits::default()).await;
    for (authid, method, secret) in [("carl", "wampcra", "plain"), ("kim", "cryptosign", "")] {
        let (mut client, challenge) = greet(&site, authid, method).await;
        let overheard = answer(&challenge, secret, 1);
        send(&mut client, &overheard).await;
        assert_eq!(receive(&mut client).await[0], 2);
        let (mut replaying, _) = greet(&site, authid, method).await;
        send(&mut replaying, &overheard).await;
        assert_aborted(&receive(&mut replaying).await, "wamp.error.authentication_denied");
    }
}

#[tokio::test]
async fn a_wampcra_challenge_tells_the_session_that_there_will_be() {
    let site = site(Limits::default()).await;
    let (mut client, challenge) = greet(&site, "carl", "wampcra").await;
    let text = challenge[2]["challenge"].as_str().unwrap();
    let promised: Value = serde_json::from_str(text).unwrap();
    send(&mut client, &answer(&challenge, "plain", 1)).await;
    let welcome = receive(&mut client).await;
    assert_eq!(promised["session"], welcome[1], "{welcome}");
    assert_eq!(promised["authrole"], welcome[2]["authrole"], "{welcome}");
}

#[tokio::test]
async fn a_stranger_hears_what_somebody_with_a_wrong_secret_hears() {
    let site = site(Limits::default()).await;
    for index in 0..20 {
        for method in ["ticket", "wampcra", "cryptosign"] {
            let (mut client, challenge) = greet(&site, &format!("stranger{index}"), method).await;
            if challenge[0] == 3 {
                // As somebody who is known and has another method would.
                assert_aborted(&challenge, "wamp.error.no_auth_method");
                continue;
            }
            send(&mut client, &answer(&challenge, "wrong", 1)).await;
            let abort = receive(&mut client).await;
            assert_aborted(&abort, "wamp.error.authentication_denied");
        }
    }
}

#[tokio::test]
async fn a_realm_without_guests_says_what_it_wants() {
    let site = site(Limits::default()).await;
    for (realm, details, uri, word) in [
        ("members", json!({}), "wamp.error.no_auth_method", "ticket, wampcra, cryptosign"),
        ("members", json!({"authmethods": ["scram"]}), "wamp.error.no_auth_method", "scram"),
        ("members", json!({"authmethods": ["ticket"]}), "wamp.error.no_such_principal", "authid"),
        ("nobody", json!({}), "wamp.error.no_auth_method", "nobody"),
        ("guests", json!({"authrole": "admin"}), "wamp.error.no_such_role", "admin"),
        ("elsewhere", json!({}), "wamp.error.no_such_realm", "elsewhere"),
    ] {
        let mut client = raw_client(&site, "wamp.2.json").await;
        send(&mut client, &hello(realm, details)).await;
        let abort = receive(&mut client).await;
        assert_aborted(&abort, uri);
        assert!(abort[1]["message"].as_str().unwrap().contains(word), "{abort}");
    }
    let mut client = raw_client(&site, "wamp.2.json").await;
    send(&mut client, &hello("guests", json!({}))).await;
    assert_eq!(receive(&mut client).await[2]["authmethod"], "anonymous");
}

#[tokio::test]
async fn a_handshake_out_of_order_is_over() {
    let site = site(Limits::default()).await;
    let violation = "wamp.error.protocol_violation";
    let ticket = json!([5, "letmein", {}]);

    let mut client = raw_client(&site, "wamp.2.json").await;
    send(&mut client, &ticket).await;
    assert_aborted(&receive(&mut client).await, violation);

    for early in [hello("guests", json!({})), json!([48, 1, {}, "a.b"])] {
        let (mut client, challenge) = greet(&site, "tina", "ticket").await;
        assert_eq!(challenge[0], 4);
        send(&mut client, &early).await;
        assert_aborted(&receive(&mut client).await, violation);
    }

    // Once it has joined, a session cannot prove to be somebody else.
    for late in [ticket.clone(), hello("members", json!({}))] {
        let (mut client, _) = greet(&site, "tina", "ticket").await;
        send(&mut client, &ticket).await;
        assert_eq!(receive(&mut client).await[0], 2);
        send(&mut client, &late).await;
        assert_aborted(&receive(&mut client).await, violation);
    }

    // A second try needs a second connection.
    let (mut client, _) = greet(&site, "tina", "ticket").await;
    send(&mut client, &json!([5, "wrong", {}])).await;
    assert_aborted(&receive(&mut client).await, "wamp.error.authentication_denied");
    assert!(next_frame(&mut client).await.is_close());

    // A client may think better of it.
    let (mut client, _) = greet(&site, "tina", "ticket").await;
    send(&mut client, &json!([3, {"message": "no secret"}, "wamp.error.cannot_authenticate"]))
        .await;
    assert!(next_frame(&mut client).await.is_close());
}

#[tokio::test]
async fn a_client_that_takes_its_time_with_the_answer_is_not_waited_for() {
    let handshake_timeout = Duration::from_secs(1);
    let site = site(Limits { handshake_timeout, ..Limits::default() }).await;
    let (mut client, challenge) = greet(&site, "tina", "ticket").await;
    assert_eq!(challenge[0], 4);
    let abort = receive(&mut client).await;
    assert_aborted(&abort, "wamp.error.protocol_violation");
    assert!(abort[1]["message"].as_str().unwrap().contains("AUTHENTICATE"), "{abort}");
}
