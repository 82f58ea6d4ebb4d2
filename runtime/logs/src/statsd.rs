//! Metrics as statsd writes them: read, added up, and received on a socket.

mod aggregate;
mod metric;
mod receiver;
mod series;
mod summary;

pub use aggregate::{Aggregator, AggregatorLimits, ScopeId};
pub use metric::{Metric, MetricKind, Number};
pub use receiver::{MetricReceiver, ReceiverAddress, ReceiverError};
pub use series::{Flush, Series, SeriesScope, SeriesValue};
pub use summary::{SampleSummary, SetSummary};
