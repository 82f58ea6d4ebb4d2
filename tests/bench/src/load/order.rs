//! What the benchmark and its load say to each other: a line of JSON each.

use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::latency::{Latencies, Sample};

/// What a load is to do; the answer to each is a [`Measured`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Calls one of its own sessions from another one; counts answers.
    Calls { in_flight: usize, seconds: f64 },
    /// Publishes for so many subscribers; counts the events that they received.
    Events { subscribers: usize, seconds: f64 },
    /// Joins and goes, over and over, in so many lanes; counts joins.
    Joins { lanes: usize, seconds: f64 },
    /// Opens sessions until it has so many, and keeps them; counts those opened.
    Idle { sessions: usize },
    /// Opens so many sessions, a few at a time, that register, subscribe, call,
    /// publish and go; counts them.
    Churn { sessions: usize },
}

/// What came of an order. The peers in Python answer calls with the same line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    /// How much was done; the peers in Python leave it to the latencies.
    #[serde(default)]
    pub(crate) count: u64,
    /// Of calls: pairs of a latency in microseconds and how often it occurred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) latencies_us: Vec<(u64, u64)>,
}

impl Measured {
    /// The rate and the latencies of calls.
    ///
    /// # Errors
    ///
    /// If the time is no time.
    pub(crate) fn sample(&self) -> anyhow::Result<Sample> {
        let time = Duration::try_from_secs_f64(self.seconds).context("the caller has no clock")?;
        let mut latencies = Latencies::new();
        for &(microseconds, count) in &self.latencies_us {
            latencies.record(Duration::from_micros(microseconds), count);
        }
        Ok(latencies.sample(time))
    }

    /// How much was done in a second.
    pub(crate) fn per_second(&self) -> f64 {
        // Exact below 2^53.
        self.count as f64 / self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_line_becomes_a_sample() {
        let line = r#"{"seconds": 0.5, "latencies_us": [[200, 99], [9000, 1]]}"#;
        let sample = serde_json::from_str::<Measured>(line).unwrap().sample().unwrap();
        assert_eq!(sample.calls_per_second, 200.0);
        assert!((sample.p50_us - 200.0).abs() < 1.0, "{sample:?}");
    }

    #[test]
    fn an_order_is_a_line_that_people_can_type() {
        let line = r#"{"calls":{"in_flight":64,"seconds":2.0}}"#;
        let order: Order = serde_json::from_str(line).unwrap();
        assert_eq!(order, Order::Calls { in_flight: 64, seconds: 2.0 });
        assert_eq!(serde_json::to_string(&order).unwrap(), line);
    }
}
