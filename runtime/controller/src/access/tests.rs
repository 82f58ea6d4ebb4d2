//! Who gets in, what they may do there, and what is written of it.

use drover_api::{AuditQuery, Authority, Selector};
use drover_wamp::{Guest, Proof, SessionId};
use serde_json::json;

use super::password::PasswordHash;
use super::*;
use crate::audit::AuditTask;

/// More than any test writes.
const MAX_FILE: u64 = 1 << 20;

const ADA: &str = "correct horse";

struct Site {
    access: Access,
    _task: AuditTask,
    _dir: tempfile::TempDir,
}

/// A controller that knows Ada, an operator with a password.
fn site() -> Site {
    let dir = tempfile::tempdir().unwrap();
    let (audit, task) = Audit::open(&dir.path().join("audit"), MAX_FILE).unwrap();
    let run = vec![Scope { commands: vec!["hello.*".into()], nodes: None }];
    let roles = [("greeter".to_owned(), OwnRole { run, permissions: vec![] })].into();
    let policy = Policy { claims: true, roles };
    let access = Access::open(&dir.path().join("access.db"), policy, audit).unwrap();
    let site = Site { access, _task: task, _dir: dir };
    site.put("ada", "operator", Some(ADA));
    site
}

impl Site {
    fn put(&self, name: &str, role: &str, password: Option<&str>) {
        let hash = password.map(|text| PasswordHash::of(&Secret::new(text)).unwrap());
        let user =
            PutUser { name: name.into(), role: Some(role.into()), password: None, keys: None };
        self.access.change(|known| known.put_user(&user, hash, Timestamp::now())).unwrap();
    }

    fn token(&self, asked: &NewApiToken) -> String {
        let secret = NewSecret::draw();
        let now = Timestamp::now();
        self.access.change(|known| known.make_token("ada", asked, &secret, now)).unwrap();
        secret.text.reveal().to_owned()
    }

    async fn join(&self, authid: Option<&str>, ticket: &str) -> Result<Guest, Refused> {
        let applicant = Applicant {
            peer: "192.0.2.7:4711".parse().unwrap(),
            authid: authid.map(str::to_owned),
            role: None,
            proof: Proof::Ticket(Secret::new(ticket)),
        };
        self.access.admit(applicant).await
    }

    fn call(&self, guest: &Guest, procedure: &str, argument: &serde_json::Value) -> Verdict {
        let caller = Caller {
            session: SessionId(1),
            authid: guest.authid.clone(),
            authrole: guest.role.clone(),
            authmethod: "ticket".into(),
            peer: Some("192.0.2.7:4711".parse().unwrap()),
            badge: Some(guest.badge.clone()),
        };
        self.access.call(&caller, procedure, &Payload::one(argument).unwrap())
    }

    fn run(&self, guest: &Guest, cmd: &str) -> Verdict {
        self.call(guest, "drover.node.1.7.run", &json!({ "cmd": cmd }))
    }

    fn written(&self) -> Vec<drover_api::AuditEntry> {
        self.access.audit().list(&AuditQuery::default()).unwrap()
    }
}

#[tokio::test]
async fn a_user_joins_by_password_or_token_and_nobody_else_does() {
    let site = site();
    let guest = site.join(Some("ada"), ADA).await.unwrap();
    assert_eq!((guest.authid.as_str(), guest.role.as_str()), ("ada", "operator"));
    let token = site.token(&NewApiToken::default());
    for authid in [None, Some("anything")] {
        assert_eq!(site.join(authid, &token).await.unwrap().authid, "ada");
    }
    for (authid, ticket) in [(Some("ada"), "wrong horse"), (Some("eve"), ADA), (None, ADA)] {
        let refused = site.join(authid, ticket).await.unwrap_err();
        assert_eq!(refused.uri, uri::error::AUTHENTICATION_DENIED);
        assert!(!refused.text.contains("horse"), "{refused:?}");
    }
    let written = format!("{:?}", site.written());
    assert!(written.contains("join by password") && written.contains("eve"), "{written}");
    assert!(!written.contains("horse") && !written.contains(&token), "{written}");
}

#[tokio::test]
async fn whoever_fails_too_often_is_told_when_to_come_back_whatever_they_bring() {
    let site = site();
    for _ in 0..10 {
        assert!(site.join(None, "wrong").await.unwrap_err().retry_in.is_none());
    }
    let refused = site.join(Some("ada"), ADA).await.unwrap_err();
    assert_eq!(refused.uri, BUSY);
    assert!(refused.retry_in.is_some() && refused.text.contains("come back in"), "{refused:?}");
}

