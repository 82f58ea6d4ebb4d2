//! `wit/job.wit`: what an operation may know of its job and tell about it.

use std::time::Duration;

use crate::bindings::drover::plugin::job::{CallerInfo, Host, NodeInfo, PluginInfo, ProgressError};
use crate::call::Call;
use crate::instance::State;
use crate::job::Caller;

/// The longest progress report, in bytes; see `wit/job.wit`.
const REPORT: u32 = 64 << 10;

impl Host for State {
    fn id(&mut self) -> String {
        self.call.job.clone()
    }

    fn data(&mut self) -> Vec<u8> {
        self.call.data.clone()
    }

    fn data_size(&mut self) -> u64 {
        self.call.data.len() as u64
    }

    fn data_range(&mut self, offset: u64, length: u32) -> Vec<u8> {
        let data = &self.call.data;
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(data.len());
        data[place(offset)..place(offset.saturating_add(length.into()))].to_vec()
    }

    fn command(&mut self) -> String {
        self.call.command()
    }

    fn plugin(&mut self) -> PluginInfo {
        let Call { plugin, version, .. } = &self.call;
        PluginInfo { name: plugin.to_string(), version: version.as_deref().map(str::to_owned) }
    }

    fn node(&mut self) -> NodeInfo {
        let crate::NodeInfo { id, name, labels } = &self.surroundings.node;
        NodeInfo { gid: id.gid.0, nid: id.nid.0, name: name.clone(), labels: labels.clone() }
    }

    fn caller(&mut self) -> Option<CallerInfo> {
        let Caller { session, name, role } = self.call.caller.clone()?;
        Some(CallerInfo { session, name, role })
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
