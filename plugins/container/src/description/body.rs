//! The body of the engine's request to create a container.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Attachment, Description, Device, Health, Mount, Port, Restart};

/// The body that creates what is described. It names what the description
/// names and nothing else, so it is also what a container is compared with.
pub(crate) fn body(description: &Description) -> Map<String, Value> {
    let d = description;
    let mut body = Map::new();
    put(&mut body, "Image", Some(&d.image));
    put(&mut body, "Cmd", d.command.as_ref());
    put(&mut body, "Entrypoint", d.entrypoint.as_ref());
    let environment: Vec<_> = d.environment.iter().map(|(k, v)| format!("{k}={v}")).collect();
    put(&mut body, "Env", some(environment));
    put(&mut body, "Labels", (!d.labels.is_empty()).then_some(&d.labels));
    put(&mut body, "User", d.user.as_ref());
    put(&mut body, "WorkingDir", d.working_dir.as_ref());
    put(&mut body, "Hostname", d.hostname.as_ref());
    put(&mut body, "Domainname", d.domain_name.as_ref());
    put(&mut body, "Tty", d.tty.then_some(true));
    put(&mut body, "OpenStdin", d.stdin_open.then_some(true));
    put(&mut body, "StopSignal", d.stop_signal.as_ref());
    put(&mut body, "StopTimeout", d.stop_timeout);
    put(&mut body, "Healthcheck", d.health.as_ref().map(health));
    let exposed: Map<_, _> = d.ports.iter().map(|port| (port_key(port), json!({}))).collect();
    put(&mut body, "ExposedPorts", (!exposed.is_empty()).then_some(exposed));

    let host = host(description);
    put(&mut body, "HostConfig", (!host.is_empty()).then_some(host));
    let endpoints: Map<_, _> = d.networks.first().map(connection).into_iter().collect();
    let networking = json!({ "EndpointsConfig": endpoints });
    put(&mut body, "NetworkingConfig", (!endpoints.is_empty()).then_some(networking));
    merge(&mut body, &d.engine);
    body
}

/// What is said of how the container lives on its host.
fn host(d: &Description) -> Map<String, Value> {
    let mut host = Map::new();
    put(&mut host, "PortBindings", (!d.ports.is_empty()).then(|| bindings(&d.ports)));
    put(&mut host, "Mounts", some(d.mounts.iter().map(mount).collect()));
    let main_network = d.networks.first().map(|network| &network.name);
    put(&mut host, "NetworkMode", d.network_mode.as_ref().or(main_network));
    put(&mut host, "RestartPolicy", d.restart.as_ref().map(restart));
    put(&mut host, "Memory", d.memory);
    put(&mut host, "MemorySwap", d.memory_swap);
    put(&mut host, "NanoCpus", d.cpus.map(nano_cpus));
    put(&mut host, "CpuShares", d.cpu_shares);
    put(&mut host, "CpusetCpus", d.cpuset.as_ref());
    put(&mut host, "PidsLimit", d.pids);
    let log = d.log.as_ref().map(|log| json!({ "Type": log.driver, "Config": log.options }));
    put(&mut host, "LogConfig", log);
    let names = d.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}"));
    put(&mut host, "ExtraHosts", some(names.collect::<Vec<_>>()));
    put(&mut host, "Dns", some(d.dns.clone()));
    put(&mut host, "DnsSearch", some(d.dns_search.clone()));
    put(&mut host, "ReadonlyRootfs", d.read_only.then_some(true));
    put(&mut host, "Init", d.init.then_some(true));
    put(&mut host, "AutoRemove", d.auto_remove.then_some(true));
    put(&mut host, "Privileged", d.privileged.then_some(true));
    put(&mut host, "CapAdd", some(d.cap_add.clone()));
    put(&mut host, "CapDrop", some(d.cap_drop.clone()));
    put(&mut host, "Devices", some(d.devices.iter().map(device).collect()));
    host
}

