//! A router that is not ours.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Process, installed, wait_for};

const CONFIG: &str = include_str!("../bench/python/crossbar.json");

/// A running Crossbar with a realm `test_realm`, open to everybody.
pub struct Crossbar {
    process: Process,
    /// Where it listens.
    pub url: String,
    _dir: TempDir,
}

impl Crossbar {
    /// The realm that its clients join.
    pub const REALM: &str = "test_realm";

    /// Starts Crossbar and waits until it listens.
    #[must_use]
    pub fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let address = free_address();
        let mut config: Value = serde_json::from_str(CONFIG).unwrap();
        *config.pointer_mut("/workers/0/transports/0/endpoint/port").unwrap() =
            json!(address.port());
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();

        let mut command = Command::new(installed("venv/bin/crossbar"));
        command.args(["start", "--loglevel", "warn", "--cbdir"]).arg(dir.path());
        let process = Process::spawn(&mut command);
        wait_for("Crossbar to listen", || {
            TcpStream::connect(address).map_err(|error| (error, process.last_words()))
        });
        Self { process, url: format!("ws://{address}/ws"), _dir: dir }
    }
}

impl Drop for Crossbar {
    /// Asks it to end: a killed one would leave its worker behind.
    fn drop(&mut self) {
        self.process.signal(Signal::SIGTERM);
        self.process.wait_or_kill();
    }
}

/// An address that was free a moment ago: Crossbar does not tell which one it took.
fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}
