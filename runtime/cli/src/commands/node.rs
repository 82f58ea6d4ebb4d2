//! `drover node`: who is a node and who is not.

use std::time::Duration;

use clap::{Args, Subcommand};
use drover_api::{
    AccessName, Approve, Claim, Enrolled, JoinText, KnownNode, LabelNode, MadeToken, NewJoinToken,
    NodeId, procedures,
};
use serde_json::json;

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{access, controller, output, render};

const EXAMPLES: &str = "\
Examples:
    drover node token --uses 10 --life 1h --label web > join.token
    drover agent --join @join.token       on each of ten hosts
    drover node approve 7KQ2-XH4M
    drover node label web-3 +zone=eu -db
    drover node revoke web-3
    drover node forget web-3";

/// Lets agents in as nodes that prove who they are, and puts an end to that.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Node {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Make a token with which agents join
    Token(Token),
    /// List the nodes that joined with a key
    List(List),
    /// List the agents that show a code
    Claims(List),
    /// Let an agent in that shows a code
    Approve(ApproveCode),
    /// Have a node make another key
    Rotate(Rotate),
    /// Give a node labels, and take some from it
    Label(Label),
    /// Put an end to a node: it is thrown out at once
    Revoke(Revoke),
    /// Forget a node that is gone for good
    Forget(Forget),
}

