//! What a program counts of itself, and the page that tells it to Prometheus.
//!
//! Counting is for the hot path: a [`Counter`] is a relaxed atomic, a [`Histogram`] a
//! few of them, and a [`Table`] finds those of a name without a lock. Telling is not:
//! whoever is asked writes a [`Page`], from what was counted and from what is there at
//! the moment, in the text format of OpenMetrics 1.0. [`own_process`] adds what the
//! kernel knows of the program. [`LogFormat`] is how it writes its own log.
//!
//! What `prometheus-client` offers instead takes a lock for each observation of a
//! histogram and each look-up of a label.

#![forbid(unsafe_code)]

mod counter;
mod histogram;
mod log_format;
mod own_process;
mod page;
mod table;

pub use counter::{Counter, Peak};
pub use histogram::Histogram;
pub use log_format::LogFormat;
pub use own_process::own_process;
pub use page::{Family, OPEN_METRICS, Page};
pub use table::Table;
