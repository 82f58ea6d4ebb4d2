//! End-to-end scenarios: real programs, real plugins, real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod agent_killed;
mod authoring;
mod backup;
mod bad_configuration;
mod bad_input;
mod calling;
mod catalog;
mod contract;
mod core_dumps;
mod doctor;
mod documents;
mod draining;
mod exec;
mod fairness;
mod full_disk;
mod full_disk_jobs;
mod grants;
mod hand_over;
mod host_commands;
mod hostile;
mod http;
mod identities;
mod intruders;
mod jobs;
mod jobs_killed;
mod joining;
mod keys;
mod later_versions;
mod limits;
mod log_lines;
mod logs;
mod metrics;
mod network;
mod own_roles;
mod permissions;
mod plugin_programs;
mod plugins;
mod processes;
mod rollout;
mod schedules;
mod secrets;
mod self_update;
mod services;
mod shop;
mod slow_disk;
mod sources;
mod startup;
mod streams;
mod supervised;
mod update;
mod wamp_callers;

use drover_tests::Site;

/// The program under test.
const DROVER: &str = env!("CARGO_BIN_EXE_drover-under-test");

/// A site with a controller.
fn site() -> Site {
    Site::start(DROVER)
}
