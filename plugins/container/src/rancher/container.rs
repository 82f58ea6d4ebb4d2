//! What a Rancher instance is as a container: its fields in the engine's form.

use serde_json::{Map, Value, json};

use super::links;

/// What becomes of a field's value.
#[derive(Clone, Copy)]
enum Form {
    /// It is the same.
    Same,
    /// Words, or one text that a shell would part.
    Words,
    /// An object of texts, as `KEY=value`.
    Pairs,
    /// `/source:/target:permissions`.
    Devices,
    /// `{name, maximumRetryCount}`.
    Policy,
    /// `{driver, config}`.
    Log,
    /// Seconds, as nanoseconds.
    Seconds,
}

/// Fields of what the container is: the controller's name, ours.
const CONFIG: &[(&str, &str, Form)] = &[
    ("labels", "Labels", Form::Same),
    ("environment", "Env", Form::Pairs),
    ("directory", "WorkingDir", Form::Same),
    ("workingDir", "WorkingDir", Form::Same),
    ("user", "User", Form::Same),
    ("domainName", "Domainname", Form::Same),
    ("tty", "Tty", Form::Same),
    ("stdinOpen", "OpenStdin", Form::Same),
    ("entryPoint", "Entrypoint", Form::Words),
    ("command", "Cmd", Form::Words),
    ("commandArgs", "Cmd", Form::Words),
    ("hostname", "Hostname", Form::Same),
    ("stopSignal", "StopSignal", Form::Same),
    ("stopTimeout", "StopTimeout", Form::Same),
];

/// Fields of how it lives on its host.
const HOST: &[(&str, &str, Form)] = &[
    ("memory", "Memory", Form::Same),
    ("memorySwap", "MemorySwap", Form::Same),
    ("memorySwappiness", "MemorySwappiness", Form::Same),
    ("memoryReservation", "MemoryReservation", Form::Same),
    ("kernelMemory", "KernelMemory", Form::Same),
    ("cpuSet", "CpusetCpus", Form::Same),
    ("cpuSetMems", "CpusetMems", Form::Same),
    ("cpuShares", "CpuShares", Form::Same),
    ("cpuPeriod", "CpuPeriod", Form::Same),
    ("cpuQuota", "CpuQuota", Form::Same),
    ("cpuRealtimePeriod", "CpuRealtimePeriod", Form::Same),
    ("cpuRealtimeRuntime", "CpuRealtimeRuntime", Form::Same),
    ("cpuCount", "CpuCount", Form::Same),
    ("cpuPercent", "CpuPercent", Form::Same),
    ("ioMaximumIOps", "IOMaximumIOps", Form::Same),
    ("ioMaximumBandwidth", "IOMaximumBandwidth", Form::Same),
    ("volumeDriver", "VolumeDriver", Form::Same),
    ("capAdd", "CapAdd", Form::Same),
    ("capDrop", "CapDrop", Form::Same),
    ("dns", "Dns", Form::Same),
    ("dnsSearch", "DnsSearch", Form::Same),
    ("dnsOpt", "DnsOptions", Form::Same),
    ("extraHosts", "ExtraHosts", Form::Same),
    ("publishAllPorts", "PublishAllPorts", Form::Same),
    ("logConfig", "LogConfig", Form::Log),
    ("securityOpt", "SecurityOpt", Form::Same),
    ("restartPolicy", "RestartPolicy", Form::Policy),
    ("pidMode", "PidMode", Form::Same),
    ("ipcMode", "IpcMode", Form::Same),
    ("uts", "UTSMode", Form::Same),
    ("usernsMode", "UsernsMode", Form::Same),
    ("devices", "Devices", Form::Devices),
    ("privileged", "Privileged", Form::Same),
    ("readOnly", "ReadonlyRootfs", Form::Same),
    ("blkioWeight", "BlkioWeight", Form::Same),
    ("cgroupParent", "CgroupParent", Form::Same),
    ("groupAdd", "GroupAdd", Form::Same),
    ("isolation", "Isolation", Form::Same),
    ("oomKillDisable", "OomKillDisable", Form::Same),
    ("oomScoreAdj", "OomScoreAdj", Form::Same),
    ("shmSize", "ShmSize", Form::Same),
    ("tmpfs", "Tmpfs", Form::Same),
    ("ulimits", "Ulimits", Form::Same),
    ("sysctls", "Sysctls", Form::Same),
    ("runInit", "Init", Form::Same),
    ("storageOpt", "StorageOpt", Form::Same),
    ("pidsLimit", "PidsLimit", Form::Same),
    ("cgroup", "Cgroup", Form::Same),
];

