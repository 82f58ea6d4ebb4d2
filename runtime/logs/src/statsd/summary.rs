//! What is kept of the numbers of one series until the next flush.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

/// How many sizes of samples are told apart; below that the smallest ones are
/// put together, so that the upper percentiles stay exact.
const MAX_BUCKETS: usize = 256;

/// Samples of a timer, histogram or distribution.
///
/// Minimum, maximum, sum and count are exact. Percentiles come from buckets
/// whose width is 1/64 of their value: they are off by less than 1 %.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    count: f64,
    sum: f64,
    min: f64,
    max: f64,
    /// Bucket and weight, smallest first.
    buckets: Vec<(i32, f32)>,
}

/// What a series of samples comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SampleSummary {
    /// How many there were, with those that the sample rate left out.
    pub count: f64,
    /// All of them added up.
    pub sum: f64,
    /// Their mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Half of them are at most this; as all percentiles, within 1 %.
    pub p50: f64,
    /// Nine tenths of them are at most this.
    pub p90: f64,
    /// 95 of 100 are at most this.
    pub p95: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
}

impl Samples {
    /// Adds a sample that stands for `weight` of them.
    pub(super) fn add(&mut self, value: f64, weight: f64) {
        let is_first = self.buckets.is_empty();
        self.min = if is_first { value } else { self.min.min(value) };
        self.max = if is_first { value } else { self.max.max(value) };
        self.count += weight;
        self.sum += value * weight;
        self.add_to_bucket(bucket_of(value), weight_in_bucket(weight));
    }

    /// Adds everything that `other` has seen.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.buckets.is_empty() {
            return;
        }
        let is_first = self.buckets.is_empty();
        self.min = if is_first { other.min } else { self.min.min(other.min) };
        self.max = if is_first { other.max } else { self.max.max(other.max) };
        self.count += other.count;
        self.sum += other.sum;
        for &(bucket, weight) in &other.buckets {
            self.add_to_bucket(bucket, weight);
        }
    }

    /// What they come to; `None` if there were none.
    pub(super) fn summary(&self) -> Option<SampleSummary> {
        if self.buckets.is_empty() {
            return None;
        }
        Some(SampleSummary {
            count: self.count,
            sum: self.sum,
            mean: self.sum / self.count,
            min: self.min,
            max: self.max,
            p50: self.percentile(0.50),
            p90: self.percentile(0.90),
            p95: self.percentile(0.95),
            p99: self.percentile(0.99),
        })
    }

    fn percentile(&self, part: f64) -> f64 {
        let total: f64 = self.buckets.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let mut seen = 0.0;
        let bucket = self.buckets.iter().find(|(_, weight)| {
            seen += f64::from(*weight);
            seen >= total * part
        });
        bucket.map_or(self.max, |(bucket, _)| middle_of(*bucket)).clamp(self.min, self.max)
    }

    fn add_to_bucket(&mut self, bucket: i32, weight: f32) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.buckets[at].1 += weight,
            Err(at) => self.buckets.insert(at, (bucket, weight)),
        }
        if self.buckets.len() > MAX_BUCKETS {
            let (_, smallest) = self.buckets.remove(0);
            self.buckets[0].1 += smallest;
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "percentiles do not need more digits")]
fn weight_in_bucket(weight: f64) -> f32 {
    weight as f32
}

/// The bucket of a number: its exponent and the first six bits behind it.
fn bucket_of(value: f64) -> i32 {
    let bucket = i32::try_from(value.abs().to_bits() >> 46).unwrap_or(i32::MAX);
    if value < 0.0 { -bucket } else { bucket }
}

fn middle_of(bucket: i32) -> f64 {
    let size = f64::from_bits((u64::from(bucket.unsigned_abs()) << 46) + (1 << 45));
    match bucket {
        0 => 0.0,
        ..0 => -size,
        _ => size,
    }
}

/// The different members of a set, as hashes.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    hashes: HashSet<u64, foldhash::fast::FixedState>,
    /// Whether some were not kept for want of room.
    has_more: bool,
}

/// How many different members a set had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSummary {
    /// The number since the last flush.
    pub unique: usize,
    /// Whether there may have been more, for which there was no room.
    pub has_more: bool,
}

impl Members {
    /// Adds a member, if it is new and there is room; true if it was added.
    pub(super) fn insert(&mut self, hash: u64, has_room: bool) -> bool {
        if has_room {
            return self.hashes.insert(hash);
        }
        self.has_more |= !self.hashes.contains(&hash);
        false
    }

    /// Adds everything that `other` has seen.
    pub(super) fn merge(&mut self, other: &Self) {
        self.hashes.extend(&other.hashes);
        self.has_more |= other.has_more;
    }

    /// What they come to.
    pub(super) fn summary(&self) -> SetSummary {
        SetSummary { unique: self.hashes.len(), has_more: self.has_more }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_summary_says_how_samples_spread() {
        let mut samples = Samples::default();
        assert_eq!(samples.summary(), None);
        (1..=1000).for_each(|value| samples.add(f64::from(value), 1.0));
        let summary = samples.summary().unwrap();
        assert_eq!((summary.count, summary.min, summary.max), (1000.0, 1.0, 1000.0));
        assert!((summary.mean - 500.5).abs() < 1e-9);
        for (found, exact) in [(summary.p50, 500.0), (summary.p90, 900.0), (summary.p99, 990.0)] {
            assert!((found / exact - 1.0).abs() < 0.01, "{found} is not near {exact}");
        }
    }

    #[test]
    fn a_sampled_value_counts_for_those_left_out() {
        let mut samples = Samples::default();
        samples.add(1.0, 1.0);
        samples.add(4.0, 10.0);
        let summary = samples.summary().unwrap();
        assert_eq!((summary.count, summary.sum, summary.mean), (11.0, 41.0, 41.0 / 11.0));
        assert_eq!(summary.p50, summary.max);
    }

    proptest! {
        #[test]
        fn percentiles_are_within_one_in_a_hundred(
            mut values in prop::collection::vec(-1e3..1e6_f64, 1..200),
            split in 0..200_usize,
        ) {
            let (mut one, mut two) = (Samples::default(), Samples::default());
            for (i, value) in values.iter().enumerate() {
                if i < split { &mut one } else { &mut two }.add(*value, 1.0);
            }
            one.merge(&two);
            let summary = one.summary().unwrap();
            values.sort_by(f64::total_cmp);
            for (found, part) in [(summary.p50, 0.5), (summary.p90, 0.9), (summary.p99, 0.99)] {
                let rank = (values.len() as f64 * part).ceil() as usize;
                let exact = values[rank.max(1) - 1];
                prop_assert!((found - exact).abs() <= exact.abs() * 0.01, "{found} is not {exact}");
            }
        }

        #[test]
        fn the_number_of_buckets_is_bounded(values in prop::collection::vec(any::<f64>(), 0..2000)) {
            let mut samples = Samples::default();
            values.iter().filter(|v| v.is_finite()).for_each(|v| samples.add(*v, 1.0));
            prop_assert!(samples.buckets.len() <= MAX_BUCKETS);
        }
    }
}
