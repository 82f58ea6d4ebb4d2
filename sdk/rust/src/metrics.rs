//! What the plugin measures.
//!
//! The node adds it up and writes it into its log every interval, for the job and
//! for all jobs of the operation; see `wit/metrics.wit` for what names and tags
//! look like. No call waits. Natively, samples go to
//! [`testing`](crate::testing).
//!
//! ```
//! use drover_sdk::{metrics, task};
//!
//! /// Copies files away.
//! #[task]
//! fn copy(files: Vec<String>) -> Result<(), metrics::Error> {
//!     for file in &files {
//!         // …
//!         let tags = [("to", "nightly")];
//!         metrics::count("copied", 1.0, &tags)?;
//!         metrics::timing("copying", 12.5, &tags)?;
//!     }
//!     metrics::gauge("left", 0.0, &[])
//! }
//! # use drover_sdk::testing::{Host, with_host};
//! # let (_, heard) = with_host(Host::default(), || copy(vec!["a".into()]).unwrap());
//! # assert_eq!(heard.samples[0].name, "copied");
//! # assert_eq!(heard.samples.len(), 3);
//! ```

use std::fmt;

#[cfg(target_family = "wasm")]
use crate::bindings::drover::plugin::metrics as host;
use crate::bindings::drover::plugin::metrics::Error as HostError;
pub use crate::bindings::drover::plugin::metrics::{Measure, Sample};
#[cfg(not(target_family = "wasm"))]
use crate::testing::metrics as host;

/// The names and values of a metric's tags.
pub type Tags<'a> = &'a [(&'a str, &'a str)];

/// Says that so many more things happened.
///
/// # Errors
///
/// If the sample breaks a rule, or the job has too many series.
pub fn count(name: &str, more: f64, tags: Tags<'_>) -> Result<(), Error> {
    add(&sample(name, Measure::Count(more), tags))
}

/// Says how high something is.
///
/// # Errors
///
/// If the sample breaks a rule, or the job has too many series.
pub fn gauge(name: &str, level: f64, tags: Tags<'_>) -> Result<(), Error> {
    add(&sample(name, Measure::Gauge(level), tags))
}

/// Says that something has risen or fallen by so much.
///
/// # Errors
///
/// If the sample breaks a rule, or the job has too many series.
pub fn change_gauge(name: &str, change: f64, tags: Tags<'_>) -> Result<(), Error> {
    add(&sample(name, Measure::GaugeChange(change), tags))
}

/// Says how long something took, in milliseconds.
///
/// # Errors
///
/// If the sample breaks a rule, or the job has too many series.
pub fn timing(name: &str, ms: f64, tags: Tags<'_>) -> Result<(), Error> {
    add(&sample(name, Measure::Timing(ms), tags))
}

/// Says that this one, of a set whose size is of interest, was there.
///
/// # Errors
///
/// If the sample breaks a rule, or the job has too many series.
pub fn member(name: &str, member: &str, tags: Tags<'_>) -> Result<(), Error> {
    add(&sample(name, Measure::Member(member.to_owned()), tags))
}

/// Puts a sample together, for [`add_all`].
#[must_use]
pub fn sample(name: &str, measure: Measure, tags: Tags<'_>) -> Sample {
    let tags = tags.iter().map(|&(tag, value)| (tag.to_owned(), value.to_owned())).collect();
    Sample { name: name.to_owned(), tags, measure }
}

/// Takes one sample.
///
/// # Errors
///
/// If it breaks a rule, or the job has too many series.
pub fn add(sample: &Sample) -> Result<(), Error> {
    host::add(sample).map_err(|error| Error::of(&error))
}

/// Takes many samples in their order, for little more than the price of one.
///
/// # Errors
///
/// The index of the first that was not taken, and why. Those before it count.
pub fn add_all(samples: &[Sample]) -> Result<(), (usize, Error)> {
    host::add_all(samples).map_err(|(index, error)| (index as usize, Error::of(&error)))
}

/// Why a sample was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A name, a tag or a member breaks a rule; says which.
    Invalid(String),
    /// The number is infinite or none.
    NotFinite,
    /// The job has as many series as it may.
    TooManySeries {
        /// How many that is.
        limit: u32,
    },
}

impl Error {
    fn of(error: &HostError) -> Self {
        match error {
            HostError::Invalid(why) => Self::Invalid(why.clone()),
            HostError::NotFinite => Self::NotFinite,
            HostError::TooManySeries(limit) => Self::TooManySeries { limit: *limit },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => f.write_str(why),
            Self::NotFinite => f.write_str("only finite numbers can be measured"),
            Self::TooManySeries { limit } => {
                write!(f, "a job measures at most {limit} series: use fewer names and tags")
            }
        }
    }
}

impl std::error::Error for Error {}
