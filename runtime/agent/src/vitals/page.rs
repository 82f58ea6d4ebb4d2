//! The page of the agent's vitals, in the words of OpenMetrics.
//!
//! Labels have names of plugins, operations, services and sources, and states; never
//! an id of a job, and never what a caller says.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_api::{
    ErrorCode, JobError, PluginState, PluginStatus, ServiceStatus, SourceStatus, Timestamp,
};
use drover_logs::store::StoreCounts;
use drover_process::{JobStatus, JobUsage, Phase, TreeUsage};
use drover_vitals::{Page, own_process};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::{OfOperation, Way};
use crate::node::Node;

/// Tells how the agent does.
///
/// # Errors
///
/// If the agent is shutting down.
pub(crate) async fn page(node: &Node) -> Result<String, JobError> {
    let mut page = Page::new();
    about(&mut page, node);
    jobs(&mut page, node);
    operations(&mut page, node);
    durable_jobs(&mut page, node);
    link(&mut page, node);
    plugins(&mut page, &node.host().statuses().plugins);
    denials(&mut page, &node.host().denials());
    services(&mut page, &node.services().list().await?);
    let manager = node.processes().manager();
    // Children that cannot be looked at now are no reason to tell nothing.
    let processes = manager.list().await.unwrap_or_default();
    let usages = manager.usages(None, None).await.unwrap_or_default();
    child_processes(&mut page, node, &processes, &usages);
    sources(&mut page, &node.sources().statuses());
    let store = node.logs().store().clone();
    let is_writable = store.trouble().borrow().is_none();
    let finished = spawn_blocking(move || {
        log(&mut page, store.counts(), is_writable);
        own_process(&mut page);
        page.finish()
    });
    finished.await.map_err(|error| JobError::new(ErrorCode::Internal, error.to_string()))
}

fn about(page: &mut Page, node: &Node) {
    let labels = [("program", "agent"), ("version", drover_api::version())];
    page.info("drover_build", "Which program this is.").count(&labels, 1);
    let (id, name) = (node.id().to_string(), node.name());
    page.info("drover_node", "Which node this is.").count(&[("node", &id), ("name", name)], 1);
}

fn jobs(page: &mut Page, node: &Node) {
    let ways = [("live", Way::Live), ("durable", Way::Durable)];
    let mut family = page.counter("drover_jobs", "Jobs that have ended, by the way they came.");
    for (name, way) in ways {
        for (state, count) in node.vitals().of(way).ended.read() {
            family.count(&[("way", name), ("state", state)], count);
        }
    }
    let mut family = page.histogram("drover_job_duration_seconds", "How long jobs took.");
    for (name, way) in ways {
        family.buckets(&[("way", name)], &node.vitals().of(way).took);
    }
    let (running, oldest) = node.under_way();
    page.gauge("drover_jobs_under_way", "Jobs that run, or wait for their turn on this node.")
        .count(&[], running as u64);
    page.gauge("drover_draining", "Whether the node takes no commands, as it is to end.")
        .count(&[], u64::from(node.is_draining()));
    let age = oldest.map_or(Duration::ZERO, |oldest| Timestamp::now().since(oldest));
    page.gauge("drover_oldest_job_age_seconds", "Since when the oldest of them is under way.")
        .value(&[], age.as_secs_f64());
}

