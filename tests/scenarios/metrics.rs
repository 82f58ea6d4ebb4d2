//! What the programs count of themselves, as Prometheus and operators read it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use drover_tests::{http, run, wait_for};

use crate::{DROVER, site};

/// Where a site's controller listens, as `host:port`.
fn address(site: &drover_tests::Site) -> &str {
    site.url.trim_start_matches("ws://").trim_end_matches("/ws")
}

/// The page at a path of a `host:port`.
fn page(address: &str, path: &str) -> String {
    let answer = http(address, &format!("GET {path}"), "", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("application/openmetrics-text; version=1.0.0"), "{answer:?}");
    assert!(answer.body.ends_with("# EOF\n"), "{answer:?}");
    answer.body
}

/// The value of a sample.
fn value(page: &str, sample: &str) -> f64 {
    let found = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {sample} in {page}")).parse().unwrap()
}

#[test]
fn a_scrape_of_either_program_finds_the_jobs_that_ran() {
    let site = site();
    let a = site.agent_with(1, "a", "[metrics]\nlisten = \"127.0.0.1:0\"\n");
    let agent = a.process.log().lines().find_map(|line| {
        let told = line.split_once("serving /metrics address=")?.1;
        Some(told.split_whitespace().next()?.to_owned())
    });
    let agent = agent.expect("the agent tells where it serves");
    let _ = site.drover(&["call", "a", "hello.greet", "name=Ada"]).ok();
    let failed = site.drover(&["call", "a", "hello.greet", "times=x"]);
    assert_eq!(failed.status, Some(5), "{failed:?}");
    let _ = site.drover(&["job", "submit", "a", "hello.greet", "name=Ada", "--wait"]).ok();
    let _ = site.drover(&["exec", "a", "--", "/bin/true"]).ok();

    let told = page(&agent, "/metrics");
    assert_eq!(value(&told, "drover_jobs_total{way=\"durable\",state=\"OK\"}"), 1.0);
    let greet = "plugin=\"hello\",operation=\"greet\"";
    assert_eq!(value(&told, &format!("drover_operation_jobs_total{{{greet},state=\"OK\"}}")), 2.0);
    let refused = format!("drover_operation_errors_total{{{greet},code=\"invalid-arguments\"}}");
    assert_eq!(value(&told, &refused), 1.0);
    assert_eq!(value(&told, "drover_job_duration_seconds_count{way=\"durable\"}"), 1.0);
    assert_eq!(value(&told, "drover_process_starts_total"), 1.0);
    assert_eq!(value(&told, "drover_link_up"), 1.0);
    assert_eq!(value(&told, "drover_plugins{state=\"serving\"}"), 2.0);
    assert!(value(&told, "process_resident_memory_bytes") > 1e6);
    assert_eq!(http(&agent, "GET /", "", "").status, 404);
    assert_eq!(http(&agent, "POST /metrics", "", "").status, 405);

    // The same by the controller, and on the command line.
    let by_controller = page(address(&site), "/metrics/nodes/1.1");
    assert_eq!(value(&by_controller, "drover_node_info{node=\"1.1\",name=\"a\"}"), 1.0);
    assert!(site.drover(&["metrics", "a"]).ok().contains("drover_heartbeats_total "));
    assert_eq!(http(address(&site), "GET /metrics/nodes/1.9", "", "").status, 404);

    let told = wait_for("the controller to have counted", || {
        let told = page(address(&site), "/metrics");
        let is_counted = told.contains("drover_nodes{grid=\"1\",presence=\"present\"} 1");
        if is_counted { Ok(told) } else { Err(told) }
    });
    assert_eq!(value(&told, "drover_jobs_total{state=\"OK\"}"), 1.0);
    assert_eq!(value(&told, "drover_submissions_total{result=\"accepted\"}"), 1.0);
    assert_eq!(value(&told, "drover_job_duration_seconds_bucket{le=\"+Inf\"}"), 1.0);
    assert_eq!(value(&told, "drover_waiting_jobs{phase=\"queued\"}"), 0.0);
    assert!(value(&told, "drover_audit_lines") >= 1.0);
    assert!(site.drover(&["metrics"]).ok().contains("drover_build_info{program=\"controller\""));
}

#[test]
fn an_agent_serves_this_host_alone_and_a_unix_socket_if_it_is_told_to() {
    let site = site();
    let socket = site.path("metrics.sock");
    // One that an agent before has left.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let _a = site.agent_with(1, "a", &format!("[metrics]\nunix = {socket:?}\n"));
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("drover_build_info{program=\"agent\""), "{answer}");

    let config = site.path("open.toml");
    std::fs::write(&config, "[metrics]\nlisten = \"0.0.0.0:9464\"\n").unwrap();
    let refused = run(DROVER.as_ref(), &["agent", "--config", config.to_str().unwrap()]).failed(2);
    assert!(refused.contains("metrics.listen"), "{refused}");
    assert!(refused.contains("/metrics/nodes/GID.NID"), "{refused}");
}