#[tokio::test]
async fn a_token_with_one_use_lets_one_of_many_in() {
    let site = site();
    let token = site.token(&NewApiToken { uses: Some(1), ..NewApiToken::default() });
    let mut in_time = 0;
    for joined in futures_of(&site, &token).await {
        in_time += usize::from(joined.is_ok());
    }
    assert_eq!(in_time, 1);
}

/// Eight attempts at the same time.
async fn futures_of(site: &Site, token: &str) -> Vec<Result<Guest, Refused>> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (access, token) = (site.access.clone(), token.to_owned());
        tasks.spawn(async move { access.admit_ticket(None, Secret::new(token)).await });
    }
    tasks.join_all().await
}

#[tokio::test]
async fn a_role_and_a_token_are_held_to_what_they_are_for() {
    let site = site();
    let ada = site.join(Some("ada"), ADA).await.unwrap();
    assert!(matches!(site.run(&ada, "process.execute"), Verdict::Watch(_)));
    assert_eq!(site.run(&ada, "process.list"), Verdict::Pass);

    site.put("gus", "greeter", Some(ADA));
    let gus = site.join(Some("gus"), ADA).await.unwrap();
    assert!(matches!(site.run(&gus, "hello.greet"), Verdict::Watch(_)));
    let Verdict::Deny(text) = site.run(&gus, "process.execute") else { panic!() };
    assert!(text.contains("role `greeter` may not run `process.execute`"), "{text}");

    let scope = Scope { commands: vec!["df.run".into()], nodes: "1.7".parse::<Selector>().ok() };
    let token = site.token(&NewApiToken { scope, ..NewApiToken::default() });
    let guest = site.join(None, &token).await.unwrap();
    assert!(matches!(site.run(&guest, "df.run"), Verdict::Watch(_)));
    for (procedure, argument) in [
        ("drover.node.1.7.hello.greet", json!(null)),
        ("drover.node.1.8.run", json!({"cmd": "df.run"})),
        ("drover.controller.log.delete", json!({"cmd": "df.run"})),
        ("drover.controller.access.new_token", json!({})),
        ("drover.controller.access.password", json!("longer than eight")),
    ] {
        let verdict = site.call(&guest, procedure, &argument);
        assert!(matches!(verdict, Verdict::Deny(_)), "{procedure}: {verdict:?}");
    }
    let denied = site.written().into_iter().filter(|one| one.result.as_deref() == Some("denied"));
    assert_eq!(denied.count(), 6);
}

#[tokio::test]
async fn a_session_whose_token_is_withdrawn_may_do_nothing_more() {
    let site = site();
    let token = site.token(&NewApiToken::default());
    let guest = site.join(None, &token).await.unwrap();
    let id = site.access.directory().tokens(None).remove(0).id;
    site.access.change(|known| known.remove_token(&id, None)).unwrap();
    let verdict = site.run(&guest, "process.list");
    assert!(matches!(&verdict, Verdict::Deny(text) if text.contains("withdrawn")), "{verdict:?}");
    assert!(site.join(None, &token).await.is_err());
}

#[tokio::test]
async fn what_is_known_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, task) = Audit::open(&dir.path().join("audit"), MAX_FILE).unwrap();
    let open =
        || Access::open(&dir.path().join("access.db"), Policy::default(), audit.clone()).unwrap();
    let user = PutUser {
        name: "ada".into(),
        role: Some("viewer".into()),
        password: None,
        keys: Some(vec!["ab".repeat(32)]),
    };
    open().change(|known| known.put_user(&user, None, Timestamp::now())).unwrap();
    assert_eq!(open().directory().user("ada").unwrap().role, "viewer");
    open().change(|known| known.remove_user("ada")).unwrap();
    assert_eq!(open().directory().users(), []);
    drop(task);
}

#[test]
fn a_node_speaks_for_itself_and_others_as_the_realm_says() {
    let principal = |authid: &str, authrole: &str| Principal {
        session: SessionId(1),
        authid: authid.into(),
        authrole: authrole.into(),
    };
    let node = NodeId::new(1, 7);
    assert!(speaks_for(Some(&principal("node.1.7", "node")), node));
    assert!(!speaks_for(Some(&principal("node.1.70", "node")), node));
    assert!(!speaks_for(Some(&principal("node.2.7", "node")), node));
    assert!(speaks_for(None, node), "nobody is disclosed in an open realm");
}

