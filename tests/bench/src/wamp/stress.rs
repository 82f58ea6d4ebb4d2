//! The compiled peer as the benchmark sees it: a process that takes orders.

use anyhow::Context;
use tokio::process::Command;

use crate::load::order::{Measured, Order};
use crate::load::{READY, Target};
use crate::program::Program;

/// A load that waits for orders.
pub(super) struct Stress(Program);

impl Stress {
    /// Starts the process and waits until it takes orders.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(super) async fn start(target: &Target) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(own);
        command.args(["load", "--url", &target.url, "--realm", &target.realm]);
        let mut program = Program::start(&format!("the load on {}", target.url), &mut command)?;
        program.line("that it takes orders", |line| line == READY).await?;
        Ok(Self(program))
    }

    /// Has an order carried out.
    ///
    /// # Errors
    ///
    /// If it fails: the load prints why, and ends.
    pub(super) async fn carry_out(&mut self, order: Order) -> anyhow::Result<Measured> {
        self.0.tell(&serde_json::to_string(&order)?).await?;
        let line = self.0.line("what it measured", |line| line.starts_with('{')).await?;
        serde_json::from_str(&line.text).context("what the load measured cannot be read")
    }

    /// Ends the process.
    ///
    /// # Errors
    ///
    /// If it cannot be waited for.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.0.kill().await
    }
}
