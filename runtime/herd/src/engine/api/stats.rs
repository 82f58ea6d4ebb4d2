//! What containers use, made up but plausible: the numbers grow with time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::json;
use crate::engine::answer::Answer;
use crate::engine::call::Call;
use crate::engine::model::{Container, Model, Outcome};
use crate::engine::shared::Shared;

/// The pause between two lines of a stream.
const PERIOD: Duration = Duration::from_secs(1);

/// What a simulated program takes of one core.
const LOAD: i128 = 100;

const MEMORY: u64 = 585_728;

pub(super) fn stats(id: &str, call: &Call, shared: &Arc<Shared>) -> Outcome<Answer> {
    let id = shared.look(|model, _| model.container_id(id))?;
    let streams = call.query.text("stream").is_none() || call.query.flag("stream");
    if !streams {
        let one_shot = call.query.flag("one-shot");
        let line = shared.look(|model, now| {
            let before = (!one_shot).then(|| now.checked_sub(PERIOD).ok()).flatten();
            sample(model, &id, before, now)
        });
        return Ok(json(&line));
    }
    let state = (shared.clone(), None::<Timestamp>);
    let lines = stream::unfold(state, move |(shared, before)| {
        let id = id.clone();
        async move {
            if before.is_some() {
                tokio::time::sleep(PERIOD).await;
            }
            let (line, now) = shared.look(|model, now| (sample(model, &id, before, now), now));
            if line.is_null() {
                return None;
            }
            Some((Bytes::from(format!("{line}\n")), (shared, Some(now))))
        }
    });
    Ok(Answer::chunks(Some("application/json"), lines))
}

/// One line; null if the container is gone.
fn sample(model: &Model, id: &str, before: Option<Timestamp>, now: Timestamp) -> Value {
    let Some(container) = model.containers.get(id) else { return Value::Null };
    let mut sample = json!({
        "read": now.to_string(),
        "preread": crate::engine::model::written(before),
        "pids_stats": {},
        "blkio_stats": block_devices(&Value::Null),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": no_cpu(),
        "precpu_stats": no_cpu(),
        "memory_stats": {},
        "name": format!("/{}", container.name),
        "id": id,
    });
    if !container.state.is_running() {
        sample["read"] = json!(crate::engine::model::written(None));
        sample["preread"] = sample["read"].clone();
        return sample;
    }
    let limit = container.host["Memory"].as_u64().filter(|limit| *limit > 0);
    let limit = limit.unwrap_or(8_589_934_592);
    sample["pids_stats"] = json!({"current": 1});
    sample["blkio_stats"] = block_devices(&json!([]));
    sample["cpu_stats"] = cpu(container, now);
    if let Some(before) = before {
        sample["precpu_stats"] = cpu(container, before);
    }
    sample["memory_stats"] = json!({
        "usage": MEMORY,
        "max_usage": 3_805_184,
        "stats": memory_details(limit),
        "limit": limit,
    });
    if container.host["NetworkMode"] != "none" && container.host["NetworkMode"] != "host" {
        sample["networks"] = json!({"eth0": {
            "rx_bytes": 200, "rx_packets": 2, "rx_errors": 0, "rx_dropped": 0,
            "tx_bytes": 0, "tx_packets": 0, "tx_errors": 0, "tx_dropped": 0,
        }});
    }
    sample
}

fn cpu(container: &Container, now: Timestamp) -> Value {
    let since = container.started.map_or(0, |start| now.as_nanosecond() - start.as_nanosecond());
    let used = u64::try_from(since / LOAD).unwrap_or(0);
    let system = u64::try_from(now.as_nanosecond()).unwrap_or(0) * 2;
    json!({
        "cpu_usage": {
            "total_usage": used,
            "percpu_usage": [used / 2, used - used / 2],
            "usage_in_kernelmode": used / 2,
            "usage_in_usermode": used - used / 2,
        },
        "system_cpu_usage": system,
        "online_cpus": 2,
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    })
}

fn no_cpu() -> Value {
    json!({
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    })
}

/// The eight lists that the engine has of block devices, all alike here.
fn block_devices(list: &Value) -> Value {
    let names = [
        "io_service_bytes_recursive",
        "io_serviced_recursive",
        "io_queue_recursive",
        "io_service_time_recursive",
        "io_wait_time_recursive",
        "io_merged_recursive",
        "io_time_recursive",
        "sectors_recursive",
    ];
    names
        .into_iter()
        .map(|name| (name.to_owned(), list.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn memory_details(limit: u64) -> Value {
    let mut details = serde_json::Map::new();
    let names = [
        ("active_anon", 4096),
        ("active_file", 0),
        ("cache", 0),
        ("dirty", 0),
        ("inactive_anon", 45_056),
        ("inactive_file", 0),
        ("mapped_file", 0),
        ("pgfault", 1038),
        ("pgmajfault", 0),
        ("pgpgin", 759),
        ("pgpgout", 747),
        ("rss", 49_152),
        ("rss_huge", 0),
        ("unevictable", 0),
        ("writeback", 0),
    ];
    for (name, value) in names {
        details.insert(name.to_owned(), json!(value));
        details.insert(format!("total_{name}"), json!(value));
    }
    for name in ["hierarchical_memory_limit", "hierarchical_memsw_limit"] {
        details.insert(name.to_owned(), json!(limit));
    }
    Value::Object(details)
}