/// On whose word it is what a guest asks for.
fn authority(site: &Site, guest: &Guest) -> Option<Authority> {
    let caller = Caller {
        session: SessionId(1),
        authid: guest.authid.clone(),
        authrole: guest.role.clone(),
        authmethod: "ticket".into(),
        peer: None,
        badge: Some(guest.badge.clone()),
    };
    site.access.authority(&caller, Some(&Badge::read(&guest.badge)))
}

#[tokio::test]
async fn an_own_role_has_done_later_what_it_may_do_now_and_no_longer_than_it_may() {
    let site = site();
    site.put("gwen", "greeter", Some(ADA));
    let gwen = site.join(Some("gwen"), ADA).await.unwrap();
    let submit = json!({ "command": { "cmd": "hello.greet" }, "nodes": "*" });
    for procedure in roles::JUDGED_LATER {
        let may = gwen.permissions.iter().any(|rule| rule.uri == procedure && rule.allow.call);
        assert!(may, "{procedure}");
        let verdict = site.call(&gwen, procedure, &submit);
        let Verdict::Watch(call) = verdict else { panic!("{procedure}: {verdict:?}") };
        assert_eq!(site.access.callers().sessions.len(), 1);
        site.access.ended(call, Ending::Answered);
        assert!(site.access.callers().sessions.is_empty());
    }
    let word = authority(&site, &gwen).unwrap();
    let node = NodeId::new(1, 7);
    assert_eq!(site.access.may_run(&word, "hello.greet", node), Ok(()));
    assert_eq!(site.access.may_run_everywhere(&word, "hello.greet"), Ok(()));
    let refusal = site.access.may_run(&word, "process.execute", node).unwrap_err();
    assert!(refusal.contains("`greeter` may not run `process.execute` on node 1.7"), "{refusal}");

    let changes = site.access.changes();
    site.put("gwen", "viewer", None);
    assert!(changes.has_changed().unwrap());
    assert!(site.access.may_run(&word, "hello.greet", node).is_err());
    site.put("gwen", "greeter", None);
    assert_eq!(site.access.may_run(&word, "hello.greet", node), Ok(()));
    site.access.change(|known| known.remove_user("gwen")).unwrap();
    let refusal = site.access.may_run(&word, "hello.greet", node).unwrap_err();
    assert!(refusal.contains("`gwen` is not there any more"), "{refusal}");
}

#[tokio::test]
async fn what_was_asked_with_a_token_is_held_to_its_scope_until_it_is_withdrawn() {
    let site = site();
    let scope =
        Scope { commands: vec!["hello.*".into()], nodes: Some("1.7".parse::<Selector>().unwrap()) };
    let text = site.token(&NewApiToken { scope, life_ms: Some(60_000), ..Default::default() });
    let guest = site.join(None, &text).await.unwrap();
    let submit = json!({ "command": { "cmd": "hello.greet" }, "nodes": "1.7" });
    assert!(matches!(
        site.call(&guest, "drover.controller.job.submit", &submit),
        Verdict::Watch(_)
    ));
    let word = authority(&site, &guest).unwrap();
    let node = NodeId::new(1, 7);
    assert_eq!(site.access.may_run(&word, "hello.greet", node), Ok(()));
    for (cmd, node) in [("hello.greet", NodeId::new(1, 8)), ("process.execute", node)] {
        assert!(site.access.may_run(&word, cmd, node).is_err(), "{cmd} on {node}");
    }
    let refusal = site.access.may_run_everywhere(&word, "hello.greet").unwrap_err();
    assert!(refusal.contains("join later"), "{refusal}");
    let id = word.token.clone().unwrap();
    site.access.change(|known| known.remove_token(&id, None)).unwrap();
    let refusal = site.access.may_run(&word, "hello.greet", node).unwrap_err();
    assert!(refusal.contains("withdrawn"), "{refusal}");
    // One that has expired was good when it was asked with.
    let expired = Authority { expires: Some(Timestamp(1)), ..word };
    assert_eq!(site.access.may_run(&expired, "hello.greet", node), Ok(()));

    // A token that is for everything is a way to log in, and logging out takes nothing back.
    let text = site.token(&NewApiToken::default());
    let word = authority(&site, &site.join(None, &text).await.unwrap()).unwrap();
    assert_eq!((word.token, word.user.as_str()), (None, "ada"));
}
