//! What roles may do: `viewer`, `operator` and `admin`, those of the
//! configuration, and those of nodes and of whoever wants to become one.

use drover_api::{NEWCOMER, NodeDescription, NodeId, Scope, Timestamp, procedures};
use drover_wamp::{Allow, Disclose, Disclosure, MatchPolicy, Permission};
use serde::{Deserialize, Serialize};

use super::deed::{Deed, DeedKind};

/// The role of nodes.
pub(crate) const NODE: &str = "node";

/// The role that may do everything.
pub(crate) const ADMIN: &str = "admin";

/// The roles that are always there, for operators.
pub(crate) const BUILT_IN: [&str; 3] = ["viewer", "operator", ADMIN];

/// What a node may call of the controller's: what it forwards, and what it fetches.
const NODES_CALLS: [&str; 6] = [
    procedures::RECORDS,
    procedures::JOB_REPORT,
    procedures::CATALOG_READ,
    procedures::CATALOG_STATEMENT,
    procedures::ACCESS_ROTATE,
    procedures::ACCESS_TICKET,
];

/// What everybody may call who has a role.
const EVERYBODYS: [&str; 5] = [
    procedures::ACCESS_WHO_AM_I,
    procedures::ACCESS_PASSWORD,
    procedures::ACCESS_TOKENS,
    procedures::ACCESS_NEW_TOKEN,
    procedures::ACCESS_REMOVE_TOKEN,
];

/// What a viewer may call: what changes nothing.
const VIEWERS: [&str; 18] = [
    procedures::METRICS,
    procedures::NODES,
    procedures::JOB_LIST,
    procedures::JOB_RESULT,
    procedures::JOB_SHOW,
    procedures::JOB_WAIT,
    procedures::SCHEDULE_LIST,
    procedures::SCHEDULE_SHOW,
    procedures::ROLLOUT_LIST,
    procedures::ROLLOUT_SHOW,
    procedures::DESIRED_LIST,
    procedures::DESIRED_DRIFT,
    procedures::LOG_QUERY,
    procedures::LOG_FOLLOW,
    procedures::CATALOG_LIST,
    procedures::CATALOG_SHOW,
    procedures::CATALOG_READ,
    procedures::CATALOG_STATEMENT,
];

/// What services judge that know the nodes which are meant: whoever may run something
/// may have it done later too, and nothing else.
pub(super) const JUDGED_LATER: [&str; 11] = [
    procedures::JOB_SUBMIT,
    procedures::JOB_KILL,
    procedures::JOB_RETRY,
    procedures::SCHEDULE_ADD,
    procedures::SCHEDULE_PAUSE,
    procedures::SCHEDULE_RESUME,
    procedures::SCHEDULE_REMOVE,
    procedures::ROLLOUT_START,
    procedures::ROLLOUT_CONTROL,
    procedures::DESIRED_SET,
    procedures::DESIRED_REMOVE,
];

/// A role of the site's own: `[roles.NAME]` in the controller's configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnRole {
    /// What may be run on which nodes; each entry adds to the others. Whoever
    /// has the role may look at everything as well.
    pub run: Vec<Scope>,
    /// Further names that may be called, published or subscribed.
    pub permissions: Vec<Permission>,
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rights {
    pub(crate) permissions: Vec<Permission>,
    /// What may be run on which nodes.
    run: Vec<Scope>,
}

/// Rules, of which a later one for the same name takes the place of an earlier one.
#[derive(Default)]
struct Rules(Vec<Permission>);

impl Rules {
    fn rule(mut self, uri: &str, policy: MatchPolicy, allow: Allow) -> Self {
        self.0.retain(|rule| (rule.uri.as_str(), rule.policy) != (uri, policy));
        // Who does something is always told to those who are asked to do it.
        let always = Disclosure::Always;
        let disclose = Disclose { caller: always, publisher: always };
        self.0.push(Permission { uri: uri.to_owned(), policy, allow, disclose });
        self
    }

    fn below(self, prefix: &str, allow: Allow) -> Self {
        self.rule(prefix, MatchPolicy::Prefix, allow)
    }