fn operations(page: &mut Page, node: &Node) {
    let all: BTreeMap<_, _> = node.vitals().0.operations.iter().collect();
    let each =
        || all.iter().map(|(name, counted)| (name.split_once('.').unwrap_or(("", name)), *counted));
    let mut family = page.counter(
        "drover_operation_jobs",
        "Jobs that have ended, by operation; the host's own commands are of no plugin.",
    );
    for ((plugin, operation), counted) in each() {
        for (state, count) in counted.ended.read() {
            let labels = [("plugin", plugin), ("operation", operation), ("state", state)];
            family.count(&labels, count);
        }
    }
    let mut family = page.summary("drover_operation_duration_seconds", "How long they took.");
    for ((plugin, operation), counted) in each() {
        let labels = [("plugin", plugin), ("operation", operation)];
        let count = counted.ended.read().map(|(_, count)| count).sum();
        family.sum(&labels, count, counted.took_us.read() as f64 / 1e6);
    }
    let help = "Jobs that gave no answer, by why: trapped, timeout, denied, quarantined, …";
    let mut family = page.counter("drover_operation_errors", help);
    for ((plugin, operation), OfOperation { errors, .. }) in each() {
        let counted = ErrorCode::ALL.iter().zip(errors).map(|(code, count)| (code, count.read()));
        for (code, count) in counted.filter(|(_, count)| *count > 0) {
            let labels = [("plugin", plugin), ("operation", operation), ("code", code.as_str())];
            family.count(&labels, count);
        }
    }
    let help = "The most memory that one job had since the agent started.";
    let mut family = page.gauge("drover_operation_peak_memory_bytes", help);
    for ((plugin, operation), counted) in each().filter(|(_, one)| one.memory.read() > 0) {
        family.count(&[("plugin", plugin), ("operation", operation)], counted.memory.read());
    }
}

fn durable_jobs(page: &mut Page, node: &Node) {
    let held = node.inbox().held();
    let help = "Durable jobs that the node has: those that wait, run, or have a result that the \
                controller does not have yet.";
    page.gauge("drover_durable_jobs", help)
        .count(&[("phase", "waiting")], held.waiting)
        .count(&[("phase", "running")], held.running)
        .count(&[("phase", "unreported")], held.unreported);
}

fn link(page: &mut Page, node: &Node) {
    let link = node.vitals().link();
    page.gauge("drover_link_up", "Whether the node has its procedures at the controller.")
        .count(&[], u64::from(node.is_joined()));
    page.counter("drover_link_joins", "How often it got them: once, and with each reconnect.")
        .counted(&[], &link.joins);
    page.counter("drover_heartbeats", "Signs of life that were sent.")
        .counted(&[], &link.heartbeats);
    let help = "Until the controller had one of them; measured now and then.";
    page.histogram("drover_link_round_trip_seconds", help).buckets(&[], &link.round_trip);
}

fn plugins(page: &mut Page, plugins: &[PluginStatus]) {
    let mut states = [
        PluginState::Loading,
        PluginState::Serving,
        PluginState::Quarantined,
        PluginState::Refused,
        PluginState::Removed,
    ]
    .map(|state| (state, 0));
    for plugin in plugins {
        let mut counted = states.iter_mut();
        if let Some((_, count)) = counted.find(|(state, _)| *state == plugin.state) {
            *count += 1;
        }
    }
    let mut family = page.gauge("drover_plugins", "Plugins by whether they can be called.");
    for (state, count) in states {
        family.count(&[("state", &word(&state))], count);
    }
    let mut family = page.gauge("drover_plugin_quarantined", "Whether a plugin gets no jobs.");
    for plugin in plugins {
        family.count(&[("plugin", &plugin.name)], u64::from(plugin.quarantine.is_some()));
    }
    let help = "Jobs that a plugin has, those that wait and those of older versions included.";
    let mut family = page.gauge("drover_plugin_jobs_under_way", help);
    for plugin in plugins {
        let serving = plugin.serving.iter().map(|version| version.jobs);
        let all = serving.chain(plugin.draining.iter().map(|version| version.jobs));
        family.count(&[("plugin", &plugin.name)], all.map(u64::from).sum());
    }
}

fn denials(page: &mut Page, denials: &BTreeMap<String, BTreeMap<String, u64>>) {
    let help = "Calls of plugins that their grants do not allow; the log has each.";
    let mut family = page.counter("drover_plugin_denied_calls", help);
    for (plugin, by_interface) in denials {
        for (interface, count) in by_interface {
            family.count(&[("plugin", plugin), ("interface", interface)], *count);
        }
    }
}

