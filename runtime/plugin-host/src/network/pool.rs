//! Connections that wait for the next request of the same plugin.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use drover_grants::{Authority, HttpPlace, HttpTarget};
use tokio::runtime::{self, Handle};
use tokio::time::timeout;

use super::connection::Connection;

/// Connections of a plugin that wait for one place.
const WAITING: usize = 4;
/// Connections that wait for anything.
const ALL_WAITING: usize = 64;
/// How long one waits. Servers wait longer, as a rule.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to look at whether a connection is done with its last request,
/// which it is as soon as what moves its bytes has had a turn.
const SETTLING: Duration = Duration::from_millis(20);

/// For whom, and where to, a connection is, and on which threads: those that it was
/// made on look after it, and to wait for it from others would wake both.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    plugin: Arc<str>,
    authority: Authority,
    place: HttpPlace,
    threads: Option<runtime::Id>,
}

impl Key {
    pub(super) fn new(plugin: &Arc<str>, target: &HttpTarget) -> Self {
        let (authority, place) = (target.authority.clone(), target.place.clone());
        let threads = Handle::try_current().ok().map(|runtime| runtime.id());
        Self { plugin: Arc::clone(plugin), authority, place, threads }
    }
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// The connections that wait.
#[derive(Default)]
pub(super) struct Pool(Mutex<HashMap<Key, Vec<Idle>>>);

impl Pool {
    /// A connection that can be used at once.
    pub(super) async fn take(&self, key: &Key) -> Option<Connection> {
        loop {
            let mut connection = self.pop(key)?;
            let is_ready = poll_fn(|context| connection.poll_ready(context));
            if matches!(timeout(SETTLING, is_ready).await, Ok(Ok(()))) {
                return Some(connection);
            }
        }
    }

    fn pop(&self, key: &Key) -> Option<Connection> {
        let mut waiting = self.lock();
        forget_old(&mut waiting);
        waiting.get_mut(key)?.pop().map(|idle| idle.connection)
    }

    /// Takes a connection back after a whole answer.
    pub(super) fn put(&self, key: Key, connection: Connection) {
        if connection.is_closed() {
            return;
        }
        let mut waiting = self.lock();
        forget_old(&mut waiting);
        let all: usize = waiting.values().map(Vec::len).sum();
        let own = waiting.entry(key).or_default();
        if own.len() < WAITING && all < ALL_WAITING {
            own.push(Idle { connection, since: Instant::now() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Idle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_old(waiting: &mut HashMap<Key, Vec<Idle>>) {
    waiting.retain(|_, own| {
        own.retain(|idle| idle.since.elapsed() < PATIENCE && !idle.connection.is_closed());
        !own.is_empty()
    });
}
