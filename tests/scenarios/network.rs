//! A controller that other hosts can reach: TLS, and nobody in who does not belong.

pub(crate) mod kit;

use std::fs;

use drover_api::{Heartbeat, JoinText, KnownNode, NodeId, NodeStatus, Presence, procedures};
use drover_tests::{Ran, http, wait_for};
use drover_wamp::{
    Authentication, CallOptions, Client, ClientConfig, MatchPolicy, Payload, PublishOptions,
    RegisterOptions, Roots,
};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::DROVER;
use kit::Network;

#[test]
fn a_node_joins_with_a_token_and_is_thrown_out_when_it_is_revoked() {
    let mut site = Network::start();
    let agent = site.join("web-1", &["--label", "web"]);
    let node = site.wait_until("web-1", Presence::Present);
    assert_eq!(node.description.labels, ["web"]);
    let _ = site.drover(&["exec", "web-1", "--", "/bin/true"]).ok();

    // It needs no token any more, whoever of the two comes back.
    drop(agent);
    site.wait_until("web-1", Presence::Lost);
    let agent = site.agent("web-1", "", &[]);
    site.wait_until("web-1", Presence::Present);
    drop(site.controller.take());
    site.start_controller();
    site.wait_until("web-1", Presence::Present);

    let _ = site.drover(&["node", "revoke", "web-1"]).ok();
    site.wait_until("web-1", Presence::Lost);
    agent.wait_for_log("the node was revoked");
    let known: Vec<KnownNode> =
        serde_json::from_str(&site.drover(&["node", "list", "--json"]).ok()).unwrap();
    assert!(known[0].revoked.is_some(), "{known:?}");

    // Its token was for one.
    let other = site.agent("web-2", "", &["--join", &format!("@{}", site.file("web-1.token"))]);
    other.wait_for_log("does not let this agent in");

    let audit = site.audit();
    let revoked = audit.iter().find(|entry| entry.what == "access.revoke").unwrap();
    assert_eq!((revoked.who.as_str(), revoked.on.as_str()), ("admin", "web-1"));
    assert_eq!(revoked.result.as_deref(), Some("ok"));
    assert!(audit.iter().any(|entry| entry.what == "process.execute" && entry.on == "1.1"));
    assert!(site.drover(&["audit", "verify"]).ok().contains("lines, hash"));
}

#[test]
fn a_viewer_looks_and_an_operator_runs_and_neither_says_who_may() {
    let site = Network::start();
    let _agent = site.join("a", &[]);
    site.add("vic", "viewer");
    site.add("otto", "operator");

    assert_eq!(site.drover_as("vic", &["whoami"]).ok().trim(), "vic viewer");
    assert!(site.drover_as("vic", &["nodes"]).ok().contains("1.1"));
    let _ = site.drover_as("vic", &["ps", "a"]).ok();
    let refusal = site.drover_as("vic", &["exec", "a", "--", "/bin/true"]).failed(1);
    assert!(refusal.contains("the role `viewer` may not run `process.execute`"), "{refusal}");
    let _ = site.drover_as("otto", &["exec", "a", "--", "/bin/true"]).ok();
    for user in ["vic", "otto"] {
        let refusal = site.drover_as(user, &["node", "token"]).failed(1);
        assert!(refusal.contains("may not call"), "{refusal}");
    }

    // What was denied is written down like what was done.
    let audit = site.audit();
    let runs: Vec<_> = audit.iter().filter(|entry| entry.what == "process.execute").collect();
    let results: Vec<_> =
        runs.iter().map(|entry| (entry.who.as_str(), entry.result.as_deref().unwrap())).collect();
    assert_eq!(results, [("vic", "denied"), ("otto", "ok")]);

    let _ = site.drover(&["user", "remove", "otto"]).ok();
    let refusal = site.drover_as("otto", &["nodes"]).failed(3);
    assert!(refusal.contains("does not take your password or token"), "{refusal}");
    let _ = site.drover_as("vic", &["logout"]).ok();
    let refusal = site
        .drover_as("vic", &["nodes", "--controller", &site.url, "--fingerprint", &site.fingerprint])
        .failed(3);
    assert!(refusal.contains("drover login"), "{refusal}");
}

