//! Who said it.

use drover_api::JobId;
use serde::{Deserialize, Serialize};

/// The job that a record or a metric comes from, and what it runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The job.
    pub job: JobId,
    /// What the command's caller sorts it under; may be empty.
    pub domain: String,
    /// The name of the program or operation; may be empty. Jobs with the same
    /// domain and name are runs of the same thing.
    pub name: String,
}