/// Fields of the health check.
const HEALTH: &[(&str, &str, Form)] = &[
    ("healthCmd", "Test", Form::Words),
    ("healthInterval", "Interval", Form::Seconds),
    ("healthTimeout", "Timeout", Form::Seconds),
    ("healthRetries", "Retries", Form::Same),
];

/// Limits of one device: the controller's name, the engine's, and what the
/// limit is called in there.
const DEVICE_LIMITS: [(&str, &str, &str); 5] = [
    ("readIops", "BlkioDeviceReadIOps", "Rate"),
    ("writeIops", "BlkioDeviceWriteIOps", "Rate"),
    ("readBps", "BlkioDeviceReadBps", "Rate"),
    ("writeBps", "BlkioDeviceWriteBps", "Rate"),
    ("weight", "BlkioWeightDevice", "Weight"),
];

/// The body that creates the container of an instance.
pub(super) fn body(instance: &Value, image: &str) -> Map<String, Value> {
    let fields = instance.pointer("/data/fields").unwrap_or(&Value::Null);
    let mut body = taken(fields, CONFIG);
    let mut host = taken(fields, HOST);
    let health = taken(fields, HEALTH);
    body.insert("Image".to_owned(), json!(image));
    if let Some(hostname) = text(&instance["hostname"]) {
        body.insert("Hostname".to_owned(), json!(hostname));
    }
    if !health.is_empty() {
        body.insert("Healthcheck".to_owned(), Value::Object(health));
    }
    let links = links::variables(instance);
    if !links.is_empty()
        && let Value::Array(all) = body.entry("Env").or_insert_with(|| json!([]))
    {
        // What the instance itself says has the last word.
        all.splice(..0, links.into_iter().map(Value::String));
    }
    labels(instance, &mut body);
    ports(instance, &mut body, &mut host);
    volumes(fields, &mut body, &mut host);
    network(instance, &mut body, &mut host);
    device_limits(&fields["blkioDeviceOptions"], &mut host);
    if let Some(share) = fields["milliCpuReservation"].as_u64() {
        // A thousandth of a processor is about one of its 1024 shares.
        host.entry("CpuShares").or_insert_with(|| json!(share * 1024 / 1000));
    }
    body.insert("HostConfig".to_owned(), Value::Object(host));
    body
}

/// The name that the container of an instance has: that of the instance, if the
/// engine takes it, behind `r-`.
pub(super) fn name(instance: &Value) -> String {
    let uuid = text(&instance["uuid"]).unwrap_or_default();
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    match text(&instance["name"]) {
        Some(name) if name.chars().all(is_allowed) => format!("r-{name}"),
        _ => uuid.to_owned(),
    }
}

pub(super) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

fn taken(fields: &Value, table: &[(&str, &str, Form)]) -> Map<String, Value> {
    let mut body = Map::new();
    for (theirs, ours, form) in table {
        let value = fields.get(theirs).and_then(|value| formed(value, *form));
        if let Some(value) = value {
            body.insert((*ours).to_owned(), value);
        }
    }
    body
}

fn formed(value: &Value, form: Form) -> Option<Value> {
    match (form, value) {
        (_, Value::Null) => None,
        (Form::Words, Value::String(text)) => {
            Some(json!(text.split_whitespace().collect::<Vec<_>>()))
        }
        (Form::Pairs, Value::Object(pairs)) => {
            let pairs = pairs.iter().map(|(key, value)| {
                format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            });
            Some(json!(pairs.collect::<Vec<_>>()))
        }
        (Form::Devices, Value::Array(devices)) => {
            Some(devices.iter().filter_map(Value::as_str).map(device).collect())
        }
        (Form::Policy, policy) => Some(json!({
            "Name": policy["name"],
            "MaximumRetryCount": policy["maximumRetryCount"].as_u64().unwrap_or(0),
        })),
        (Form::Log, log) => {
            text(&log["driver"]).map(|driver| json!({ "Type": driver, "Config": log["config"] }))
        }
        (Form::Seconds, value) => value.as_u64().map(|seconds| json!(seconds * 1_000_000_000)),
        (Form::Same | Form::Words | Form::Pairs | Form::Devices, value) => Some(value.clone()),
    }
}

