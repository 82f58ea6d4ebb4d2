//! What operators ask a controller, and finding a node there.

use std::time::Duration;

use anyhow::Context;
use drover_api::{
    Command, ErrorCode, JobResult, NodeId, NodeOperations, NodeStatus, Presence, procedures,
};
use drover_wamp::{CallError, CallOptions, Client, Payload, uri};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::render;

/// How long the controller may take to answer a question about its nodes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a service of the controller may take for anything. It may hash a whole
/// plugin, and wait for its disk.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(60);

/// Nodes that are asked at the same time.
const ASKED_AT_ONCE: usize = 64;

/// Joins `address` only to ask for every node that the controller knows.
pub(crate) fn ask_for_nodes(address: &Address) -> Result<Vec<NodeStatus>, Failure> {
    runtime()?.block_on(async {
        let session = address.connect().await?;
        let nodes = nodes(&session).await?;
        session.close().await;
        Ok(nodes)
    })
}

/// The runtime of commands that ask a controller: one thread is plenty.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// Asks for every node the controller knows.
pub(crate) async fn nodes(session: &Client) -> Result<Vec<NodeStatus>, Failure> {
    let options = CallOptions { timeout: Some(ANSWER_TIMEOUT), ..CallOptions::default() };
    let answer = session
        .call(procedures::NODES, Payload::empty(), options)
        .await
        .map_err(|error| lost(error, "cannot ask the controller for its nodes"))?;
    Ok(answer.first()?)
}

/// Asks a node for what can be called there: all of it, or the one named `cmd`.
pub(crate) async fn operations(
    session: &Client,
    node: &NodeStatus,
    cmd: Option<&str>,
) -> Result<NodeOperations, Failure> {
    let options = CallOptions { timeout: Some(ANSWER_TIMEOUT), ..CallOptions::default() };
    let payload = cmd.map_or(Ok(Payload::empty()), |cmd| Payload::one(&cmd))?;
    let answer =
        session.call(&procedures::operations(node.description.id()), payload, options).await;
    let answer = answer.map_err(|error| {
        let name = &node.description.name;
        lost(error, &format!("cannot ask node {name} what can be called there"))
    })?;
    Ok(answer.first()?)
}

/// Runs a command on a node and waits for its result, which may be an error.
pub(crate) async fn run(
    session: &Client,
    node: NodeId,
    command: &Command,
) -> Result<JobResult, CallError> {
    let payload = Payload::one(command)?;
    let answer = session.call(&procedures::run(node), payload, CallOptions::default()).await?;
    answer.first().map_err(CallError::from)
}

/// Asks a node for the answer to one of its own commands.
pub(crate) async fn ask<T: DeserializeOwned>(
    session: &Client,
    node: &NodeStatus,
    cmd: &str,
    arguments: &Value,
) -> Result<T, Failure> {
    let name = &node.description.name;
    let args = arguments.as_object().cloned().unwrap_or_default();
    let command = Command { args, ..Command::new(cmd) };
    let result = run(session, node.description.id(), &command).await;
    let result =
        result.map_err(|error| lost(error, &format!("cannot call {cmd} on node {name}")))?;
    match &result.error {
        None => Ok(serde_json::from_value(result.data.into_value())?),
        Some(error) => Err(Failure::text((&result).into(), format!("node {name}: {error}"))),
    }
}

/// Calls a procedure of one of the controller's services.
pub(crate) async fn request<T: DeserializeOwned>(
    session: &Client,
    procedure: &str,
    argument: &impl Serialize,
) -> Result<T, Failure> {
    let options = CallOptions { timeout: Some(SERVICE_TIMEOUT), disclose_me: true };
    let answer = session.call(procedure, Payload::one(argument)?, options).await;
    let answer = answer.map_err(|error| refused(error, procedure))?;
    Ok(answer.first_or_null()?)
}

/// Why a service did not do it, with the status that programs go by.
fn refused(error: CallError, procedure: &str) -> Failure {
    let exit = match &error {
        CallError::Application(refused)
            if refused.uri == procedures::error_uri(ErrorCode::UnknownCommand) =>
        {
            Exit::NotFound
        }
        _ => return lost(error, &format!("cannot call {procedure}")),
    };
    Failure::new(exit, error)
}

/// Asks each of these nodes that is present, some at the same time; their answers
/// in their order.
pub(crate) async fn ask_each<T: Send + 'static, A>(
    session: &Client,
    nodes: &[&NodeStatus],
    ask: impl Fn(Client, NodeStatus) -> A,
) -> Vec<(NodeStatus, Result<T, Failure>)>
where
    A: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let mut answers = Vec::new();
    let present: Vec<_> = nodes.iter().filter(|node| node.presence == Presence::Present).collect();
    for some in present.chunks(ASKED_AT_ONCE) {
        let mut asked = JoinSet::new();
        for (place, node) in some.iter().enumerate() {
            let answer = ask(session.clone(), NodeStatus::clone(node));
            asked.spawn(async move { (place, answer.await) });
        }
        let mut told = asked.join_all().await;
        told.sort_by_key(|(place, _)| *place);
        let nodes = some.iter().map(|node| NodeStatus::clone(node));
        answers.extend(nodes.zip(told.into_iter().map(|(_, answer)| answer)));
    }
    answers
}

