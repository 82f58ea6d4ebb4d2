//! `drover exec`: runs a program on a node as if it ran here.

mod attached;
mod ending;

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use drover_api::{Command, JobId, JobLimits, NodeStatus};
use drover_wamp::Client;
use serde_json::{Map, Value, json};

use super::call::milliseconds;
use super::report;
use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::feed::WINDOW;
use crate::{controller, output};
use attached::Attached;

const EXAMPLES: &str = "\
Examples:
    drover exec web-1 -- df -h
    tar c site | drover exec web-1 --cwd /srv -- tar x
    drover exec web-1 --detach --name shop -- /usr/bin/shop --port 80

The program ends with this one: Ctrl-C, or the loss of the connection, ends it
with all processes that it has started. With --detach it goes on.";

/// Runs a program on a node: shows what it writes as it comes, passes standard
/// input to it, and ends with its exit status. No shell is involved.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Exec {
    /// The node, by name or id
    node: String,
    /// The program, a path or a name in PATH, and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<String>,
    /// Pass standard input even if it is a terminal
    #[arg(short, long, conflicts_with_all = ["detach", "restart"])]
    interactive: bool,
    /// How long it may take, such as 5s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Where it runs: an absolute path; / by default
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// A variable of its environment; NAME alone has the value that it has here, for
    /// everybody on this host can read arguments. Can be given several times
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable)]
    env: Vec<(String, String)>,
    /// What it inherits of the agent's environment: everything, or the names
    /// behind =, such as --inherit-env=LANG,TZ
    #[arg(long, value_name = "NAMES", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
    inherit_env: Option<Vec<String>>,
    /// The user that it runs as; the agent's own by default
    #[arg(long)]
    user: Option<String>,
    /// The group that it runs as
    #[arg(long)]
    group: Option<String>,
    /// What the job is called; the program's name by default
    #[arg(long)]
    name: Option<String>,
    /// What the job is sorted under
    #[arg(long)]
    domain: Option<String>,
    /// A queue of the node: one of its jobs runs at a time, first in, first out
    #[arg(long, conflicts_with = "detach")]
    queue: Option<String>,
    /// Memory that it may use, such as 64MiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// How many processes it may have
    #[arg(long, value_name = "N")]
    processes: Option<u64>,
    /// How many files each of its processes may have open
    #[arg(long, value_name = "N")]
    open_files: Option<u64>,
    /// Its niceness, from -20 (first) to 19 (last)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    nice: Option<i32>,
    /// Start it again when it fails, up to so many times within five minutes.
    /// Standard input is not passed then
    #[arg(long, value_name = "N")]
    restart: Option<u32>,
    /// Leave it running for ever, also when the agent restarts, and print the
    /// job's id; `drover kill` ends it
    #[arg(long, conflicts_with = "timeout")]
    detach: bool,
    /// Print the whole result as JSON when it has ended
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

pub(crate) fn run(exec: &Exec) -> Result<Exit, Failure> {
    controller::runtime()?.block_on(async {
        let session = exec.address.connect().await?;
        let nodes = controller::nodes(&session).await?;
        let node = controller::find_present(&nodes, &exec.node)?;
        if exec.detach {
            let exit = exec.detach(&session, node).await?;
            session.close().await;
            return Ok(exit);
        }
        let passes_stdin = exec.passes_stdin(io::stdin().is_terminal());
        let command = exec.command(node, passes_stdin);
        Attached::start(&session, node, command, exec.json).await?.run(passes_stdin).await
    })
}

impl Exec {
    /// A terminal is left to whoever types at it, unless asked for. A program
    /// that is started again could not have its input again.
    fn passes_stdin(&self, is_terminal: bool) -> bool {
        !self.detach && self.restart.is_none() && (self.interactive || !is_terminal)
    }

    /// Has the node take the job over for good.
    async fn detach(&self, session: &Client, node: &NodeStatus) -> Result<Exit, Failure> {
        let command = self.command(node, false);
        let result = controller::run(session, node.description.id(), &command).await;
        let what = format!("cannot run `{}` on node {}", self.program[0], self.node);
        let result = result.map_err(|error| controller::lost(error, &what))?;
        if result.error.is_some() || self.json {
            return report::result(&result, &format!("on node {}", self.node), self.json);
        }
        output::answer(result.id.as_str())?;
        Ok(Exit::Done)
    }

    fn command(&self, node: &NodeStatus, passes_stdin: bool) -> Command {
        Command {
            id: JobId::generate(),
            gid: Some(node.description.gid),
            nid: Some(node.description.nid),
            args: self.arguments(passes_stdin),
            data_base64: String::new(),
            timeout_ms: self.timeout.map(milliseconds),
            limits: JobLimits::default(),
            ..Command::new("process.execute")
        }
    }

