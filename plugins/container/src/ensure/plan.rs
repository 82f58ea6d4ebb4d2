//! What has to be done so that a container is as it is described: a pure
//! comparison of the description with what the engine says.
//!
//! A description says nothing of what it leaves out, and the engine adds a lot
//! to what it is told. So only what is described is compared, with three
//! additions: limits that are left out are none; what the last description had
//! and this one has not is a difference, for which the container carries its
//! description in a label; and what the engine rewrites counts as unchanged as
//! long as the description is.

use std::collections::BTreeMap;

use drover_sdk::data;
use serde_json::{Map, Value, json};

use crate::description::Attachment;
use crate::models::{ContainerDetails, Endpoint};

/// The label with the description that a container was made of.
pub(crate) const LABEL: &str = "io.drover.described";

/// Limits that a running container can be given, with how they are when they
/// are left out.
const LIMITS: [&str; 10] = [
    "BlkioWeight",
    "CpuPeriod",
    "CpuQuota",
    "CpuShares",
    "CpusetCpus",
    "CpusetMems",
    "Memory",
    "MemoryReservation",
    "NanoCpus",
    "PidsLimit",
];

/// What the engine gives other names than it was told.
const REWRITTEN: [&str; 3] = ["IpcMode", "NetworkMode", "PidMode"];

/// How a container should be.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// The body that would create it, without [`LABEL`].
    pub(crate) body: Map<String, Value>,
    /// The networks that it should be in; any if there are none.
    pub(crate) networks: Vec<Attachment>,
    /// Whether it should run.
    pub(crate) is_running: bool,
    /// The id of its image, if that is there.
    pub(crate) image_id: Option<String>,
}

/// Something that has to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Create it.
    Create,
    /// Create another one in its place.
    Replace,
    /// Change its limits, with this body.
    Update(Map<String, Value>),
    /// Take it out of a network.
    Disconnect(String),
    /// Put it into a network.
    Connect(Attachment),
    /// Let it go on.
    Unpause,
    /// Start it.
    Start,
    /// Stop it.
    Stop,
}

/// Something that is not as it is described.
#[data]
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    /// What it is, in the engine's words, such as `HostConfig.Memory`.
    pub(crate) field: String,
    /// How it is.
    pub(crate) from: Value,
    /// How it should be.
    pub(crate) to: Value,
}

/// What has to be done, in this order, and why.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) differences: Vec<Difference>,
}

/// Compares a wish with what there is.
pub(crate) fn plan(wish: &Wish, found: Option<&ContainerDetails>) -> Plan {
    let mut comparison = Comparison::default();
    let Some(found) = found else {
        comparison.differ("container", json!("absent"), json!("present"));
        let mut steps = vec![Step::Create];
        steps.extend(wish.is_running.then_some(Step::Start));
        return Plan { steps, differences: comparison.differences };
    };
    comparison.body(wish, found);
    let mut steps = Vec::new();
    if comparison.needs_another {
        steps.push(Step::Replace);
        steps.extend(wish.is_running.then_some(Step::Start));
    } else {
        if !comparison.update.is_empty() {
            let update = with_swap(std::mem::take(&mut comparison.update), wish);
            steps.push(Step::Update(update));
        }
        comparison.networks(wish, found, &mut steps);
        comparison.state(wish, found, &mut steps);
    }
    Plan { steps, differences: comparison.differences }
}

/// More memory than the old limit of memory and swap together is refused, so
/// that grows along, to what it would have been at creation.
fn with_swap(mut update: Map<String, Value>, wish: &Wish) -> Map<String, Value> {
    if let Some(memory) = update.get("Memory").and_then(Value::as_u64)
        && described(wish, "MemorySwap").is_none()
    {
        update.insert("MemorySwap".to_owned(), json!(memory.saturating_mul(2)));
    }
    update
}

fn described<'a>(wish: &'a Wish, key: &str) -> Option<&'a Value> {
    wish.body.get("HostConfig")?.get(key)
}

#[derive(Default)]
struct Comparison {
    differences: Vec<Difference>,
    /// Limits that change.
    update: Map<String, Value>,
    /// Whether something differs that cannot be changed.
    needs_another: bool,
}

impl Comparison {
    fn differ(&mut self, field: impl Into<String>, from: Value, to: Value) {
        let field = field.into();
        if self.differences.iter().all(|known| known.field != field) {
            self.differences.push(Difference { field, from, to });
        }
    }

    /// Something differs that cannot be changed.
    fn differ_for_good(&mut self, field: impl Into<String>, from: Value, to: Value) {
        self.differ(field, from, to);
        self.needs_another = true;
    }

