//! How a link is made, and the defaults.

use std::time::Duration;

use super::Backoff;
use crate::client::ClientConfig;

/// Where a router is, and how to come back to it.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Where it is, and how to talk to it.
    pub client: ClientConfig,
    /// The bound of the first wait before connecting again; a wait is anything
    /// up to its bound, which doubles up to `longest_wait`.
    pub first_wait: Duration,
    /// See `first_wait`.
    pub longest_wait: Duration,
    /// What becomes of calls while there is no session.
    pub absence: Absence,
}

/// What becomes of calls while there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Absence {
    /// They wait for one, up to their timeout.
    #[default]
    Wait,
    /// They fail at once.
    Fail,
}

impl LinkConfig {
    /// Waits from 250 ms to 30 s, and calls that wait.
    #[must_use]
    pub fn new(client: ClientConfig) -> Self {
        Self {
            client,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(30),
            absence: Absence::default(),
        }
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(self.first_wait, self.longest_wait)
    }
}
