//! People with keys store plugins on the controller, and say what is current.

use std::fs;

use drover_api::{
    CatalogChanged, CatalogDetail, CatalogPiece, CatalogRead, CatalogWrite, CatalogWritten, Octets,
    procedures,
};
use drover_signing::ContentHash;
use drover_tests::{Site, http};
use drover_wamp::{CallOptions, Client, Payload, SubscribeOptions};
use serde_json::json;

use crate::shop::Shop;
use crate::{DROVER, keys};

#[test]
fn a_plugin_is_signed_pushed_listed_and_handed_out() {
    let shop = Shop::open();
    let detail = shop.push("1.2.0", &["--channel", "stable"]);
    assert_eq!((detail.name.as_str(), detail.version.signed_by.as_str()), ("hello", "release"));
    assert!(detail.operations.iter().any(|operation| operation.name == "greet"), "{detail:?}");

    let list = shop.list();
    assert_eq!((list.len(), list[0].channels[0].name.as_str()), (1, "stable"));
    assert_eq!(list[0].versions[0], detail.version);
    let table = shop.drover(&["list"]).ok();
    assert!(table.contains("hello") && table.contains("1.2.0") && table.contains("stable"));
    let shown = shop.drover(&["show", "hello@stable"]).ok();
    assert!(shown.contains("hello.greet") && shown.contains("signed by: release"), "{shown}");

    let statement = shop.statement().unwrap();
    assert_eq!(statement.current("hello", "stable"), Ok("1.2.0"));
    let stated = statement.version("hello", "1.2.0").unwrap();
    assert_eq!(stated.hash.to_string(), detail.version.hash);

    let path = format!("/catalog/{}", detail.version.hash);
    let head = http(&shop.address(), &format!("HEAD {path}"), "", "");
    assert_eq!(head.status, 200, "{head:?}");
    assert!(head.head.contains(&format!("content-length: {}", detail.version.length)));
    let none = http(&shop.address(), &format!("GET /catalog/{}", "0".repeat(64)), "", "");
    assert_eq!(none.status, 404, "{none:?}");
}

#[test]
fn what_is_unsigned_or_signed_by_a_stranger_is_refused_with_what_to_do() {
    let shop = Shop::open();
    let file = shop.hello("1.2.0", "");
    let error = shop.drover(&["push", &file]).failed(2);
    assert!(error.contains("is not signed: use --key, or `drover sign` before"), "{error}");

    let (stranger, _) = keys::new_key(&shop.site.path("."), "stranger");
    let error = shop.drover(&["push", &file, "--key", &stranger]).failed(1);
    assert!(error.contains("which is not trusted here; `release` ("), "{error}");
    assert_eq!(shop.list(), []);

    let untrusting = Site::start(DROVER);
    let cache = drover_tests::compiled();
    let line = ["catalog", "push", &file, "--key", &shop.key, "--cache", cache.to_str().unwrap()];
    let error = untrusting.drover(&line).failed(1);
    assert!(error.contains("add `[trusted_keys.NAME]` with `public_key"), "{error}");

    fs::write(shop.site.path("garbage.wasm"), "garbage").unwrap();
    let garbage = shop.site.path("garbage.wasm");
    let _ = shop.drover(&["push", garbage.to_str().unwrap(), "--key", &shop.key]).failed(2);
}

#[test]
fn a_node_runs_what_was_pushed_to_the_catalog() {
    let shop = Shop::open();
    let _a = shop.site.start_agent(1, "a", &shop.trust);
    shop.site.wait_until_ready("a", 0);
    for version in ["1.2.0", "1.3.0"] {
        let CatalogDetail { version: pushed, signature, .. } = shop.push(version, &[]);
        let arguments = json!({
            "name": "hello", "version": version, "hash": pushed.hash, "length": pushed.length,
            "signature": signature, "watch": "100ms",
        });
        let line = ["call", "a", "plugin.update", "--args", &arguments.to_string()];
        let answer = shop.site.drover(&line).ok();
        assert!(answer.contains("active"), "{answer}");
        let said = shop.site.drover(&["call", "a", "hello.greet", "name=Ada"]).ok();
        assert_eq!(said, "Hello, Ada!\n");
        let versions = shop.site.drover(&["plugin", "versions", "a", "hello"]).ok();
        assert!(versions.contains(version), "{versions}");
    }
}