    fn calls(self, names: &[&str]) -> Self {
        let allow = Allow { call: true, ..Allow::default() };
        names.iter().fold(self, |rules, name| rules.rule(name, MatchPolicy::Exact, allow))
    }
}

/// What the node of this number may do: speak for itself and for nobody else.
pub(crate) fn of_node(node: NodeId) -> Vec<Permission> {
    let own = Allow { register: true, publish: true, ..Allow::default() };
    let publish = Allow { publish: true, ..Allow::default() };
    let subscribe = Allow { subscribe: true, ..Allow::default() };
    Rules::default()
        .below(&procedures::node_prefix(node), own)
        .rule(procedures::HEARTBEAT, MatchPolicy::Exact, publish)
        .rule(procedures::CATALOG_CHANGED, MatchPolicy::Exact, subscribe)
        .calls(&NODES_CALLS)
        .0
}

/// What whoever has a key may do that nobody knows: ask to be let in.
pub(crate) fn of_newcomer() -> Vec<Permission> {
    Rules::default().calls(&[procedures::ACCESS_ENROL]).0
}

/// What operators of a role may do; nothing if there is no such role.
pub(crate) fn of(role: &str, own: Option<&OwnRole>) -> Option<Rights> {
    let listen = Allow { subscribe: true, ..Allow::default() };
    let both = Allow { call: true, subscribe: true, ..Allow::default() };
    let looking = || {
        Rules::default()
            .below("drover.", listen)
            // What is run there is decided by the command.
            .below("drover.node.", both)
            .calls(&VIEWERS)
            .calls(&EVERYBODYS)
    };
    let everything = vec![Scope::default()];
    let (rules, run) = match role {
        ADMIN => {
            let all = Allow { publish: true, ..both };
            (Rules::default().below("", all).below("drover.", both), everything)
        }
        "operator" => {
            let rules = Rules::default()
                .below("drover.", both)
                .below(procedures::ACCESS, Allow::default())
                .below(procedures::AUDIT, Allow::default())
                .calls(&[procedures::ACCESS_NODES])
                .calls(&EVERYBODYS);
            (rules, everything)
        }
        "viewer" => (looking(), vec![]),
        _ => {
            let own = own?;
            let mut rules = looking();
            if !own.run.is_empty() {
                rules = rules.calls(&JUDGED_LATER);
            }
            for Permission { uri, policy, allow, .. } in &own.permissions {
                rules = rules.rule(uri, *policy, *allow);
            }
            (rules, own.run.clone())
        }
    };
    Some(Rights { permissions: rules.0, run })
}

impl Rights {
    /// Says why a deed is not allowed, if it is not. What is no command of a node
    /// is decided by names alone.
    pub(crate) fn judge(&self, deed: &Deed, node: &NodeDescription) -> Result<(), String> {
        if deed.node.is_none() || deed.kind == DeedKind::Reading {
            return Ok(());
        }
        // A part of a stream belongs to a job that was allowed.
        let is_part = deed.kind == DeedKind::Streaming;
        let allows = |scope: &Scope| {
            covers_node(scope, node) && (is_part || covers_command(scope, &deed.what))
        };
        if self.run.iter().any(allows) {
            return Ok(());
        }
        Err(format!("may not run `{}` on node {}", deed.what, node.id()))
    }

    /// Whether a command may be run on some node.
    pub(super) fn is_for(&self, cmd: &str) -> bool {
        self.run.iter().any(|scope| covers_command(scope, cmd))
    }

    /// Whether it may be run on every node that there will ever be.
    pub(super) fn is_for_all_nodes(&self, cmd: &str) -> bool {
        self.run.iter().any(|scope| scope.nodes.is_none() && covers_command(scope, cmd))
    }
}

/// Says why a token's scope does not allow a deed, if it does not. One that is
/// for some commands or nodes is for commands of nodes alone, now or later.
pub(crate) fn judge_scope(
    scope: &Scope,
    deed: &Deed,
    node: &NodeDescription,
) -> Result<(), String> {
    if *scope == Scope::default() || deed.kind == DeedKind::Reading {
        return Ok(());
    }
    if deed.node.is_none() {
        if deed.is_judged_later {
            return Ok(());
        }
        return Err(format!("the token is not for `{}`", deed.what));
    }
    let is_part = deed.kind == DeedKind::Streaming;
    if covers_node(scope, node) && (is_part || covers_command(scope, &deed.what)) {
        return Ok(());
    }
    Err(format!("the token is not for `{}` on node {}", deed.what, node.id()))
}