fn services(page: &mut Page, services: &[ServiceStatus]) {
    let mut family = page.gauge("drover_service_state", "In which state a service is.");
    for service in services {
        let state = word(&service.state);
        family.count(&[("service", &service.name), ("state", &state)], 1);
    }
    let help = "How often a service was started again since somebody started it.";
    let mut family = page.counter("drover_service_restarts", help);
    for service in services {
        family.count(&[("service", &service.name)], service.restarts);
    }
    let mut family = page.gauge("drover_service_memory_bytes", "Memory of a service's instance.");
    for service in services {
        family.count(&[("service", &service.name)], service.memory_bytes.unwrap_or_default());
    }
}

fn child_processes(page: &mut Page, node: &Node, jobs: &[JobStatus], usages: &[JobUsage]) {
    let counts = node.vitals().processes();
    page.counter("drover_process_starts", "Programs that were started, or taken over.")
        .counted(&[], &counts.starts);
    page.counter("drover_process_restarts", "Failed runs that another one follows.")
        .counted(&[], &counts.restarts);
    page.counter("drover_process_start_failures", "Programs that could not be started.")
        .counted(&[], &counts.not_started);
    let is_running = |job: &&JobStatus| matches!(job.phase, Phase::Running { .. });
    let running = jobs.iter().filter(is_running).count();
    page.gauge("drover_process_jobs", "Jobs of the process manager.")
        .count(&[("phase", "running")], running as u64)
        .count(&[("phase", "waiting")], (jobs.len() - running) as u64);
    let sum = |of: fn(&TreeUsage) -> u64| usages.iter().map(|job| of(&job.usage)).sum::<u64>();
    page.gauge("drover_process_tree_processes", "Processes of all jobs, with what they started.")
        .count(&[], sum(|usage| usage.processes));
    page.gauge("drover_process_tree_cpu_seconds", "Processor time of the jobs that run now.")
        .value(&[], sum(|usage| usage.cpu_ms) as f64 / 1e3);
    page.gauge("drover_process_tree_resident_memory_bytes", "Their resident memory.")
        .count(&[], sum(|usage| usage.rss));
    page.gauge("drover_process_tree_open_fds", "Their open file descriptors.")
        .count(&[], sum(|usage| usage.open_files));
}

fn sources(page: &mut Page, sources: &[SourceStatus]) {
    let mut family = page.counter("drover_source_lines", "Lines that were read of log files.");
    for source in sources {
        family.count(&[("source", &source.name)], source.lines);
    }
    let mut family = page.counter("drover_source_unparsed_lines", "Those that did not parse.");
    for source in sources {
        family.count(&[("source", &source.name)], source.unparsed);
    }
    let mut family = page.counter("drover_source_gaps", "How often lines were lost unread.");
    for source in sources {
        family.count(&[("source", &source.name)], source.gaps);
    }
    let mut family = page.gauge("drover_source_lag_bytes", "What is still to be read.");
    for source in sources {
        family.count(&[("source", &source.name)], source.lag);
    }
}

fn log(page: &mut Page, counts: StoreCounts, is_writable: bool) {
    page.counter("drover_log_records", "Records that were written into the log.")
        .count(&[], counts.records);
    let help = "Records that were left out as the disk did not keep up; gaps say where.";
    page.counter("drover_log_left_out_records", help).count(&[], counts.left_out);
    page.gauge("drover_log_waiting_bytes", "What waits to be written.")
        .count(&[], counts.waiting_bytes);
    page.gauge("drover_log_files_bytes", "What the log's files take.")
        .count(&[], counts.file_bytes);
    page.gauge("drover_log_writable", "Whether the log can be written.")
        .count(&[], u64::from(is_writable));
}

/// A state in the word that it has on the link.
fn word<T: Serialize>(state: &T) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}
