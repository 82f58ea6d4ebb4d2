//! Nodes and operators that prove who they are, on a controller that lets
//! nobody in without.

use std::fs;

use drover_api::{AuditEntry, Presence};
use drover_tests::{Site, http, wait_for};

use drover_api::procedures;
use drover_wamp::{Authentication, Client, ClientConfig, Secret};

use crate::DROVER;

/// Ed25519 keys of 32 times the same byte; these are their public halves.
const CONFIG: &str = r#"
[realms.drover.roles]
node = [
    { uri = "drover.node.", match = "prefix", allow = { register = true, publish = true } },
]
operator = [
    { uri = "drover.", match = "prefix", allow = { call = true } },
]
viewer = [
    { uri = "drover.controller.nodes", allow = { call = true } },
]

[realms.drover.principals.a]
role = "node"
public_keys = ["8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"]

[realms.drover.principals.ada]
role = "operator"
public_keys = ["8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"]

[realms.drover.principals.vic]
role = "viewer"
public_keys = ["ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1"]
"#;

const NODE: u8 = 1;
const ADA: u8 = 2;
const VIC: u8 = 3;
const STRANGER: u8 = 4;
const STRANGERS_PUBLIC_KEY: &str =
    "ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7c";

/// The site, whose tools look at it as Ada.
fn site() -> Site {
    let mut site = Site::start_with(DROVER, CONFIG);
    site.key_file = Some(key(&site, ADA));
    site
}

/// The file with a key.
fn key(site: &Site, byte: u8) -> String {
    let path = site.path(&format!("{byte}.key"));
    fs::write(&path, format!("{}\n", format!("{byte:02x}").repeat(32))).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_node_with_its_key_joins_and_an_operator_with_hers_calls_it() {
    let site = site();
    let key_file = format!("key_file = {:?}\n", key(&site, NODE));
    let _a = site.agent_with(1, "a", &key_file);

    assert!(site.drover(&["call", "a", "hello.greet", "name=Ada"]).ok().contains("Hello, Ada!"));
}

#[test]
fn an_operator_whose_role_may_not_call_is_told_so() {
    let mut site = site();
    let key_file = format!("key_file = {:?}\n", key(&site, NODE));
    let _a = site.agent_with(1, "a", &key_file);
    site.key_file = Some(key(&site, VIC));

    assert!(site.drover(&["nodes"]).ok().contains("1.1"));
    let errors = site.drover(&["call", "a", "hello.greet", "name=Vic"]).failed(1);
    assert!(errors.contains("wamp.error.not_authorized"), "{errors}");
    assert!(
        errors.contains("role `viewer` may not call") && errors.contains("--key-file"),
        "{errors}"
    );
}

#[test]
fn an_operator_without_a_key_or_with_an_unknown_one_learns_what_to_do() {
    let mut site = site();
    site.key_file = None;
    let errors = site.drover(&["nodes"]).failed(3);
    assert!(errors.contains("--key-file") && errors.contains("no_auth_method"), "{errors}");

    site.key_file = Some(key(&site, STRANGER));
    let errors = site.drover(&["nodes"]).failed(3);
    assert!(errors.contains(STRANGERS_PUBLIC_KEY) && errors.contains("public_keys"), "{errors}");

    site.key_file = Some("/no/such.key".to_owned());
    let errors = site.drover(&["nodes"]).failed(2);
    assert!(errors.contains("--key-file") && errors.contains("/no/such.key"), "{errors}");
}

#[test]
fn an_agent_without_a_key_or_with_an_unknown_one_says_what_to_do() {
    let site = site();
    let without = site.start_agent(1, "a", "");
    without.process.wait_for_log("set `key_file`");

    let stranger = format!("key_file = {:?}\n", key(&site, STRANGER));
    let stranger = site.start_agent(2, "b", &stranger);
    stranger.process.wait_for_log(STRANGERS_PUBLIC_KEY);

    // Known, but no node.
    let vic = format!("key_file = {:?}\n", key(&site, VIC));
    let vic = site.start_agent(3, "c", &vic);
    vic.process.wait_for_log("does not let this agent be node 1.3");
    assert!(site.nodes().is_empty());
}

#[test]
fn a_principal_that_proves_nothing_is_written_down_and_has_to_wait() {
    let config = format!(
        "{CONFIG}\n[realms.drover.principals.ci]\nrole = \"operator\"\n\
                          ticket = \"open sesame\"\n"
    );
    let mut site = Site::start_with(DROVER, &config);
    let token = site.path("ticket");
    fs::write(&token, "open the door").unwrap();
    let wrong = token.to_str().unwrap().to_owned();
    site.key_file = None;
    // The command line names nobody by ticket, so a program does.
    let try_it = || ticket(&site, "ci", &wrong);
    let told = wait_for("to be held up", || {
        let told = try_it();
        if told.contains("come back in") { Ok(told) } else { Err(told) }
    });
    assert!(told.contains("127.0.0.1"), "{told}");
    site.key_file = Some(key(&site, ADA));
    // Everybody who comes from there waits, until a failure is forgiven.
    let audit: Vec<AuditEntry> = wait_for("Ada", || {
        let ran = site.drover(&["audit", "list", "--who", "ci", "--json"]);
        serde_json::from_str(&ran.stdout).map_err(|_| ran.stderr)
    });
    assert!(audit.len() >= 10, "{audit:?}");
    let first = &audit[0];
    assert_eq!((first.what.as_str(), first.from.as_str()), ("join by ticket", "127.0.0.1"));
    assert_eq!(first.result.as_deref(), Some("denied"));
    assert!(!format!("{audit:?}").contains("open"), "{audit:?}");
}

/// What a program is told that joins as `name` with the ticket in a file.
fn ticket(site: &Site, name: &str, file: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut config = ClientConfig::new(&site.url, procedures::REALM);
        let ticket = Secret::new(fs::read_to_string(file).unwrap());
        config.authentication = Authentication::Ticket { authid: name.to_owned(), ticket };
        match Client::connect(&config).await {
            Ok(_) => "joined".to_owned(),
            Err(error) => error.to_string(),
        }
    })
}

