//! What jobs say is kept, shown, followed and forwarded.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use drover_api::{Command, JobId, JobResult, JobState, Level, Presence, Progress, procedures};
use drover_logs::service::Followed;
use drover_logs::statsd::{Series, SeriesValue};
use drover_logs::store::{Page, StoredRecord};
use drover_tests::{Agent, Site, component, wait_for};
use drover_wamp::{CallOptions, Client, Payload, RunningCall};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::site;
use crate::wamp_callers::{A, bare, join, run};

/// How long anything may take. Generous: only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A site with node `a`, which has the guests that log and print.
fn site_with_guests(config: &str) -> (Site, Agent) {
    let site = site();
    let a = add_node(&site, 1, "a", config);
    (site, a)
}

fn add_node(site: &Site, nid: u32, name: &str, config: &str) -> Agent {
    site.add_plugin(name, "guests.wasm", &fs::read(component("guests")).unwrap());
    let agent = site.start_agent(nid, name, config);
    site.wait_until_ready(name, 1);
    agent
}

/// A command of the guests.
fn guest(operation: &str, args: Value) -> Command {
    let Value::Object(args) = args else { panic!("arguments are an object") };
    Command { args, ..Command::new(format!("guests.{operation}")) }
}

async fn records(client: &Client, query: Value) -> Vec<StoredRecord> {
    let page: Page = serde_json::from_value(bare(client, "log.query", query).await).unwrap();
    page.records
}

fn texts(records: &[StoredRecord]) -> Vec<String> {
    records.iter().map(|record| record.text().into_owned()).collect()
}

