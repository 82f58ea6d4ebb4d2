//! Who gets in, and that everybody else hears the same.

use super::*;
use crate::auth::{SigningKey, cra};
use crate::message::{ChallengeDetails, Message};
use crate::router::config::RoleConfig;

const NONCE: [u8; 32] = [7; 32];

fn fresh() -> Fresh {
    Fresh { nonce: NONCE, session: SessionId(42), now: SystemTime::UNIX_EPOCH }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn principal(authid: &str) -> PrincipalConfig {
    PrincipalConfig {
        authid: authid.to_owned(),
        role: "operator".to_owned(),
        ticket: None,
        cra: None,
        public_keys: vec![],
    }
}

fn realm() -> RealmConfig {
    let role = |name: &str| RoleConfig { name: name.to_owned(), permissions: vec![] };
    let salted = CraSecret::salted(&Secret::new("salty"), "Salt01", 10, 32).unwrap();
    RealmConfig {
        name: "test".to_owned(),
        roles: vec![role("guest"), role("operator")],
        anonymous: None,
        principals: vec![
            PrincipalConfig { ticket: Some(Secret::new("letmein")), ..principal("tina") },
            PrincipalConfig {
                cra: Some(CraSecret::Plain(Secret::new("plain"))),
                ..principal("carl")
            },
            PrincipalConfig { cra: Some(salted), ..principal("sally") },
            PrincipalConfig { public_keys: vec![key(1).public_key()], ..principal("kim") },
        ],
    }
}

fn hello(methods: &[&str], authid: Option<&str>) -> HelloDetails {
    HelloDetails {
        authid: authid.map(str::to_owned),
        authmethods: Some(methods.iter().map(|name| (*name).to_owned()).collect()),
        ..HelloDetails::default()
    }
}

fn with_key(authid: Option<&str>, seed: u8) -> HelloDetails {
    let mut details = hello(&["cryptosign"], authid);
    details.authextra.get_or_insert_default().pubkey = Some(key(seed).public_key().to_string());
    details
}

fn asked(details: &HelloDetails) -> (Pending, ChallengeDetails) {
    match Authenticator::new(&realm(), false).greet(details, &fresh()) {
        Greeting::Challenge(pending) => {
            let Message::Challenge { method, extra } = pending.challenge() else { panic!() };
            assert_eq!(method, pending.method());
            (pending, *extra)
        }
        other => panic!("{other:?}"),
    }
}

fn aborted(realm: &RealmConfig, details: &HelloDetails) -> Refusal {
    match Authenticator::new(realm, false).greet(details, &fresh()) {
        Greeting::Abort(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_ticket_lets_its_principal_in_and_nobody_else() {
    let (pending, extra) = asked(&hello(&["ticket"], Some("tina")));
    assert_eq!(extra, ChallengeDetails::default());
    let identity = pending.answer("letmein").unwrap();
    assert_eq!((identity.authid.as_str(), identity.authrole.as_str()), ("tina", "operator"));
    assert_eq!(
        (identity.authmethod.as_str(), identity.authprovider.as_str()),
        ("ticket", "static")
    );
    for wrong in ["", "letmei", "letmeinn", "LETMEIN"] {
        let (pending, _) = asked(&hello(&["ticket"], Some("tina")));
        assert_eq!(pending.answer(wrong).unwrap_err().uri, error::AUTHENTICATION_DENIED);
    }
}

#[test]
fn wampcra_wants_a_signature_with_the_secret_or_what_is_derived_of_it() {
    let (pending, extra) = asked(&hello(&["wampcra"], Some("carl")));
    let challenge = extra.challenge.unwrap();
    assert!(extra.salt.is_none());
    let expected = serde_json::json!({
        "authid": "carl", "authrole": "operator", "authmethod": "wampcra",
        "authprovider": "static", "nonce": to_hex(&NONCE), "session": 42,
        "timestamp": "1970-01-01T00:00:00.000Z",
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&challenge).unwrap(), expected);
    assert!(pending.answer(&cra::sign(&Secret::new("plain"), &challenge)).is_ok());

    let (pending, extra) = asked(&hello(&["wampcra"], Some("sally")));
    assert_eq!(
        (extra.salt.as_deref(), extra.iterations, extra.keylen),
        (Some("Salt01"), Some(10), Some(32))
    );
    let key = cra::derive_key(&Secret::new("salty"), "Salt01", 10, 32).unwrap();
    let challenge = extra.challenge.unwrap();
    assert_eq!(pending.answer(&cra::sign(&key, &challenge)).unwrap().authmethod, "wampcra");

    let (pending, _) = asked(&hello(&["wampcra"], Some("sally")));
    assert!(pending.answer(&cra::sign(&Secret::new("salty"), &challenge)).is_err());
}

#[test]
fn cryptosign_wants_the_key_that_the_principal_has() {
    for authid in [Some("kim"), None] {
        let (pending, extra) = asked(&with_key(authid, 1));
        let signature = key(1).sign(&extra.challenge.unwrap()).unwrap();
        assert_eq!(pending.answer(&signature).unwrap().authid, "kim");
    }
    for (authid, seed) in [(Some("kim"), 2), (None, 2), (Some("carol"), 1), (Some("carol"), 2)] {
        let Greeting::Challenge(pending) =
            Authenticator::new(&realm(), false).greet(&with_key(authid, seed), &fresh())
        else {
            continue;
        };
        let signature = key(seed).sign(&to_hex(&NONCE)).unwrap();
        let refusal = pending.answer(&signature).unwrap_err();
        assert_eq!(refusal.uri, error::AUTHENTICATION_DENIED, "{authid:?} {seed}");
    }
    let (pending, _) = asked(&with_key(Some("kim"), 1));
    let replayed = key(1).sign(&"00".repeat(32)).unwrap();
    assert!(pending.answer(&replayed).is_err());
}

#[test]
fn what_cryptosign_cannot_do_is_said() {
    let mut bound = with_key(None, 1);
    bound.authextra.as_mut().unwrap().channel_binding = Some("tls-unique".to_owned());
    let mut broken = with_key(None, 1);
    broken.authextra.as_mut().unwrap().pubkey = Some("abc".to_owned());
    for (details, word) in [
        (bound, "`tls-unique`"),
        (broken, "64 hexadecimal digits"),
        (hello(&["cryptosign"], Some("kim")), "authextra.pubkey"),
    ] {
        let refusal = aborted(&realm(), &details);
        assert_eq!(refusal.uri, error::AUTHENTICATION_FAILED);
        assert!(refusal.text.contains(word), "{refusal}");
    }
}

#[test]
fn anonymous_sessions_are_for_realms_that_say_so() {
    let closed = realm();
    let open = RealmConfig { anonymous: Some("guest".to_owned()), ..realm() };
    for details in [HelloDetails::default(), hello(&[], None), hello(&["anonymous"], Some("x"))] {
        let refusal = aborted(&closed, &details);
        assert_eq!(refusal.uri, error::NO_AUTH_METHOD);
        assert!(refusal.text.contains("ticket, wampcra, cryptosign"), "{refusal}");
        match Authenticator::new(&open, false).greet(&details, &fresh()) {
            Greeting::Welcome(identity) => {
                assert_eq!(identity.authrole, "guest");
                assert_ne!(identity.authid, "x", "nobody has proved to be that");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_first_method_that_both_sides_know_is_taken() {
    let offered = hello(&["scram", "anonymous", "wampcra", "ticket"], Some("carl"));
    assert_eq!(asked(&offered).0.method(), "wampcra");
    let offered = hello(&["wampcra", "ticket"], Some("tina"));
    assert_eq!(asked(&offered).0.method(), "ticket", "hers, though others have the other");
    assert_eq!(aborted(&realm(), &hello(&["scram"], Some("tina"))).uri, error::NO_AUTH_METHOD);
    let many = [&["scram"; MAX_OFFERED][..], &["ticket"]].concat();
    assert_eq!(aborted(&realm(), &hello(&many, Some("tina"))).uri, error::NO_AUTH_METHOD);
    let nameless = aborted(&realm(), &hello(&["ticket"], None));
    assert_eq!(nameless.uri, error::NO_SUCH_PRINCIPAL);
}

#[test]
fn who_insists_on_another_role_is_refused_after_the_proof() {
    for (wish, expected) in [("operator", None), ("admin", Some(error::NO_SUCH_ROLE))] {
        let authrole = Some(wish.to_owned());
        let details = HelloDetails { authrole, ..hello(&["ticket"], Some("tina")) };
        let answer = asked(&details).0.answer("letmein");
        assert_eq!(answer.err().map(|refusal| refusal.uri), expected);
        assert_eq!(asked(&details).0.answer("no").unwrap_err().uri, error::AUTHENTICATION_DENIED);
    }
}

/// Strangers are asked like somebody who is known, always in the same way, and
/// hear the same words in the end.
#[test]
fn a_stranger_cannot_tell_which_names_are_known() {
    let all = ["ticket", "wampcra"];
    let denied = asked(&hello(&all, Some("tina"))).0.answer("wrong").unwrap_err();
    let mut salts = Vec::new();
    for index in 0..200 {
        let name = format!("stranger{index}");
        let details = hello(&all, Some(&name));
        let greeting = || Authenticator::new(&realm(), false).greet(&details, &fresh());
        let (first, second) = match (greeting(), greeting()) {
            (Greeting::Challenge(first), Greeting::Challenge(second)) => (first, second),
            // In the likeness of kim, who has neither method.
            (Greeting::Abort(refusal), _) => {
                assert_eq!(refusal, aborted(&realm(), &hello(&all, Some("kim"))));
                continue;
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(first.challenge(), second.challenge(), "over a restart as well");
        let Message::Challenge { extra, .. } = first.challenge() else { panic!() };
        salts.extend(extra.salt);
        let refusal = first.answer("wrong").unwrap_err();
        assert_eq!(refusal.uri, denied.uri);
        assert_eq!(refusal.text.split_once(':').unwrap().1, denied.text.split_once(':').unwrap().1);
    }
    assert!(salts.len() > 10, "{salts:?}");
    for salt in &salts {
        assert!(salt.len() == 6 && salt.chars().all(|letter| letter.is_ascii_alphanumeric()));
    }
}

#[test]
fn no_output_shows_a_secret() {
    let shown = format!("{:?} {:?}", realm(), Authenticator::new(&realm(), false));
    let (pending, _) = asked(&hello(&["wampcra"], Some("carl")));
    let shown = format!("{shown} {pending:?}");
    for secret in ["letmein", "plain", "salty"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[test]
fn what_is_wrong_with_a_realm_is_named() {
    type Edit = fn(&mut RealmConfig);
    let edited = |edit: Edit| {
        let mut realm = realm();
        edit(&mut realm);
        RealmConfig::check_all(&[realm]).map_err(|error| error.to_string())
    };
    assert_eq!(edited(|_| {}), Ok(()));
    let cases: [(Edit, &str); 9] = [
        (|realm| realm.name = "a b".to_owned(), "`name`"),
        (|realm| realm.roles.push(realm.roles[0].clone()), "`roles.guest`"),
        (
            |realm| realm.anonymous = Some("nobody".to_owned()),
            "no role `nobody`, only guest, operator",
        ),
        (|realm| realm.principals.push(realm.principals[0].clone()), "`principals.tina`"),
        (|realm| realm.principals[0].role = "boss".to_owned(), "`principals.tina.role`"),
        (|realm| realm.principals[0].ticket = None, "`principals.tina`: set a ticket"),
        (|realm| realm.principals[0].ticket = Some(Secret::new("")), "`principals.tina.ticket`"),
        (
            |realm| realm.principals[1].cra = Some(CraSecret::Plain(Secret::new(""))),
            "`principals.carl.secret`",
        ),
        (
            |realm| realm.principals[0].public_keys = vec![key(1).public_key()],
            "`principals.kim.public_keys`",
        ),
    ];
    for (edit, expected) in cases {
        let error = edited(edit).unwrap_err();
        assert!(error.starts_with("realm `") && error.contains(expected), "{error}");
    }
    assert!(RealmConfig::check_all(&[realm(), realm()]).is_err());
}