#[test]
fn content_of_the_catalog_is_for_those_who_may_read_it() {
    let root = CONFIG.replace("role = \"operator\"\npublic_keys", "role = \"root\"\npublic_keys")
        + "\n[[realms.drover.roles.root]]\nuri = \"\"\nmatch = \"prefix\"\nallow = { call = true }\n";
    let mut site = Site::start_with(DROVER, &root);
    site.key_file = Some(key(&site, ADA));
    let address = site.url.trim_start_matches("ws://").trim_end_matches("/ws").to_owned();
    let hash = "a".repeat(64);
    fs::write(site.path("controller/catalog/content").join(&hash), "a plugin").unwrap();
    let get = |headers: &str| http(&address, &format!("GET /catalog/{hash}"), headers, "");
    let answer = get("");
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.body.contains("Authorization: Bearer TOKEN"), "{answer:?}");
    assert_eq!(get("Authorization: Bearer drt_no_token\n").status, 401);
    assert_eq!(get("Authorization: Bearer drf_99999999999999_00\n").status, 401);

    let _ = site.drover(&["user", "add", "vic", "--role", "viewer", "--no-password"]).ok();
    let token = site.drover(&["token", "new", "--user", "vic"]).ok();
    let answer = get(&format!("Authorization: Bearer {}\n", token.trim()));
    assert_eq!((answer.status, answer.body.as_str()), (200, "a plugin"));
}

#[test]
fn a_node_with_a_key_comes_back_after_the_controller() {
    let mut site = site();
    let key_file = format!("key_file = {:?}\n", key(&site, NODE));
    let _a = site.agent_with(1, "a", &key_file);

    drop(site.controller.take());
    site.start_controller();

    site.wait_until("a", Presence::Present);
}