fn covers_node(scope: &Scope, node: &NodeDescription) -> bool {
    scope.nodes.as_ref().is_none_or(|selector| selector.matches(node))
}

/// Whether a scope has a command in it, whatever the node.
pub(super) fn covers_command(scope: &Scope, cmd: &str) -> bool {
    let covers = |pattern: &String| match pattern.strip_suffix('*') {
        Some(start) => cmd.starts_with(start),
        None => cmd == pattern,
    };
    scope.commands.is_empty() || scope.commands.iter().any(covers)
}

/// A node of which no more is known than its number.
pub(crate) fn bare(node: NodeId) -> NodeDescription {
    NodeDescription {
        gid: node.gid,
        nid: node.nid,
        name: String::new(),
        labels: vec![],
        version: String::new(),
        started: Timestamp(0),
        plugins: vec![],
        refused: vec![],
        program: None,
        trouble: None,
    }
}

/// Whether a role of the configuration may be called so.
pub(crate) fn is_free_name(name: &str) -> bool {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    !name.is_empty()
        && name.chars().all(is_word)
        && ![NODE, NEWCOMER].contains(&name)
        && !BUILT_IN.contains(&name)
}

#[cfg(test)]
mod tests {
    use drover_wamp::Payload;
    use serde_json::json;

    use super::*;

    fn run(cmd: &str) -> Deed {
        Deed::of("drover.node.1.7.run", &Payload::one(&json!({ "cmd": cmd })).unwrap())
    }

    fn web() -> NodeDescription {
        let labels = vec!["web".to_owned()];
        NodeDescription { name: "web-1".into(), labels, ..bare(NodeId::new(1, 7)) }
    }

    fn scope(commands: &[&str], nodes: Option<&str>) -> Scope {
        Scope {
            commands: commands.iter().map(|one| (*one).to_owned()).collect(),
            nodes: nodes.map(|nodes| nodes.parse().unwrap()),
        }
    }

    #[test]
    fn a_viewer_looks_and_runs_nothing() {
        let viewer = of("viewer", None).unwrap();
        assert_eq!(viewer.judge(&run("process.list"), &web()), Ok(()));
        let refusal = viewer.judge(&run("process.execute"), &web()).unwrap_err();
        assert!(refusal.contains("`process.execute` on node 1.7"), "{refusal}");
        assert!(viewer.judge(&run(""), &web()).is_err(), "what cannot be read is not run");
        assert_eq!(of("operator", None).unwrap().judge(&run("hello.greet"), &web()), Ok(()));
        assert_eq!(of("no-such-role", None), None);
    }

    #[test]
    fn an_own_role_is_held_to_its_commands_and_nodes() {
        let own = OwnRole {
            run: vec![scope(&["hello.*", "agent.restart"], Some("web")), scope(&["df.run"], None)],
            permissions: vec![],
        };
        let rights = of("greeter", Some(&own)).unwrap();
        let other = bare(NodeId::new(1, 7));
        for (cmd, node, is_allowed) in [
            ("hello.greet", &web(), true),
            ("hello.greet", &other, false),
            ("agent.restart", &web(), true),
            ("agent.restarts", &web(), false),
            ("df.run", &other, true),
            ("process.execute", &web(), false),
            ("job.input", &web(), true),
        ] {
            assert_eq!(rights.judge(&run(cmd), node).is_ok(), is_allowed, "{cmd}");
        }
    }

    #[test]
    fn a_node_speaks_for_itself_alone() {
        let rules = of_node(NodeId::new(1, 7));
        let own: Vec<_> = rules.iter().filter(|rule| rule.allow.register).collect();
        assert_eq!(own.len(), 1);
        // With the dot, 1.7 is not 1.70.
        assert_eq!(own[0].uri, "drover.node.1.7.");
        assert!(rules.iter().filter(|rule| rule.allow.publish).count() == 2);
    }
}