    fn body(&mut self, wish: &Wish, found: &ContainerDetails) {
        if matches!(found.state.status.as_str(), "dead" | "removing") {
            self.differ_for_good("State.Status", json!(found.state.status), json!("running"));
        }
        if let Some(id) = wish.image_id.as_ref().filter(|id| **id != found.image) {
            self.differ_for_good("Image", json!(found.image), json!(id));
        }
        let last = last_description(found);
        for (key, wanted) in &wish.body {
            match (key.as_str(), wanted) {
                ("NetworkingConfig", _) => {}
                ("HostConfig", Value::Object(wanted)) => {
                    self.host(wish, wanted, found, last.get(key));
                }
                _ => {
                    let actual = found.config.get(key).unwrap_or(&Value::Null);
                    if !is_config_as(key, wanted, actual) {
                        self.differ_for_good(key, actual.clone(), wanted.clone());
                    }
                }
            }
        }
        let nothing = Map::new();
        let host = wish.body.get("HostConfig").and_then(Value::as_object).unwrap_or(&nothing);
        self.limits_left_out(host, found);
        self.left_out(&last, wish);
    }

    fn host(
        &mut self,
        wish: &Wish,
        wanted: &Map<String, Value>,
        found: &ContainerDetails,
        last: Option<&Value>,
    ) {
        for (key, wanted) in wanted {
            // Networks are changed one by one, whichever was the first.
            if key == "NetworkMode" && !wish.networks.is_empty() && has_networks(found) {
                continue;
            }
            let actual = found.host_config.get(key).unwrap_or(&Value::Null);
            let is_same_as_last = last.and_then(|last| last.get(key)) == Some(wanted);
            let is_rewritten = REWRITTEN.contains(&key.as_str()) && is_same_as_last;
            if is_rewritten || is_host_as(key, wanted, actual) {
                continue;
            }
            let field = format!("HostConfig.{key}");
            // The engine takes a zero for no change.
            if is_limit(key) && !is_nothing(wanted) {
                self.differ(field, actual.clone(), wanted.clone());
                self.update.insert(key.clone(), wanted.clone());
            } else {
                self.differ_for_good(field, actual.clone(), wanted.clone());
            }
        }
    }

    /// Limits that are left out are none, whoever set them.
    fn limits_left_out(&mut self, wanted: &Map<String, Value>, found: &ContainerDetails) {
        for key in LIMITS.into_iter().filter(|key| !wanted.contains_key(*key)) {
            let actual = found.host_config.get(key).unwrap_or(&Value::Null);
            if !is_nothing(actual) {
                self.differ_for_good(format!("HostConfig.{key}"), actual.clone(), Value::Null);
            }
        }
        let policy = found.host_config.get("RestartPolicy").and_then(|policy| policy.get("Name"));
        let policy = policy.and_then(Value::as_str).unwrap_or_default();
        if !wanted.contains_key("RestartPolicy") && !matches!(policy, "" | "no") {
            let no = json!({ "Name": "no" });
            self.differ("HostConfig.RestartPolicy", json!({ "Name": policy }), no.clone());
            self.update.insert("RestartPolicy".to_owned(), no);
        }
    }

