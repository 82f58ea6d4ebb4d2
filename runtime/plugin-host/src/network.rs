//! What plugins send over the network: judged, carried and bounded here.
//!
//! A [`Courier`] is an instance's way out. Each request goes through its
//! [`gate`], which asks the allowance and takes down what is denied; then it is
//! [`send`](mod@send)-ed over a [`connection`] of the [`pool`] or one that is
//! [`dial`]-ed. Connections of one plugin are never another's. A connection in
//! use belongs to the job that uses it and ends with it. One that is asked to
//! become a stream of bytes, by [`upgrade`], is taken apart by [`mod@duplex`]. The
//! body of an [`answer`] comes [`pouring`], and is [`gather`]-ed if it is long and in
//! small pieces.

mod address;
mod answer;
mod connection;
mod dial;
mod duplex;
mod gate;
mod gather;
mod pool;
mod pouring;
mod send;
mod tls;
mod upgrade;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub(crate) use self::duplex::duplex;
pub(crate) use self::gate::Passenger;
use self::pool::Pool;
pub(crate) use self::send::Courier;
use self::tls::Connectors;
pub(crate) use self::upgrade::Asking;

/// Names that are looked up at the same time. Each takes one of the threads
/// for work that blocks, and a dead resolver holds it for long.
const LOOKUPS: usize = 4;

/// What all plugins share on their way out.
pub(crate) struct Network {
    pool: Arc<Pool>,
    connectors: Connectors,
    lookups: Semaphore,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            pool: Arc::default(),
            connectors: Connectors::default(),
            lookups: Semaphore::new(LOOKUPS),
        }
    }
}
