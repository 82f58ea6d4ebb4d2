//! How long things took: how many took at most so long.

use std::time::Duration;

use crate::Counter;

/// The upper bounds of the buckets in microseconds; what took longer is in one more.
/// The same for everything: from an empty task to a backup.
const BOUNDS_US: [u64; 18] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    15_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
];

/// Counts durations by how long they are.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS_US.len() + 1],
    total_us: Counter,
}

/// What a histogram has, as it is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Buckets {
    /// How many took at most so many seconds; the last bound is infinity.
    pub(crate) at_most: Vec<(f64, u64)>,
    /// All of them together, in seconds.
    pub(crate) sum: f64,
}

impl Histogram {
    /// Counts something that took so long.
    pub fn observe(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS_US.partition_point(|bound| *bound < took)].one();
        self.total_us.add(took);
    }

    pub(crate) fn read(&self) -> Buckets {
        let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
        let mut count = 0;
        let at_most = bounds.zip(&self.buckets).map(|(bound, bucket)| {
            count += bucket.read();
            (bound, count)
        });
        Buckets { at_most: at_most.collect(), sum: self.total_us.read() as f64 / 1e6 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_buckets_that_are_as_long_and_in_all_longer_ones() {
        let histogram = Histogram::default();
        let times = [0, 100, 101, 1_000_000, 3_600_000_001];
        times.map(Duration::from_micros).iter().for_each(|took| histogram.observe(*took));
        let Buckets { at_most, sum } = histogram.read();
        let count = |wanted: f64| at_most.iter().find(|(bound, _)| *bound == wanted).unwrap().1;
        let counts = [0.0001, 0.00025, 0.5, 1.0, 3600.0, f64::INFINITY].map(count);
        assert_eq!(counts, [2, 3, 3, 4, 4, 5]);
        assert!((sum - 3601.000202).abs() < 1e-6, "{sum}");
        histogram.observe(Duration::MAX);
        assert_eq!(histogram.read().at_most.last().unwrap().1, 6);
    }
}