/// The networks that the container is connected to after it was created: all
/// but the first, as engines of today's versions take only one at creation.
pub(crate) fn connections(description: &Description) -> &[Attachment] {
    description.networks.get(1..).unwrap_or_default()
}

/// The name of a network and what is said of the place in it.
fn connection(attachment: &Attachment) -> (String, Value) {
    (attachment.name.clone(), endpoint(attachment))
}

/// A place in a network in the engine's form.
pub(crate) fn endpoint(attachment: &Attachment) -> Value {
    let mut endpoint = Map::new();
    put(&mut endpoint, "Aliases", some(attachment.aliases.clone()));
    let address = attachment.address.as_ref();
    let key = |address: &String| if address.contains(':') { "IPv6Address" } else { "IPv4Address" };
    put(&mut endpoint, "IPAMConfig", address.map(|address| json!({ (key(address)): address })));
    Value::Object(endpoint)
}

fn port_key(port: &Port) -> String {
    format!("{}/{}", port.container, port.protocol.word())
}

fn bindings(ports: &[Port]) -> Map<String, Value> {
    let mut bindings = Map::new();
    for port in ports {
        let binding = json!({
            "HostIp": port.address.as_deref().unwrap_or_default(),
            "HostPort": port.host.map(|port| port.to_string()).unwrap_or_default(),
        });
        let of_port = bindings.entry(port_key(port)).or_insert_with(|| json!([]));
        if let Value::Array(of_port) = of_port {
            of_port.push(binding);
        }
    }
    bindings
}

fn mount(mount: &Mount) -> Value {
    let mut body = Map::new();
    put(&mut body, "Type", Some(mount.kind.word()));
    put(&mut body, "Source", mount.source.as_ref());
    put(&mut body, "Target", Some(&mount.target));
    put(&mut body, "ReadOnly", mount.read_only.then_some(true));
    Value::Object(body)
}

fn restart(restart: &Restart) -> Value {
    match restart {
        Restart::No => json!({ "Name": "no" }),
        Restart::Always => json!({ "Name": "always" }),
        Restart::UnlessStopped => json!({ "Name": "unless-stopped" }),
        Restart::OnFailure { max_retries } => {
            json!({ "Name": "on-failure", "MaximumRetryCount": max_retries })
        }
    }
}

fn health(health: &Health) -> Value {
    let mut body = Map::new();
    let test = if health.command.is_empty() {
        vec!["NONE".to_owned()]
    } else {
        [&["CMD".to_owned()], health.command.as_slice()].concat()
    };
    let nanoseconds = |ms: Option<u32>| ms.map(|ms| u64::from(ms) * 1_000_000);
    put(&mut body, "Test", Some(test));
    put(&mut body, "Interval", nanoseconds(health.interval_ms));
    put(&mut body, "Timeout", nanoseconds(health.timeout_ms));
    put(&mut body, "StartPeriod", nanoseconds(health.start_period_ms));
    put(&mut body, "Retries", health.retries);
    Value::Object(body)
}

