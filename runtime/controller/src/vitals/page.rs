//! The page of the controller's vitals, in the words of OpenMetrics.
//!
//! Labels have grids, states and ways; never a node, a job or a user, of which there
//! may be any number.

use std::time::Duration;

use drover_api::Timestamp;
use drover_jobs::Census;
use drover_logs::store::StoreCounts;
use drover_vitals::{Page, own_process};
use drover_wamp::Traffic;

use super::{ENDED, Now, Vitals};
use crate::access::AccessCounts;
use crate::audit::AuditCounts;

/// The phases of rollouts that are not over.
const ROLLOUT_PHASES: [&str; 4] = ["running", "between", "paused", "going-back"];

/// Tells how the controller does.
pub(super) fn page(
    vitals: &Vitals,
    traffic: Traffic,
    log: StoreCounts,
    access: &AccessCounts,
    audit: AuditCounts,
) -> String {
    let now = vitals.now().clone();
    let mut page = Page::new();
    let labels = [("program", "controller"), ("version", drover_api::version())];
    page.info("drover_build", "Which program this is.").count(&labels, 1);
    page.gauge("drover_sessions", "WAMP sessions, those of its own services included.")
        .count(&[], traffic.sessions as u64);
    page.gauge("drover_calls_under_way", "Calls that have not ended, followers included.")
        .count(&[], traffic.calls as u64);
    nodes(&mut page, vitals, &now);
    waiting_jobs(&mut page, &now.jobs);
    page.gauge("drover_jobs_writable", "Whether durable jobs can be written down.")
        .count(&[], u64::from(!now.jobs_cannot_be_written));
    ended_jobs(&mut page, vitals);
    let mut family = page.gauge("drover_rollouts", "Rollouts that are not over.");
    for phase in ROLLOUT_PHASES {
        family.count(&[("phase", phase)], now.rollouts.get(phase).copied().unwrap_or(0));
    }
    who_joins(&mut page, access, audit);
    page.counter("drover_log_records", "Records of nodes that were written into the log.")
        .count(&[], log.records);
    page.gauge("drover_log_waiting_bytes", "What waits to be written.")
        .count(&[], log.waiting_bytes);
    page.gauge("drover_log_files_bytes", "What the log's files take.").count(&[], log.file_bytes);
    own_process(&mut page);
    page.finish()
}

fn nodes(page: &mut Page, vitals: &Vitals, now: &Now) {
    let mut family = page.gauge("drover_nodes", "Nodes that are known, by grid.");
    for (grid, counted) in &now.nodes {
        let grid = grid.to_string();
        family
            .count(&[("grid", &grid), ("presence", "present")], counted.present)
            .count(&[("grid", &grid), ("presence", "lost")], counted.lost);
    }
    page.counter("drover_heartbeats", "Signs of life of nodes.").counted(&[], &vitals.0.heartbeats);
}

fn waiting_jobs(page: &mut Page, jobs: &Census) {
    let help = "Durable jobs that have not ended: held back by `at_once`, until their time, until \
                their node has room, with their node, or started.";
    page.gauge("drover_waiting_jobs", help)
        .count(&[("phase", "held")], jobs.held)
        .count(&[("phase", "delayed")], jobs.delayed)
        .count(&[("phase", "queued")], jobs.queued)
        .count(&[("phase", "sent")], jobs.sent)
        .count(&[("phase", "running")], jobs.running);
    page.gauge("drover_longest_node_queue", "Jobs that wait for the node for which most do.")
        .count(&[], jobs.longest_queue);
    let age = jobs.oldest.map_or(Duration::ZERO, |oldest| Timestamp::now().since(oldest));
    let help = "Since when the oldest submission waits that has not ended.";
    page.gauge("drover_oldest_submission_age_seconds", help).value(&[], age.as_secs_f64());
}

fn ended_jobs(page: &mut Page, vitals: &Vitals) {
    page.counter("drover_submissions", "Submissions of durable jobs.")
        .counted(&[("result", "accepted")], &vitals.0.submissions)
        .counted(&[("result", "refused")], &vitals.0.refused_submissions);
    let mut family = page.counter("drover_jobs", "Durable jobs that have ended.");
    for ((_, state), counter) in ENDED.iter().zip(&vitals.0.ended) {
        family.counted(&[("state", state)], counter);
    }
    page.histogram("drover_job_duration_seconds", "From the submission of a job to its result.")
        .buckets(&[], &vitals.0.lasted);
    page.histogram("drover_job_run_seconds", "The part of that in which it ran on its node.")
        .buckets(&[], &vitals.0.ran);
}

fn who_joins(page: &mut Page, access: &AccessCounts, audit: AuditCounts) {
    let mut family =
        page.counter("drover_log_ins", "Nodes and operators that proved who they are.");
    for (way, counted) in [("key", &access.by_key), ("ticket", &access.by_ticket)] {
        family
            .counted(&[("way", way), ("result", "admitted")], &counted.admitted)
            .counted(&[("way", way), ("result", "refused")], &counted.refused);
    }
    page.counter("drover_denied_calls", "Calls by those who may not make them.")
        .counted(&[], &access.denied_calls);
    page.gauge("drover_audit_lines", "Lines of the audit log.").count(&[], audit.lines);
    page.gauge("drover_audit_waiting_lines", "Those that are not written yet.")
        .count(&[], audit.waiting);
    page.gauge("drover_audit_writable", "Whether the audit log can be written.")
        .count(&[], u64::from(audit.is_writable));
}
