//! A plugin version goes over the nodes of a site, and back.

use drover_api::{NodeId, Rollout, RolloutDetail, RolloutNodeState, RolloutOutcome, RolloutPhase};
use drover_tests::{Agent, wait_for};

use crate::shop::Shop;

/// Three nodes, `a`, `b` and `c`, of which the first two are labelled `web`, and a
/// catalog with the guest `pushed`.
struct Fleet {
    shop: Shop,
    agents: Vec<Agent>,
}

impl Fleet {
    fn start() -> Self {
        let shop = Shop::open();
        let agents = [(1, "a", "web"), (2, "b", "web"), (3, "c", "db")];
        let agents = agents.map(|(nid, name, label)| shop.start_node(nid, name, label));
        for agent in &agents {
            shop.site.wait_until_ready(&agent.name, 0);
        }
        Self { shop, agents: agents.into() }
    }

    /// Rolls a version out, and says how that ended and what was said meanwhile.
    fn roll_out(&self, version: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let what = format!("pushed@{version}");
        let line = ["rollout", "start", &what, "--pause", "0s", "--follow"];
        let ran = self.shop.site.drover(&[&line, arguments].concat());
        (ran.status, ran.stdout + &ran.stderr)
    }

    fn greeting(&self, node: &str) -> String {
        let ran = self.shop.site.drover(&["call", node, "pushed.greet", "name=Ada"]);
        ran.stdout + &ran.stderr
    }

    /// What greets on each node.
    fn greeters(&self) -> [String; 3] {
        ["a", "b", "c"].map(|node| {
            let said = self.greeting(node);
            let version = said.trim().strip_prefix("Ada is greeted by ").map(str::to_owned);
            version.unwrap_or(said)
        })
    }

    fn list(&self) -> Vec<Rollout> {
        let ran = self.shop.site.drover(&["rollout", "list", "--json"]);
        serde_json::from_str(&ran.stdout).unwrap_or_default()
    }

    fn show(&self, id: &str) -> RolloutDetail {
        let shown = self.shop.site.drover(&["rollout", "show", id, "--json"]).ok();
        serde_json::from_str(&shown).unwrap()
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Rollout) -> bool) -> Rollout {
        wait_for(what, || {
            let list = self.list();
            list.first().filter(|rollout| is_so(rollout)).cloned().ok_or(list)
        })
    }
}

fn is_done(rollout: &Rollout) -> bool {
    matches!(rollout.phase, RolloutPhase::Ended { outcome: RolloutOutcome::Done, .. })
}

#[test]
fn a_version_goes_over_three_nodes_in_waves() {
    let fleet = Fleet::start();
    let site = &fleet.shop.site;
    let error = site.drover(&["rollout", "start", "pushed", "--to", "*"]).failed(4);
    assert!(error.contains("there is no plugin `pushed` in the catalog"), "{error}");
    fleet.shop.push_guest("1.0.0");
    let nobody = ["rollout", "start", "pushed", "--to", "web and grid=2"];
    let error = site.drover(&nobody).failed(4);
    assert!(error.contains("nearest are a (1.1) but for `grid=2`, b (1.2)"), "{error}");
    let wrong = site.drover(&["rollout", "start", "pushed", "--to", "web and"]).failed(2);
    assert!(wrong.contains("at character 8, its end: a condition is wanted"), "{wrong}");

    let dry = ["rollout", "start", "pushed", "--to", "*", "--then", "2", "--dry-run"];
    let plan = site.drover(&dry).ok();
    let rows: Vec<Vec<_>> =
        plan.lines().skip(1).map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(rows, [["1", "1.1", "a"], ["2", "1.2", "b"], ["3", "1.3", "c"]], "{plan}");
    assert_eq!(fleet.list(), []);

    let (status, said) = fleet.roll_out("1.0.0", &["--to", "*", "--then", "2", "--watch", "100ms"]);
    assert_eq!(status, Some(0), "{said}");
    for passed in ["started pushed@1.0.0 for 3 nodes", "wave 1 of 3 passed", "wave 2 of 3 passed"] {
        assert!(said.contains(passed), "{said}");
    }
    assert!(said.contains("3 of 3 confirmed") && said.contains(" done"), "{said}");
    assert_eq!(fleet.greeters(), ["1.0.0"; 3]);
    assert!(is_done(&fleet.list()[0]));
    let table = site.drover(&["rollout", "list"]).ok();
    assert!(table.contains("pushed@1.0.0") && table.contains("3 of 3"), "{table}");
    let shown = site.drover(&["rollout", "show", "1"]).ok();
    assert!(shown.contains("confirmed"), "{shown}");
    let history = site.drover(&["rollout", "history", "1"]).ok();
    assert!(history.contains("started pushed@1.0.0") && history.contains("done"), "{history}");
    let over = site.drover(&["rollout", "pause", "1"]).failed(4);
    assert!(over.contains("rollout 1 is over"), "{over}");
}

