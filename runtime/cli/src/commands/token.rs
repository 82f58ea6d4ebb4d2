//! `drover token`: tokens with which programs are let in on behalf of people.

use std::time::Duration;

use clap::{Args, Subcommand};
use drover_api::{
    AccessName, ApiToken, MadeToken, NewApiToken, Scope, Selector, Timestamp, procedures,
};

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{access, output, render};

const EXAMPLES: &str = "\
Examples:
    drover token new --note backup --command 'backup.*' --nodes db --life 90days > backup.token
    DROVER_TOKEN=$(cat backup.token) drover call db-1 backup.run
    curl -H \"Authorization: Bearer $(cat backup.token)\" --json '…' https://…/call";

/// Makes and withdraws tokens with which programs are let in.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tokens {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token; it is printed once and kept nowhere
    New(New),
    /// List tokens, your own if you are no admin
    List(List),
    /// Withdraw a token: it counts no more at once
    Remove(Remove),
}

/// Makes a token. Programs use it as DROVER_TOKEN, as --token-file, or over HTTP
/// as `Authorization: Bearer TOKEN`.
#[derive(Debug, Args)]
struct New {
    #[command(flatten)]
    address: Address,
    /// On whose behalf; yours by default
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// A role that may less than yours, such as viewer
    #[arg(long)]
    role: Option<String>,
    /// A command that it is for, such as hello.greet or 'hello.*'; can be given
    /// more than once
    #[arg(long = "command", value_name = "COMMAND")]
    commands: Vec<String>,
    /// A selector of the nodes that it is for
    #[arg(long, value_name = "SELECTOR")]
    nodes: Option<Selector>,
    /// How long it counts, such as 90days
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    life: Option<Duration>,
    /// How many sessions, or requests over HTTP
    #[arg(long, value_name = "COUNT")]
    uses: Option<u32>,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    address: Address,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Remove {
    /// The token's id, as `drover token list` shows it
    id: String,
    #[command(flatten)]
    address: Address,
}

pub(crate) fn run(command: &Tokens) -> Result<Exit, Failure> {
    match &command.command {
        TokenCommand::New(command) => new(command),
        TokenCommand::List(command) => list(command),
        TokenCommand::Remove(command) => {
            let name = AccessName { name: command.id.clone() };
            access::ask::<()>(&command.address, procedures::ACCESS_REMOVE_TOKEN, &name)?;
            Ok(Exit::Done)
        }
    }
}

fn new(command: &New) -> Result<Exit, Failure> {
    let life = command.life.map(|life| u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
    let asked = NewApiToken {
        user: command.user.clone(),
        note: command.note.clone(),
        role: command.role.clone(),
        scope: Scope { commands: command.commands.clone(), nodes: command.nodes.clone() },
        life_ms: life,
        uses: command.uses,
    };
    let made: MadeToken = access::ask(&command.address, procedures::ACCESS_NEW_TOKEN, &asked)?;
    output::answer(&made.token)?;
    output::note(&format!("its id is {}; `drover token remove {0}` withdraws it", made.id));
    Ok(Exit::Done)
}

fn list(command: &List) -> Result<Exit, Failure> {
    let tokens: Vec<ApiToken> = access::ask(&command.address, procedures::ACCESS_TOKENS, &())?;
    if command.json {
        output::json(&tokens)?;
        return Ok(Exit::Done);
    }
    let header = ["id", "user", "note", "role", "commands", "nodes", "expires", "uses"];
    output::answer(&render::table(&header, tokens.iter().map(row)))?;
    Ok(Exit::Done)
}

fn row(token: &ApiToken) -> [String; 8] {
    let expires = match token.expires {
        None => "never".to_owned(),
        Some(expires) if expires <= Timestamp::now() => "expired".to_owned(),
        Some(expires) => format!("in {}", render::until(expires)),
    };
    let all = |text: String| if text.is_empty() { "all".to_owned() } else { text };
    let nodes = token.scope.nodes.as_ref().map(ToString::to_string);
    [
        token.id.clone(),
        token.user.clone(),
        token.note.clone(),
        token.role.clone().unwrap_or_else(|| "the user's".to_owned()),
        all(token.scope.commands.join(" ")),
        all(nodes.unwrap_or_default()),
        expires,
        token.uses.map_or_else(|| "any".to_owned(), |uses| uses.to_string()),
    ]
}
