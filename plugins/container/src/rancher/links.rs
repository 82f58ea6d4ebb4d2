//! What an instance is told of those that it is linked to: variables such as
//! `DB_PORT_5432_TCP_ADDR`, in the form that links of Docker have.

use serde_json::Value;

use super::container::{name, text};

/// Variables of the host or the image that say nothing to others.
const NOT_PASSED_ON: [&str; 2] = ["HOME", "PATH"];

/// The variables, each as `NAME=value`, in the order of the links.
pub(super) fn variables(instance: &Value) -> Vec<String> {
    let own = name(instance);
    let mut all = Vec::new();
    for link in instance["instanceLinks"].as_array().into_iter().flatten() {
        let Some(alias) = text(&link["linkName"]) else { continue };
        let fields = link.pointer("/data/fields").unwrap_or(&Value::Null);
        let names = fields["instanceNames"].as_array().into_iter().flatten();
        let names = std::iter::once(alias).chain(names.filter_map(text));
        let mut seen = Vec::new();
        for name in names.map(variable_name) {
            if !seen.contains(&name) {
                of_one(&name, &format!("/{own}/{alias}"), link, &mut all);
                seen.push(name);
            }
        }
    }
    all
}

fn of_one(name: &str, path: &str, link: &Value, all: &mut Vec<String>) {
    all.push(format!("{name}_NAME={path}"));
    let ports = link.pointer("/data/fields/ports").and_then(Value::as_array);
    let mut is_first = true;
    for port in ports.into_iter().flatten() {
        let (Some(number), Some(address)) =
            (port["privatePort"].as_u64(), text(&port["ipAddress"]))
        else {
            continue;
        };
        let protocol = text(&port["protocol"]).unwrap_or("tcp");
        let url = format!("{protocol}://{address}:{number}");
        if std::mem::take(&mut is_first) {
            all.push(format!("{name}_PORT={url}"));
        }
        let key = format!("{name}_PORT_{number}_{}", protocol.to_ascii_uppercase());
        all.push(format!("{key}={url}"));
        all.push(format!("{key}_ADDR={address}"));
        all.push(format!("{key}_PORT={number}"));
        all.push(format!("{key}_PROTO={protocol}"));
    }
    let target = &link["targetInstance"]["data"];
    let known = target.pointer("/dockerInspect/Config/Env").and_then(Value::as_array);
    for pair in known.into_iter().flatten().filter_map(text) {
        let key = pair.split('=').next().unwrap_or_default();
        if !NOT_PASSED_ON.contains(&key) {
            all.push(format!("{name}_ENV_{pair}"));
        }
    }
}

/// A name as variables have it.
fn variable_name(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_link_is_told_by_its_name_its_ports_and_the_others_environment() {
        let instance = json!({ "name": "web", "uuid": "u", "instanceLinks": [
            {
                "linkName": "my-db",
                "targetInstance": { "data": { "dockerInspect": { "Config": {
                    "Env": ["PATH=/bin", "USER=ada"],
                } } } },
                "data": { "fields": {
                    "instanceNames": ["db1", "my-db"],
                    "ports": [
                        { "protocol": "tcp", "ipAddress": "10.42.0.2", "privatePort": 5432 },
                        { "protocol": "udp", "ipAddress": "10.42.0.2", "privatePort": 53 },
                        { "protocol": "tcp", "privatePort": 80 },
                    ],
                } },
            },
            { "linkName": "bare" },
            { "targetInstance": {} },
        ] });
        let of = |name: &str| {
            [
                format!("{name}_NAME=/r-web/my-db"),
                format!("{name}_PORT=tcp://10.42.0.2:5432"),
                format!("{name}_PORT_5432_TCP=tcp://10.42.0.2:5432"),
                format!("{name}_PORT_5432_TCP_ADDR=10.42.0.2"),
                format!("{name}_PORT_5432_TCP_PORT=5432"),
                format!("{name}_PORT_5432_TCP_PROTO=tcp"),
                format!("{name}_PORT_53_UDP=udp://10.42.0.2:53"),
                format!("{name}_PORT_53_UDP_ADDR=10.42.0.2"),
                format!("{name}_PORT_53_UDP_PORT=53"),
                format!("{name}_PORT_53_UDP_PROTO=udp"),
                format!("{name}_ENV_USER=ada"),
            ]
        };
        let bare = "BARE_NAME=/r-web/bare".to_owned();
        let expected: Vec<_> = of("MY_DB").into_iter().chain(of("DB1")).chain([bare]).collect();
        assert_eq!(variables(&instance), expected);
        assert!(variables(&json!({ "name": "web" })).is_empty());
    }
}