#[test]
fn versions_are_compared_made_current_and_withdrawn() {
    let mut shop = Shop::open();
    shop.push("1.2.0", &["--channel", "stable"]);
    let file = shop.hello("1.3.0", "[asks]\nsysinfo = { reason = \"sees who is there\" }\n");
    let pushed = shop.drover(&["push", &file, "--key", &shop.key]);
    assert_eq!(pushed.status, Some(0), "{pushed:?}");

    let differences = shop.drover(&["diff", "hello", "stable", "1.3.0"]).ok();
    assert!(differences.contains("operations: the same"), "{differences}");
    assert!(
        differences.contains("asks\n    + what the node is made of: sees who is there"),
        "{differences}"
    );

    let error = shop.drover(&["yank", "hello", "1.2.0", "--key", &shop.key]).failed(1);
    assert!(error.contains("the channel `stable` stands for hello@1.2.0"), "{error}");
    let moved = ["channel", "hello", "stable", "1.3.0", "--key", &shop.key];
    let _ = shop.drover(&moved).ok();
    let yanked = ["yank", "hello", "1.2.0", "--reason", "it leaks", "--key", &shop.key];
    let _ = shop.drover(&yanked).ok();
    let statement = shop.statement().unwrap();
    assert_eq!(statement.current("hello", "stable"), Ok("1.3.0"));
    let error = statement.version("hello", "1.2.0").unwrap_err().to_string();
    assert_eq!(error, "hello@1.2.0 was yanked");
    assert!(shop.drover(&["list"]).stderr.contains("hello@1.2.0 was yanked: it leaks"));

    // It is all there after the controller was killed.
    shop.site.controller = None;
    shop.site.start_controller();
    assert_eq!(shop.statement(), Some(statement));
    assert_eq!(shop.list()[0].versions[1].yanked.as_deref(), Some("it leaks"));
    let channels = shop.drover(&["channels", "hello"]).ok();
    assert!(channels.contains("stable") && channels.contains("1.3.0"), "{channels}");
}

#[test]
fn what_others_changed_is_shown_before_it_is_signed() {
    let shop = Shop::open();
    shop.push("1.2.0", &[]);
    let before = shop.statement().unwrap();
    let moved = shop.drover(&["channel", "hello", "edge", "1.2.0"]);
    assert!(moved.stderr.contains("`drover catalog sign`"), "{moved:?}");
    assert_eq!(shop.statement(), Some(before.clone()), "nobody has signed it");

    let asked = shop.drover(&["sign", "--key", &shop.key]);
    assert_eq!(asked.stdout, "+ hello edge: 1.2.0\n", "{asked:?}");
    let error = asked.failed(2);
    assert!(error.contains("nobody is there to agree"), "{error}");
    let _ = shop.drover(&["sign", "--key", &shop.key, "--yes", "--expires", "1h"]).ok();
    let after = shop.statement().unwrap();
    assert_eq!(after.current("hello", "edge"), Ok("1.2.0"));
    assert!(after.serial > before.serial && after.expires < before.expires);

    let (other, _) = keys::new_key(&shop.site.path("."), "other");
    let file = shop.hello("1.2.0", "");
    let error = shop.drover(&["sign", "--key", &other, "--yes"]).failed(1);
    assert!(error.contains("DOUBT about hello@1.2.0: it is signed with the key"), "{error}");
    let trusted = shop.key.replace(".key", ".pub");
    let error = shop.drover(&["sign", "--key", &other, "--trust", &trusted, "--yes"]).failed(1);
    assert!(error.contains("not trusted here"), "{error}");
    let _ = shop.drover(&["push", &file, "--key", &shop.key]).ok();
}

#[test]
fn names_that_are_not_there_are_answered_with_those_that_are() {
    let shop = Shop::open();
    let error = shop.drover(&["show", "hello"]).failed(4);
    assert!(error.contains("there is no plugin `hello` in the catalog"), "{error}");
    shop.push("1.2.0", &["--channel", "stable"]);
    let error = shop.drover(&["show", "helo"]).failed(4);
    assert!(error.contains("; there are hello"), "{error}");
    let error = shop.drover(&["channel", "hello", "stable", "2.0.0"]).failed(4);
    assert!(error.contains("there is no hello@2.0.0 in the catalog; there are stable, 1.2.0"));
}

// The session goes on while other programs are waited for.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_upload_goes_on_and_content_is_read_in_pieces() {
    let shop = Shop::open();
    let session = shop.session().await;
    let mut changes =
        session.subscribe(procedures::CATALOG_CHANGED, SubscribeOptions::default()).await.unwrap();
    let file = shop.hello("1.2.0", "");
    let content = fs::read(&file).unwrap();
    let hash = ContentHash::of(&content).to_string();
    let length = content.len() as u64;
    let half = content.len() / 2;
    let piece = CatalogWrite {
        hash: hash.clone(),
        length,
        offset: 0,
        bytes: Octets(content[..half].to_vec()),
    };
    let written: CatalogWritten = call(&session, procedures::CATALOG_WRITE, &piece).await;
    assert_eq!(written.offset, half as u64);

    let pushed = shop.drover(&["push", &file, "--key", &shop.key]);
    assert_eq!(pushed.status, Some(0), "{pushed:?}");
    assert!(pushed.stderr.contains("going on after"), "{pushed:?}");

    let mut read = Vec::new();
    while read.len() < content.len() {
        let wanted = CatalogRead { hash: hash.clone(), offset: read.len() as u64, length: 30_000 };
        let piece: CatalogPiece = call(&session, procedures::CATALOG_READ, &wanted).await;
        assert_eq!(piece.length, length);
        assert!(!piece.bytes.0.is_empty() && piece.bytes.0.len() <= 30_000);
        read.extend(piece.bytes.0);
    }
    assert!(read == content);
    let event = changes.next().await.unwrap();
    let changed: CatalogChanged = event.payload.first().unwrap();
    assert_eq!(Some(changed.serial), shop.statement().map(|statement| statement.serial));
}

async fn call<T: serde::de::DeserializeOwned>(
    session: &Client,
    procedure: &str,
    argument: &impl serde::Serialize,
) -> T {
    let payload = Payload::one(argument).unwrap();
    session.call(procedure, payload, CallOptions::default()).await.unwrap().first().unwrap()
}
