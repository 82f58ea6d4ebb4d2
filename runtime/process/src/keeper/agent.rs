//! The connection to the agent, as the keeper sees it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::process::getuid;

use super::message::{Answer, Request};
use super::socket::{self, Packet, Received};

/// Answers that may wait before no more requests are taken.
const OUTBOX: usize = 256;

/// One agent.
#[derive(Debug)]
pub(crate) struct Agent {
    socket: OwnedFd,
    outbox: VecDeque<Packet>,
    buffer: Vec<u8>,
    pub(crate) pid: i32,
    pub(crate) greeting: Greeting,
}

/// How far the agent is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// It has said nothing yet.
    Awaited,
    /// It has said hello, and has to wait for what a killed keeper left.
    Heard,
    /// It was welcomed.
    Answered,
}

impl Agent {
    /// Takes a connection, if its other side is of this user, or the admin.
    ///
    /// # Errors
    /// It is somebody else's.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let peer = rustix::net::sockopt::socket_peercred(&socket)?;
        if peer.uid != getuid() && !peer.uid.is_root() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let pid = peer.pid.as_raw_nonzero().get();
        Ok(Self {
            socket,
            outbox: VecDeque::new(),
            buffer: Vec::new(),
            pid,
            greeting: Greeting::Awaited,
        })
    }

    /// Takes the next request; `None` when there is none now.
    ///
    /// # Errors
    /// The agent is gone, or says what cannot be understood.
    pub(crate) fn next(&mut self) -> io::Result<Option<Received<Request>>> {
        match socket::receive(&self.socket, &mut self.buffer) {
            Ok(Some(received)) => Ok(Some(received)),
            Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts an answer into the outbox.
    pub(crate) fn say(&mut self, answer: &Answer, descriptors: Vec<Arc<OwnedFd>>) {
        // Answers are short, but for the processes of a very large tree; for those
        // there is memory, or the agent learns by the lost connection.
        match Packet::new(answer, descriptors) {
            Ok(packet) => self.outbox.push_back(packet),
            Err(_) => drop(rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both)),
        }
    }

    /// Sends what can be sent now.
    ///
    /// # Errors
    /// The agent is gone.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some(packet) = self.outbox.front() {
            match packet.send(&self.socket) {
                Ok(()) => drop(self.outbox.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Whether so much waits that requests have to wait too.
    pub(crate) fn is_slow(&self) -> bool {
        self.outbox.len() >= OUTBOX
    }
}

/// To be waited for.
impl AsFd for Agent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