fn device(text: &str) -> Value {
    let mut parts = text.split(':');
    let source = parts.next().unwrap_or_default();
    let target = parts.next().unwrap_or(source);
    let permissions = parts.next().unwrap_or("rwm");
    json!({ "PathOnHost": source, "PathInContainer": target, "CgroupPermissions": permissions })
}

fn labels(instance: &Value, body: &mut Map<String, Value>) {
    let labels = body.entry("Labels").or_insert_with(|| json!({}));
    if !labels.is_object() {
        *labels = json!({});
    }
    let nic = &instance["nics"][0];
    for (label, value) in [
        ("io.rancher.container.uuid", &instance["uuid"]),
        ("io.rancher.container.name", &instance["name"]),
        ("io.rancher.container.ip", &nic["ipAddresses"][0]["address"]),
        ("io.rancher.container.mac_address", &nic["macAddress"]),
        ("io.rancher.container.agent_id", &instance["agentId"]),
        ("io.rancher.container.system", &instance["systemContainer"]),
    ] {
        let value = match value {
            Value::String(text) if !text.is_empty() => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => continue,
        };
        labels[label] = json!(value);
    }
}

fn ports(instance: &Value, body: &mut Map<String, Value>, host: &mut Map<String, Value>) {
    let (mut exposed, mut bindings) = (Map::new(), Map::new());
    for port in instance["ports"].as_array().into_iter().flatten() {
        let Some(private) = port["privatePort"].as_u64() else { continue };
        let key = format!("{private}/{}", text(&port["protocol"]).unwrap_or("tcp"));
        exposed.insert(key.clone(), json!({}));
        let address = port.pointer("/data/fields/bindAddress").and_then(text).unwrap_or_default();
        if let Some(public) = port["publicPort"].as_u64() {
            let binding = json!({ "HostIp": address, "HostPort": public.to_string() });
            if let Value::Array(all) = bindings.entry(key).or_insert_with(|| json!([])) {
                all.push(binding);
            }
        }
    }
    if !exposed.is_empty() {
        body.insert("ExposedPorts".to_owned(), Value::Object(exposed));
        host.insert("PortBindings".to_owned(), Value::Object(bindings));
    }
}

/// `/target` is a volume without a name, `source:/target:ro` a mount.
fn volumes(fields: &Value, body: &mut Map<String, Value>, host: &mut Map<String, Value>) {
    let (mut volumes, mut binds) = (Map::new(), Vec::new());
    for volume in fields["dataVolumes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if volume.contains(':') {
            binds.push(volume);
        } else {
            volumes.insert(volume.to_owned(), json!({}));
        }
    }
    if !volumes.is_empty() {
        body.insert("Volumes".to_owned(), Value::Object(volumes));
    }
    if !binds.is_empty() {
        host.insert("Binds".to_owned(), json!(binds));
    }
}

fn network(instance: &Value, body: &mut Map<String, Value>, host: &mut Map<String, Value>) {
    let nic = &instance["nics"][0];
    let other = &instance["networkContainer"];
    let mode = match text(&nic["network"]["kind"]).unwrap_or_default() {
        "dockerHost" => "host".to_owned(),
        "dockerNone" => "none".to_owned(),
        "dockerContainer" => {
            let id = text(&other["externalId"]).map_or_else(|| name(other), str::to_owned);
            format!("container:{id}")
        }
        _ => {
            if let Some(address) = text(&nic["macAddress"]) {
                body.insert("MacAddress".to_owned(), json!(address));
            }
            return;
        }
    };
    // The engine takes a host's name only where the container has a network of its own.
    if mode != "none" {
        body.remove("Hostname");
    }
    host.insert("NetworkMode".to_owned(), json!(mode));
}

