//! `GET /containers/json`.

use jiff::Timestamp;
use regex::Regex;
use serde_json::{Value, json};

use super::defaults::entries;
use super::filters::has_label;
use super::volume::Mount;
use super::{Container, Filters, Model, Outcome, State};
use crate::engine::answer::Refusal;

/// The filters that are known.
pub(crate) const FILTERS: [&str; 16] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "label!",
];

/// Which containers are listed, and how.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Those that do not run too.
    pub(crate) all: bool,
    /// Only so many of the newest.
    pub(crate) limit: Option<usize>,
    pub(crate) size: bool,
    pub(crate) filters: Filters,
}

impl Model {
    /// The newest container first.
    pub(crate) fn list(&self, listing: &Listing, now: Timestamp) -> Outcome<Value> {
        let filters = &listing.filters;
        for status in filters.values("status") {
            let known =
                ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
            if !known.contains(&status.as_str()) {
                return Err(Refusal::bad_request(format!("Invalid filter 'status={status}'")));
            }
        }
        let number_of = |name: &str| -> Outcome<Option<u64>> {
            let Some(key) = filters.values(name).first() else { return Ok(None) };
            let found = self.container(key);
            // The engine has another message here than everywhere else.
            let found = found.map_err(|_| Refusal::internal(format!("no such container {key}")));
            Ok(Some(found?.number))
        };
        let (before, since) = (number_of("before")?, number_of("since")?);
        let ancestors: Vec<_> =
            filters.values("ancestor").iter().map(|name| self.image_id(name)).collect();
        let shows_all = listing.all
            || listing.limit.is_some()
            || ["status", "exited", "before", "since"].iter().any(|name| filters.has(name));
        let mut containers: Vec<&Container> = self.containers.values().collect();
        containers.sort_by_key(|container| std::cmp::Reverse(container.number));
        let shown = containers.into_iter().filter(|container| {
            (shows_all || container.state.is_running())
                && before.is_none_or(|before| container.number < before)
                && since.is_none_or(|since| container.number > since)
                && (ancestors.is_empty()
                    || ancestors.iter().flatten().any(|image| self.descends(container, image)))
                && passes(container, filters)
        });
        let shown = shown.take(listing.limit.unwrap_or(usize::MAX));
        Ok(shown.map(|container| self.row(container, listing.size, now)).collect())
    }

    fn descends(&self, container: &Container, image: &str) -> bool {
        let mut current = container.image.clone();
        while let Some(known) = self.images.get(&current) {
            if known.id == image {
                return true;
            }
            current.clone_from(&known.parent);
        }
        false
    }

    /// One container as a list shows it.
    pub(crate) fn row(&self, container: &Container, size: bool, now: Timestamp) -> Value {
        let networks = container.endpoints.iter().map(|(name, end)| (name.clone(), end.inspect()));
        let networks: serde_json::Map<_, _> = networks.collect();
        let mut row = json!({
            "Id": container.id,
            "Names": [format!("/{}", container.name)],
            "Image": container.config["Image"],
            "ImageID": container.image,
            "Command": quoted(&container.command()),
            "Created": container.created.as_second(),
            "Ports": ports(container),
            "Labels": container.config["Labels"],
            "State": container.state.name(),
            "Status": container.status(now),
            "HostConfig": {"NetworkMode": container.host["NetworkMode"]},
            "NetworkSettings": {"Networks": networks},
            "Mounts": container.mounts.iter().map(Mount::describe).collect::<Value>(),
        });
        if size {
            let image = self.images.get(&container.image).map_or(0, |image| image.files.size());
            let all = container.files.size();
            if all > 0 {
                row["SizeRootFs"] = json!(all);
            }
            if all > image {
                row["SizeRw"] = json!(all - image);
            }
        }
        row
    }
}

fn passes(container: &Container, filters: &Filters) -> bool {
    let labels = &container.config["Labels"];
    filters.any("id", |wanted| container.id.starts_with(wanted))
        && filters.any("name", |wanted| {
            let name = format!("/{}", container.name);
            let pattern = Regex::new(wanted);
            name.contains(wanted)
                || pattern.is_ok_and(|pattern| {
                    pattern.is_match(&name) || pattern.is_match(&container.name)
                })
        })
        && filters.any("status", |wanted| container.state.name() == wanted)
        && filters.any("exited", |wanted| {
            container.state == State::Exited && container.exit_code.to_string() == wanted
        })
        && filters.all("label", |wanted| has_label(labels, wanted))
        && filters.any("network", |wanted| {
            container.endpoints.iter().any(|(name, endpoint)| {
                name == wanted || (!wanted.is_empty() && endpoint.network.starts_with(wanted))
            })
        })
        && filters.any("volume", |wanted| {
            container
                .mounts
                .iter()
                .any(|mount| mount.volume.as_deref() == Some(wanted) || mount.destination == wanted)
        })
        && filters.any("health", |wanted| {
            container.health.as_ref().map_or("none", |health| health.status().name()) == wanted
        })
        && filters.any("is-task", |wanted| wanted == "false")
        && filters.any("expose", |wanted| {
            entries(&container.config["ExposedPorts"]).keys().any(|port| is_port(port, wanted))
        })
        && filters.any("publish", |wanted| {
            entries(&container.host["PortBindings"]).keys().any(|port| is_port(port, wanted))
        })
}

/// A command line with quotes around arguments that have spaces.
fn quoted(command: &[String]) -> String {
    let words = command.iter().enumerate().map(|(index, word)| {
        if index > 0 && word.contains(' ') { format!("'{word}'") } else { word.clone() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether `80/tcp` is meant by `80` or `80/tcp`.
fn is_port(port: &str, wanted: &str) -> bool {
    port == wanted || port.split('/').next() == Some(wanted)
}

/// The open ports as a list shows them.
fn ports(container: &Container) -> Value {
    let mut rows = Vec::new();
    for (port, bindings) in entries(&container.ports()) {
        let (number, kind) = port.split_once('/').unwrap_or((&port, "tcp"));
        let private = number.parse::<u16>().unwrap_or(0);
        match bindings.as_array() {
            None => rows.push(json!({"PrivatePort": private, "Type": kind})),
            Some(bindings) => rows.extend(bindings.iter().map(|binding| {
                let public = binding["HostPort"].as_str().and_then(|port| port.parse::<u16>().ok());
                json!({
                    "IP": binding["HostIp"],
                    "PrivatePort": private,
                    "PublicPort": public.unwrap_or(0),
                    "Type": kind,
                })
            })),
        }
    }
    json!(rows)
}