#[test]
fn a_token_is_for_what_it_was_made_for() {
    let site = Network::start();
    let _agent = site.join("a", &[]);
    let new = ["token", "new", "--command", "agent.*", "--nodes", "1.1", "--uses", "3"];
    let token = site.drover(&new).ok().trim().to_owned();
    let with_token = |arguments: &[&str]| {
        let nobody = site.path("nobody.toml");
        let mut command = site.command(arguments);
        command.env("DROVER_CREDENTIALS", nobody).env("DROVER_TOKEN", &token);
        command.env("DROVER_CONTROLLER", &site.url).env("DROVER_FINGERPRINT", &site.fingerprint);
        Ran::of(&mut command)
    };
    assert_eq!(with_token(&["call", "a", "agent.ping"]).ok().trim(), "pong");
    let refusal = with_token(&["exec", "a", "--", "/bin/true"]).failed(1);
    assert!(refusal.contains("the token is not for `process.execute` on node 1.1"), "{refusal}");
    let _ = with_token(&["nodes"]).ok();
    // Three sessions were all.
    let refusal = with_token(&["nodes"]).failed(3);
    assert!(refusal.contains("used up"), "{refusal}");
    assert!(!refusal.contains(&token), "{refusal}");
}

#[test]
fn a_wrong_fingerprint_is_refused_with_both() {
    let site = Network::start();
    let wrong = "ab".repeat(32);
    let refusal = site.drover(&["nodes", "--fingerprint", &wrong]).failed(3);
    assert!(refusal.contains(&wrong) && refusal.contains(&site.fingerprint), "{refusal}");
    assert!(refusal.contains("somebody else answers"), "{refusal}");

    // Without any, nobody is trusted who has signed for himself.
    let ran = site.drover_as("nobody", &["nodes", "--controller", &site.url]).failed(3);
    assert!(ran.contains("--fingerprint"), "{ran}");

    let token = site.drover(&["node", "token"]).ok();
    let mut join: JoinText = token.trim().parse().unwrap();
    join.fingerprint = Some(wrong.clone());
    let file = site.secret("a.token", &join.reveal());
    let agent = site.agent("a", "", &["--join", &format!("@{file}")]);
    agent.wait_for_log(&wrong);
    assert!(!agent.log().contains(&join.token));
}

#[test]
fn an_agent_that_shows_a_code_is_let_in_by_it() {
    let mut site = Network::start();
    let config = fs::read_to_string(site.path("controller.toml")).unwrap();
    fs::write(site.path("controller.toml"), format!("{config}claims = true\n")).unwrap();
    drop(site.controller.take());
    site.start_controller();

    let config = format!("controller = {:?}\nfingerprint = {:?}\n", site.url, site.fingerprint);
    let agent = site.agent("a", &config, &["--claim"]);
    let code = agent
        .wait_for_output("the code", |line| Some(line.strip_prefix("claim code ")?.to_owned()));
    assert!(site.drover(&["node", "claims"]).ok().contains(&code));
    let errors = site.drover(&["node", "approve", "AAAA-AAAA"]).failed(1);
    assert!(errors.contains("nobody shows the code"), "{errors}");
    let approve = ["node", "approve", &code, "--label", "db", "--node", "2.9"];
    assert_eq!(site.drover(&approve).ok().trim(), "2.9");
    let node = site.wait_until("a", Presence::Present);
    assert_eq!(
        (node.description.id().to_string(), node.description.labels),
        ("2.9".into(), vec!["db".into()])
    );
}