fn numbers(last: usize) -> Vec<String> {
    (1..=last).map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn what_a_plugin_logs_and_prints_is_in_the_nodes_log_when_its_answer_comes() {
    let (site, _a) = site_with_guests("");
    let client = join(&site).await;

    for (operation, argument, level) in
        [("log", "records", Level::OPERATOR), ("print", "lines", Level::STDOUT)]
    {
        // More than the result has.
        let command = guest(operation, json!({ argument: 2500 }));
        assert_eq!(run(&client, &command).await.state, JobState::Ok);
        let query = json!({ "job": command.id, "order": "oldest", "limit": 10_000 });
        let records = records(&client, query).await;
        assert_eq!(texts(&records), numbers(2500));
        assert!(records.iter().all(|record| record.level == level));
        assert_eq!(records[0].source.domain, "guests");
        assert_eq!(records[0].source.name, operation);
    }

    let bytes = b"blob\xff\0\n7::beware\n9:::\nline\n\nline\n:::\nno end".to_vec();
    let command = guest("print_bytes", json!({ "bytes": bytes }));
    run(&client, &command).await;
    let records = records(&client, json!({ "job": command.id, "order": "oldest" })).await;
    let found: Vec<_> = records.iter().map(|r| (r.level.0, r.data.as_slice())).collect();
    let expected: [(u8, &[u8]); 4] =
        [(1, b"blob\xff\0"), (7, b"beware"), (9, b"line\n\nline"), (1, b"no end")];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn pages_follow_each_other_and_what_is_deleted_is_gone() {
    let (site, _a) = site_with_guests("");
    let client = join(&site).await;
    let (one, two) =
        (guest("log", json!({ "records": 30 })), guest("log", json!({ "records": 5 })));
    run(&client, &one).await;
    run(&client, &two).await;

    let mut query = json!({ "job": one.id, "limit": 7 });
    let mut found = Vec::new();
    loop {
        let page: Page =
            serde_json::from_value(bare(&client, "log.query", query.clone()).await).unwrap();
        assert!(page.records.len() <= 7);
        found.extend(texts(&page.records));
        let Some(next) = page.next else { break };
        query["cursor"] = next.to_string().into();
    }
    found.reverse();
    assert_eq!(found, numbers(30));

    let deleted = bare(&client, "log.delete", json!({ "job": one.id })).await;
    assert_eq!(deleted, json!({ "deleted": 30 }));
    assert!(records(&client, json!({ "job": one.id })).await.is_empty());
    assert_eq!(records(&client, json!({ "job": two.id })).await.len(), 5);
}

/// Begins to follow the log of node `a`, and returns when nothing is missed.
async fn follow(client: &Client, args: Value) -> RunningCall {
    let Value::Object(args) = args else { panic!("arguments are an object") };
    let command = Command { args, ..Command::new("log.follow") };
    let payload = Payload::one(&command).unwrap();
    let started = client.start(&procedures::run(A), payload, CallOptions::default()).await;
    let mut running = started.unwrap();
    assert!(next_records(&mut running).await.is_empty());
    running
}

async fn next_records(running: &mut RunningCall) -> Vec<StoredRecord> {
    let report = tokio::time::timeout(PATIENCE, running.next()).await;
    let report: Progress = report.expect("a report comes").unwrap().first().unwrap();
    match serde_json::from_value(report.progress).unwrap() {
        Followed::Records(records) => records,
        missed @ Followed::Missed { .. } => panic!("{missed:?}"),
    }
}

#[tokio::test]
async fn followers_lose_and_double_nothing_between_what_was_and_what_comes() {
    let (site, _a) = site_with_guests("");
    let client = join(&site).await;
    let mut jobs: BTreeMap<JobId, usize> = BTreeMap::new();
    let job = |records: usize| (guest("log", json!({ "records": records })), records);
    for (command, count) in [job(20), job(30)] {
        run(&client, &command).await;
        jobs.insert(command.id, count);
    }
    // Jobs log while the followers begin.
    let busy = [job(200), job(300), job(250)];
    jobs.extend(busy.iter().map(|(command, count)| (command.id.clone(), *count)));
    let logging = async {
        for (command, _) in &busy {
            run(&client, command).await;
        }
    };
    let conditions = json!({ "domain": "guests", "name": "log", "backlog": 10_000 });
    let following = async {
        let mut running = follow(&client, conditions).await;
        let mut found: Vec<StoredRecord> = Vec::new();
        while found.len() < jobs.values().sum() {
            found.extend(next_records(&mut running).await);
        }
        (running, found)
    };
    let ((), (running, found)) = tokio::join!(logging, following);

    assert!(found.is_sorted_by(|a, b| a.id.0 < b.id.0), "in order, and none twice");
    for (job, count) in &jobs {
        let of_job: Vec<_> = found.iter().filter(|r| r.source.job == *job).cloned().collect();
        assert_eq!(texts(&of_job), numbers(*count));
    }

    // Another one goes on after a record in the middle.
    let after = &found[found.len() / 2];
    let args = json!({ "domain": "guests", "name": "log", "after": after.id });
    let mut second = follow(&client, args).await;
    let mut rest = Vec::new();
    while rest.len() < found.len() - found.len() / 2 - 1 {
        rest.extend(next_records(&mut second).await);
    }
    assert_eq!(rest, found[found.len() / 2 + 1..]);

    running.cancel();
    let result: JobResult = running.answer().await.unwrap().first().unwrap();
    assert_eq!(result.state, JobState::Killed);
}

#[test]
fn an_operator_reads_and_follows_logs_at_the_terminal() {
    let (site, _a) = site_with_guests("");
    let json = site.drover(&["call", "a", "guests.log", "records=3", "--json"]).ok();
    let job: JobResult = serde_json::from_str(&json).unwrap();
    let id = job.id.as_str();

    let text = site.drover(&["logs", "a", "--name", "log"]).ok();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].contains("operator   guests.log: 1") && lines[2].ends_with(": 3"), "{text}");
    assert_eq!(site.drover(&["logs", id]).ok(), text, "a job is found by its id");
    assert_eq!(site.drover(&["logs", "a", "--name", "log", "--since", "1h"]).ok(), text);
    assert_eq!(site.drover(&["logs", "a", "--name", "log", "--until", "1h"]).ok(), "");
    assert_eq!(site.drover(&["logs", "a", "--name", "log", "--level", "7-9"]).ok(), "");
    let last = site.drover(&["logs", "a", "--job", id, "--limit", "1", "--json"]).ok();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(
        (&last["data"], &last["node"], &last["level"]),
        (&json!("3"), &json!("1.1"), &json!(4))
    );
    let errors = site.drover(&["logs", "nobody"]).failed(4);
    assert!(errors.contains("no node `nobody`") && errors.contains("a (1.1)"), "{errors}");
    let errors = site.drover(&["logs", "a", "--since", "yesterday"]).failed(2);
    assert!(errors.contains("10m"), "{errors}");

    let mut following = site.start_drover(&["logs", "a", "-f", "--name", "print", "--grep", "2"]);
    wait_for("the follower", || {
        let jobs = site.drover(&["call", "a", "job.list", "--json"]).ok();
        jobs.contains("log.follow").then_some(()).ok_or(jobs)
    });
    let _ = site.drover(&["call", "a", "guests.print", "lines=25"]).ok();
    following.wait_for_outputs("guests.print: 2", 7);
    following.signal(Signal::SIGINT);
    assert_eq!(following.wait().code(), Some(130), "{}", following.log());
}

/// Everything that the controller has of a node, oldest first.
async fn at_controller(client: &Client, node: &str, levels: &str) -> Vec<StoredRecord> {
    let mut query = json!({ "node": node, "levels": levels, "order": "oldest" });
    let mut records = Vec::new();
    loop {
        let payload = Payload::keyword(&query).unwrap();
        let answer = client.call(procedures::LOG_QUERY, payload, CallOptions::default()).await;
        let page: Page = answer.unwrap().first().unwrap();
        records.extend(page.records);
        let Some(next) = page.next else { return records };
        query["cursor"] = next.to_string().into();
    }
}

