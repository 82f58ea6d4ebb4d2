//! How many files this process may open.
//!
//! The soft limit is 1,024 nearly everywhere for the sake of programs that use
//! `select`, which breaks above it; a daemon of many connections takes the hard one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of this process to the hard one. Gives the one of before,
/// for children, if it was another.
pub(crate) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return None;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => {
            tracing::debug!(before = current, now = maximum, "raised the limit of open files");
            current
        }
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            None
        }
    }
}

/// Takes back what [`raise`] has done, before this process becomes another program.
pub(crate) fn lower(before: Option<u64>) {
    let Some(before) = before else { return };
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(before), maximum }) {
        tracing::warn!(%error, "cannot lower the limit of open files again");
    }
}