#[test]
fn a_bad_version_takes_itself_back_and_never_reaches_the_second_wave() {
    let fleet = Fleet::start();
    fleet.shop.push_guest("1.0.0");
    let (status, said) = fleet.roll_out("1.0.0", &["--to", "*", "--canary", "0", "--watch", "0s"]);
    assert_eq!(status, Some(0), "{said}");
    fleet.shop.push_guest("1.1.0-crashes");

    let what = ["rollout", "start", "pushed@1.1.0-crashes", "--to", "*", "--canary", "2"];
    let mut following = fleet.shop.site.start_drover(&[&what[..], &["--follow"]].concat());
    fleet.wait_until("its start", |rollout| rollout.id.0 == 2);
    wait_for("both canaries", || {
        let nodes = fleet.show("2").nodes;
        let has_it =
            |node: &&drover_api::RolloutNode| node.step == Some(drover_api::UpdateStep::Watching);
        if nodes.iter().filter(has_it).count() == 2 { Ok(()) } else { Err(nodes) }
    });
    let both = fleet.shop.site.drover(&["rollout", "start", "pushed@1.0.0", "--to", "db or web"]);
    let error = both.failed(1);
    assert!(error.contains("rollout 2 is on its way with pushed@1.1.0-crashes"), "{error}");
    // One of them is called until it crashes; the other does well.
    wait_for("a crash", || match fleet.greeting("a") {
        said if said.contains("1.1.0-crashes") => Err(said),
        said => Ok(said),
    });
    assert_eq!(following.wait().code(), Some(1), "{}", following.last_words());
    let said = following.output().join("\n");
    assert!(said.contains("a (1.1) failed: version 1.1.0-crashes of `pushed` did badly"), "{said}");
    assert!(said.contains("goes back: 1 nodes failed, and 0 may"), "{said}");
    assert_eq!(fleet.greeters(), ["1.0.0"; 3]);
    let detail = fleet.show("2");
    let states: Vec<_> = detail.nodes.iter().map(|node| (node.node, node.state)).collect();
    let id = |nid| NodeId::new(1, nid);
    assert_eq!(
        states,
        [
            (id(1), RolloutNodeState::Failed),
            (id(2), RolloutNodeState::Reverted),
            (id(3), RolloutNodeState::Waiting)
        ]
    );
    let versions = fleet.shop.site.drover(&["plugin", "versions", "c", "pushed"]).ok();
    assert!(!versions.contains("1.1.0"), "{versions}");
}

#[test]
fn nodes_that_had_nothing_go_back_to_nothing() {
    let fleet = Fleet::start();
    fleet.shop.push_guest("1.0.0");
    let what = ["rollout", "start", "pushed", "--to", "web", "--canary", "2", "--follow"];
    let mut following = fleet.shop.site.start_drover(&what);
    fleet.wait_for_greeter("a", "1.0.0");
    fleet.wait_for_greeter("b", "1.0.0");
    let _ = fleet.shop.site.drover(&["rollout", "abort", "1", "--back"]).ok();
    assert_eq!(following.wait().code(), Some(1), "{}", following.last_words());
    for nid in 0..2 {
        assert_eq!(fleet.show("1").nodes[nid].state, RolloutNodeState::Reverted);
    }
    let error = fleet.greeting("a");
    assert!(error.contains("pushed"), "{error}");
    let versions = fleet.shop.site.drover(&["plugin", "versions", "a", "pushed"]).ok();
    assert!(versions.contains("kept") && !versions.contains("active"), "{versions}");
    assert_eq!(fleet.shop.site.drover(&["desired", "list"]).ok(), "");
}

