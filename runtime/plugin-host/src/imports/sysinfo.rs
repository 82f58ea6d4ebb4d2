//! `wit/sysinfo.wit`: the node's hardware and system.

use crate::bindings::drover::plugin::sysinfo::{
    CpuInfo, Host, MemoryInfo, Nic, OsInfo, Process, StorageInfo,
};
use crate::instance::State;

impl Host for State {
    async fn cpu(&mut self) -> CpuInfo {
        self.system.cpu().await
    }

    async fn memory(&mut self) -> MemoryInfo {
        self.system.memory().await
    }

    async fn storage(&mut self) -> StorageInfo {
        self.system.storage().await
    }

    async fn nics(&mut self) -> Vec<Nic> {
        self.system.nics().await
    }

    async fn os(&mut self) -> OsInfo {
        self.system.os().await
    }

    async fn processes(&mut self) -> Vec<Process> {
        self.system.processes().await
    }
}
