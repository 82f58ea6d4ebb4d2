//! The one task that reads and writes the socket.

use std::collections::VecDeque;
use std::io;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::KeeperEvent;
use super::books::{Ask, Books};
use crate::keeper::socket;

/// Packets that may wait for the keeper to read before no more is taken from the
/// handles.
const OUTBOX: usize = 64;

/// Messages taken in one turn, so that writing gets its share.
const BURST: usize = 64;

/// The state of the task.
pub(super) struct Driver {
    /// Of packets in truth; tokio has no type for those, and waits the same way.
    pub(super) socket: UnixStream,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) events: mpsc::Sender<KeeperEvent>,
    /// Events that nobody has taken yet: at most one for each run.
    pub(super) inbox: VecDeque<KeeperEvent>,
}

/// Why the task ends.
enum End {
    HandlesDropped,
    KeeperGone(io::Error),
}

impl From<io::Error> for End {
    fn from(cause: io::Error) -> Self {
        Self::KeeperGone(cause)
    }
}

impl Driver {
    /// Runs until the last handle is dropped or the keeper is gone.
    pub(super) async fn run(mut self) {
        let mut books = Books::default();
        let mut buffer = Vec::new();
        let end = loop {
            if let Err(end) = self.turn(&mut books, &mut buffer).await {
                break end;
            }
        };
        let End::KeeperGone(cause) = end else { return };
        tracing::warn!(
            error = &cause as &dyn std::error::Error,
            "the keeper of the processes is gone"
        );
        // Who waits learns it by the dropped replies. The exits that came before
        // are still told; then the channel ends.
        drop(books);
        drop(self.asks);
        for event in self.inbox {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }

    /// Waits for one thing to do, and does it.
    async fn turn(&mut self, books: &mut Books, buffer: &mut Vec<u8>) -> Result<(), End> {
        tokio::select! {
            ask = self.asks.recv(), if books.outbox.len() < OUTBOX => match ask {
                Some(ask) => books.ask(ask),
                None if books.outbox.is_empty() => return Err(End::HandlesDropped),
                // The last words, such as an acknowledgement, are still said.
                None => self.socket.writable().await?,
            },
            ready = self.socket.readable() => {
                ready?;
                for _ in 0..BURST {
                    let receive = || socket::receive(&self.socket, buffer);
                    match self.socket.try_io(Interest::READABLE, receive) {
                        Ok(Some(received)) => self.inbox.extend(books.answer(received)),
                        Ok(None) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            ready = self.socket.writable(), if !books.outbox.is_empty() => ready?,
            permit = self.events.reserve(), if !self.inbox.is_empty() => {
                match (permit, self.inbox.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    // Nobody wants events any more; requests are still served.
                    _ => self.inbox.clear(),
                }
            }
        }
        self.send(books)
    }

    /// Sends what can be sent now.
    fn send(&self, books: &mut Books) -> Result<(), End> {
        while let Some(packet) = books.outbox.front() {
            match self.socket.try_io(Interest::WRITABLE, || packet.send(&self.socket)) {
                Ok(()) => drop(books.outbox.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
