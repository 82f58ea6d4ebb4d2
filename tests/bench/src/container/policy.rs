//! What the host's policy takes of a request.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, bail};
use drover_grants::{Decision, Grants, GrantsFile, HttpAllowance, HttpRequest, Manifest, decide};
use serde_json::json;

use super::CHECKED;
use crate::Plan;
use crate::latency::median;
use crate::report::Row;

/// The longest of the grants that are shipped, with conditions on bodies.
pub(super) const GRANTS: &str = include_str!("../../../../plugins/container/grants/create.toml");

const MANIFEST: &str = include_str!("../../../../plugins/container/plugin.toml");

/// Checks in a round.
const TIMES: u32 = 20_000;

/// Judges the requests of a listing and of a creation again and again.
///
/// # Errors
///
/// If the grants do not fit the manifest, or allow something else.
pub(super) fn rows(plan: &Plan) -> anyhow::Result<[Row; 2]> {
    let allowance = allowance()?;
    let body = body();
    let (mut list, mut create) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds() {
        list.push(us_each(|| judge(&allowance, "GET", "/v1.41/containers/json", b""))?);
        create.push(us_each(|| judge(&allowance, "POST", "/v1.41/containers/create", &body))?);
    }
    let row = |name: &str, ours| Row {
        name: name.to_owned(),
        unit: "µs",
        ours: median(ours),
        peer: None,
        limit: None,
        bar: Some(CHECKED),
    };
    Ok([row("policy: a list", list), row("policy: a create with its body", create)])
}

fn allowance() -> anyhow::Result<HttpAllowance> {
    let manifest = Manifest::from_toml(MANIFEST).context("the plugin's manifest is wrong")?;
    let grants = GrantsFile::parse(GRANTS).context("the shipped grants are wrong")?;
    match decide("container", &manifest.asks, &Grants::of_file(grants)) {
        Decision::Allowed { allowance, .. } => {
            allowance.http.into_iter().next().context("no HTTP is granted")
        }
        Decision::Missing(missing) => bail!("{missing}"),
    }
}

/// As long as descriptions of real services are.
fn body() -> Vec<u8> {
    let env: Vec<String> =
        (0..30).map(|n| format!("VARIABLE_{n}=a value of some length")).collect();
    let body = json!({
        "Image": "registry.example.org/team/web:1.2.3",
        "Cmd": ["serve", "--port", "80"],
        "Env": env,
        "Labels": { "team": "web", "tier": "front" },
        "ExposedPorts": { "80/tcp": {} },
        "HostConfig": {
            "Binds": ["/srv/data:/data", "cache:/cache"],
            "Memory": 1 << 28,
            "NetworkMode": "bridge",
            "PortBindings": { "80/tcp": [{ "HostPort": "8080" }] },
            "RestartPolicy": { "Name": "unless-stopped" },
        },
    });
    body.to_string().into_bytes()
}

fn judge(allowance: &HttpAllowance, method: &str, path: &str, body: &[u8]) -> anyhow::Result<()> {
    let request = HttpRequest { method, path, query: None, is_upgrade: false };
    match allowance.check(&request).context("the shipped grants deny a usual request")? {
        Some(rule) => rule.check(body).context("the shipped grants deny a usual container"),
        None => Ok(()),
    }
}

fn us_each(check: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let started = Instant::now();
    for _ in 0..TIMES {
        black_box(check())?;
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES))
}
