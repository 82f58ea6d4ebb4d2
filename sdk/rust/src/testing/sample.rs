//! The made-up machine that tests run on unless they bring another.

use std::collections::BTreeMap;

use super::{ChannelAnswers, Host, HttpAnswers};
use crate::job::{NodeInfo, PluginInfo};
use crate::sysinfo::{
    BlockDevice, Core, CpuInfo, IoCounters, LoadAverage, MemoryInfo, Mount, Nic, NicCounters,
    OsInfo, Partition, Process, StorageInfo,
};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
const BOOT_TIME: u64 = 1_700_000_000;

impl Default for Host {
    fn default() -> Self {
        Self {
            job_id: "test".to_owned(),
            job_data: Vec::new(),
            input: Vec::new(),
            wants_no_output: false,
            command: "sample.test".to_owned(),
            plugin: PluginInfo { name: "sample".to_owned(), version: Some("0.1.0".to_owned()) },
            node: NodeInfo { gid: 1, nid: 1, name: "sample".to_owned(), labels: Vec::new() },
            caller: None,
            remaining: None,
            is_cancelled: false,
            waits: 0,
            settings: BTreeMap::new(),
            http: HttpAnswers::default(),
            channels: ChannelAnswers::default(),
            programs: Vec::new(),
            state: BTreeMap::new(),
            cpu: cpu(),
            memory: memory(),
            storage: storage(),
            nics: vec![nic()],
            os: os(),
            processes: vec![
                process(1, None, "init", 0.1, 10 * MIB),
                process(200, Some(1), "database", 42.0, GIB),
                process(300, Some(1), "web", 7.5, 80 * MIB),
            ],
        }
    }
}

fn cpu() -> CpuInfo {
    let core = |index, busy_percent| Core { index, mhz: 2_400, busy_percent };
    CpuInfo {
        model: "Sample CPU".to_owned(),
        vendor: "Sample".to_owned(),
        architecture: "x86_64".to_owned(),
        mhz: 2_400,
        physical_cores: Some(2),
        logical_cores: 2,
        busy_percent: 25.0,
        cores: vec![core(0, 40.0), core(1, 10.0)],
        load: LoadAverage { one_minute: 0.5, five_minutes: 0.25, fifteen_minutes: 0.125 },
    }
}

fn memory() -> MemoryInfo {
    MemoryInfo {
        total: 4 * GIB,
        free: GIB,
        available: 3 * GIB,
        used: GIB,
        buffers: 100 * MIB,
        cached: 900 * MIB,
        active: GIB,
        inactive: GIB,
        swap_total: 2 * GIB,
        swap_free: GIB,
        swap_used: GIB,
        swap_cached: MIB,
    }
}

fn storage() -> StorageInfo {
    let io = IoCounters {
        reads: 1_000,
        read_bytes: 4_096_000,
        writes: 500,
        written_bytes: 2_048_000,
        busy_ms: 1_500,
    };
    let device = BlockDevice {
        name: "sda".to_owned(),
        model: Some("Sample Disk".to_owned()),
        size: 20 * GIB,
        removable: false,
        rotational: false,
        read_only: false,
        partitions: vec![Partition { name: "sda1".to_owned(), size: 20 * GIB, io }],
        io,
    };
    let mount = Mount {
        device: "/dev/sda1".to_owned(),
        mount_point: "/".to_owned(),
        file_system: "ext4".to_owned(),
        read_only: false,
        capacity: 20 * GIB,
        free: 10 * GIB,
        available: 10 * GIB,
        used: 10 * GIB,
        used_percent: 50.0,
    };
    StorageInfo { devices: vec![device], mounts: vec![mount] }
}

fn nic() -> Nic {
    let counters = NicCounters { bytes: 1_000_000, packets: 1_000, errors: 0, dropped: 0 };
    Nic {
        name: "eth0".to_owned(),
        mac: "02:00:00:00:00:01".to_owned(),
        addresses: vec!["192.0.2.7/24".to_owned(), "2001:db8::7/64".to_owned()],
        is_up: true,
        carrier: Some(true),
        speed_mbit: Some(1_000),
        mtu: 1_500,
        received: counters,
        sent: counters,
    }
}

fn os() -> OsInfo {
    OsInfo {
        hostname: "sample".to_owned(),
        family: "linux".to_owned(),
        kernel: "6.1.0".to_owned(),
        distribution: "debian".to_owned(),
        distribution_version: "12".to_owned(),
        distribution_name: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        architecture: "x86_64".to_owned(),
        boot_time: BOOT_TIME,
        uptime_seconds: 3_600,
        machine_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
        virtualisation: Some("kvm".to_owned()),
    }
}

fn process(pid: u32, parent: Option<u32>, name: &str, cpu_percent: f64, resident: u64) -> Process {
    Process {
        pid,
        parent,
        name: name.to_owned(),
        command: vec![format!("/usr/bin/{name}")],
        user: Some("root".to_owned()),
        state: "sleeping".to_owned(),
        started_at: BOOT_TIME,
        cpu_percent,
        resident,
        virtual_size: 2 * resident,
        threads: 1,
    }
}
