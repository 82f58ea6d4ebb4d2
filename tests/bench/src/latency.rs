//! Calls made one after the other in so many lanes, and how long they took.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use hdrhistogram::Histogram;

/// Longer latencies are recorded as this one.
const LONGEST: Duration = Duration::from_secs(60);

/// How long each call of a measurement took.
pub(crate) struct Latencies {
    nanoseconds: Histogram<u64>,
}

/// What a measurement came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub(crate) calls_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// The samples of one contestant, one a round.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Sample>);

/// Calls in `lanes` lanes for `time`: each lane calls again as soon as it is
/// answered. The calls still under way at the end are waited for and counted.
///
/// # Errors
///
/// The first error of a call ends the measurement.
pub(crate) async fn measure<F, C>(lanes: usize, time: Duration, call: F) -> anyhow::Result<Sample>
where
    F: Fn() -> C,
    C: Future<Output = anyhow::Result<()>>,
{
    let latencies = RefCell::new(Latencies::new());
    let started = Instant::now();
    try_join_all((0..lanes).map(|_| lane(started + time, &latencies, &call))).await?;
    Ok(latencies.into_inner().sample(started.elapsed()))
}

async fn lane<F, C>(until: Instant, latencies: &RefCell<Latencies>, call: &F) -> anyhow::Result<()>
where
    F: Fn() -> C,
    C: Future<Output = anyhow::Result<()>>,
{
    let mut begun = Instant::now();
    while begun < until {
        call().await?;
        let ended = Instant::now();
        latencies.borrow_mut().record(ended - begun, 1);
        begun = ended;
    }
    Ok(())
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let longest = u64::try_from(LONGEST.as_nanos()).expect("a minute of nanoseconds fits");
        let nanoseconds =
            Histogram::new_with_max(longest, 3).expect("three digits and a minute are in range");
        Self { nanoseconds }
    }

    pub(crate) fn record(&mut self, latency: Duration, count: u64) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.saturating_record_n(nanoseconds, count);
    }

    /// Sums up a measurement that took `time`.
    pub(crate) fn sample(&self, time: Duration) -> Sample {
        let quantile_us = |quantile| {
            Duration::from_nanos(self.nanoseconds.value_at_quantile(quantile)).as_secs_f64() * 1e6
        };
        Sample {
            calls_per_second: Duration::from_secs(self.nanoseconds.len()).div_duration_f64(time),
            p50_us: quantile_us(0.5),
            p99_us: quantile_us(0.99),
        }
    }
}

impl Samples {
    pub(crate) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    pub(crate) fn calls_per_second(&self) -> Option<f64> {
        self.median_of(|sample| sample.calls_per_second)
    }

    /// The time from one answer to the next, however many are under way.
    pub(crate) fn us_per_call(&self) -> Option<f64> {
        self.median_of(|sample| 1e6 / sample.calls_per_second)
    }

    pub(crate) fn p50_us(&self) -> Option<f64> {
        self.median_of(|sample| sample.p50_us)
    }

    pub(crate) fn p99_us(&self) -> Option<f64> {
        self.median_of(|sample| sample.p99_us)
    }

    fn median_of(&self, value: impl Fn(&Sample) -> f64) -> Option<f64> {
        median(self.0.iter().map(value).collect())
    }
}

/// The middle value, or the mean of the two in the middle; none of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(values[middle - 1], upper))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![7.0]), Some(7.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 90.0]), Some(3.0));
    }

    #[test]
    fn percentiles_and_rate_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_micros(100), 98);
        latencies.record(Duration::from_millis(5), 2);
        let sample = latencies.sample(Duration::from_secs(2));
        assert_eq!(sample.calls_per_second, 50.0);
        assert!((sample.p50_us - 100.0).abs() < 0.2, "{sample:?}");
        assert!((sample.p99_us - 5000.0).abs() < 10.0, "{sample:?}");
    }

    #[test]
    fn a_latency_beyond_the_scale_is_kept_as_the_longest() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_secs(3600), 1);
        assert!(latencies.sample(Duration::from_secs(1)).p50_us >= 60e6);
    }

    #[tokio::test]
    async fn as_many_calls_are_in_flight_as_there_are_lanes() {
        let (now, most) = (Cell::new(0), Cell::new(0));
        let call = async || {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            tokio::task::yield_now().await;
            now.set(now.get() - 1);
            Ok(())
        };
        measure(7, Duration::from_millis(5), call).await.unwrap();
        assert_eq!((now.get(), most.get()), (0, 7));
    }

    #[tokio::test]
    async fn a_failing_call_ends_the_measurement() {
        let time = Duration::from_secs(3600);
        let outcome = measure(3, time, || async { anyhow::bail!("no") }).await;
        assert_eq!(outcome.unwrap_err().to_string(), "no");
    }
}
