//! The wasmtime engines: one set of compiler options for each kind, for the host
//! and for the compile child, and the pools that instances come from.

use std::hash::{Hash, Hasher};
use std::iter;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, ModuleVersionStrategy,
    PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::Limits;
use crate::threads::MOST_REMAINS;

/// The version that compiled code is bound to. Wasmtime on its own compares
/// the major version only, and would go on to run code of a compiler whose
/// mistakes a patch release has mended.
const COMPILER_VERSION: &str = concat!("drover-", env!("CARGO_PKG_VERSION"), "+wasmtime-48.0.8");

/// Instances beside those of jobs: of plugins that describe themselves.
pub(crate) const DESCRIBING_INSTANCES: u32 = 16;
/// Instances beside those: of parsers of log lines, which are kept.
pub(crate) const PARSING_INSTANCES: u32 = 64;

/// Core modules, memories and tables that one component may be made of.
pub(crate) const CORE_INSTANCES: u32 = 64;
/// See [`CORE_INSTANCES`].
pub(crate) const MEMORIES: u32 = 4;
/// See [`CORE_INSTANCES`].
pub(crate) const TABLES: u32 = 32;
/// Tables of one slot for services. Components of most languages have two.
const SERVICE_TABLES: u32 = 2;
/// Entries of all tables of one instance together.
pub(crate) const TABLE_ELEMENTS: usize = 100_000;

/// Memory that a free slot of the pool keeps for its next instance: of what the
/// last one wrote, where the kernel tells (Linux 6.7), else the lowest addresses.
/// More makes the next start faster, and stays behind after a burst of jobs.
const KEEP_RESIDENT: usize = 128 << 10;

/// Which engine a component needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The one of most plugins, in which one call ends before the next begins.
    Plain,
    /// The one of plugins with asynchronous operations. In it every call takes
    /// longer, of those as well who have nothing to wait for; hence the other.
    Concurrent,
}

/// The engines of a host.
pub(crate) struct Engines {
    limits: Limits,
    plain: Engine,
    /// Made with the first plugin that needs it, as its pool takes room, too;
    /// or why it cannot be made.
    concurrent: OnceLock<Result<Engine, String>>,
}

impl Engines {
    /// Makes the engine that is always there.
    pub(crate) fn start(limits: &Limits) -> wasmtime::Result<Self> {
        let plain = for_running(Kind::Plain, limits)?;
        Ok(Self { limits: limits.clone(), plain, concurrent: OnceLock::new() })
    }

    /// The engine of a kind, or why there is none.
    pub(crate) fn of(&self, kind: Kind) -> Result<&Engine, &str> {
        match kind {
            Kind::Plain => Ok(&self.plain),
            Kind::Concurrent => {
                let make = || for_running(Kind::Concurrent, &self.limits);
                let made = || make().map_err(|error| format!("{error:#}"));
                self.concurrent.get_or_init(made).as_ref().map_err(String::as_str)
            }
        }
    }

    /// Moves the epoch on in all engines that there are.
    pub(crate) fn increment_epoch(&self) {
        let concurrent = self.concurrent.get().and_then(|engine| engine.as_ref().ok());
        for engine in iter::once(&self.plain).chain(concurrent) {
            engine.increment_epoch();
        }
    }
}

/// An engine that instances run in.
///
/// Falls back to allocating on demand where the address space for the pool is
/// not to be had; jobs then start more slowly.
fn for_running(kind: Kind, limits: &Limits) -> wasmtime::Result<Engine> {
    let mut config = config(kind)?;
    config.allocation_strategy(pool(kind, limits));
    Engine::new(&config).or_else(|error| {
        tracing::warn!(
            error = format!("{error:#}"),
            "no address space for a pool of instances, jobs will start more slowly; raise `ulimit -v`"
        );
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        Engine::new(&config)
    })
}

/// The engine of the compile child, whose code those of [`Engines`] accept.
pub(crate) fn for_compiling(kind: Kind) -> wasmtime::Result<Engine> {
    Engine::new(&config(kind)?)
}

