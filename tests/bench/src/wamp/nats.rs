//! The limit of calls: a NATS server, which routes bytes and nothing else.

use std::path::Path;

use anyhow::Context;
use tokio::process::Command;

use crate::load::Target;
use crate::program::Program;

/// What the server's log says before the address it listens on.
const LISTENING: &str = "Listening for client connections on ";

/// A running server.
pub(super) struct NatsServer {
    program: Program,
    address: String,
}

impl NatsServer {
    /// Starts a server on a free port.
    ///
    /// # Errors
    ///
    /// If the program is not installed, or does not listen.
    pub(super) async fn start(file: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(file);
        command.args(["--addr", "127.0.0.1", "--port", "-1"]);
        let mut program = Program::start("NATS", &mut command).context(
            "the limit of this benchmark is Debian's nats-server: `apt-get install nats-server`, \
             or name the program with --nats",
        )?;
        let line = program.line("its address", |line| line.contains(LISTENING)).await?;
        let address = line.text.split(LISTENING).last().unwrap_or_default().to_owned();
        Ok(Self { program, address })
    }

    /// Where the load finds it.
    pub(super) fn target(&self) -> Target {
        Target { url: format!("nats://{}", self.address), realm: String::new() }
    }

    /// Stops the server.
    ///
    /// # Errors
    ///
    /// If it cannot be waited for.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.program.stop().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_server_is_an_error_with_the_cure() {
        let error = NatsServer::start(Path::new("/nowhere/nats-server")).await.err().unwrap();
        assert!(error.to_string().contains("apt-get install nats-server"), "{error}");
    }
}