    /// The arguments of `process.execute`; what is not said here is the node's
    /// to decide.
    fn arguments(&self, passes_stdin: bool) -> Map<String, Value> {
        let env: Map<String, Value> =
            self.env.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let inherited = self.inherit_env.as_ref().map(|names| match names.is_empty() {
            true => json!(true),
            false => json!(names),
        });
        let limits = said([
            ("memory", json!(self.memory)),
            ("processes", json!(self.processes)),
            ("open_files", json!(self.open_files)),
            ("nice", json!(self.nice)),
        ]);
        said([
            ("cmd", json!(self.program.first())),
            ("args", json!(self.program.get(1..))),
            ("working_dir", json!(self.cwd)),
            ("env", if env.is_empty() { Value::Null } else { Value::Object(env) }),
            ("inherit_env", json!(inherited)),
            ("user", json!(self.user)),
            ("group", json!(self.group)),
            ("name", json!(self.name)),
            ("domain", json!(self.domain)),
            ("queue", json!(self.queue)),
            ("limits", if limits.is_empty() { Value::Null } else { Value::Object(limits) }),
            ("max_restart", json!(self.restart)),
            ("max_time", if self.detach { json!(-1) } else { Value::Null }),
            ("stdin", if passes_stdin { json!("open") } else { Value::Null }),
            ("window", if self.detach { Value::Null } else { json!(WINDOW) }),
        ])
    }
}

/// Those that are not null.
fn said<const N: usize>(arguments: [(&str, Value); N]) -> Map<String, Value> {
    let said = arguments.into_iter().filter(|(_, value)| !value.is_null());
    said.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        None if !text.is_empty() => match std::env::var(text) {
            Ok(value) => Ok((text.to_owned(), value)),
            Err(_) => Err(format!("{text} has no value here: write NAME=VALUE, such as LANG=C")),
        },
        _ => Err("write NAME=VALUE, such as LANG=C".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        exec: Exec,
    }

    fn exec(line: &[&str]) -> Exec {
        Line::try_parse_from(["exec", "a"].iter().chain(line)).unwrap().exec
    }

    #[test]
    fn what_is_not_said_is_left_to_the_node() {
        let arguments = exec(&["--", "df", "-h"]).arguments(false);
        let expected = json!({ "cmd": "df", "args": ["-h"], "window": WINDOW });
        assert_eq!(Value::Object(arguments), expected);
    }

    #[test]
    fn every_option_is_an_argument_of_the_command() {
        let arguments = exec(&[
            "--cwd=/srv",
            "--env",
            "A=b=c",
            "--env",
            "D=",
            "--inherit-env=LANG,TZ",
            "--user=www",
            "--group=1000",
            "--name=shop",
            "--domain=web",
            "--memory",
            "64MiB",
            "--processes=5",
            "--open-files=9",
            "--nice",
            "-5",
            "--restart=3",
            "--detach",
            "--",
            "shop",
            "--port",
        ]);
        let expected = json!({
            "cmd": "shop", "args": ["--port"], "working_dir": "/srv",
            "env": { "A": "b=c", "D": "" }, "inherit_env": ["LANG", "TZ"],
            "user": "www", "group": "1000", "name": "shop", "domain": "web",
            "limits": { "memory": "64MiB", "processes": 5, "open_files": 9, "nice": -5 },
            "max_restart": 3, "max_time": -1,
        });
        assert_eq!(Value::Object(arguments.arguments(false)), expected);
        let path = exec(&["--env", "PATH", "--", "x"]).arguments(false);
        assert_eq!(path["env"]["PATH"], std::env::var("PATH").unwrap());
        assert_eq!(exec(&["--inherit-env", "--", "x"]).arguments(true)["inherit_env"], true);
        assert_eq!(exec(&["--queue", "q", "--", "x"]).arguments(true)["stdin"], "open");
    }

    #[test]
    fn a_terminal_is_passed_only_when_asked_for() {
        assert!(exec(&["--", "cat"]).passes_stdin(false));
        assert!(!exec(&["--", "cat"]).passes_stdin(true));
        assert!(exec(&["-i", "--", "cat"]).passes_stdin(true));
        assert!(!exec(&["--detach", "--", "cat"]).passes_stdin(false));
        assert!(!exec(&["--restart", "1", "--", "cat"]).passes_stdin(false));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            &["df"][..],
            &["--"],
            &["--env", "DROVER_NO_SUCH_VARIABLE", "--", "df"],
            &["--env", "=A", "--", "df"],
            &["--detach", "--timeout", "5s", "--", "df"],
            &["--detach", "-i", "--", "df"],
        ] {
            assert!(Line::try_parse_from(["exec", "a"].iter().chain(line)).is_err(), "{line:?}");
        }
    }
}
