use proptest::prelude::*;

use super::*;
use crate::description::{self, Description};
use crate::models::{ContainerState, NetworkSettings};

fn wish(description: Value) -> Wish {
    let description: Description = serde_json::from_value(description).unwrap();
    Wish {
        body: description::body(&description),
        networks: description.networks,
        is_running: true,
        image_id: Some("sha256:a".to_owned()),
    }
}

/// What an engine makes of a wish: with more than it was told.
fn made(wish: &Wish) -> ContainerDetails {
    let mut config = wish.body.clone();
    let told = config.remove("HostConfig").unwrap_or_else(|| json!({}));
    let mut host_config = json!({
        "Memory": 0, "NanoCpus": 0, "CpuShares": 0, "CpusetCpus": "", "PidsLimit": null,
        "RestartPolicy": { "Name": "", "MaximumRetryCount": 0 }, "NetworkMode": "default",
        "Privileged": false, "Binds": null,
    });
    let host = host_config.as_object_mut().unwrap();
    description::merge(host, told.as_object().unwrap());
    if let Some(Value::Array(caps)) = host.get_mut("CapAdd") {
        caps.iter_mut().for_each(|cap| *cap = json!(format!("CAP_{}", cap.as_str().unwrap())));
    }
    let list = |value: Option<Value>| value.and_then(|v| v.as_array().cloned()).unwrap_or_default();
    let mut environment = list(config.remove("Env"));
    environment.insert(0, json!("PATH=/bin"));
    config.insert("Env".to_owned(), json!(environment));
    let mut labels = config.remove("Labels").unwrap_or_else(|| json!({}));
    labels["of-the-image"] = json!("1");
    labels[LABEL] = json!(Value::Object(wish.body.clone()).to_string());
    config.insert("Labels".to_owned(), labels);
    config.remove("NetworkingConfig");
    let mut found = ContainerDetails {
        id: "0a".to_owned(),
        name: "/web".to_owned(),
        image: wish.image_id.clone().unwrap_or_default(),
        state: ContainerState { status: "created".to_owned(), ..ContainerState::default() },
        config,
        host_config: host.clone(),
        network_settings: NetworkSettings { networks: Some(BTreeMap::new()) },
        mounts: None,
    };
    wish.networks.iter().for_each(|network| connect(&mut found, network));
    found
}

fn connect(found: &mut ContainerDetails, network: &Attachment) {
    let mut aliases = network.aliases.clone();
    aliases.push("0a".to_owned());
    let address = network.address.iter().map(|a| ("IPv4Address".to_owned(), json!(a)));
    let endpoint = Endpoint {
        ip_address: "10.0.0.9".to_owned(),
        aliases: Some(aliases),
        ipam_config: Some(address.collect()),
    };
    let networks = found.network_settings.networks.as_mut().unwrap();
    networks.insert(network.name.clone(), endpoint);
}

/// What there is after the steps of a plan.
fn done(plan: &Plan, wish: &Wish, found: Option<ContainerDetails>) -> ContainerDetails {
    let mut found = found.unwrap_or_default();
    for step in &plan.steps {
        match step {
            Step::Create | Step::Replace => found = made(wish),
            Step::Update(update) => description::merge(&mut found.host_config, update),
            Step::Disconnect(name) => {
                found.network_settings.networks.as_mut().unwrap().remove(name).unwrap();
            }
            Step::Connect(network) => connect(&mut found, network),
            Step::Unpause => found.state.paused = false,
            Step::Start | Step::Stop => {
                found.state.running = *step == Step::Start;
                found.state.paused = false;
            }
        }
    }
    found
}

/// The steps that turn one description into another, and what differed.
fn between(before: Value, after: Value) -> (Vec<Step>, Vec<String>) {
    let before = wish(before);
    let mut found = made(&before);
    found.state.running = true;
    let plan = plan(&wish(after), Some(&found));
    (plan.steps, plan.differences.into_iter().map(|difference| difference.field).collect())
}

#[test]
fn limits_change_in_place_and_a_limit_that_is_left_out_goes() {
    let (steps, fields) = between(
        json!({ "image": "a", "cpus": 1.0 }),
        json!({ "image": "a", "cpus": 2.0, "memory": 64 }),
    );
    let Step::Update(update) = &steps[0] else { panic!("{steps:?}") };
    assert_eq!(
        *update,
        *json!({ "NanoCpus": 2_000_000_000, "Memory": 64, "MemorySwap": 128 }).as_object().unwrap()
    );
    assert_eq!(fields, ["HostConfig.Memory", "HostConfig.NanoCpus"]);

    let (steps, fields) = between(json!({ "image": "a", "memory": 64 }), json!({ "image": "a" }));
    assert_eq!(
        (steps, fields),
        (vec![Step::Replace, Step::Start], vec!["HostConfig.Memory".to_owned()])
    );

    let always = json!({ "image": "a", "restart": { "policy": "always" } });
    let (steps, _) = between(always, json!({ "image": "a" }));
    assert!(matches!(steps.as_slice(), [Step::Update(_)]), "{steps:?}");
}