/// Makes a token with which agents join: `drover agent --join @FILE`. It has this
/// controller's address and fingerprint in it, and is a secret.
#[derive(Debug, Args)]
struct Token {
    #[command(flatten)]
    address: Address,
    /// How many agents may join with it
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    uses: u32,
    /// How long it counts, such as 30m or 7days
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    life: Duration,
    /// A label of these nodes; can be given more than once
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// The number of the one node that joins with it, such as 1.7
    #[arg(long, value_name = "GID.NID")]
    node: Option<NodeId>,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    address: Address,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Lets an agent in that was started with --claim and shows this code.
#[derive(Debug, Args)]
struct ApproveCode {
    /// The code
    code: String,
    #[command(flatten)]
    address: Address,
    /// The number that it gets; a free one by default
    #[arg(long, value_name = "GID.NID")]
    node: Option<NodeId>,
    /// A label of the node; can be given more than once
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
}

/// Has a node make another key, by which it is known from then on.
#[derive(Debug, Args)]
struct Rotate {
    /// The node, by name or number
    node: String,
    #[command(flatten)]
    address: Address,
}

/// Gives a node labels and takes some from it, wherever it got them; prints those that
/// it has then. `+zone=eu` takes the place of another `zone=`.
#[derive(Debug, Args)]
struct Label {
    #[command(flatten)]
    address: Address,
    /// The node, by name or number
    node: String,
    /// `+LABEL` gives one, `-LABEL` takes it; options come before the node
    #[arg(required = true, value_name = "CHANGE", allow_hyphen_values = true)]
    changes: Vec<String>,
}

/// Forgets a node that is lost or revoked: it is in no list any more, its jobs end, and
/// its key is nobody's. Its number is free.
#[derive(Debug, Args)]
struct Forget {
    /// The node, by name or number
    node: String,
    #[command(flatten)]
    address: Address,
}

/// Puts an end to a node: its session ends at once, and its key counts no more.
#[derive(Debug, Args)]
struct Revoke {
    /// The node, by name or number
    node: String,
    #[command(flatten)]
    address: Address,
}

pub(crate) fn run(command: &Node) -> Result<Exit, Failure> {
    match &command.command {
        NodeCommand::Token(command) => token(command),
        NodeCommand::List(command) => list(command),
        NodeCommand::Claims(command) => claims(command),
        NodeCommand::Approve(command) => approve(command),
        NodeCommand::Rotate(command) => rotate(command),
        NodeCommand::Label(command) => label(command),
        NodeCommand::Revoke(command) => revoke(command),
        NodeCommand::Forget(command) => forget(command),
    }
}

fn token(command: &Token) -> Result<Exit, Failure> {
    let wanted = NewJoinToken {
        uses: command.uses,
        life_ms: u64::try_from(command.life.as_millis()).unwrap_or(u64::MAX),
        labels: command.labels.clone(),
        node: command.node,
    };
    let made: MadeToken = access::ask(&command.address, procedures::ACCESS_JOIN_TOKEN, &wanted)?;
    let join = JoinText {
        token: made.token,
        fingerprint: command.address.fingerprint()?.map(|fingerprint| fingerprint.to_string()),
        controller: command.address.controller()?,
    };
    output::answer(&join.reveal())?;
    output::note(
        "keep it in a file that only you may read, and start agents with `drover agent --join \
         @FILE`, or with it in DROVER_JOIN",
    );
    Ok(Exit::Done)
}

fn list(command: &List) -> Result<Exit, Failure> {
    let nodes: Vec<KnownNode> = access::ask(&command.address, procedures::ACCESS_NODES, &())?;
    if command.json {
        output::json(&nodes)?;
    } else if nodes.is_empty() {
        output::note("no node has joined with a key yet: `drover node token` makes a token");
    } else {
        output::answer(&render::table(
            &["node", "name", "state", "since", "let in by", "labels", "key"],
            nodes.iter().map(row),
        ))?;
    }
    Ok(Exit::Done)
}

fn row(node: &KnownNode) -> [String; 7] {
    let state = match (node.revoked, node.keys.len()) {
        (Some(_), _) => "revoked",
        (None, 0 | 1) => "in",
        (None, _) => "changes its key",
    };
    let key = node.keys.last().map(|key| key.chars().take(16).collect());
    [
        node.node.to_string(),
        node.name.clone(),
        state.to_owned(),
        render::ago(node.revoked.unwrap_or(node.since)),
        node.by.clone(),
        node.labels.join(" "),
        key.unwrap_or_default(),
    ]
}

fn claims(command: &List) -> Result<Exit, Failure> {
    let claims: Vec<Claim> = access::ask(&command.address, procedures::ACCESS_CLAIMS, &())?;
    if command.json {
        output::json(&claims)?;
    } else if claims.is_empty() {
        output::note("no agent shows a code: start one with `drover agent --claim`");
    } else {
        output::answer(&render::table(
            &["code", "name", "key", "for another"],
            claims.iter().map(|claim| {
                [
                    claim.code.clone(),
                    claim.name.clone(),
                    claim.key.chars().take(16).collect(),
                    render::until(claim.expires),
                ]
            }),
        ))?;
    }
    Ok(Exit::Done)
}

fn approve(command: &ApproveCode) -> Result<Exit, Failure> {
    let asked =
        Approve { code: command.code.clone(), node: command.node, labels: command.labels.clone() };
    let enrolled: Enrolled = access::ask(&command.address, procedures::ACCESS_APPROVE, &asked)?;
    output::answer(&enrolled.node.to_string())?;
    Ok(Exit::Done)
}

fn rotate(command: &Rotate) -> Result<Exit, Failure> {
    controller::runtime()?.block_on(async {
        let session = command.address.connect().await?;
        let nodes = controller::nodes(&session).await?;
        let node = controller::find_present(&nodes, &command.node)?;
        let key: String = controller::ask(&session, node, "agent.rotate_key", &json!({})).await?;
        output::answer(&key)?;
        session.close().await;
        Ok(Exit::Done)
    })
}

fn label(command: &Label) -> Result<Exit, Failure> {
    let (mut add, mut remove) = (Vec::new(), Vec::new());
    for change in &command.changes {
        match (change.strip_prefix('+'), change.strip_prefix('-')) {
            (Some(label), _) => add.push(label.to_owned()),
            (_, Some(label)) if !label.starts_with('-') => remove.push(label.to_owned()),
            _ => {
                let text = format!(
                    "`{change}` is no change of a label: write `+{change}` to give it, `-{change}` \
                     to take it, and options before the node"
                );
                return Err(Failure::text(Exit::Usage, text));
            }
        }
    }
    let asked = LabelNode { node: command.node.clone(), add, remove };
    let labels: Vec<String> = access::ask(&command.address, procedures::ACCESS_LABEL, &asked)?;
    output::answer(&labels.join(" "))?;
    Ok(Exit::Done)
}

fn forget(command: &Forget) -> Result<Exit, Failure> {
    let name = AccessName { name: command.node.clone() };
    let node: NodeId = access::ask(&command.address, procedures::ACCESS_FORGET, &name)?;
    output::note(&format!("node {node} is forgotten"));
    Ok(Exit::Done)
}

fn revoke(command: &Revoke) -> Result<Exit, Failure> {
    let name = AccessName { name: command.node.clone() };
    let node: NodeId = access::ask(&command.address, procedures::ACCESS_REVOKE, &name)?;
    output::note(&format!("node {node} is revoked"));
    Ok(Exit::Done)
}
