//! What the engine fills in where a request says nothing.

use serde_json::{Map, Value, json};

/// Fields of a container's configuration that are left out while they are empty.
const SOMETIMES_IN_CONFIG: [&str; 9] = [
    "ExposedPorts",
    "Healthcheck",
    "ArgsEscaped",
    "NetworkDisabled",
    "MacAddress",
    "StopSignal",
    "StopTimeout",
    "Shell",
    "OnBuild",
];

/// Fields of a host configuration that are left out while they are empty.
const SOMETIMES_IN_HOST: [&str; 7] =
    ["Init", "Mounts", "Runtime", "StorageOpt", "Sysctls", "Tmpfs", "Annotations"];

/// The configuration of a container or an image with the fields of `wanted`.
pub(crate) fn config(wanted: &Value) -> Value {
    let mut config = json!({
        "Hostname": "",
        "Domainname": "",
        "User": "",
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
        "Tty": false,
        "OpenStdin": false,
        "StdinOnce": false,
        "Env": null,
        "Cmd": null,
        "Image": "",
        "Volumes": null,
        "WorkingDir": "",
        "Entrypoint": null,
        "OnBuild": null,
        "Labels": null,
    });
    overlay(&mut config, wanted, &SOMETIMES_IN_CONFIG);
    // One string stands for a list of one.
    for name in ["Cmd", "Entrypoint"] {
        if config[name].is_string() {
            config[name] = json!([config[name].take()]);
        }
    }
    config
}

/// The part of a container that belongs to the host, with the fields of `wanted`.
pub(crate) fn host(wanted: &Value) -> Value {
    let mut host = json!({
        "Binds": null,
        "ContainerIDFile": "",
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": "default",
        "PortBindings": null,
        "RestartPolicy": {"Name": "", "MaximumRetryCount": 0},
        "AutoRemove": false,
        "VolumeDriver": "",
        "VolumesFrom": null,
        "CapAdd": null,
        "CapDrop": null,
        "CgroupnsMode": "host",
        "Dns": null,
        "DnsOptions": null,
        "DnsSearch": null,
        "ExtraHosts": null,
        "GroupAdd": null,
        "IpcMode": "private",
        "Cgroup": "",
        "Links": null,
        "OomScoreAdj": 0,
        "PidMode": "",
        "Privileged": false,
        "PublishAllPorts": false,
        "ReadonlyRootfs": false,
        "SecurityOpt": null,
        "UTSMode": "",
        "UsernsMode": "",
        "ShmSize": 67_108_864,
        "ConsoleSize": [0, 0],
        "Isolation": "",
        "MaskedPaths": [
            "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
            "/sys/firmware",
        ],
        "ReadonlyPaths": [
            "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
        ],
    });
    merge(&mut host, resources());
    overlay(&mut host, wanted, &SOMETIMES_IN_HOST);
    for name in ["NetworkMode", "IpcMode", "CgroupnsMode"] {
        if host[name] == "" {
            host[name] = json!(match name {
                "NetworkMode" => "default",
                "IpcMode" => "private",
                _ => "host",
            });
        }
    }
    if host["ShmSize"] == 0 {
        host["ShmSize"] = json!(67_108_864);
    }
    if host["LogConfig"]["Type"].as_str().unwrap_or_default().is_empty() {
        host["LogConfig"] = json!({"Type": "json-file", "Config": {}});
    }
    if host["RestartPolicy"].get("MaximumRetryCount").is_none() {
        host["RestartPolicy"]["MaximumRetryCount"] = json!(0);
    }
    // Without a limit of its own, as much swap as memory.
    let memory = host["Memory"].as_i64().unwrap_or(0);
    if memory > 0 && host["MemorySwap"] == 0 {
        host["MemorySwap"] = json!(memory.saturating_mul(2));
    }
    host
}

/// What can be limited, and changed while the container runs.
pub(crate) fn resources() -> Value {
    json!({
        "CpuShares": 0,
        "Memory": 0,
        "NanoCpus": 0,
        "CgroupParent": "",
        "BlkioWeight": 0,
        "BlkioWeightDevice": null,
        "BlkioDeviceReadBps": null,
        "BlkioDeviceWriteBps": null,
        "BlkioDeviceReadIOps": null,
        "BlkioDeviceWriteIOps": null,
        "CpuPeriod": 0,
        "CpuQuota": 0,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": "",
        "CpusetMems": "",
        "Devices": null,
        "DeviceCgroupRules": null,
        "DeviceRequests": null,
        "KernelMemory": 0,
        "KernelMemoryTCP": 0,
        "MemoryReservation": 0,
        "MemorySwap": 0,
        "MemorySwappiness": null,
        "OomKillDisable": false,
        "PidsLimit": null,
        "Ulimits": null,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    })
}

/// Sets the fields that `wanted` gives and the engine knows.
fn overlay(base: &mut Value, wanted: &Value, sometimes: &[&str]) {
    let (Some(base), Some(wanted)) = (base.as_object_mut(), wanted.as_object()) else { return };
    for (name, value) in wanted {
        if sometimes.contains(&name.as_str()) {
            if !is_empty(value) || base.contains_key(name) {
                base.insert(name.clone(), value.clone());
            }
        } else if base.contains_key(name) && !value.is_null() {
            base.insert(name.clone(), value.clone());
        }
    }
}

/// Adds the fields of an object to another.
pub(crate) fn merge(base: &mut Value, more: Value) {
    if let (Some(base), Value::Object(more)) = (base.as_object_mut(), more) {
        base.extend(more);
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    }
}

/// The configuration of a new container: what the request says, and what the
/// image says where the request does not.
pub(crate) fn inherit(config: &mut Value, image: &Value) {
    let asks_for_program = has_items(&config["Entrypoint"]);
    if !asks_for_program {
        if !has_items(&config["Cmd"]) {
            config["Cmd"] = image["Cmd"].clone();
        }
        if config["Entrypoint"].is_null() {
            config["Entrypoint"] = image["Entrypoint"].clone();
        }
    }
    for name in ["User", "WorkingDir"] {
        if config[name] == "" {
            config[name] = image[name].clone();
        }
    }
    for name in ["Healthcheck", "StopSignal", "StopTimeout", "Shell"] {
        if let (None, Some(value)) = (config.get(name), image.get(name)) {
            config[name] = value.clone();
        }
    }
    for name in ["Volumes", "ExposedPorts"] {
        if let Some(more) = image.get(name).filter(|value| has_items(value)) {
            let mut all = more.clone();
            if let Some(own) = config.get(name) {
                merge(&mut all, own.clone());
            }
            config[name] = all;
        }
    }
    let mut labels = json!(image["Labels"].as_object().cloned().unwrap_or_default());
    merge(&mut labels, config["Labels"].take());
    config["Labels"] = labels;
    config["Env"] = environment(&config["Env"], &image["Env"]);
}

/// The container's variables, and those of the image that it does not set.
fn environment(own: &Value, image: &Value) -> Value {
    let texts = |list: &Value| -> Vec<String> { strings(list).map(str::to_owned).collect() };
    let mut all = texts(own);
    for line in texts(image) {
        let name = line.split('=').next().unwrap_or_default().to_owned();
        if !all.iter().any(|line| line.split('=').next() == Some(&name)) {
            all.push(line);
        }
    }
    if all.is_empty() { own.clone() } else { json!(all) }
}

/// The texts in a list.
pub(crate) fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn has_items(value: &Value) -> bool {
    !is_empty(value)
}

/// An object's entries, none if it is no object.
pub(crate) fn entries(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
