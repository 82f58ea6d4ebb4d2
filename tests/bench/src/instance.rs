//! What a fresh instance costs: through the plugin host, and bare.
//!
//! The limit is the same component in the same kind of engine, instantiated
//! and called with nothing around it: no queue, no deadline, no captured
//! output, no check of arguments, and on the thread that asks.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use drover_api::JobState;
use drover_grants::Grants;
use drover_plugin_host::{CompilerCommand, Host, HostConfig, Job, Limits, Patience, Surroundings};
use serde_json::Map;
use tokio::runtime::{Builder, Runtime};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::latency::{self, Latencies, Sample};

mod contract {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "operations-plugin",
        exports: { default: async },
    });
}

/// As many as are ever alive at the same time, and some more.
const POOLED_INSTANCES: u32 = 80;

/// As the plugin host keeps it.
const KEPT_RESIDENT: usize = 128 << 10;

/// The plugin host with one plugin.
pub(crate) struct Hosted {
    host: Host,
    plugin: String,
    operation: String,
}

impl Hosted {
    /// Loads the plugin; `drover` compiles it as it does for an agent.
    ///
    /// # Errors
    ///
    /// If the host does not start or refuses the plugin.
    pub(crate) async fn load(
        drover: &Path,
        component: &Path,
        operation: &str,
        cache_dir: &Path,
    ) -> anyhow::Result<Self> {
        let host = start_host(drover, cache_dir, Grants::default())?;
        Self::in_host(&host, component, operation).await
    }

    /// Loads the plugin beside others.
    ///
    /// # Errors
    ///
    /// If the host refuses it.
    pub(crate) async fn in_host(
        host: &Host,
        component: &Path,
        operation: &str,
    ) -> anyhow::Result<Self> {
        let plugin = host.load_file(component).await.context("the plugin host refused it")?;
        Ok(Self { host: host.clone(), plugin: plugin.name, operation: operation.to_owned() })
    }

    /// Keeps so many runs of the operation under way for `time`.
    ///
    /// # Errors
    ///
    /// If a run fails.
    pub(crate) async fn measure(&self, lanes: usize, time: Duration) -> anyhow::Result<Sample> {
        latency::measure(lanes, time, || self.run()).await
    }

    /// Stops the host.
    pub(crate) async fn stop(self) {
        self.host.shutdown().await;
    }

    async fn run(&self) -> anyhow::Result<()> {
        let outcome = self.host.run(Job::new(&self.plugin, &self.operation, Map::new())).await;
        ensure!(outcome.state == JobState::Ok, "the plugin host failed: {:?}", outcome.error);
        Ok(())
    }
}

/// A plugin host in this process; `drover` compiles for it as it does for an agent.
///
/// # Errors
///
/// If it does not start.
pub(crate) fn start_host(drover: &Path, cache_dir: &Path, grants: Grants) -> anyhow::Result<Host> {
    let config = HostConfig {
        cache_dir: cache_dir.to_owned(),
        compiler: CompilerCommand {
            program: drover.to_owned(),
            args: vec!["compile-component".into()],
        },
        // Nobody is kept away from doing harm again.
        limits: Limits {
            patience: Patience { failures: 0, ..Patience::default() },
            ..Limits::default()
        },
        reserved: Vec::new(),
        grants,
        state_dir: cache_dir.join("state"),
        surroundings: Surroundings::default(),
    };
    Host::start(config).context("cannot start the plugin host")
}

/// The same component without a host around it.
pub(crate) struct Bare {
    plugin: Arc<Plugin>,
    threads: Option<Runtime>,
}