#[test]
fn what_cannot_be_changed_needs_another_container() {
    let base =
        json!({ "image": "a", "environment": { "A": "1", "B": "2" }, "labels": { "x": "1" } });
    for (change, field) in [
        (json!({ "image": "b" }), "Image"),
        (json!({ "command": ["x"] }), "Cmd"),
        (json!({ "environment": { "A": "2", "B": "2" } }), "Env"),
        (json!({ "environment": { "A": "1" } }), "Env"),
        (json!({ "labels": {} }), "Labels"),
        (json!({ "labels": { "x": "2" } }), "Labels"),
        (json!({ "ports": [{ "container": 80 }] }), "ExposedPorts"),
        (json!({ "network_mode": "host" }), "HostConfig.NetworkMode"),
        (json!({ "cap_add": ["NET_ADMIN"] }), "HostConfig.CapAdd"),
    ] {
        let mut after = base.clone();
        let (Value::Object(to), Value::Object(change)) = (&mut after, change) else { panic!() };
        to.extend(change);
        let (steps, fields) = between(base.clone(), after.clone());
        assert_eq!(steps, [Step::Replace, Step::Start], "{after}");
        assert!(fields.iter().any(|own| own == field), "{after}: {fields:?}");
    }
}

#[test]
fn networks_change_one_by_one() {
    let networks = |names: &[&str]| {
        let networks: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
        json!({ "image": "a", "networks": networks })
    };
    let (steps, _) = between(networks(&["a", "b"]), networks(&["c", "b"]));
    let connect = Step::Connect(Attachment { name: "c".to_owned(), ..Attachment::default() });
    assert_eq!(steps, [Step::Disconnect("a".to_owned()), connect]);
}

#[test]
fn an_image_of_the_same_name_with_another_id_needs_another_container() {
    let mut wish = wish(json!({ "image": "a" }));
    let mut found = made(&wish);
    found.state.running = true;
    wish.image_id = Some("sha256:b".to_owned());
    assert_eq!(plan(&wish, Some(&found)).steps, [Step::Replace, Step::Start]);
    wish.image_id = None;
    assert_eq!(plan(&wish, Some(&found)).steps, []);
}

fn descriptions() -> impl Strategy<Value = Value> {
    let some = |value: Value| prop::option::of(Just(value));
    let choices = (
        prop::sample::select(vec!["a", "b"]),
        prop::option::of(prop::sample::select(vec![0u64, 64, 128])),
        prop::option::of(prop::sample::select(vec![0.0, 0.5, 2.0])),
        prop::collection::btree_map("[AB]", "[12]?", 0..2),
        prop::collection::btree_map("[xy]", "[12]?", 0..2),
        prop::collection::btree_set("[pqr]", 0..3),
        some(json!({ "policy": "always" })),
        some(json!(["NET_ADMIN"])),
        some(json!([{ "container": 80, "host": 8080 }])),
        some(json!([{ "source": "data", "target": "/data" }])),
    );
    choices.prop_map(|(image, memory, cpus, env, labels, networks, restart, caps, ports, mounts)| {
        let networks: Vec<_> =
            networks.iter().map(|name| json!({ "name": name, "aliases": ["w"] })).collect();
        let mut description =
            json!({ "image": image, "environment": env, "labels": labels, "networks": networks });
        for (key, value) in [
            ("memory", memory.map(|value| json!(value))),
            ("cpus", cpus.map(|value| json!(value))),
            ("restart", restart),
            ("cap_add", caps),
            ("ports", ports),
            ("mounts", mounts),
        ] {
            if let Some(value) = value {
                description[key] = value;
            }
        }
        description
    })
}

proptest! {
    #[test]
    fn the_second_time_there_is_nothing_to_do(
        history in prop::collection::vec((descriptions(), any::<bool>()), 1..5), is_paused: bool,
    ) {
        let mut found: Option<ContainerDetails> = None;
        for (description, is_running) in history {
            let wish = Wish { is_running, ..wish(description) };
            let first = plan(&wish, found.as_ref());
            prop_assert_eq!(first.steps.is_empty(), first.differences.is_empty());
            let now = done(&first, &wish, found);
            prop_assert_eq!(plan(&wish, Some(&now)), Plan::default());
            let paused = is_paused && now.state.running;
            let state = ContainerState { paused, ..now.state };
            found = Some(ContainerDetails { state, ..now });
        }
    }
}
