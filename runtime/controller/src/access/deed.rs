//! What a call does, and to what, as far as the one who decides on it needs to know.

use drover_api::{NodeId, procedures};
use drover_wamp::Payload;
use serde::Deserialize;

use super::roles::JUDGED_LATER;

/// The longest text that is kept of a name that somebody sent.
const MAX_NAME: usize = 120;

/// Commands of nodes that change nothing.
const READING: [&str; 16] = [
    "agent.info",
    "agent.metrics",
    "agent.ping",
    "describe",
    "job.list",
    "log.follow",
    "log.query",
    "operations",
    "plugin.list",
    "plugin.versions",
    "process.list",
    "process.stats",
    "process.stats_all",
    "service.list",
    "service.status",
    "source.list",
];

/// Commands that carry the streams of jobs which other commands began.
const STREAMING: [&str; 4] = ["job.input", "job.taken", "process.stdin", "process.taken"];

/// The last words of the controller's procedures that change nothing.
const ASKING: [&str; 25] = [
    "claims",
    "diff",
    "drift",
    "follow",
    "list",
    "logs",
    "metrics",
    "next",
    "nodes",
    "plan",
    "query",
    "read",
    "records",
    "report",
    "result",
    "show",
    "statement",
    "status",
    "ticket",
    "tokens",
    "users",
    "verify",
    "wait",
    "who_am_i",
    "write",
];

/// What a call does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deed {
    /// The command of a node, or the procedure without what all have in common.
    pub(crate) what: String,
    /// The node that is to do it.
    pub(crate) node: Option<NodeId>,
    /// What the call names: a user, a version, a node.
    pub(crate) on: String,
    pub(crate) kind: DeedKind,
    /// Whether the service that is called judges the nodes that are meant.
    pub(crate) is_judged_later: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeedKind {
    /// It changes nothing.
    Reading,
    /// It carries a part of what was begun elsewhere.
    Streaming,
    /// It changes something, or may.
    Doing,
    /// It is none of the controller's business.
    Foreign,
}

/// What calls name, of which nothing is secret.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Names {
    cmd: Option<String>,
    name: Option<String>,
    user: Option<String>,
    node: Option<serde_json::Value>,
    nodes: Option<serde_json::Value>,
    selector: Option<serde_json::Value>,
    version: Option<String>,
    channel: Option<String>,
    code: Option<String>,
    id: Option<serde_json::Value>,
    command: Option<Command>,
    /// What a schedule submits.
    submit: Option<Submit>,
}

/// A submission inside of a call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Submit {
    command: Option<Command>,
    nodes: Option<serde_json::Value>,
}

/// A command inside of a call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Command {
    cmd: Option<String>,
}

impl Deed {
    /// What a call of `procedure` does.
    pub(crate) fn of(procedure: &str, payload: &Payload) -> Self {
        if let Some(rest) = procedure.strip_prefix("drover.node.") {
            return Self::on_node(rest, payload);
        }
        if let Some(what) = procedure.strip_prefix("drover.controller.") {
            return Self::on_controller(procedure, what, payload);
        }
        let kind = match procedure.strip_prefix("wamp.") {
            Some(name) if name.starts_with("session.kill") => DeedKind::Doing,
            _ => DeedKind::Foreign,
        };
        let (what, on) = (shown(procedure), String::new());
        Self { what, node: None, on, kind, is_judged_later: false }
    }

    fn on_node(rest: &str, payload: &Payload) -> Self {
        let mut words = rest.splitn(3, '.');
        let mut number = || words.next()?.parse::<u32>().ok();
        let node = number().zip(number()).map(|(gid, nid)| NodeId::new(gid, nid));
        let word = words.next().unwrap_or_default();
        let what = match word {
            procedures::RUN => payload.first::<Names>().ok().and_then(|names| names.cmd),
            word => Some(word.to_owned()),
        };
        Self::command(&what.unwrap_or_default(), node)
    }

    /// What a command of a node does.
    pub(crate) fn command(cmd: &str, node: Option<NodeId>) -> Self {
        let what = shown(cmd);
        let kind = if READING.contains(&what.as_str()) {
            DeedKind::Reading
        } else if STREAMING.contains(&what.as_str()) {
            DeedKind::Streaming
        } else {
            DeedKind::Doing
        };
        let on = node.map_or_else(String::new, |node| node.to_string());
        Self { what, node, on, kind, is_judged_later: false }
    }