/// Sixteen hexadecimal digits that differ between hosts that cannot run each
/// other's code. For which of its engines a component is compiled, the component
/// says itself.
pub(crate) fn fingerprint() -> wasmtime::Result<String> {
    let mut hash = Fingerprint(Sha256::new());
    COMPILER_VERSION.hash(&mut hash);
    for kind in [Kind::Plain, Kind::Concurrent] {
        for_compiling(kind)?.precompile_compatibility_hash().hash(&mut hash);
    }
    Ok(format!("{:016x}", hash.finish()))
}

fn config(kind: Kind) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
        .concurrency_support(kind == Kind::Concurrent)
        .epoch_interruption(true)
        // Names of functions are enough. Line numbers would have the host
        // parse DWARF, which came with the plugin, whenever one crashes.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .module_version(ModuleVersionStrategy::Custom(COMPILER_VERSION.to_owned()))?;
    Ok(config)
}

/// What a component takes of the room for services: as often as it has more
/// memories or tables than most, which have [`SERVICE_TABLES`].
pub(crate) fn service_slots(component: &Component) -> u32 {
    // None of a component that imports others, which none of ours does.
    let Some(needed) = component.resources_required() else { return MEMORIES };
    needed.num_memories.max(needed.num_tables.div_ceil(SERVICE_TABLES)).max(1)
}

/// Room for the jobs, whatever they are made of, and apart from it for services
/// and for parsers of log lines: a slot of the pool takes memory although nobody
/// uses it, so those are sized by what most are made of.
fn pool(kind: Kind, limits: &Limits) -> PoolingAllocationConfig {
    let jobs = limits.running_jobs.saturating_add(DESCRIBING_INSTANCES + MOST_REMAINS);
    let kept = limits.services.saturating_add(PARSING_INSTANCES);
    let instances = jobs.saturating_add(kept);
    // A function of the host that is waited for has the stack of its own, beside
    // that of the call.
    let stacks = match kind {
        Kind::Plain => instances,
        Kind::Concurrent => instances.saturating_mul(2),
    };
    let room = |of_job: u32, of_kept: u32| {
        jobs.saturating_mul(of_job).saturating_add(kept.saturating_mul(of_kept))
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .total_memories(room(MEMORIES, 1))
        .total_tables(room(TABLES, SERVICE_TABLES))
        .total_stacks(stacks)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .max_memories_per_module(MEMORIES)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(DESCRIBING_INSTANCES.min(jobs));
    pool
}

/// SHA-256 as a hasher: the same in every process, unlike the standard one.
struct Fingerprint(Sha256);

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is alike for engines that run each other's code.
    fn compatibility(engine: &Engine) -> u64 {
        let mut hash = Fingerprint(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hash);
        hash.finish()
    }

    #[test]
    fn the_host_runs_what_the_compile_child_makes_for_the_same_kind_and_no_other() {
        let engines = Engines::start(&Limits::default()).unwrap();
        for kind in [Kind::Plain, Kind::Concurrent] {
            let running = compatibility(engines.of(kind).unwrap());
            let accepted = [Kind::Plain, Kind::Concurrent]
                .map(|kind| compatibility(&for_compiling(kind).unwrap()) == running);
            assert_eq!(accepted, [kind == Kind::Plain, kind == Kind::Concurrent]);
        }
    }

    #[test]
    fn other_options_are_no_match() {
        let mut other = config(Kind::Plain).unwrap();
        other.epoch_interruption(false);
        let other = Engine::new(&other).unwrap();
        assert_ne!(compatibility(&for_compiling(Kind::Plain).unwrap()), compatibility(&other));
    }

    #[test]
    fn the_second_engine_is_made_when_it_is_asked_for() {
        let engines = Engines::start(&Limits::default()).unwrap();
        engines.of(Kind::Plain).unwrap();
        assert!(engines.concurrent.get().is_none());
        let first = engines.of(Kind::Concurrent).unwrap();
        assert!(Engine::same(first, engines.of(Kind::Concurrent).unwrap()));
    }

    #[test]
    fn the_version_is_that_of_the_wasmtime_in_use() {
        let lock = include_str!("../../../Cargo.lock");
        let version = COMPILER_VERSION.rsplit_once('-').unwrap().1;
        assert!(lock.contains(&format!("name = \"wasmtime\"\nversion = \"{version}\"")));
    }
}
