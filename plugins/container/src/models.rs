//! What this plugin knows of the engine's answers.
//!
//! Operations pass answers on as they came, see [`Json`](drover_sdk::Json);
//! these types are what callers see in the schemas, and what the plugin itself
//! reads. An engine leaves out what it has not, or says `null`, so everything
//! is optional. Own types instead of a crate of all models: those would be a
//! third of the plugin, lose fields that they do not know, and have no schemas.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A container in a list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
#[schemars(extend("additionalProperties" = true))]
pub(crate) struct ContainerSummary {
    /// Its id, of 64 hexadecimal digits.
    pub(crate) id: String,
    /// Its names, each with a slash in front.
    pub(crate) names: Option<Vec<String>>,
    /// The image, as it was named.
    pub(crate) image: String,
    /// The image's id.
    #[serde(rename = "ImageID")]
    pub(crate) image_id: String,
    /// The program and its arguments.
    pub(crate) command: String,
    /// When it was created, in seconds since 1970.
    pub(crate) created: i64,
    /// One of `created`, `running`, `paused`, `restarting`, `removing`,
    /// `exited` and `dead`.
    pub(crate) state: String,
    /// The same for people, such as `Up 3 hours (healthy)`.
    pub(crate) status: String,
    /// Its labels.
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// Its ports.
    pub(crate) ports: Option<Vec<PortSummary>>,
}

/// A port of a container in a list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct PortSummary {
    /// The host's address.
    #[serde(rename = "IP")]
    pub(crate) ip: Option<String>,
    /// The port in the container.
    #[serde(rename = "PrivatePort")]
    pub(crate) private_port: u16,
    /// The port of the host.
    #[serde(rename = "PublicPort")]
    pub(crate) public_port: Option<u16>,
    /// `tcp`, `udp` or `sctp`.
    #[serde(rename = "Type")]
    pub(crate) protocol: String,
}

/// Everything of one container.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerDetails {
    /// Its id, of 64 hexadecimal digits.
    pub(crate) id: String,
    /// Its name, with a slash in front.
    pub(crate) name: String,
    /// The id of its image.
    pub(crate) image: String,
    /// Whether it runs, and how it ended.
    pub(crate) state: ContainerState,
    /// What it is.
    pub(crate) config: Map<String, Value>,
    /// How it lives on its host.
    pub(crate) host_config: Map<String, Value>,
    /// The networks that it is in.
    pub(crate) network_settings: NetworkSettings,
    /// What is mounted in it.
    pub(crate) mounts: Option<Vec<Value>>,
}

/// The state of one container.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ContainerState {
    /// One of `created`, `running`, `paused`, `restarting`, `removing`,
    /// `exited` and `dead`.
    pub(crate) status: String,
    /// Whether it runs; also true while it is paused.
    pub(crate) running: bool,
    /// Whether it is paused.
    pub(crate) paused: bool,
    /// Whether it was killed because it wanted too much memory.
    #[serde(rename = "OOMKilled")]
    pub(crate) oom_killed: bool,
    /// The process id of its program on the host.
    pub(crate) pid: i64,
    /// The status that it ended with.
    pub(crate) exit_code: i64,
    /// Why it could not be started.
    pub(crate) error: String,
    /// How it is, if there is a health check.
    pub(crate) health: Option<HealthState>,
}

/// How a container is.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HealthState {
    /// One of `starting`, `healthy` and `unhealthy`.
    pub(crate) status: String,
    /// How many checks in a row have failed.
    pub(crate) failing_streak: i64,
}

/// The networks of one container.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct NetworkSettings {
    /// Its place in each network, by the network's name.
    pub(crate) networks: Option<BTreeMap<String, Endpoint>>,
}

/// A place in a network.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Endpoint {
    /// The container's address there.
    #[serde(rename = "IPAddress")]
    pub(crate) ip_address: String,
    /// Names under which others find it.
    #[serde(rename = "Aliases")]
    pub(crate) aliases: Option<Vec<String>>,
    /// The address that was asked for.
    #[serde(rename = "IPAMConfig")]
    pub(crate) ipam_config: Option<Map<String, Value>>,
}

