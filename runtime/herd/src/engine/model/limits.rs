//! What no engine takes of a host configuration.

use serde_json::Value;

use super::{Outcome, defaults};
use crate::engine::answer::Refusal;

/// The least memory that the engine accepts as a limit.
const LEAST_MEMORY: i64 = 6 << 20;

/// Refuses limits and policies that no engine takes.
pub(super) fn check_limits(host: &Value) -> Outcome<()> {
    let memory = host["Memory"].as_i64().unwrap_or(0);
    if memory != 0 && memory < LEAST_MEMORY {
        return Err(Refusal::bad_request("Minimum memory limit allowed is 6MB"));
    }
    let policy = host["RestartPolicy"]["Name"].as_str().unwrap_or_default();
    if !["", "no", "always", "unless-stopped", "on-failure"].contains(&policy) {
        return Err(Refusal::bad_request(format!("invalid restart policy '{policy}'")));
    }
    check_ports(&host["PortBindings"])
}

/// Refuses bindings whose ports are no numbers.
fn check_ports(bindings: &Value) -> Outcome<()> {
    let is_number = |port: &str| port.parse::<u16>().is_ok();
    for (port, bindings) in defaults::entries(bindings) {
        let inner = port.split('/').next().unwrap_or_default();
        let outer = bindings.as_array().into_iter().flatten();
        let outer = outer.filter_map(|binding| binding["HostPort"].as_str());
        let mut all = std::iter::once(inner).chain(outer.filter(|port| !port.is_empty()));
        // A range has two.
        if let Some(wrong) = all.find(|port| !port.splitn(2, '-').all(is_number)) {
            let text = format!("invalid port specification: \"{wrong}\"");
            return Err(Refusal::bad_request(text));
        }
    }
    Ok(())
}