/// A failed call, with the status for an unreachable controller where that is
/// what happened, and what to do where the caller may not.
pub(crate) fn lost(error: CallError, context: &str) -> Failure {
    let exit = match &error {
        CallError::Closed(_) => Exit::Unreachable,
        CallError::Timeout { .. } => Exit::Timeout,
        _ => Exit::Failed,
    };
    let is_denied = matches!(&error, CallError::Application(refused)
        if refused.uri == uri::error::NOT_AUTHORIZED);
    let context = if is_denied {
        format!(
            "{context}: your role does not allow it (--key-file names the key of somebody else; \
             the controller's configuration has the rules of each role)"
        )
    } else {
        context.to_owned()
    };
    Failure::new(exit, anyhow::Error::new(error).context(context))
}

/// Finds the one node that `wanted` means: its id `<gid>.<nid>` or its name.
pub(crate) fn find<'a>(nodes: &'a [NodeStatus], wanted: &str) -> Result<&'a NodeStatus, Failure> {
    let id = wanted.parse::<NodeId>().ok();
    let is_meant = |node: &&NodeStatus| {
        id.is_some_and(|id| node.description.id() == id) || node.description.name == wanted
    };
    let meant: Vec<_> = nodes.iter().filter(is_meant).collect();
    match meant[..] {
        [node] => Ok(node),
        [] => Err(Failure::text(
            Exit::NotFound,
            format!("there is no node `{wanted}`; {}", list_of(nodes)),
        )),
        _ => Err(Failure::text(
            Exit::NotFound,
            format!("more than one node is named `{wanted}`; use the id: {}", names(&meant)),
        )),
    }
}

/// Finds a node that can be called now.
pub(crate) fn find_present<'a>(
    nodes: &'a [NodeStatus],
    wanted: &str,
) -> Result<&'a NodeStatus, Failure> {
    let node = find(nodes, wanted)?;
    if node.presence == Presence::Lost {
        let message = format!(
            "node {} ({}) is lost, last seen {}: see the agent's log there",
            node.description.name,
            node.description.id(),
            render::ago(node.last_seen)
        );
        return Err(Failure::text(Exit::NotFound, message));
    }
    Ok(node)
}

fn list_of(nodes: &[NodeStatus]) -> String {
    if nodes.is_empty() {
        return "no node has joined this controller yet".to_owned();
    }
    format!("the nodes are: {}", names(&nodes.iter().collect::<Vec<_>>()))
}

fn names(nodes: &[&NodeStatus]) -> String {
    let name =
        |node: &&NodeStatus| format!("{} ({})", node.description.name, node.description.id());
    nodes.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use drover_api::{NodeDescription, Timestamp};

    use super::*;

    fn node(nid: u32, name: &str, presence: Presence) -> NodeStatus {
        let id = NodeId::new(1, nid);
        NodeStatus {
            presence,
            since: Timestamp::now(),
            last_seen: Timestamp::now(),
            description: NodeDescription {
                gid: id.gid,
                nid: id.nid,
                name: name.to_owned(),
                labels: vec![],
                version: String::new(),
                program: None,
                started: Timestamp::now(),
                plugins: vec![],
                refused: vec![],
                trouble: None,
            },
        }
    }

    fn site() -> Vec<NodeStatus> {
        vec![
            node(1, "a", Presence::Present),
            node(2, "b", Presence::Lost),
            node(3, "twin", Presence::Present),
            node(4, "twin", Presence::Present),
        ]
    }

    #[test]
    fn a_node_is_found_by_name_and_by_id() {
        let site = site();
        assert_eq!(find(&site, "a").unwrap().description.id(), NodeId::new(1, 1));
        assert_eq!(find(&site, "1.4").unwrap().description.id(), NodeId::new(1, 4));
    }

    #[test]
    fn an_unknown_node_gets_a_list_of_those_there_are() {
        let failure = find(&site(), "c").unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
        assert!(failure.error.to_string().contains("a (1.1), b (1.2)"), "{}", failure.error);
        let failure = find(&[], "c").unwrap_err();
        assert!(failure.error.to_string().contains("no node has joined"), "{}", failure.error);
    }

    #[test]
    fn a_name_that_two_nodes_have_is_refused_with_their_ids() {
        let failure = find(&site(), "twin").unwrap_err();
        assert!(failure.error.to_string().contains("twin (1.3), twin (1.4)"), "{}", failure.error);
    }

    #[test]
    fn a_lost_node_cannot_be_called() {
        let failure = find_present(&site(), "b").unwrap_err();
        assert!(failure.error.to_string().contains("is lost"), "{}", failure.error);
    }
}
