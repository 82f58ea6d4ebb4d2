//! Schedules: what the controller submits again and again.

use serde::{Deserialize, Serialize};

use crate::{JobId, JobSubmit, Timestamp};

/// What is submitted when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Its name, as a job's id is written; submissions are called
    /// `schedule.<name>.<time>`.
    pub name: String,
    /// A cron pattern of five fields, or six with seconds before them; or
    /// `every_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The zone of the pattern, an IANA name; UTC if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The time between two submissions, at least a second, counted from when the
    /// schedule was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// What is submitted. Its command's id is ignored; `spread_ms` spreads it over the
    /// nodes.
    pub submit: JobSubmit,
    /// What is done about times at which the controller was not there.
    #[serde(default)]
    pub missed: Missed,
    /// What is done while the last submission has not ended.
    #[serde(default)]
    pub overlap: Overlap,
}

/// What is done about times that have passed unnoticed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One submission for all of them.
    #[default]
    Once,
    /// One for each, the last 100 of them. With [`Overlap::Skip`] those are left out
    /// that would overlap.
    All,
}

/// What is done while the last submission has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// This time is left out.
    #[default]
    Skip,
    /// It is submitted beside the other.
    Allow,
    /// Nodes are told to end the other before they are given this one. While they are
    /// at it both may run.
    Replace,
}

/// A schedule and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleStatus {
    /// The schedule.
    pub schedule: Schedule,
    /// Who added it.
    pub by: String,
    /// Whether nothing is submitted at present.
    pub is_paused: bool,
    /// The times that come next; none while it is paused.
    #[serde(default)]
    pub next: Vec<Timestamp>,
    /// What became of the last time that came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastTime>,
}

/// What became of a time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTime {
    /// The time.
    pub time: Timestamp,
    /// What was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission: Option<JobId>,
    /// Why nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Names a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleName {
    /// The schedule.
    pub name: String,
}