#[test]
fn a_node_speaks_for_no_other_whatever_it_does_with_its_key() {
    let site = Network::start();
    let a = site.join("a", &[]);
    let _b = site.join("b", &[]);
    drop(a);
    site.wait_until("a", Presence::Lost);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut config = ClientConfig::new(&site.url, procedures::REALM);
        config.tls.roots = Roots::Fingerprint(site.fingerprint.parse().unwrap());
        let key = site.path("a/identity/node.key");
        config.authentication = Authentication::from_key_file(&key).unwrap();
        let session = Client::connect(&config).await.unwrap();
        let prefix = || RegisterOptions { policy: MatchPolicy::Prefix, ..Default::default() };
        let _own = session.register("drover.node.1.1.", prefix()).await.unwrap();
        for name in ["drover.node.1.2.", "drover.node.1.1", "drover.node.", "drover.controller."] {
            let refusal = session.register(name, prefix()).await.unwrap_err().to_string();
            assert!(refusal.contains("may not register"), "{name}: {refusal}");
        }
        let options = || PublishOptions { acknowledge: true, ..Default::default() };
        let feed = procedures::feed(NodeId::new(1, 2), "tick");
        let refusal = session.publish(&feed, Payload::empty(), options()).await.unwrap_err();
        assert!(refusal.to_string().contains("may not publish"), "{refusal}");
        for name in ["drover.node.1.2.agent.ping", procedures::NODES, procedures::ACCESS_NODES] {
            let refusal = session.call(name, Payload::empty(), CallOptions::default()).await;
            let refusal = refusal.unwrap_err().to_string();
            assert!(refusal.contains("may not call"), "{name}: {refusal}");
        }

        // What all nodes share says whose it is, and must be true.
        let node = NodeId::new(1, 2);
        let records = json!({ "node": node, "log": "x", "records": [], "places": [] });
        let payload = Payload::one(&records).unwrap();
        let refusal = session.call(procedures::RECORDS, payload, CallOptions::default()).await;
        assert!(refusal.unwrap_err().to_string().contains("you are another"));
        let beat = Heartbeat { node: NodeId::new(1, 99), session: 1, revision: 1 };
        let payload = Payload::one(&beat).unwrap();
        session.publish(procedures::HEARTBEAT, payload, options()).await.unwrap();
        let controller = site.controller.as_ref().unwrap();
        controller.wait_for_log("ignored a heartbeat that somebody else sent");
        session.close().await;
    });
    let nodes: Vec<NodeStatus> =
        serde_json::from_str(&site.drover(&["nodes", "--json"]).ok()).unwrap();
    assert_eq!(nodes.len(), 2);
}

#[test]
fn a_program_that_speaks_http_is_let_in_by_its_token() {
    // The kit speaks no TLS, so this is on loopback.
    let admin = "[access]\nrequired = true\n\
                 [realms.drover.roles]\n\
                 root = [{ uri = \"\", match = \"prefix\", allow = { call = true } }]\n\
                 [realms.drover.principals.root]\nrole = \"root\"\n\
                 public_keys = [\"8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394\"]\n";
    let mut site = drover_tests::Site::start_with(DROVER, admin);
    let key = site.path("root.key");
    fs::write(&key, "02".repeat(32)).unwrap();
    site.key_file = Some(key.to_str().unwrap().to_owned());
    let _ = site.drover(&["user", "add", "ci", "--role", "viewer", "--no-password"]).ok();
    let token = site.drover(&["token", "new", "--user", "ci"]).ok();

    let address = site.url.trim_start_matches("ws://").trim_end_matches("/ws");
    let body = json!({ "procedure": procedures::NODES }).to_string();
    let bearer = format!("Authorization: Bearer {}\n", token.trim());
    let answer = http(address, "POST /call", &bearer, &body);
    assert_eq!((answer.status, answer.json()), (200, json!({ "args": [[]] })));
    let body = json!({ "procedure": procedures::ACCESS_USERS }).to_string();
    let answer = http(address, "POST /call", &bearer, &body);
    assert_eq!(answer.json()["error"], "wamp.error.not_authorized", "{answer:?}");
    let answer = http(address, "POST /call", "", &body);
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.head.to_lowercase().contains("www-authenticate: bearer"), "{answer:?}");

    // A Prometheus reads as the viewer that it is.
    let page = http(address, "GET /metrics", &bearer, "");
    assert_eq!(page.status, 200, "{page:?}");
    let admitted = "drover_log_ins_total{way=\"ticket\",result=\"admitted\"}";
    assert!(page.body.contains(admitted), "{page:?}");
    assert_eq!(http(address, "GET /metrics/nodes/1.1", &bearer, "").status, 404);
    for headers in ["", "Authorization: Bearer nonsense\n"] {
        assert_eq!(http(address, "GET /metrics", headers, "").status, 401, "{headers}");
    }
}

