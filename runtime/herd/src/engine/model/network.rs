//! Networks, and the containers on them.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::filters::has_label;
use super::{Event, Filters, Kind, Model, Outcome, short};
use crate::engine::answer::Refusal;

/// One network.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) id: String,
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) driver: String,
    /// The second number of its addresses, 172.x.0.0/16; none if it gives no
    /// addresses.
    pub(crate) subnet: Option<u8>,
    pub(crate) internal: bool,
    pub(crate) attachable: bool,
    pub(crate) labels: Value,
    pub(crate) options: Value,
    pub(crate) predefined: bool,
    last_address: u16,
}

/// A container's place on a network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Endpoint {
    /// Empty while the container does not run.
    pub(crate) network: String,
    id: String,
    gateway: Option<Ipv4Addr>,
    address: Option<Ipv4Addr>,
    /// As the request gave it.
    aliases: Value,
    links: Value,
    ipam: Value,
}

impl Endpoint {
    /// A place that a request asks for.
    pub(crate) fn wished(aliases: Value, wanted: &Value) -> Self {
        Self {
            aliases,
            links: wanted["Links"].clone(),
            ipam: wanted["IPAMConfig"].clone(),
            ..Self::default()
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        !self.id.is_empty()
    }

    /// What is left when the container stops: the wish to be there.
    pub(crate) fn disconnect(&mut self) {
        self.id.clear();
        self.gateway = None;
        self.address = None;
    }

    fn mac(&self) -> String {
        self.address.map_or_else(String::new, |address| {
            let [a, b, c, d] = address.octets();
            format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
        })
    }

    pub(crate) fn inspect(&self) -> Value {
        let text = |address: Option<Ipv4Addr>| {
            address.map_or_else(String::new, |address| address.to_string())
        };
        json!({
            "IPAMConfig": self.ipam,
            "Links": self.links,
            "Aliases": self.aliases,
            "NetworkID": self.network,
            "EndpointID": self.id,
            "Gateway": text(self.gateway),
            "IPAddress": text(self.address),
            "IPPrefixLen": if self.address.is_some() { 16 } else { 0 },
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "MacAddress": self.mac(),
            "DriverOpts": null,
        })
    }
}

impl Model {
    pub(super) fn make_predefined_networks(&mut self, now: Timestamp) {
        for (name, driver, subnet) in
            [("bridge", "bridge", Some(17)), ("host", "host", None), ("none", "null", None)]
        {
            let id = self.new_id();
            let options = if name == "bridge" { bridge_options() } else { json!({}) };
            let network = Network {
                id: id.clone(),
                number: self.new_number(),
                name: name.to_owned(),
                created: now,
                driver: driver.to_owned(),
                subnet,
                internal: false,
                attachable: false,
                labels: json!({}),
                options,
                predefined: true,
                last_address: 1,
            };
            self.networks.insert(id, network);
        }
    }

    /// The id of the network with this id, name or beginning of an id.
    pub(crate) fn network_id(&self, key: &str) -> Outcome<String> {
        if self.networks.contains_key(key) {
            return Ok(key.to_owned());
        }
        let named = self.networks.values().find(|network| network.name == key);
        let by_id = || self.networks.values().find(|network| network.id.starts_with(key));
        let found = named.or_else(|| by_id().filter(|_| !key.is_empty()));
        found
            .map(|network| network.id.clone())
            .ok_or_else(|| Refusal::not_found(format!("network {key} not found")))
    }

    /// Makes a network as `POST /networks/create` asks, and returns its id.
    pub(crate) fn create_network(&mut self, wanted: &Value, now: Timestamp) -> Outcome<String> {
        let name = wanted["Name"].as_str().unwrap_or_default();
        if name.is_empty() {
            return Err(Refusal::internal(format!("invalid name: {name}")));
        }
        if self.networks.values().any(|network| network.name == name) {
            return Err(Refusal::conflict(format!("network with name {name} already exists")));
        }
        let driver = match wanted["Driver"].as_str() {
            None | Some("") => "bridge",
            Some(driver) => driver,
        };
        if driver != "bridge" {
            return Err(Refusal::not_found(format!("plugin \"{driver}\" not found")));
        }
        let used = |subnet: u8| self.networks.values().any(|net| net.subnet == Some(subnet));
        let Some(subnet) = (18..32).find(|subnet| !used(*subnet)) else {
            let text = "could not find an available, non-overlapping IPv4 address pool among the \
                        defaults to assign to the network";
            return Err(Refusal::internal(text));
        };
        let id = self.new_id();
        let object = |name: &str| json!(wanted[name].as_object().cloned().unwrap_or_default());
        let network = Network {
            id: id.clone(),
            number: self.new_number(),
            name: name.to_owned(),
            created: now,
            driver: driver.to_owned(),
            subnet: Some(subnet),
            internal: wanted["Internal"] == true,
            attachable: wanted["Attachable"] == true,
            labels: object("Labels"),
            options: object("Options"),
            predefined: false,
            last_address: 1,
        };
        self.networks.insert(id.clone(), network);
        self.network_event(&id, "create", None, now);
        Ok(id)
    }

