//! What a node is made of and how busy it is.
//!
//! The host measures; this plugin gives it names, documentation and filters.
//! The answers' fields are the contract's own (`wit/sysinfo.wit`), and every
//! one is described in the schemas that `describe` gives. The README beside
//! this crate has them in a table, with what JumpScale, Rancher and Triton
//! called them, and what other systems than Linux give.

mod processes;

use drover_sdk::sysinfo::{self, CpuInfo, MemoryInfo, Nic, OsInfo, StorageInfo};
use drover_sdk::{data, plugin, task};

plugin!(cpu, memory, disk, nic, os, processes::processes, all);

/// Shows the processors and how busy they are.
///
/// Business is measured since anybody last asked this node; if that was under
/// 200 ms ago, or never, the answer takes 200 ms. Load averages count threads
/// that run or wait to run.
#[task]
fn cpu() -> CpuInfo {
    sysinfo::cpu()
}

/// Shows memory and swap, in bytes.
///
/// `available` is what programs can still get without swapping; `free` is
/// used for nothing at all and normally small.
#[task]
fn memory() -> MemoryInfo {
    sysinfo::memory()
}

/// Shows disks with their partitions and counters, and mounted file systems.
///
/// Sizes are in bytes; counters run since the system started. File systems of
/// the kernel's own (proc, sysfs, …) are left out, as are empty loop and RAM
/// devices.
#[task]
fn disk() -> StorageInfo {
    sysinfo::storage()
}

/// Shows the network interfaces with their addresses and counters.
#[task]
fn nic() -> Vec<Nic> {
    sysinfo::nics()
}

/// Shows the operating system, the kernel, when it started and what it runs in.
#[task]
fn os() -> OsInfo {
    sysinfo::os()
}

/// Everything that the operations of the same names show.
#[data]
#[derive(Debug, PartialEq)]
struct All {
    /// The processors and how busy they are.
    cpu: CpuInfo,
    /// Memory and swap.
    memory: MemoryInfo,
    /// Disks and mounted file systems.
    disk: StorageInfo,
    /// Network interfaces.
    nic: Vec<Nic>,
    /// The operating system.
    os: OsInfo,
}

/// Shows everything but the processes at once.
#[task]
fn all() -> All {
    All { cpu: cpu(), memory: memory(), disk: disk(), nic: nic(), os: os() }
}

#[cfg(test)]
mod tests {
    use drover_sdk::serde_json::{self, Value};
    use drover_sdk::testing::Host;

    use super::*;

    #[test]
    fn all_is_what_the_others_say() {
        let host = Host::default();
        let expected = All {
            cpu: host.cpu,
            memory: host.memory,
            disk: host.storage,
            nic: host.nics,
            os: host.os,
        };
        let answer = PLUGIN.run("all", "{}").unwrap();
        assert_eq!(serde_json::from_str::<All>(&answer).unwrap(), expected);
    }

    #[test]
    fn every_operation_is_documented_and_so_is_every_field() {
        for operation in PLUGIN.describe() {
            assert!(!operation.doc.is_empty(), "{}", operation.name);
            for schema in [&operation.arguments, &operation.returns] {
                let schema = serde_json::from_str(schema).unwrap();
                expect_descriptions(&operation.name, &schema);
            }
        }
    }

    /// Fails at the first property without a description. A property that is
    /// a reference and nothing else has the one of its type.
    fn expect_descriptions(place: &str, schema: &Value) {
        match schema {
            Value::Object(map) => {
                let properties = map.get("properties").and_then(Value::as_object);
                for (name, property) in properties.into_iter().flatten() {
                    assert!(property.get("description").is_some(), "{place}/{name}: {property}");
                }
                for (key, value) in map {
                    expect_descriptions(&format!("{place}/{key}"), value);
                }
            }
            Value::Array(values) => {
                values.iter().for_each(|value| expect_descriptions(place, value));
            }
            _ => {}
        }
    }
}