    fn on_controller(procedure: &str, what: &str, payload: &Payload) -> Self {
        let last = what.rsplit('.').next().unwrap_or_default();
        let kind = match ASKING.contains(&last) {
            true => DeedKind::Reading,
            false => DeedKind::Doing,
        };
        let (mut what, mut on) = (shown(what), String::new());
        if kind == DeedKind::Doing {
            let names = payload.first::<Names>().unwrap_or_default();
            let Submit { command, nodes } = names.submit.unwrap_or_default();
            let command = names.command.or(command);
            let cmd = names.cmd.or(command.and_then(|command| command.cmd));
            if let Some(cmd) = cmd {
                what = format!("{what} {}", shown(&cmd));
            }
            let text = |value: serde_json::Value| match value {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            let named = [names.selector, names.nodes.or(nodes), names.node, names.id]
                .map(|one| one.map(text));
            let named = named.into_iter().flatten();
            let texts = [names.user, names.name, names.version, names.channel, names.code];
            let named: Vec<_> = named.chain(texts.into_iter().flatten()).collect();
            on = shown(&named.join(" "));
        }
        let is_judged_later = JUDGED_LATER.contains(&procedure);
        Self { what, node: None, on, kind, is_judged_later }
    }
}

/// The start of a text that somebody sent, fit to be shown.
fn shown(text: &str) -> String {
    let letter = |letter: char| if letter.is_control() { '?' } else { letter };
    text.chars().take(MAX_NAME).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deed(procedure: &str, argument: &serde_json::Value) -> Deed {
        Deed::of(procedure, &Payload::one(argument).unwrap())
    }

    #[test]
    fn a_command_is_the_same_deed_by_either_procedure() {
        let by_name = deed("drover.node.1.7.hello.greet", &json!(null));
        let by_run = deed("drover.node.1.7.run", &json!({"cmd": "hello.greet", "data": "x"}));
        assert_eq!(by_name, by_run);
        assert_eq!(by_run.what, "hello.greet");
        assert_eq!((by_run.node, by_run.kind), (Some(NodeId::new(1, 7)), DeedKind::Doing));
    }

    #[test]
    fn what_cannot_be_read_is_taken_for_a_deed() {
        for argument in [json!(null), json!({"cmd": 5}), json!({})] {
            assert_eq!(deed("drover.node.1.7.run", &argument).kind, DeedKind::Doing);
        }
        assert_eq!(deed("drover.node.x.y.z", &json!(null)).node, None);
        assert_eq!(deed("drover.controller.later", &json!(null)).kind, DeedKind::Doing);
    }

    #[test]
    fn reading_and_streams_are_told_from_deeds() {
        for (procedure, kind) in [
            ("drover.node.1.7.describe", DeedKind::Reading),
            ("drover.node.1.7.log.query", DeedKind::Reading),
            ("drover.node.1.7.log.delete", DeedKind::Doing),
            ("drover.node.1.7.job.taken", DeedKind::Streaming),
            ("drover.controller.nodes", DeedKind::Reading),
            ("drover.controller.log.delete", DeedKind::Doing),
            ("drover.controller.catalog.yank", DeedKind::Doing),
            ("wamp.session.kill_all", DeedKind::Doing),
            ("observatory.fake.ops", DeedKind::Foreign),
        ] {
            assert_eq!(deed(procedure, &json!(null)).kind, kind, "{procedure}");
        }
    }

    #[test]
    fn what_is_done_later_is_named_as_what_is_done_at_once() {
        let submit =
            json!({"command": {"cmd": "hello.greet", "args": {"x": "hunter2"}}, "nodes": "web"});
        let submitted = deed("drover.controller.job.submit", &submit);
        assert_eq!(
            (submitted.what.as_str(), submitted.on.as_str()),
            ("job.submit hello.greet", "web")
        );
        let schedule = json!({"name": "nightly", "submit": submit});
        let added = deed("drover.controller.schedule.add", &schedule);
        assert_eq!(
            (added.what.as_str(), added.on.as_str()),
            ("schedule.add hello.greet", "web nightly")
        );
        assert!(submitted.is_judged_later && added.is_judged_later);
    }

    #[test]
    fn names_are_kept_and_secrets_are_not() {
        let argument = json!({"name": "ada\n", "role": "admin", "password": "hunter2"});
        let deed = deed("drover.controller.access.put_user", &argument);
        assert_eq!((deed.what.as_str(), deed.on.as_str()), ("access.put_user", "ada?"));
        let argument = json!({"token": "drt_x_hunter2", "node": {"gid": 1, "nid": 1}});
        let deed = super::tests::deed("drover.controller.access.enrol", &argument);
        assert!(!format!("{deed:?}").contains("hunter2"), "{deed:?}");
    }
}