    pub(crate) fn remove_network(&mut self, key: &str, now: Timestamp) -> Outcome<()> {
        let id = self.network_id(key)?;
        let network = &self.networks[&id];
        if network.predefined {
            let text = format!("{} is a pre-defined network and cannot be removed", network.name);
            return Err(Refusal::forbidden(text));
        }
        if self.is_in_use(&id) {
            return Err(Refusal::forbidden(format!(
                "error while removing network: network {} id {id} has active endpoints",
                network.name
            )));
        }
        self.network_event(&id, "destroy", None, now);
        self.networks.remove(&id);
        Ok(())
    }

    /// Removes what no running container uses, and returns the names.
    pub(crate) fn prune_networks(&mut self, filters: &Filters, now: Timestamp) -> Vec<String> {
        let unused = self.networks.values().filter(|network| {
            !network.predefined
                && !self.is_in_use(&network.id)
                && filters.all("label", |wanted| has_label(&network.labels, wanted))
        });
        let unused: Vec<_> = unused.map(|net| (net.id.clone(), net.name.clone())).collect();
        for (id, _) in &unused {
            self.network_event(id, "destroy", None, now);
            self.networks.remove(id);
        }
        unused.into_iter().map(|(_, name)| name).collect()
    }

    fn is_in_use(&self, id: &str) -> bool {
        let mut endpoints = self.containers.values().flat_map(|one| one.endpoints.values());
        endpoints.any(|endpoint| endpoint.is_connected() && endpoint.network == id)
    }

    /// Puts a container on a network: at once if it runs, else at its start.
    pub(crate) fn connect(
        &mut self,
        key: &str,
        container: &str,
        wanted: &Value,
        now: Timestamp,
    ) -> Outcome<()> {
        let id = self.container_id(container)?;
        let network_id = self.network_id(key)?;
        let network = self.networks[&network_id].name.clone();
        if self.networks[&network_id].driver == "null" {
            let text = "container cannot be connected to multiple networks with one of the \
                        networks in private (none) mode";
            return Err(Refusal::bad_request(text));
        }
        let container = self.container_mut(&id)?;
        if container.endpoints.get(&network).is_some_and(Endpoint::is_connected) {
            return Err(Refusal::forbidden(format!(
                "endpoint with name {} already exists in network {network}",
                container.name
            )));
        }
        let aliases = match wanted["Aliases"].as_array() {
            Some(aliases) => {
                let mut aliases = aliases.clone();
                aliases.push(json!(short(&id)));
                json!(aliases)
            }
            None => json!([short(&id)]),
        };
        let endpoint = Endpoint::wished(aliases, wanted);
        let is_running = container.state.is_running();
        container.endpoints.insert(network.clone(), endpoint);
        if is_running {
            self.join(&id, &network, now);
        }
        Ok(())
    }

    /// Takes a container from a network.
    pub(crate) fn disconnect(&mut self, key: &str, container: &str, now: Timestamp) -> Outcome<()> {
        let id = self.container_id(container)?;
        let network_id = self.network_id(key)?;
        let network = self.networks[&network_id].name.clone();
        let container = self.container_mut(&id)?;
        match container.endpoints.remove(&network) {
            None => Err(Refusal::internal(format!(
                "container {id} is not connected to network {network}"
            ))),
            Some(endpoint) => {
                if endpoint.is_connected() {
                    self.network_event(&network_id, "disconnect", Some(&id), now);
                }
                Ok(())
            }
        }
    }

