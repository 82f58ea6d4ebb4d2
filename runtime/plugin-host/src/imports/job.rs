//! `wit/job.wit`: what an operation may know of its job and tell about it.

use std::time::Duration;

use crate::bindings::drover::plugin::job::{Host, ProgressError};
use crate::instance::State;

/// The longest progress report, in bytes; see `wit/job.wit`.
const REPORT: u32 = 64 << 10;

impl Host for State {
    fn id(&mut self) -> String {
        self.call.job.clone()
    }

    fn data(&mut self) -> Vec<u8> {
        self.call.data.clone()
    }

    fn remaining_ms(&mut self) -> Option<u64> {
        let left = self.call.time_left()?;
        Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    fn is_cancelled(&mut self) -> bool {
        self.call.cancellation.ask()
    }

    async fn wait(&mut self, ms: u64) -> bool {
        self.call.cancellation.wait(Duration::from_millis(ms)).await
    }

    async fn progress(&mut self, report: String) -> Result<(), ProgressError> {
        if report.len() > REPORT as usize {
            return Err(ProgressError::TooLong(REPORT));
        }
        let report = serde_json::from_str(&report)
            .map_err(|error| ProgressError::InvalidJson(error.to_string()))?;
        if let Some(progress) = &self.call.progress {
            // An error says that the caller stopped listening, which is its right.
            let _ = progress.send(report).await;
        }
        Ok(())
    }
}