fn device_limits(options: &Value, host: &mut Map<String, Value>) {
    let named = |path: &&String| path.starts_with('/');
    for (path, limits) in options.as_object().into_iter().flatten().filter(|(path, _)| named(path))
    {
        for (theirs, ours, unit) in DEVICE_LIMITS {
            let Some(limit) = limits[theirs].as_u64() else { continue };
            if let Value::Array(all) = host.entry(ours).or_insert_with(|| json!([])) {
                all.push(json!({ "Path": path, (unit): limit }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_that_of_the_instance_if_the_engine_takes_it() {
        assert_eq!(name(&json!({ "name": "web-1", "uuid": "u" })), "r-web-1");
        assert_eq!(name(&json!({ "name": "web 1", "uuid": "u" })), "u");
        assert_eq!(name(&json!({ "uuid": "u" })), "u");
    }

    #[test]
    fn fields_have_their_place_in_the_engines_form() {
        let instance = json!({
            "uuid": "u", "name": "web", "hostname": "h",
            "ports": [{ "privatePort": 80, "publicPort": 8080, "protocol": "tcp",
                        "data": { "fields": { "bindAddress": "127.0.0.1" } } }],
            "nics": [{ "macAddress": "02:00:00:00:00:01", "network": { "kind": "dockerBridge" } }],
            "data": { "fields": {
                "environment": { "A": "1", "N": 2 }, "command": "sleep 5", "entryPoint": ["/x"],
                "workingDir": "/srv", "memory": 64, "capAdd": ["NET_ADMIN"],
                "devices": ["/dev/fuse:/dev/f:r", "/dev/null"], "dataVolumes": ["/data", "v:/v:ro"],
                "restartPolicy": { "name": "on-failure", "maximumRetryCount": 3 },
                "logConfig": { "driver": "json-file", "config": { "max-size": "1m" } },
                "blkioDeviceOptions": { "/dev/sda": { "readBps": 7, "weight": 5 } },
                "healthCmd": ["CMD", "/check"], "healthInterval": 2, "runInit": true,
                "milliCpuReservation": 500,
            } },
        });
        let host = json!({
            "Memory": 64, "CapAdd": ["NET_ADMIN"], "Init": true, "CpuShares": 512,
            "Devices": [
                { "PathOnHost": "/dev/fuse", "PathInContainer": "/dev/f", "CgroupPermissions": "r" },
                { "PathOnHost": "/dev/null", "PathInContainer": "/dev/null",
                  "CgroupPermissions": "rwm" },
            ],
            "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 },
            "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m" } },
            "PortBindings": { "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "8080" }] },
            "Binds": ["v:/v:ro"],
            "BlkioDeviceReadBps": [{ "Path": "/dev/sda", "Rate": 7 }],
            "BlkioWeightDevice": [{ "Path": "/dev/sda", "Weight": 5 }],
        });
        let expected = json!({
            "Image": "app:1", "Hostname": "h", "Env": ["A=1", "N=2"], "Cmd": ["sleep", "5"],
            "Entrypoint": ["/x"], "WorkingDir": "/srv", "MacAddress": "02:00:00:00:00:01",
            "Labels": {
                "io.rancher.container.uuid": "u", "io.rancher.container.name": "web",
                "io.rancher.container.mac_address": "02:00:00:00:00:01",
            },
            "ExposedPorts": { "80/tcp": {} }, "Volumes": { "/data": {} },
            "Healthcheck": { "Test": ["CMD", "/check"], "Interval": 2_000_000_000 },
            "HostConfig": host,
        });
        assert_eq!(Value::Object(body(&instance, "app:1")), expected);
    }

    #[test]
    fn links_are_told_before_what_the_instance_says_itself() {
        let instance = json!({
            "name": "web", "instanceLinks": [{ "linkName": "db" }],
            "data": { "fields": { "environment": { "DB_NAME": "own" } } },
        });
        assert_eq!(body(&instance, "a")["Env"], json!(["DB_NAME=/r-web/db", "DB_NAME=own"]));
    }

    #[test]
    fn networks_of_the_host_of_nobody_and_of_another_container_are_modes() {
        for (kind, expected) in
            [("dockerHost", "host"), ("dockerNone", "none"), ("dockerContainer", "container:0c")]
        {
            let instance = json!({
                "nics": [{ "network": { "kind": kind } }],
                "networkContainer": { "externalId": "0c" },
            });
            assert_eq!(body(&instance, "a")["HostConfig"]["NetworkMode"], expected);
        }
    }
}
