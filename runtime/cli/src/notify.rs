//! What systemd is told by a program of `Type=notify`: datagrams to the socket that it
//! names in the environment. Without one, nothing is told.

use std::env;
use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The program is there for others.
pub(crate) const READY: &str = "READY=1";

/// It is about to end.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// It is alive.
pub(crate) const ALIVE: &str = "WATCHDOG=1";

/// Where to tell it.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How often it is to say that it is alive, if it is to.
    pub(crate) beat: Option<Duration>,
}

impl Notify {
    /// What the environment says. Whose process it was meant for does not matter: a
    /// version that was pushed speaks for the program that has started it.
    pub(crate) fn from_environment() -> Self {
        let Some(address) = env::var_os("NOTIFY_SOCKET").and_then(|name| address(&name)) else {
            return Self::default();
        };
        let socket = UnixDatagram::unbound().and_then(|socket| {
            // It must never hold anything up.
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        });
        let socket = socket.inspect_err(|error| tracing::warn!(%error, "cannot tell systemd"));
        let limit = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        // Three times as often, so that one that is lost is no matter.
        let beat = limit.map(|limit| Duration::from_micros(limit) / 3);
        Self { socket: socket.ok(), beat: beat.filter(|beat| !beat.is_zero()) }
    }

    /// Tells something.
    pub(crate) fn tell(&self, what: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(what.as_bytes(), address)
        {
            tracing::debug!(%error, what, "systemd was not told");
        }
    }
}

/// A path, or after an `@` a name in the abstract namespace.
fn address(name: &OsString) -> Option<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name).ok(),
        None => SocketAddr::from_pathname(name).ok(),
    }
}
