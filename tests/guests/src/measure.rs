//! Operations that measure.

use drover_sdk::metrics::{self, Measure, sample};
use drover_sdk::task;

/// Measures something of each kind, and answers what went wrong.
#[task]
pub(crate) fn measure(
    /// The name of all of it.
    name: String,
    /// The value of the tag `to`.
    to: String,
) -> Result<(), metrics::Error> {
    let tags = [("to", to.as_str())];
    metrics::count(&name, 2.0, &tags)?;
    metrics::gauge(&name, 5.0, &tags)?;
    metrics::change_gauge(&name, -1.5, &tags)?;
    metrics::timing(&name, 12.0, &tags)?;
    metrics::member(&name, "ada", &tags)
}

/// Measures so many different things; how many were taken, and what was said then.
#[task]
pub(crate) fn measure_many(
    /// How many.
    series: u32,
) -> (u32, Option<String>) {
    let samples: Vec<_> =
        (0..series).map(|index| sample(&format!("s{index}"), Measure::Count(1.0), &[])).collect();
    match metrics::add_all(&samples) {
        Ok(()) => (series, None),
        Err((index, error)) => (u32::try_from(index).unwrap_or(u32::MAX), Some(error.to_string())),
    }
}
