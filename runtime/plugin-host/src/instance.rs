//! One instance of a plugin: a store with what it may use up and what it may
//! call, made for one call and dropped after it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use drover_grants::{Access, Allowance};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::Limits;
use crate::call::Call;
use crate::capture::Capture;
use crate::engine::{CORE_INSTANCES, MEMORIES, TABLE_ELEMENTS, TABLES};
use crate::host::Shared;
use crate::imports::Measuring;
use crate::job::Said;
use crate::keep::Keeps;
use crate::network::Courier;
use crate::surroundings::Surroundings;
use crate::system::System;

/// Room in a call's data for what is not the answer itself.
const HOSTCALL_SLACK: usize = 64 << 10;

/// What wasmtime keeps in a store for each stream or call that is waited for:
/// the thing itself, its two ends, and who waits.
const WAITED_FOR: usize = 4;

/// Everything that host functions find when an instance calls them.
pub(crate) struct State {
    wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) memory: MemoryLimiter,
    pub(crate) call: Call,
    pub(crate) system: Arc<System>,
    pub(crate) keeps: Arc<Keeps>,
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) measuring: Measuring,
    pub(crate) courier: Courier,
    http: WasiHttpCtx,
}

/// The standard streams of an instance.
#[derive(Default)]
pub(crate) struct Streams {
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
}

impl Streams {
    /// Streams whose bytes go to `said` as well.
    pub(crate) fn new(said: Option<&mpsc::Sender<Said>>) -> Self {
        let stream = |what: fn(Bytes) -> Said| Capture::new(said.cloned(), what);
        Self { stdout: stream(Said::Stdout), stderr: stream(Said::Stderr) }
    }
}

/// What an instance stands on.
#[derive(Clone, Copy)]
pub(crate) struct Base<'a> {
    pub(crate) shared: &'a Shared,
    /// That of the component.
    pub(crate) engine: &'a Engine,
    /// Those of the plugin.
    pub(crate) limits: &'a Limits,
}

/// Makes the store for one instance: nothing of the host's is reachable from
/// it but clocks, random numbers, the contract's functions and what the call
/// is allowed to touch.
///
/// # Errors
///
/// If a directory that it may touch cannot be opened.
pub(crate) fn store(
    base: Base<'_>,
    streams: &Streams,
    call: Call,
) -> Result<Store<State>, NoDirectory> {
    let Base { shared, engine, limits } = base;
    let (system, keeps) = (Arc::clone(&shared.system), Arc::clone(&shared.keeps));
    let (surroundings, measuring) = (Arc::clone(&shared.surroundings), Measuring::default());
    let wasi = wasi(&call.allowance, streams)?;
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles as usize);
    let memory = MemoryLimiter::new(limits.memory_bytes, call.memory.clone());
    let courier = Courier::new(&call, &shared.network);
    let state = State {
        wasi,
        table,
        memory,
        call,
        system,
        keeps,
        surroundings,
        measuring,
        courier,
        http: WasiHttpCtx::new(),
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(limits.answer_bytes.saturating_add(HOSTCALL_SLACK));
    if let Some(waited_for) = store.concurrent_resource_table() {
        waited_for.set_max_capacity((limits.handles as usize).saturating_mul(WAITED_FOR));
    }
    store.set_epoch_deadline(1);
    // Wasmtime's own way of yielding is not enough: it wakes the task at once,
    // and tokio then looks at timers and sockets only after many such rounds.
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::YieldCustom(1, Box::pin(yield_now()))));
    Ok(store)
}

/// What a plugin sees through WASI.
fn wasi(allowance: &Allowance, streams: &Streams) -> Result<WasiCtx, NoDirectory> {
    let mut wasi = WasiCtx::builder();
    wasi.stdout(streams.stdout.clone()).stderr(streams.stderr.clone());
    for (name, value) in &allowance.env {
        wasi.env(name, value.reveal());
    }
    for directory in &allowance.directories {
        let permissions = match directory.access {
            Access::Read => FsPerms::ReadOnly,
            Access::ReadWrite => FsPerms::ReadWrite,
        };
        wasi.preopened_dir(&directory.path, &directory.seen_as, permissions).map_err(|error| {
            NoDirectory { path: directory.path.clone(), reason: format!("{error:#}") }
        })?;
    }
    Ok(wasi.build())
}

/// A granted directory that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the directory {path}, which is granted to it, cannot be opened: {reason}")]
pub(crate) struct NoDirectory {
    path: PathBuf,
    reason: String,
}

impl State {
    /// What the instance holds handles of.
    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// Notes a call that was denied, where the job's log and the host's have it.
    pub(crate) async fn denied(&mut self, call: &str, argument: &str) {
        self.call.witness().denied(call, argument, None).await;
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.courier, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Bounds the memories and tables of one instance, and remembers a refusal.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    limit: u64,
    used: u64,
    /// What is used, for those who ask meanwhile.
    shown: Arc<AtomicU64>,
    table_elements: usize,
    has_refused: bool,
}

impl MemoryLimiter {
    fn new(limit: u64, shown: Arc<AtomicU64>) -> Self {
        Self { limit, used: 0, shown, table_elements: 0, has_refused: false }
    }

    /// What the instance has of linear memory, which never shrinks.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Whether the instance once asked for more than it may have.
    pub(crate) fn has_refused(&self) -> bool {
        self.has_refused
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // A growth beyond the plugin's own maximum fails after this, unused.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let used = self.used.saturating_add(desired.saturating_sub(current) as u64);
        if used > self.limit {
            self.has_refused = true;
            return Ok(false);
        }
        self.used = used;
        self.shown.store(used, Ordering::Relaxed);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = self.table_elements.saturating_add(desired.saturating_sub(current));
        if elements > TABLE_ELEMENTS {
            return Ok(false);
        }
        self.table_elements = elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_of_an_instance_are_counted_together() {
        let mut limiter = MemoryLimiter::new(100, Arc::default());
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert!(!limiter.has_refused());
        assert!(!limiter.memory_growing(40, 41, None).unwrap());
        assert!(limiter.has_refused());
    }

    #[test]
    fn a_refused_growth_uses_nothing_up() {
        let mut limiter = MemoryLimiter::new(100, Arc::default());
        assert!(!limiter.memory_growing(0, 101, None).unwrap());
        assert!(limiter.memory_growing(0, 100, None).unwrap());
    }

    #[test]
    fn the_plugins_own_maximum_is_no_refusal_of_ours() {
        let mut limiter = MemoryLimiter::new(100, Arc::default());
        assert!(!limiter.memory_growing(0, 50, Some(40)).unwrap());
        assert!(!limiter.has_refused());
    }

    #[test]
    fn tables_are_bounded() {
        let mut limiter = MemoryLimiter::new(100, Arc::default());
        assert!(limiter.table_growing(0, TABLE_ELEMENTS, None).unwrap());
        assert!(!limiter.table_growing(0, 1, None).unwrap());
    }
}
