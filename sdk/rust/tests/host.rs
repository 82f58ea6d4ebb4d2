//! The stand-in for the host that unit tests of plugins run against.

use std::time::Duration;

use drover_sdk::log::Level;
use drover_sdk::testing::{Host, with_host};
use drover_sdk::{job, log, sysinfo};

#[test]
fn a_job_is_what_the_test_says() {
    let host = Host {
        job_id: "j1".to_owned(),
        job_data: vec![1, 2],
        remaining: Some(Duration::from_secs(3)),
        is_cancelled: true,
        ..Host::default()
    };
    let ((), _) = with_host(host, || {
        assert_eq!(job::id(), "j1");
        assert_eq!(job::data(), [1, 2]);
        assert_eq!(job::remaining(), Some(Duration::from_secs(3)));
        assert!(job::is_cancelled());
    });
    assert_eq!(job::id(), "test");
    assert!(!job::is_cancelled());
}

#[test]
fn what_is_told_is_heard_in_order() {
    let ((), heard) = with_host(Host::default(), || {
        log::warning(format_args!("{} left", 3));
        log::structured(&("a", 1)).unwrap();
        job::progress(&0.5).unwrap();
        job::progress(&"done").unwrap();
    });
    let messages: Vec<_> = heard.records.iter().map(|record| record.message.as_str()).collect();
    assert_eq!(messages, ["3 left", r#"["a",1]"#]);
    assert!(matches!(heard.records[0].level, Level::Warning));
    assert_eq!(heard.progress, [serde_json::json!(0.5), serde_json::json!("done")]);
}

#[test]
fn progress_that_the_host_would_refuse_is_refused() {
    let longest = "x".repeat(64 * 1024 - 2);
    job::progress(&longest).unwrap();
    let error = job::progress(&(longest + "x")).unwrap_err();
    assert!(matches!(error, job::ProgressError::TooLong { limit: 65_536 }), "{error}");
}

#[test]
fn hosts_nest_and_come_back_after_a_panic() {
    let named = |id: &str| Host { job_id: id.to_owned(), ..Host::default() };
    let ((), heard) = with_host(named("outer"), || {
        let caught = std::panic::catch_unwind(|| {
            with_host(named("inner"), || panic!("on purpose"));
        });
        assert!(caught.is_err());
        assert_eq!(job::id(), "outer");
        log::text("still heard");
    });
    assert_eq!(heard.records.len(), 1);
}

#[test]
fn the_machine_can_be_replaced_in_parts() {
    let host = Host { processes: Vec::new(), ..Host::default() };
    let (processes, _) = with_host(host, sysinfo::processes);
    assert!(processes.is_empty());
    assert_eq!(sysinfo::cpu().logical_cores as usize, sysinfo::cpu().cores.len());
}