fn device(device: &Device) -> Value {
    json!({
        "PathOnHost": device.source,
        "PathInContainer": device.target.as_ref().unwrap_or(&device.source),
        "CgroupPermissions": device.permissions.as_deref().unwrap_or("rwm"),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the schema allows 0 to 4096, and casts of floats are clamped"
)]
fn nano_cpus(cpus: f64) -> u64 {
    (cpus * 1e9).round() as u64
}

fn some<T>(values: Vec<T>) -> Option<Vec<T>> {
    (!values.is_empty()).then_some(values)
}

/// Puts a value in, if there is one.
fn put(body: &mut Map<String, Value>, key: &str, value: Option<impl Serialize>) {
    if let Some(value) = value {
        body.insert(key.to_owned(), json!(value));
    }
}

/// Puts `more` over `body`: objects are merged, other values replaced.
pub(crate) fn merge(body: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (key, value) in more {
        match (body.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(more)) => merge(inner, more),
            _ => drop(body.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(description: Value) -> Value {
        Value::Object(body(&serde_json::from_value(description).unwrap()))
    }

    #[test]
    fn what_is_not_described_is_left_to_the_engine() {
        assert_eq!(described(json!({ "image": "app" })), json!({ "Image": "app" }));
    }

    #[test]
    fn everything_has_its_place_in_the_engines_form() {
        let body = described(json!({
            "image": "app:1", "command": ["serve"], "entrypoint": ["/app"],
            "environment": { "A": "1" }, "labels": { "team": "web" }, "user": "1:1",
            "working_dir": "/srv", "hostname": "h", "domain_name": "d", "tty": true,
            "stdin_open": true, "stop_signal": "SIGINT", "stop_timeout": 3,
            "health": { "command": ["/check"], "interval_ms": 1500, "retries": 2 },
            "ports": [{ "container": 80, "host": 8080, "address": "127.0.0.1" },
                      { "container": 80 }, { "container": 53, "protocol": "udp" }],
            "mounts": [{ "source": "data", "target": "/data", "read_only": true },
                       { "kind": "tmpfs", "target": "/tmp" }],
            "networks": [{ "name": "front", "aliases": ["w"], "address": "10.0.0.2" },
                         { "name": "back" }],
            "restart": { "policy": "on-failure", "max_retries": 3 },
            "memory": 64, "memory_swap": -1, "cpus": 0.25, "cpu_shares": 5, "cpuset": "0",
            "pids": 9, "log": { "driver": "json-file", "options": { "max-size": "1m" } },
            "extra_hosts": { "db": "10.0.0.3" }, "dns": ["10.0.0.1"], "dns_search": ["lan"],
            "read_only": true, "init": true, "auto_remove": true, "privileged": true,
            "cap_add": ["NET_ADMIN"], "cap_drop": ["ALL"], "devices": [{ "source": "/dev/fuse" }],
        }));
        let host = json!({
            "PortBindings": {
                "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "8080" },
                           { "HostIp": "", "HostPort": "" }],
                "53/udp": [{ "HostIp": "", "HostPort": "" }],
            },
            "Mounts": [
                { "Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": true },
                { "Type": "tmpfs", "Target": "/tmp" },
            ],
            "NetworkMode": "front",
            "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 },
            "Memory": 64, "MemorySwap": -1, "NanoCpus": 250_000_000, "CpuShares": 5,
            "CpusetCpus": "0", "PidsLimit": 9,
            "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m" } },
            "ExtraHosts": ["db:10.0.0.3"], "Dns": ["10.0.0.1"], "DnsSearch": ["lan"],
            "ReadonlyRootfs": true, "Init": true, "AutoRemove": true, "Privileged": true,
            "CapAdd": ["NET_ADMIN"], "CapDrop": ["ALL"],
            "Devices": [{ "PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse",
                          "CgroupPermissions": "rwm" }],
        });
        let expected = json!({
            "Image": "app:1", "Cmd": ["serve"], "Entrypoint": ["/app"], "Env": ["A=1"],
            "Labels": { "team": "web" }, "User": "1:1", "WorkingDir": "/srv", "Hostname": "h",
            "Domainname": "d", "Tty": true, "OpenStdin": true, "StopSignal": "SIGINT",
            "StopTimeout": 3,
            "Healthcheck": { "Test": ["CMD", "/check"], "Interval": 1_500_000_000, "Retries": 2 },
            "ExposedPorts": { "80/tcp": {}, "53/udp": {} },
            "HostConfig": host,
            "NetworkingConfig": { "EndpointsConfig": {
                "front": { "Aliases": ["w"], "IPAMConfig": { "IPv4Address": "10.0.0.2" } },
            } },
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn the_engines_own_form_wins_and_is_merged() {
        let body = described(json!({
            "image": "app", "memory": 64,
            "engine": { "HostConfig": { "Memory": 65, "ShmSize": 7 }, "Image": "b" },
        }));
        let expected = json!({ "Image": "b", "HostConfig": { "Memory": 65, "ShmSize": 7 } });
        assert_eq!(body, expected);
    }
}
