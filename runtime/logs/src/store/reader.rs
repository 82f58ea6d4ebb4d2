//! What queries share: the files, and connections to them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use rusqlite::Connection;

use super::catalog::{Catalog, open_to_read};

/// Connections that are kept open for the next query.
const IDLE_CONNECTIONS: usize = 16;

/// The files, and open connections to them.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) catalog: RwLock<Catalog>,
    connections: Mutex<Vec<(PathBuf, Connection)>>,
}

impl Reader {
    pub(super) fn new(catalog: Catalog) -> Self {
        Self { catalog: RwLock::new(catalog), connections: Mutex::default() }
    }

    /// Closes the connections to a file that is about to be moved or changed.
    /// The caller holds the catalog for writing, so no query has one.
    pub(super) fn forget(&self, path: &Path) {
        self.lock().retain(|(of, _)| of != path);
    }

    /// A connection to a file; [`Reader::put_back`] takes it back.
    pub(super) fn open(&self, path: &Path) -> rusqlite::Result<Connection> {
        let mut idle = self.lock();
        let known = idle.iter().position(|(of, _)| of == path).map(|at| idle.swap_remove(at).1);
        drop(idle);
        known.map_or_else(|| open_to_read(path), Ok)
    }

    /// Keeps a connection for the next query.
    pub(super) fn put_back(&self, path: &Path, connection: Connection) {
        let mut idle = self.lock();
        if idle.len() == IDLE_CONNECTIONS {
            idle.remove(0);
        }
        idle.push((path.to_owned(), connection));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(PathBuf, Connection)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
