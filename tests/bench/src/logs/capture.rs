//! A node that keeps what a child says: the whole way, from the pipe to SQLite.

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use procfs::process::Process;
use serde_json::json;

use crate::Inputs;
use crate::site::{Agent, Caller, Site};

/// What the child writes at once.
const BLOCK_LINES: u64 = 640;

/// A controller, an agent, and a session to call it with.
pub(super) struct Node {
    site: Site,
    agent: Agent,
    caller: Caller,
}

/// What one child came to.
pub(super) struct Captured {
    pub(super) lines_per_second: f64,
    /// The most the agent has ever held.
    pub(super) agent_bytes: f64,
}

impl Node {
    /// Starts a controller and an agent without plugins.
    pub(super) async fn start(inputs: &Inputs, dir: &Path) -> anyhow::Result<Self> {
        let site = Site::start(&inputs.drover, &[], dir).await?;
        let agent = site.agent().await?;
        let caller = site.caller("process.execute").await?;
        Ok(Self { site, agent, caller })
    }

    /// Runs a child that writes so many lines, until all of them can be asked for.
    pub(super) async fn capture(&self, lines: u64) -> anyhow::Result<Captured> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let arguments = json!({
            "cmd": own,
            "args": ["chatter", lines.to_string()],
            "name": "chatter",
        });
        let started = Instant::now();
        let job = self.caller.run(arguments).await?;
        let took = started.elapsed();
        let last = json!({ "job": job, "text": format!("{:0>99}", lines - 1), "limit": 1 });
        let found = self.caller.ask("log.query", last).await?;
        let records = found.pointer("/records").and_then(|records| records.as_array());
        ensure!(
            records.is_some_and(|records| records.len() == 1),
            "the last line of the child is not in the log: {found}"
        );
        let status = Process::new(self.agent.program.group())
            .and_then(|agent| agent.status())
            .context("the agent has ended")?;
        Ok(Captured {
            lines_per_second: lines as f64 / took.as_secs_f64(),
            agent_bytes: status.vmhwm.context("the agent has no memory")? as f64 * 1024.0,
        })
    }

    /// Ends the agent and the controller.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        drop(self.caller);
        self.agent.program.stop().await?;
        self.site.stop().await
    }
}

/// What the child does: writes numbered lines of 100 bytes, many at once.
pub(crate) fn chatter(lines: u64) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let mut block = Vec::new();
    for number in 0..lines {
        writeln!(block, "{number:0>99}")?;
        if (number + 1) % BLOCK_LINES == 0 || number + 1 == lines {
            output.write_all(&block)?;
            block.clear();
        }
    }
    output.flush()
}