    /// Gives a container that starts its address.
    pub(super) fn join(&mut self, container: &str, network: &str, now: Timestamp) {
        let Ok(network_id) = self.network_id(network) else { return };
        let endpoint_id = self.new_id();
        let Some(net) = self.networks.get_mut(&network_id) else { return };
        net.last_address = net.last_address.wrapping_add(1).max(2);
        let [high, low] = net.last_address.to_be_bytes();
        let address = net.subnet.map(|subnet| Ipv4Addr::new(172, subnet, high, low));
        let gateway = net.subnet.map(|subnet| Ipv4Addr::new(172, subnet, 0, 1));
        let endpoint =
            self.containers.get_mut(container).and_then(|one| one.endpoints.get_mut(network));
        if let Some(endpoint) = endpoint {
            endpoint.network.clone_from(&network_id);
            endpoint.id = endpoint_id;
            endpoint.address = address;
            endpoint.gateway = gateway;
        }
        self.network_event(&network_id, "connect", Some(container), now);
    }

    pub(super) fn network_event(
        &mut self,
        id: &str,
        action: &str,
        container: Option<&str>,
        time: Timestamp,
    ) {
        let Some(network) = self.networks.get(id) else { return };
        let mut attributes = Map::new();
        attributes.insert("name".to_owned(), json!(network.name));
        attributes.insert("type".to_owned(), json!(network.driver));
        if let Some(container) = container {
            attributes.insert("container".to_owned(), json!(container));
        }
        self.events.push(Event {
            kind: Kind::Network,
            action: action.to_owned(),
            subject: id.to_owned(),
            attributes,
            time,
        });
    }

    /// The answer to `GET /networks`.
    pub(crate) fn list_networks(&self, filters: &Filters) -> Value {
        let mut networks: Vec<_> = self.networks.values().collect();
        networks.sort_by_key(|network| network.number);
        let shown = networks.into_iter().filter(|network| {
            filters.any("name", |wanted| network.name.contains(wanted))
                && filters.any("id", |wanted| network.id.starts_with(wanted))
                && filters.any("driver", |wanted| network.driver == wanted)
                && filters.any("scope", |wanted| wanted == "local")
                && filters.any("type", |wanted| (wanted == "builtin") == network.predefined)
                && filters.all("label", |wanted| has_label(&network.labels, wanted))
                && filters.any("dangling", |wanted| {
                    let is_dangling = !network.predefined && !self.is_in_use(&network.id);
                    ["true", "1"].contains(&wanted) == is_dangling
                })
        });
        // A list does not say who is there.
        shown.map(|network| describe(network, &json!({}))).collect()
    }

    /// The answer to `GET /networks/{id}`.
    pub(crate) fn inspect_network(&self, key: &str) -> Outcome<Value> {
        let id = self.network_id(key)?;
        let network = &self.networks[&id];
        let mut containers = Map::new();
        for container in self.containers.values() {
            let place = container.endpoints.get(&network.name);
            let Some(endpoint) = place.filter(|endpoint| endpoint.is_connected()) else { continue };
            let address = endpoint.address.map(|address| format!("{address}/16"));
            containers.insert(
                container.id.clone(),
                json!({
                    "Name": container.name,
                    "EndpointID": endpoint.id,
                    "MacAddress": endpoint.mac(),
                    "IPv4Address": address.unwrap_or_default(),
                    "IPv6Address": "",
                }),
            );
        }
        Ok(describe(network, &json!(containers)))
    }
}

fn describe(network: &Network, containers: &Value) -> Value {
    let config = network.subnet.map(|subnet| {
        let mut config = json!({"Subnet": format!("172.{subnet}.0.0/16")});
        if !network.predefined {
            config["Gateway"] = json!(format!("172.{subnet}.0.1"));
        }
        config
    });
    json!({
        "Name": network.name,
        "Id": network.id,
        "Created": network.created.to_string(),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv6": false,
        "IPAM": {"Driver": "default", "Options": null, "Config": Vec::from_iter(config)},
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": false,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": false,
        "Containers": containers,
        "Options": network.options,
        "Labels": network.labels,
    })
}

fn bridge_options() -> Value {
    json!({
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": "true",
        "com.docker.network.bridge.enable_ip_masquerade": "false",
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
        "com.docker.network.bridge.name": "docker0",
        "com.docker.network.driver.mtu": "1500",
    })
}
