//! What a call of a plugin takes that is denied.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use drover_api::JobState;
use drover_grants::{Grants, GrantsFile, Manifest, embed};
use drover_plugin_host::{Host, Job};
use serde_json::{Value, json};

use crate::instance::start_host;
use crate::latency::median;
use crate::progress::step;
use crate::report::{Bar, Row};
use crate::{Inputs, Plan};

const SOON: Bar = Bar::Below(50.0);

/// Calls in one job, within its bounds on handles and records.
const TIMES: u32 = 200;

/// What is called, in which guest, and with which arguments for so many calls.
struct Call {
    name: &'static str,
    guest: &'static str,
    operation: &'static str,
    arguments: fn(u32) -> Value,
}

const CALLS: [Call; 3] = [
    Call {
        name: "HTTP request",
        guest: "fetches",
        operation: "fetch_often",
        arguments: |times| json!({ "url": "https://example.org/closed", "times": times }),
    },
    Call {
        name: "opening of a file",
        guest: "granted",
        operation: "read_often",
        arguments: |times| json!({ "path": "/w/../etc/passwd", "times": times }),
    },
    Call {
        name: "start of a program",
        guest: "programs",
        operation: "several",
        arguments: |times| json!({ "line": ["/bin/cat", "/etc/shadow"], "count": times }),
    },
];

/// Lets guests do again and again what they are not granted.
///
/// # Errors
///
/// If a guest does not load or a job fails.
pub(super) async fn rows(inputs: &Inputs, plan: &Plan, dir: &Path) -> anyhow::Result<[Row; 3]> {
    fs::create_dir_all(dir.join("work")).context("cannot make a directory for the guests")?;
    let grants = grants(&dir.join("work"))?;
    let host = start_host(&inputs.drover, &dir.join("cache"), grants)?;
    let mut rows = Vec::new();
    for call in CALLS {
        step(&format!("a denied {}", call.name));
        load(&host, inputs, call.guest, dir).await?;
        let mut each = Vec::new();
        for _ in 0..=plan.rounds() {
            // Without what the job itself takes.
            let none = took(&host, &call, 0).await?;
            let all = took(&host, &call, TIMES).await?;
            each.push(all.saturating_sub(none).as_secs_f64() * 1e6 / f64::from(TIMES));
        }
        rows.push(Row {
            name: format!("a denied {}", call.name),
            unit: "µs",
            ours: median(each),
            peer: None,
            limit: None,
            bar: Some(SOON),
        });
    }
    host.shutdown().await;
    Ok(rows.try_into().expect("each call has its row"))
}

/// What all the guests ask for. It is granted, so that each loads, and none of
/// their calls is in it.
const ASKS: &str = r#"
[asks]
sysinfo = { reason = "bench" }
state = { size = "1 kB", reason = "bench" }
settings = [{ name = "s", reason = "bench" }]
directories = [{ path = "/w", access = "read", reason = "bench" }]
http = [{ authority = "example.org", allow = ["GET /open"], reason = "bench" }]
programs = [{ program = "/bin/cat", args = [["/etc/hosts"]], reason = "bench" }]
"#;

fn grants(work: &Path) -> anyhow::Result<Grants> {
    let texts = CALLS.map(|Call { guest, .. }| {
        format!(
            "[{guest}]\nsysinfo = true\nstate = \"1 kB\"\nsettings.s = \"\"\n\
             directories.\"/w\" = {{ path = {work:?}, access = \"read\" }}\n\
             http.\"example.org\" = {{ allow = [\"GET /open\"] }}\n\
             programs.\"/bin/cat\" = {{ args = [[\"/etc/hosts\"]] }}\n"
        )
    });
    let file = GrantsFile::parse(&texts.concat()).context("the grants of the guests are wrong")?;
    Ok(Grants::of_file(file))
}

async fn load(host: &Host, inputs: &Inputs, guest: &str, dir: &Path) -> anyhow::Result<()> {
    let file = inputs.plugins.join(format!("examples/{guest}.wasm"));
    let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let manifest = Manifest::from_toml(ASKS).context("the manifest of the guests is wrong")?;
    let packed = embed(&bytes, &manifest).with_context(|| format!("cannot pack {guest}"))?;
    let path = dir.join(format!("{guest}.wasm"));
    fs::write(&path, packed).with_context(|| format!("cannot write {}", path.display()))?;
    host.load_file(&path).await?;
    Ok(())
}

async fn took(host: &Host, call: &Call, times: u32) -> anyhow::Result<Duration> {
    let Value::Object(arguments) = (call.arguments)(times) else {
        unreachable!("arguments are an object");
    };
    let outcome = host.run(Job::new(call.guest, call.operation, arguments)).await;
    ensure!(outcome.state == JobState::Ok, "{} failed: {:?}", call.operation, outcome.error);
    Ok(outcome.took)
}
