//! One series: what is kept of it, and what it comes to.

use std::time::Duration;

use drover_api::JobId;
use serde::{Deserialize, Serialize};

use super::metric::{Metric, MetricKind};
use super::summary::{Members, SampleSummary, Samples, SetSummary};

/// What happened since the last flush.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Flush {
    /// Every series that was written to, and every gauge.
    pub series: Vec<Series>,
    /// Lines whose series would have been one too many.
    pub refused: u64,
    /// Lines, or values in them, that are no metric.
    pub malformed: u64,
}

/// What one series comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Whose it is.
    pub scope: SeriesScope,
    /// The metric's name.
    pub metric: String,
    /// Its tags, in alphabetical order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What its numbers come to.
    #[serde(flatten)]
    pub value: SeriesValue,
}

/// Whose metrics are added up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeriesScope {
    /// The job; all jobs with this domain and name if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The domain of the job or jobs.
    pub domain: String,
    /// Their name.
    pub name: String,
}

/// What the numbers of a series come to, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SeriesValue {
    /// Numbers that were added up.
    Counter {
        /// Their sum since the last flush.
        total: f64,
        /// The sum by the seconds since the last flush.
        per_second: f64,
    },
    /// The last level; over several jobs, the sum of theirs.
    Gauge {
        /// The level.
        value: f64,
    },
    /// How long things took, in milliseconds.
    Timer(SampleSummary),
    /// How large things were.
    Histogram(SampleSummary),
    /// The same, to be summed up over nodes.
    Distribution(SampleSummary),
    /// How many different things there were.
    Set(SetSummary),
}

/// What tells the series of one scope apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SeriesId {
    pub(super) name: String,
    pub(super) kind: MetricKind,
    pub(super) tags: Vec<String>,
}

/// The numbers of one series since the last flush.
#[derive(Debug, Clone)]
pub(super) enum Numbers {
    Total(f64),
    Level(f64),
    Samples(Samples),
    Members(Members),
}

impl Numbers {
    /// No numbers yet.
    pub(super) fn none(kind: MetricKind) -> Self {
        match kind {
            MetricKind::Counter => Self::Total(0.0),
            MetricKind::Gauge => Self::Level(0.0),
            MetricKind::Set => Self::Members(Members::default()),
            MetricKind::Timer | MetricKind::Histogram | MetricKind::Distribution => {
                Self::Samples(Samples::default())
            }
        }
    }

    /// Adds the values of a metric, and says how many of them are no numbers.
    pub(super) fn take(&mut self, metric: &Metric<'_>) -> u64 {
        let mut malformed = 0;
        for number in metric.numbers() {
            match (&mut *self, number) {
                (_, None) => malformed += 1,
                (Self::Total(total), Some(number)) => *total += number.value / metric.rate,
                (Self::Level(level), Some(number)) => {
                    let is_change = metric.sign_is_change && number.has_sign;
                    *level = if is_change { *level + number.value } else { number.value };
                }
                (Self::Samples(samples), Some(number)) => {
                    samples.add(number.value, 1.0 / metric.rate);
                }
                (Self::Members(_), Some(_)) => {}
            }
        }
        malformed
    }

    /// Adds what another job's series of the same id comes to.
    pub(super) fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Total(a), Self::Total(b)) | (Self::Level(a), Self::Level(b)) => *a += b,
            (Self::Samples(a), Self::Samples(b)) => a.merge(b),
            (Self::Members(a), Self::Members(b)) => a.merge(b),
            // The kind is part of the series' id: there are no other pairs.
            _ => {}
        }
    }

    /// What they come to; `None` if there was no number at all.
    pub(super) fn tell(
        &self,
        scope: &SeriesScope,
        id: &SeriesId,
        interval: Duration,
    ) -> Option<Series> {
        let value = match self {
            Self::Total(total) => {
                let seconds = interval.as_secs_f64();
                let per_second = if seconds > 0.0 { total / seconds } else { 0.0 };
                SeriesValue::Counter { total: *total, per_second }
            }
            Self::Level(value) => SeriesValue::Gauge { value: *value },
            Self::Members(members) => SeriesValue::Set(members.summary()),
            Self::Samples(samples) => match id.kind {
                MetricKind::Timer => SeriesValue::Timer(samples.summary()?),
                MetricKind::Histogram => SeriesValue::Histogram(samples.summary()?),
                _ => SeriesValue::Distribution(samples.summary()?),
            },
        };
        Some(Series { scope: scope.clone(), metric: id.name.clone(), tags: id.tags.clone(), value })
    }

    /// Forgets all but a gauge's level.
    pub(super) fn begin_interval(&mut self) {
        match self {
            Self::Total(total) => *total = 0.0,
            Self::Level(_) => {}
            Self::Samples(samples) => *samples = Samples::default(),
            Self::Members(members) => *members = Members::default(),
        }
    }
}