struct Plugin {
    engine: Engine,
    component: contract::OperationsPluginPre<State>,
    operation: String,
    arguments: String,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Bare {
    /// Compiles the component in this process.
    ///
    /// # Errors
    ///
    /// If wasmtime refuses it.
    pub(crate) fn load(component: &Path, operation: &str) -> anyhow::Result<Self> {
        let plugin = prepare(component, operation)
            .map_err(|error| anyhow!("bare wasmtime refused {}: {error:#}", component.display()))?;
        let threads = Builder::new_multi_thread().thread_name("bare").build();
        let threads = threads.context("cannot start the threads of bare wasmtime")?;
        Ok(Self { plugin: Arc::new(plugin), threads: Some(threads) })
    }

    /// Makes an instance, runs the operation in it and drops it, again and
    /// again, on the thread that asks.
    ///
    /// # Errors
    ///
    /// If a run fails.
    pub(crate) async fn measure_here(&self, time: Duration) -> anyhow::Result<Sample> {
        latency::measure(1, time, || self.plugin.run()).await
    }

    /// Runs the operation again and again in one instance.
    ///
    /// # Errors
    ///
    /// If a run fails.
    pub(crate) async fn measure_kept(&self, time: Duration) -> anyhow::Result<Sample> {
        let refused = |error| anyhow!("bare wasmtime failed: {error:#}");
        let (mut store, kept) = self.plugin.instance().await.map_err(refused)?;
        let started = Instant::now();
        let mut latencies = Latencies::new();
        let mut begun = started;
        while begun < started + time {
            let outcome = self.plugin.call_in(&mut store, &kept).await.map_err(refused)?;
            outcome.map_err(|error| anyhow!("the bare plugin failed: {error:?}"))?;
            let ended = Instant::now();
            latencies.record(ended - begun, 1);
            begun = ended;
        }
        Ok(latencies.sample(started.elapsed()))
    }

    /// The same in so many lanes on threads apart from the one that asks, one
    /// for each core: what any host must pay that keeps plugins away from its
    /// link.
    ///
    /// # Errors
    ///
    /// If a run fails.
    pub(crate) async fn measure_apart(
        &self,
        lanes: usize,
        time: Duration,
    ) -> anyhow::Result<Sample> {
        let threads = self.threads.as_ref().context("bare wasmtime has no threads")?;
        latency::measure(lanes, time, || {
            let plugin = self.plugin.clone();
            let run = threads.spawn(async move { plugin.run().await });
            async { run.await.context("bare wasmtime panicked")? }
        })
        .await
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // Waiting for them would block the executor; nothing runs on them.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl Plugin {
    async fn run(&self) -> anyhow::Result<()> {
        let outcome =
            self.call().await.map_err(|error| anyhow!("bare wasmtime failed: {error:#}"))?;
        outcome.map(drop).map_err(|error| anyhow!("the bare plugin failed: {error:?}"))
    }

    async fn call(&self) -> wasmtime::Result<Answer> {
        let (mut store, instance) = self.instance().await?;
        self.call_in(&mut store, &instance).await
    }

    async fn instance(&self) -> wasmtime::Result<(Store<State>, contract::OperationsPlugin)> {
        let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self.component.instantiate_async(&mut store).await?;
        Ok((store, instance))
    }

    async fn call_in(
        &self,
        store: &mut Store<State>,
        instance: &contract::OperationsPlugin,
    ) -> wasmtime::Result<Answer> {
        let operations = instance.drover_plugin_operations();
        operations.call_run(store, &self.operation, &self.arguments).await
    }
}

/// What an operation gives back.
type Answer = Result<String, contract::exports::drover::plugin::operations::Error>;

fn prepare(component: &Path, operation: &str) -> wasmtime::Result<Plugin> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(POOLED_INSTANCES)
        .total_stacks(POOLED_INSTANCES)
        .linear_memory_keep_resident(KEPT_RESIDENT)
        .table_keep_resident(KEPT_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config)?;

    let component = Component::from_file(&engine, component)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    trap_ours(&mut linker, &engine, &component)?;
    let component = contract::OperationsPluginPre::new(linker.instantiate_pre(&component)?)?;
    let (operation, arguments) = (operation.to_owned(), "{}".to_owned());
    Ok(Plugin { engine, component, operation, arguments })
}

/// Links what the component imports of ours, which an empty task does not call.
/// `define_unknown_imports_as_traps` would take WASI of a later patch for unknown.
pub(crate) fn trap_ours<T>(
    linker: &mut Linker<T>,
    engine: &Engine,
    component: &Component,
) -> wasmtime::Result<()> {
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if !name.starts_with("drover:plugin/") || name.starts_with("drover:plugin/async-") {
            continue;
        }
        let mut instance = linker.instance(name)?;
        for (name, item) in interface.exports(engine) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                instance.func_new(name, |_, _, _, _| Err(wasmtime::Error::msg("not called")))?;
            }
        }
    }
    Ok(())
}