const FORWARDING: &str = "[logs]\nforward = \"4\"\nforward_interval = \"10ms\"\n\
     forward_records = 50\n";

#[tokio::test]
async fn records_of_all_nodes_are_at_the_controller_once_and_in_order() {
    let site = site();
    let _a = add_node(&site, 1, "a", FORWARDING);
    let _b = add_node(&site, 2, "b", FORWARDING);
    for name in ["a", "b"] {
        let _ = site.drover(&["call", name, "guests.log", "records=333"]).ok();
        let _ = site.drover(&["call", name, "guests.print", "lines=3"]).ok();
    }
    let client = join(&site).await;
    for node in ["1.1", "1.2"] {
        let mut found = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while found.len() < 333 {
            found = at_controller(&client, node, "*").await;
            assert!(Instant::now() < deadline, "{} records arrived", found.len());
        }
        assert_eq!(texts(&found), numbers(333));
    }
    let text = site.drover(&["logs", "--limit", "2000"]).ok();
    assert_eq!(text.lines().count(), 666);
    assert!(text.contains("operator   a guests.log: 7") && text.contains(" b guests.log: 333"));

    let mut following = site.start_drover(&["logs", "-f", "--limit", "1", "--json"]);
    following.wait_for_outputs("\"333\"", 1);
    let _ = site.drover(&["call", "b", "guests.log", "records=400"]).ok();
    following.wait_for_outputs("\"node\":\"1.2\"", 400);
    following.signal(Signal::SIGTERM);
    following.wait();
}

/// The sum of the counter `sent`, and how many records of it there are.
fn sent_in(records: &[StoredRecord]) -> f64 {
    let series = records.iter().map(|r| serde_json::from_slice::<Series>(&r.data).unwrap());
    let of_job = series.filter(|series| series.scope.job.is_some() && series.metric == "sent");
    of_job
        .map(|series| match series.value {
            SeriesValue::Counter { total, .. } => total,
            other => panic!("{other:?}"),
        })
        .sum()
}

#[tokio::test]
async fn what_was_measured_during_an_outage_of_the_controller_arrives_once() {
    let mut site = site();
    let socket = site.path("statsd.sock");
    let config = format!(
        "{FORWARDING}[statsd]\ninterval = \"100ms\"\nunix = {:?}\n",
        socket.to_str().unwrap()
    );
    let mut a = add_node(&site, 1, "a", &config);
    let mut sent = 0;
    let mut measure = |times: u32| {
        let sender = UnixDatagram::unbound().unwrap();
        for _ in 0..times {
            sender.send_to(b"sent:1|c\nload:3|g", &socket).unwrap();
        }
        sent += times;
        sent
    };
    measure(100);
    for round in 0..3 {
        site.controller.take().unwrap().signal(Signal::SIGKILL);
        measure(100);
        if round == 1 {
            // The agent goes and comes back while the controller is away.
            a.process.signal(Signal::SIGTERM);
            assert!(a.process.wait().success(), "{}", a.process.log());
            a = site.start_agent(1, "a", &config);
            wait_for("the socket for metrics", || socket.exists().then_some(()).ok_or("none"));
        }
        measure(100);
        site.start_controller();
        site.wait_until("a", Presence::Present);
        measure(100);
    }
    let total = f64::from(measure(1));

    let client = join(&site).await;
    let deadline = Instant::now() + PATIENCE;
    let found = loop {
        let found = at_controller(&client, "1.1", "10").await;
        if sent_in(&found) >= total {
            break found;
        }
        assert!(Instant::now() < deadline, "{} of {total} arrived", sent_in(&found));
    };
    assert_eq!(sent_in(&found), total, "none is lost and none doubled");
    let places: Vec<_> = found.iter().map(|record| record.sent.unwrap().place).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "in order");
    // The node itself has the same.
    let own = records(&client, json!({ "levels": 10, "order": "oldest", "limit": 10_000 })).await;
    let count = found.len().min(own.len());
    assert_eq!(texts(&own)[..count], texts(&found)[..count]);
}

#[tokio::test]
async fn a_damaged_log_is_set_aside_and_the_node_goes_on() {
    let (site, mut a) = site_with_guests("");
    let _ = site.drover(&["call", "a", "guests.log", "records=3"]).ok();
    a.process.signal(Signal::SIGTERM);
    assert!(a.process.wait().success(), "{}", a.process.log());
    fs::write(site.path("a/logs/current.db"), "this is no database").unwrap();

    let a = site.start_agent(1, "a", "");
    site.wait_until_ready("a", 1);

    a.process.wait_for_log("log file set aside");
    let _ = site.drover(&["call", "a", "guests.log", "records=4"]).ok();
    let text = site.drover(&["logs", "a", "--name", "log"]).ok();
    assert_eq!(text.lines().count(), 4, "{text}");
    let text = site.drover(&["logs", "a", "--level", "9"]).ok();
    assert!(text.contains("damaged"), "{text}");
}