    /// What the last description had and this one has not.
    fn left_out(&mut self, last: &Map<String, Value>, wish: &Wish) {
        let nothing = json!({});
        for (key, old) in last {
            let new = match wish.body.get(key) {
                // Limits among it are looked at one by one.
                None if key == "HostConfig" => Some(&nothing),
                new => new,
            };
            match (key.as_str(), old, new) {
                (_, _, None) => self.differ_for_good(key, old.clone(), Value::Null),
                ("Env", old, Some(new)) if !is_within(old, new) => {
                    self.differ_for_good(key, old.clone(), new.clone());
                }
                ("NetworkingConfig", ..) => {}
                (_, Value::Object(old), Some(Value::Object(new))) => {
                    for (inner, old) in old.iter().filter(|(inner, _)| !new.contains_key(*inner)) {
                        if key != "HostConfig" || !is_limit(inner) {
                            self.differ_for_good(
                                format!("{key}.{inner}"),
                                old.clone(),
                                Value::Null,
                            );
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn networks(&mut self, wish: &Wish, found: &ContainerDetails, steps: &mut Vec<Step>) {
        if wish.networks.is_empty() {
            return;
        }
        let nothing = BTreeMap::new();
        let actual = found.network_settings.networks.as_ref().unwrap_or(&nothing);
        let wanted = |name: &String| wish.networks.iter().any(|network| network.name == *name);
        for name in actual.keys().filter(|name| !wanted(name)) {
            self.differ(format!("NetworkSettings.Networks.{name}"), json!({}), Value::Null);
            steps.push(Step::Disconnect(name.clone()));
        }
        for network in &wish.networks {
            let field = format!("NetworkSettings.Networks.{}", network.name);
            let to = crate::description::endpoint(network);
            match actual.get(&network.name) {
                Some(endpoint) if is_place_as(network, endpoint) => continue,
                Some(endpoint) => {
                    let from =
                        json!({ "Aliases": endpoint.aliases, "IPAMConfig": endpoint.ipam_config });
                    self.differ(field, from, to);
                    steps.push(Step::Disconnect(network.name.clone()));
                }
                None => self.differ(field, Value::Null, to),
            }
            steps.push(Step::Connect(network.clone()));
        }
    }

    fn state(&mut self, wish: &Wish, found: &ContainerDetails, steps: &mut Vec<Step>) {
        let step = match (wish.is_running, found.state.running, found.state.paused) {
            (true, true, true) => Step::Unpause,
            (true, false, _) => Step::Start,
            (false, true, _) => Step::Stop,
            (true, true, false) | (false, false, _) => return,
        };
        let wanted = if wish.is_running { "running" } else { "exited" };
        self.differ("State.Status", json!(found.state.status), json!(wanted));
        steps.push(step);
    }
}

/// Whether a container can be given this while it is there.
fn is_limit(key: &str) -> bool {
    LIMITS.contains(&key) || matches!(key, "MemorySwap" | "RestartPolicy")
}

/// Whether a container can be put into networks and taken out of them.
fn has_networks(found: &ContainerDetails) -> bool {
    let mode = found.host_config.get("NetworkMode").and_then(Value::as_str).unwrap_or_default();
    !matches!(mode, "host" | "none") && !mode.starts_with("container:")
}

/// The description that a container was made of.
fn last_description(found: &ContainerDetails) -> Map<String, Value> {
    let label = found.config.get("Labels").and_then(|labels| labels.get(LABEL));
    let text = label.and_then(Value::as_str).unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

/// What a container is, to which its image adds variables, labels and ports.
fn is_config_as(key: &str, wanted: &Value, actual: &Value) -> bool {
    match key {
        "Env" | "Labels" | "ExposedPorts" | "Healthcheck" | "Volumes" => is_within(wanted, actual),
        _ => is_same(wanted, actual),
    }
}

/// How a container lives on its host, in which the engine fills in the rest.
fn is_host_as(key: &str, wanted: &Value, actual: &Value) -> bool {
    match (key, wanted, actual) {
        ("CapAdd" | "CapDrop", Value::Array(wanted), Value::Array(actual)) => {
            let names = |values: &[Value]| {
                let names = values.iter().filter_map(Value::as_str).map(|name| {
                    let name = name.to_ascii_uppercase();
                    name.strip_prefix("CAP_").unwrap_or(&name).to_owned()
                });
                names.collect::<std::collections::BTreeSet<_>>()
            };
            names(wanted) == names(actual)
        }
        _ => is_part(wanted, actual),
    }
}

/// Whether all of `wanted` is in `actual`, in lists in any order.
fn is_within(wanted: &Value, actual: &Value) -> bool {
    match (wanted, actual) {
        (Value::Array(wanted), Value::Array(actual)) => {
            wanted.iter().all(|value| actual.contains(value))
        }
        _ => is_part(wanted, actual),
    }
}

/// Whether `actual` is `wanted`, where its objects may have more.
fn is_part(wanted: &Value, actual: &Value) -> bool {
    match (wanted, actual) {
        (Value::Object(wanted), Value::Object(actual)) => wanted
            .iter()
            .all(|(key, value)| is_part(value, actual.get(key).unwrap_or(&Value::Null))),
        (Value::Array(wanted), Value::Array(actual)) => {
            wanted.len() == actual.len()
                && wanted.iter().zip(actual).all(|(wanted, actual)| is_part(wanted, actual))
        }
        _ => is_same(wanted, actual),
    }
}

/// Whether two values mean the same to the engine, which says nothing in
/// several ways.
fn is_same(one: &Value, other: &Value) -> bool {
    one == other || is_nothing(one) && is_nothing(other)
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(true) => false,
    }
}

fn is_place_as(wanted: &Attachment, actual: &Endpoint) -> bool {
    let aliases = actual.aliases.as_deref().unwrap_or_default();
    let asked = actual.ipam_config.iter().flat_map(|config| config.values());
    let is_there = |address: &String| asked.clone().any(|own| own.as_str() == Some(address));
    wanted.aliases.iter().all(|alias| aliases.contains(alias))
        && wanted.address.as_ref().is_none_or(is_there)
}

#[cfg(test)]
mod tests;