/// What was created.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Created {
    /// Its id.
    pub(crate) id: String,
    /// What the engine has to say about it.
    pub(crate) warnings: Option<Vec<String>>,
}

/// An image in a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "callers see it as a schema")]
pub(crate) struct ImageSummary {
    /// Its id.
    id: String,
    /// Its names.
    repo_tags: Option<Vec<String>>,
    /// Its digests in registries.
    repo_digests: Option<Vec<String>>,
    /// When it was made, in seconds since 1970.
    created: i64,
    /// Its size, in bytes.
    size: i64,
    /// Its labels.
    labels: Option<BTreeMap<String, String>>,
}

/// Everything of one image.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ImageDetails {
    /// Its id.
    pub(crate) id: String,
    /// Its names.
    pub(crate) repo_tags: Option<Vec<String>>,
    /// What containers are by default.
    pub(crate) config: Option<Map<String, Value>>,
}

/// An image that was removed, or lost one of its names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "callers see it as a schema")]
pub(crate) struct RemovedImage {
    /// The name that is gone.
    untagged: Option<String>,
    /// The layer or image that is gone.
    deleted: Option<String>,
}

/// A volume.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "callers see it as a schema")]
pub(crate) struct Volume {
    /// Its name.
    name: String,
    /// What makes it.
    driver: String,
    /// Where it is on the host.
    mountpoint: String,
    /// Its labels.
    labels: Option<BTreeMap<String, String>>,
    /// The driver's options.
    options: Option<BTreeMap<String, String>>,
}

/// Volumes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "callers see it as a schema")]
pub(crate) struct Volumes {
    /// The volumes.
    volumes: Option<Vec<Volume>>,
    /// What the engine has to say about them.
    warnings: Option<Vec<String>>,
}

/// A network.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "callers see it as a schema")]
pub(crate) struct Network {
    /// Its name.
    name: String,
    /// Its id.
    id: String,
    /// What makes it.
    driver: String,
    /// The containers in it, by their ids; none in a list.
    containers: Option<Map<String, Value>>,
    /// Its labels.
    labels: Option<BTreeMap<String, String>>,
}

/// What was removed to make room. Which list there is depends on what it was.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "callers see it as a schema")]
pub(crate) struct Pruned {
    /// The ids of containers.
    containers_deleted: Option<Vec<String>>,
    /// Images and layers.
    images_deleted: Option<Vec<RemovedImage>>,
    /// The names of volumes.
    volumes_deleted: Option<Vec<String>>,
    /// The names of networks.
    networks_deleted: Option<Vec<String>>,
    /// How many bytes are free now that were not before.
    space_reclaimed: Option<i64>,
}

/// What the engine says of itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Info {
    /// An id of the engine.
    #[serde(rename = "ID")]
    pub(crate) id: String,
    /// The host's name.
    pub(crate) name: String,
    /// The engine's version.
    pub(crate) server_version: String,
    /// How many containers there are, in any state.
    pub(crate) containers: i64,
    /// How many of them run.
    pub(crate) containers_running: i64,
    /// How many images there are.
    pub(crate) images: i64,
    /// How layers are kept.
    pub(crate) driver: String,
    /// What the driver says of itself.
    pub(crate) driver_status: Option<Vec<Vec<String>>>,
    /// Where the engine keeps its files.
    pub(crate) docker_root_dir: Option<String>,
    /// The host's processors.
    #[serde(rename = "NCPU")]
    pub(crate) cpus: i64,
    /// The host's memory, in bytes.
    pub(crate) mem_total: i64,
    /// The host's system.
    pub(crate) operating_system: String,
    /// The host's kernel.
    pub(crate) kernel_version: String,
}

/// Whatever the engine says, in its own form.
pub(crate) type Anything = Map<String, Value>;
