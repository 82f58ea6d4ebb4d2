//! What Prometheus makes of our pages: its own parser reads them, which refuses whatever
//! is not as OpenMetrics says.

use std::fs;
use std::process::Command;

use drover_tests::{Ran, installed};

use crate::site;

/// Prints the name, the type and the number of samples of each family.
const PARSE: &str = "
import sys
from prometheus_client.openmetrics.parser import text_fd_to_metric_families
with open(sys.argv[1]) as page:
    for family in text_fd_to_metric_families(page):
        print(family.name, family.type, len(family.samples))
        assert family.documentation, family.name
";

#[test]
fn both_programs_tell_of_themselves_as_open_metrics_says() {
    let site = site();
    let _a = site.agent(1, "a");
    let _ = site.drover(&["call", "a", "hello.greet", "name=Ada"]).ok();
    let _ = site.drover(&["job", "submit", "a", "hello.greet", "name=Ada", "--wait"]).ok();
    for (arguments, families) in [
        (
            &["metrics", "a"][..],
            [
                "drover_operation_jobs counter",
                "drover_job_duration_seconds histogram",
                "drover_operation_duration_seconds summary",
                "drover_node info",
                "process_cpu_seconds counter",
            ],
        ),
        (
            &["metrics"],
            [
                "drover_jobs counter",
                "drover_job_run_seconds histogram",
                "drover_log_ins counter",
                "drover_build info",
                "process_resident_memory_bytes gauge",
            ],
        ),
    ] {
        let page = site.path("page");
        fs::write(&page, site.drover(arguments).ok()).unwrap();
        let mut parser = Command::new(installed("venv/bin/python"));
        let parsed = Ran::of(parser.args(["-c", PARSE]).arg(&page)).ok();
        for family in families {
            assert!(parsed.lines().any(|line| line.starts_with(family)), "{family}: {parsed}");
        }
    }
}