#[test]
fn a_node_changes_its_key_and_comes_back_with_it() {
    let mut site = Network::start();
    let _agent = site.join("a", &[]);
    let key_file = site.path("a/identity/node.key");
    let former = fs::read_to_string(&key_file).unwrap();

    let public = site.drover(&["node", "rotate", "a"]).ok().trim().to_owned();
    assert_ne!(fs::read_to_string(&key_file).unwrap(), former);
    let known: Vec<KnownNode> =
        serde_json::from_str(&site.drover(&["node", "list", "--json"]).ok()).unwrap();
    assert_eq!(known[0].keys, [public]);
    // The session that there is goes on, and the next one has the new key.
    assert_eq!(site.drover(&["call", "a", "agent.ping"]).ok().trim(), "pong");
    drop(site.controller.take());
    site.start_controller();
    site.wait_until("a", Presence::Present);
}

#[test]
fn a_new_certificate_counts_for_new_connections_and_those_there_are_stay() {
    let site = Network::start();
    let agent = site.join("a", &[]);
    let other = site.file("other.toml");
    let data = site.file("other");
    let made = site
        .drover_as(
            "other",
            &[
                "controller",
                "init",
                "--config",
                &other,
                "--data-dir",
                &data,
                "--listen",
                "127.0.0.1:1",
            ],
        )
        .ok();
    let fingerprint = made.trim().strip_prefix("fingerprint ").unwrap().to_owned();
    for file in ["controller.key", "controller.pem"] {
        let from = site.path(&format!("other/tls/{file}"));
        fs::copy(from, site.path(&format!("controller/tls/{file}"))).unwrap();
    }
    let controller = site.controller.as_ref().unwrap();
    controller.wait_for_log("the certificate is as its files say now");
    let pong = site.drover(&["call", "a", "agent.ping", "--fingerprint", &fingerprint]).ok();
    assert_eq!(pong.trim(), "pong");
    assert!(!agent.log().contains("lost the controller"), "{}", agent.log());
    let _ = site.drover(&["nodes"]).failed(3);
}

#[test]
fn whoever_guesses_passwords_is_told_when_to_come_back() {
    let site = Network::start();
    site.add("ada", "operator");
    let wrong = site.secret("wrong.password", "a wrong password");
    let login = |password: &str| {
        let arguments = [
            "login",
            "--controller",
            &site.url,
            "--fingerprint",
            &site.fingerprint,
            "--user",
            "ada",
            "--password-file",
            password,
        ];
        site.drover_as("guesser", &arguments).failed(3)
    };
    let told = wait_for("to be held up", || {
        let errors = login(&wrong);
        if errors.contains("come back in") { Ok(errors) } else { Err(errors) }
    });
    assert!(!told.contains("a wrong password"), "{told}");
}

#[test]
fn an_agent_that_waits_to_join_ends_when_it_is_told_to() {
    let site = Network::start();
    let config = "controller = \"ws://127.0.0.1:1/ws\"\n";
    let mut agent = site.agent("a", config, &["--claim"]);
    agent.wait_for_log("cannot join yet");
    agent.signal(Signal::SIGTERM);
    assert!(agent.wait().success(), "{}", agent.log());
}

#[test]
fn nodes_and_people_are_who_they_were_to_a_controller_that_was_restored() {
    let mut site = Network::start();
    let _agent = site.join("web-1", &["--label", "web"]);
    site.add("otto", "operator");
    let (config, file, data) =
        (site.file("controller.toml"), site.file("backup.tar"), site.file("controller"));
    let backup = ["controller", "backup", &file, "--config", &config, "--tls-keys"];
    let said = site.drover(&backup).ok();
    assert!(said.contains("private key"), "{said}");
    assert!(!said.contains("PRIVATE"), "{said}");

    let mut controller = site.controller.take().unwrap();
    controller.signal(Signal::SIGKILL);
    controller.wait();
    fs::remove_dir_all(&data).unwrap();
    let _ = site.drover(&["controller", "restore", &file, "--data-dir", &data]).ok();
    site.start_controller();
    let node = site.wait_until("web-1", Presence::Present);
    assert_eq!(node.description.labels, ["web"]);
    let _ = site.drover_as("otto", &["exec", "web-1", "--", "/bin/true"]).ok();
    assert!(site.drover(&["audit", "verify"]).ok().contains("lines, hash"));
    let restored = site.audit().into_iter().find(|entry| entry.what == "controller.restore");
    assert!(restored.is_some_and(|entry| entry.result.as_deref() == Some("ok")));
}