#[test]
fn a_rollout_goes_on_after_its_controller_was_killed() {
    let mut fleet = Fleet::start();
    fleet.shop.push_guest("1.0.0");
    let what = ["rollout", "start", "pushed", "--to", "*", "--then", "2"];
    let times = ["--pause", "3s", "--watch", "3s", "--follow"];
    let mut following = fleet.shop.site.start_drover(&[&what[..], &times].concat());
    // In the midst of a wave, and between two.
    let is_watching = |rollout: &Rollout| {
        rollout.wave == 0 && rollout.phase == RolloutPhase::Running && rollout.counts.updating == 1
    };
    fleet.wait_until("the canary", is_watching);
    fleet.restart_controller();
    let is_between = |rollout: &Rollout| matches!(rollout.phase, RolloutPhase::Between { .. });
    fleet.wait_until("the first gate", is_between);
    fleet.restart_controller();
    fleet.wait_until("the end", is_done);
    assert_eq!(following.wait().code(), Some(0), "{}", following.last_words());
    assert_eq!(fleet.greeters(), ["1.0.0"; 3]);
    let history = fleet.show("1").history;
    let restarts = history.iter().filter(|note| note.text.contains("was started again")).count();
    assert_eq!(restarts, 2, "{history:?}");
}

#[test]
fn nodes_are_brought_to_what_they_are_to_have() {
    let mut fleet = Fleet::start();
    for version in ["1.0.0", "1.1.0"] {
        fleet.shop.push_guest(version);
    }
    let site = &fleet.shop.site;
    let error = site.drover(&["desired", "set", "pushed", "--to", "web"]).failed(2);
    assert!(error.contains("write pushed@1.2.0 or pushed@stable"), "{error}");
    let (status, said) =
        fleet.roll_out("1.0.0", &["--to", "web", "--canary", "0", "--watch", "0s"]);
    assert_eq!(status, Some(0), "{said}");
    let rules = site.drover(&["desired", "list"]).ok();
    assert!(rules.contains("pushed@1.0.0  web  mend"), "{rules}");
    assert_eq!(site.drover(&["nodes", "--drift"]).status, Some(0));

    // A node that is only to be looked at.
    let shown = ["desired", "set", "pushed@1.1.0", "--to", "db", "--only-show"];
    let _ = site.drover(&shown).ok();
    let drift = site.drover(&["nodes", "--drift"]);
    assert_eq!(drift.status, Some(1));
    assert!(drift.stdout.contains("pushed  -    1.1.0       shown"), "{drift:?}");

    // A node that joins, and one that somebody has changed.
    let joined = fleet.shop.start_node(4, "d", "web");
    fleet.agents.push(joined);
    let revert = ["call", "a", "plugin.revert", "name=pushed", "version=1.0.0"];
    let _ = fleet.shop.site.drover(&revert).ok();
    fleet.wait_for_greeter("d", "1.0.0");
    let set = ["desired", "set", "pushed@1.1.0", "--to", "name=a", "--watch", "0s"];
    let _ = fleet.shop.site.drover(&set).ok();
    fleet.wait_for_greeter("a", "1.1.0");
    fleet.restart_controller();
    wait_for("the rules", || {
        let ran = fleet.shop.site.drover(&["desired", "list"]);
        if ran.stdout.lines().count() == 4 { Ok(()) } else { Err(ran) }
    });
    let _ = fleet.shop.site.drover(&["desired", "remove", "pushed", "--to", "db"]).ok();
    let error = fleet.shop.site.drover(&["desired", "remove", "pushed", "--to", "db"]).failed(4);
    assert!(error.contains("there is no rule of pushed for `db`"), "{error}");
    wait_for("no drift", || {
        let ran = fleet.shop.site.drover(&["nodes", "--drift"]);
        if ran.status == Some(0) { Ok(()) } else { Err(ran) }
    });
}

impl Fleet {
    fn wait_for_greeter(&self, node: &str, version: &str) {
        wait_for(&format!("{version} on {node}"), || {
            let said = self.greeting(node);
            if said.contains(&format!("by {version}")) { Ok(()) } else { Err(said) }
        });
    }

    /// Ends the controller with kill -9, and starts it again.
    fn restart_controller(&mut self) {
        self.shop.site.controller = None;
        self.shop.site.start_controller();
    }
}
