//! Agents that take versions of the guest `pushed` from a catalog.

use anyhow::Context;

use super::shop::Shop;
use super::text;
use crate::program::Program;

/// What the agent's log says when it has joined.
const JOINED: &str = "joined";

/// Agents as programs of their own.
pub(super) struct Fleet(Vec<Program>);

impl Fleet {
    /// Starts so many agents, numbered from 1, and waits until all have joined.
    pub(super) async fn start(shop: &Shop, count: u32) -> anyhow::Result<Self> {
        let mut agents = Vec::new();
        for nid in 1..=count {
            let dir = shop.dir.join(format!("agent-{nid}"));
            std::fs::create_dir_all(&dir).context("cannot make an agent's directory")?;
            let grants = "[pushed]\nstate = \"1 MiB\"\n";
            std::fs::write(dir.join("grants.toml"), grants).context("cannot write the grants")?;
            let config = format!(
                "controller = {:?}\nnid = {nid}\nname = \"agent-{nid}\"\ndata_dir = {:?}\n\
                 cache_dir = {:?}\nheartbeat = \"500ms\"\n{}",
                shop.url(),
                text(&dir)?,
                text(&shop.dir.join("compiled"))?,
                shop.trust
            );
            let path = dir.join("agent.toml");
            std::fs::write(&path, config).context("cannot write an agent's configuration")?;
            let mut command = tokio::process::Command::new(&shop.drover);
            command.args(["agent", "--config"]).arg(path);
            let mut agent = Program::start("drover agent", &mut command)?;
            agent.line("that it has joined", |line| line.contains(JOINED)).await?;
            agents.push(agent);
        }
        Ok(Self(agents))
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        for agent in self.0 {
            agent.stop().await?;
        }
        Ok(())
    }
}
