//! What the host is made of and how busy it is, in Rancher's words: memory in
//! MiB, and file systems and places by name.

use drover_sdk::sysinfo::{self, CpuInfo, MemoryInfo, StorageInfo};
use serde_json::{Map, Value, json};

use crate::models::Info;

const MIB: u64 = 1 << 20;

/// The beginnings of the names of interfaces that the engine makes for itself.
const ENGINES_OWN: [&str; 3] = ["docker", "br-", "veth"];

/// The host's information, measured now.
pub(super) fn collect(engine: &Info) -> Value {
    json!({
        "cpuInfo": processors(&sysinfo::cpu()),
        "memoryInfo": memory(&sysinfo::memory()),
        "osInfo": {
            "operatingSystem": engine.operating_system,
            "kernelVersion": engine.kernel_version,
            "dockerVersion": engine.server_version,
        },
        "diskInfo": disks(&sysinfo::storage(), engine),
    })
}

/// What the file system has room for on which the engine keeps its files, in MiB.
pub(super) fn storage_mb(engine: &Info) -> Option<u64> {
    let folder = engine.docker_root_dir.as_deref().unwrap_or("/");
    let holds = |place: &str| {
        let rest = folder.strip_prefix(place.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mounts = sysinfo::storage().mounts.into_iter();
    let mount =
        mounts.filter(|it| holds(&it.mount_point)).max_by_key(|mount| mount.mount_point.len())?;
    Some(mount.capacity / MIB)
}

/// The address by which others know the host: the first of an interface that is
/// neither the host's to itself nor the engine's.
pub(super) fn address() -> Option<String> {
    let nics = sysinfo::nics().into_iter();
    let mut outward = nics.filter(|nic| {
        nic.is_up && !ENGINES_OWN.iter().any(|beginning| nic.name.starts_with(beginning))
    });
    outward.find_map(|nic| {
        let addresses = nic.addresses.iter().filter_map(|address| address.split('/').next());
        let mut usable = addresses.filter(|address| {
            address.parse::<std::net::Ipv4Addr>().is_ok_and(|address| !address.is_loopback())
        });
        usable.next().map(str::to_owned)
    })
}

fn processors(cpu: &CpuInfo) -> Value {
    let load = &cpu.load;
    let busy: Vec<f64> = cpu.cores.iter().map(|core| core.busy_percent).collect();
    json!({
        "modelName": cpu.model,
        "count": cpu.logical_cores,
        "mhz": cpu.mhz,
        "loadAvg": [load.one_minute, load.five_minutes, load.fifteen_minutes],
        "cpuCoresPercentages": busy,
    })
}

fn memory(memory: &MemoryInfo) -> Value {
    json!({
        "memTotal": memory.total / MIB,
        "memFree": memory.free / MIB,
        "memAvailable": memory.available / MIB,
        "buffers": memory.buffers / MIB,
        "cached": memory.cached / MIB,
        "swapCached": memory.swap_cached / MIB,
        "active": memory.active / MIB,
        "inactive": memory.inactive / MIB,
        "swapTotal": memory.swap_total / MIB,
        "swapFree": memory.swap_free / MIB,
    })
}

fn disks(storage: &StorageInfo, engine: &Info) -> Value {
    let (mut file_systems, mut places) = (Map::new(), Map::new());
    for mount in &storage.mounts {
        let capacity = mount.capacity / MIB;
        file_systems.insert(mount.device.clone(), json!({ "capacity": capacity }));
        let place = json!({
            "total": capacity,
            "free": mount.free / MIB,
            "used": mount.used / MIB,
            "percentUsed": mount.used_percent,
        });
        places.insert(mount.mount_point.clone(), place);
    }
    json!({
        "fileSystems": file_systems,
        "mountPoints": places,
        "dockerStorageDriver": engine.driver,
        "dockerStorageDriverStatus": engine.driver_status,
    })
}
