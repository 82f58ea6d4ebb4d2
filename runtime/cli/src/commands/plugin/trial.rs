//! What is around a plugin that is tried without an agent.

use std::sync::Arc;

use drover_agent::{Config, TrialPrograms};
use drover_api::JobId;
use drover_plugin_host::{Meter, Meters, NodeInfo, Surroundings};

use super::super::keeper;
use crate::output;

/// No node in particular, with the name of this host. Programs run as in an agent.
pub(super) fn around(meters: Option<Arc<dyn Meters>>) -> Surroundings {
    let name = Config::default().name;
    let node = NodeInfo { name, ..NodeInfo::default() };
    let programs = TrialPrograms::new(keeper::keeper(None));
    Surroundings { node, meters, programs: Some(Arc::new(programs)) }
}

/// Shows each measurement as it comes.
#[derive(Debug)]
pub(super) struct Shown;

impl Meters for Shown {
    fn meter(&self, _job: &JobId, _plugin: &str, _operation: &str) -> Box<dyn Meter> {
        Box::new(Self)
    }
}

impl Meter for Shown {
    fn add(&self, lines: &str) {
        for line in lines.lines() {
            output::note(&format!("metric {line}"));
        }
    }
}
