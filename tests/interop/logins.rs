//! Clients of others prove who they are, in every way that we know.

use drover_tests::{Peer, Site};
use serde_json::{Value, json};

use crate::DROVER;

const REALM: &str = "guarded";

/// `ann` has a ticket, `ben` a secret, `cem` a salted one and `dee` a key.
const CONFIG: &str = r#"
[realms.guarded.roles]
operator = [
    { uri = "", match = "prefix", allow = { call = true, register = true, subscribe = true, publish = true } },
]
reader = [{ uri = "com.example.public", match = "prefix", allow = { subscribe = true } }]

[realms.guarded.principals.ann]
role = "reader"
ticket = "ann's ticket"

[realms.guarded.principals.ben]
role = "operator"
secret = "ben's secret"

[realms.guarded.principals.cem]
role = "operator"
secret = "cem's secret"
salted = { salt = "some salt", iterations = 1000, key_length = 32 }

[realms.guarded.principals.dee]
role = "operator"
public_keys = ["8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"]
"#;

/// What each of them says at the door.
fn logins() -> [Value; 4] {
    // The pair of the public key above: its seed is 32 times the byte 2.
    let key = "02".repeat(32);
    [
        json!({"method": "ticket", "authid": "ann", "ticket": "ann's ticket"}),
        json!({"method": "wampcra", "authid": "ben", "secret": "ben's secret"}),
        json!({"method": "wampcra", "authid": "cem", "secret": "cem's secret"}),
        json!({"method": "cryptosign", "authid": "dee", "privkey": key}),
    ]
}

/// The same with something else in place of the secret.
fn forged(login: &Value) -> Value {
    let mut forged = login.clone();
    let secret = ["ticket", "secret", "privkey"].into_iter().find(|name| login.get(name).is_some());
    forged[secret.unwrap()] = json!("03".repeat(32));
    forged
}

#[test]
fn who_proves_who_they_are_is_let_in_and_who_does_not_is_told() {
    let site = Site::start_with(DROVER, CONFIG);
    for peer in [Peer::python(), Peer::javascript()] {
        for login in logins() {
            let session = peer.try_join(&site.url, REALM, "msgpack", &login).unwrap();
            assert_eq!(session.welcome["login"], login["authid"]);
            let role = if login["authid"] == "ann" { "reader" } else { "operator" };
            assert_eq!(session.welcome["role"], role);

            let refused = peer.try_join(&site.url, REALM, "json", &forged(&login)).err().unwrap();
            assert_eq!(refused.uri, "wamp.error.authentication_denied", "{login} {refused:?}");
        }
        let nobody = json!({"method": "ticket", "authid": "nobody", "ticket": "any"});
        for stranger in [nobody, Value::Null] {
            let refused = peer.try_join(&site.url, REALM, "json", &stranger).err().unwrap();
            assert!(refused.uri.starts_with("wamp.error."), "{refused:?}");
        }
    }
}

#[test]
fn a_role_may_do_what_its_rules_say() {
    let site = Site::start_with(DROVER, CONFIG);
    let peer = Peer::python();
    let [reader, _, operator, callee] = logins();
    let join = |login| peer.try_join(&site.url, REALM, "cbor", &login).unwrap();
    let (reader, operator, callee) = (join(reader), join(operator), join(callee));

    callee.register("com.example.echo", "echo", json!({})).unwrap();
    assert!(operator.call("com.example.echo", json!([]), json!({})).is_ok());

    let refused = reader.call("com.example.echo", json!([]), json!({})).unwrap_err();
    assert_eq!(refused.uri, "wamp.error.not_authorized");
    let refused = reader.subscribe("com.example.secret", json!({})).err().unwrap();
    assert_eq!(refused.uri, "wamp.error.not_authorized");
    let subscription = reader.subscribe("com.example.public.news", json!({})).unwrap();
    operator.publish("com.example.public.news", json!(["new"]), json!({}), json!({})).unwrap();
    let event = &reader.events(subscription, 1)[0];
    assert_eq!(event["args"], json!(["new"]));
}
