//! The wasmtime engine: one set of compiler options, for the host and for the
//! compile child, and the pool that instances come from.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, ModuleVersionStrategy, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

use crate::Limits;

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

/// Memory that a free slot of the pool keeps for its next instance. More makes
/// the next start faster, and stays behind after a burst of jobs.
const KEEP_RESIDENT: usize = 128 << 10;

/// The engine that instances run in.
///
/// Falls back to allocating on demand where the address space for the pool is
/// not to be had; jobs then start more slowly.
pub(crate) fn for_running(limits: &Limits) -> wasmtime::Result<Engine> {
    let mut config = config()?;
    config.allocation_strategy(pool(limits));
    Engine::new(&config).or_else(|error| {
        tracing::warn!(
            error = format!("{error:#}"),
            "no address space for a pool of instances, jobs will start more slowly; raise `ulimit -v`"
        );
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        Engine::new(&config)
    })
}

/// The engine of the compile child, whose code [`for_running`] accepts.
pub(crate) fn for_compiling() -> wasmtime::Result<Engine> {
    Engine::new(&config()?)
}

/// Sixteen hexadecimal digits that differ between engines that cannot run each
/// other's code.
pub(crate) fn fingerprint(engine: &Engine) -> String {
    let mut hash = Fingerprint(Sha256::new());
    COMPILER_VERSION.hash(&mut hash);
    engine.precompile_compatibility_hash().hash(&mut hash);
    format!("{:016x}", hash.finish())
}

fn config() -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config
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
fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let jobs = limits.running_jobs.saturating_add(DESCRIBING_INSTANCES);
    let kept = limits.services.saturating_add(PARSING_INSTANCES);
    let instances = jobs.saturating_add(kept);
    let room = |of_job: u32, of_kept: u32| {
        jobs.saturating_mul(of_job).saturating_add(kept.saturating_mul(of_kept))
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .total_memories(room(MEMORIES, 1))
        .total_tables(room(TABLES, SERVICE_TABLES))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .max_memories_per_module(MEMORIES)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
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

    #[test]
    fn the_host_and_the_compile_child_have_the_same_fingerprint() {
        let host = for_running(&Limits::default()).unwrap();
        let child = for_compiling().unwrap();
        assert_eq!(fingerprint(&host), fingerprint(&child));
    }

    #[test]
    fn other_options_have_another_fingerprint() {
        let mut other = config().unwrap();
        other.epoch_interruption(false);
        let other = Engine::new(&other).unwrap();
        assert_ne!(fingerprint(&for_compiling().unwrap()), fingerprint(&other));
    }

    #[test]
    fn the_version_is_that_of_the_wasmtime_in_use() {
        let lock = include_str!("../../../Cargo.lock");
        let version = COMPILER_VERSION.rsplit_once('-').unwrap().1;
        assert!(lock.contains(&format!("name = \"wasmtime\"\nversion = \"{version}\"")));
    }
}
