//! What a node can do without any plugin.

use drover_api::{Command, JobResult, JobState, procedures};
use drover_tests::component;
use drover_wamp::{CallOptions, Payload};
use serde_json::{Value, json};

use crate::site;
use crate::wamp_callers::{A, bare, join, run};

#[test]
fn the_nodes_own_commands_are_listed_checked_and_called_like_operations() {
    let site = site();
    let _a = site.agent(1, "a");

    let text = site.drover(&["ops", "a"]).ok();
    for part in ["agent.ping", "log.follow  (service on a)", "Where an earlier answer"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert_eq!(site.drover(&["call", "a", "agent.ping"]).ok(), "pong\n");
    let info = site.drover(&["call", "a", "agent.info", "--json"]).ok();
    let info: JobResult = serde_json::from_str(&info).unwrap();
    assert_eq!((&info.data["name"], &info.data["plugins"]), (&json!("a"), &json!(2)));

    let errors = site.drover(&["call", "a", "log.query", "limit=0"]).failed(5);
    assert!(errors.contains("`limit`"), "{errors}");
    let errors = site.drover(&["call", "a", "log.delete"]).failed(5);
    assert!(errors.contains("levels"), "{errors}");
    let errors = site.drover(&["call", "a", "log.qurey"]).failed(4);
    assert!(errors.contains("there are: query"), "{errors}");
    let errors = site.drover(&["call", "a", "lgo.query"]).failed(4);
    assert!(errors.contains("no plugin `lgo`; there are: log"), "{errors}");
}

#[tokio::test]
async fn running_jobs_are_listed_with_their_commands() {
    let site = site();
    site.add_plugin("a", "guests.wasm", &std::fs::read(component("guests")).unwrap());
    let _a = site.start_agent(1, "a", "");
    site.wait_until_ready("a", 1);
    let client = join(&site).await;
    let command = Command::new("guests.until_cancelled");
    let payload = Payload::one(&command).unwrap();
    let started = client.start(&procedures::run(A), payload, CallOptions::default()).await;
    let mut waiting = started.unwrap();
    assert!(waiting.next().await.is_some(), "the job has ended");

    let jobs = bare(&client, "job.list", json!({})).await;

    assert_eq!(jobs.as_array().unwrap().len(), 1, "{jobs}");
    assert_eq!(jobs[0]["id"], command.id.as_str());
    assert_eq!(jobs[0]["cmd"], "guests.until_cancelled");
    waiting.cancel();
    let result: JobResult = waiting.answer().await.unwrap().first().unwrap();
    assert_eq!(result.state, JobState::Killed);
    assert_eq!(bare(&client, "job.list", json!({})).await, json!([]));
}

#[tokio::test]
async fn jumpscales_names_are_understood_bare_and_in_envelopes() {
    let site = site();
    let _a = site.agent(1, "a");
    let client = join(&site).await;
    bare(&client, "hello.greet", json!({ "name": "Ada" })).await;

    assert_eq!(bare(&client, "ping", json!({})).await, "pong");
    assert!(bare(&client, "get_cpu_info", json!({})).await.is_object());
    assert!(bare(&client, "get_mem_info", json!({})).await["total"].is_number());
    let messages = bare(&client, "get_msgs", json!({ "jobid": "", "levels": "*" })).await;
    assert!(messages["records"].is_array(), "{messages}");

    // As their clients send it: arguments in the data, and extra fields.
    let envelope = json!({
        "id": "old-1", "gid": 1, "nid": 1, "cmd": "del_msgs", "args": {}, "roles": [],
        "data": "{\"jobid\": \"nobody\", \"timefrom\": 1447000000}",
    });
    let command: Command = serde_json::from_value(envelope).unwrap();
    let result = run(&client, &command).await;
    assert_eq!((result.state, result.cmd.as_str()), (JobState::Ok, "del_msgs"));
    assert_eq!(result.data, json!({ "deleted": 0 }));
    let unknown = run(&client, &Command::new("get_nonsense")).await.error.unwrap();
    assert!(unknown.message.contains("`get_nonsense` is no command"), "{unknown}");
}

#[test]
fn a_plugin_with_a_name_of_the_nodes_own_is_refused_and_the_others_load() {
    let site = site();
    let hello = std::fs::read(component("hello")).unwrap();
    site.add_plugin("a", "log.wasm", &hello);
    site.add_plugin("a", "hello.wasm", &hello);
    let _a = site.start_agent(1, "a", "");
    let node = site.wait_for_node("a", |node| {
        node.description.plugins.len() == 1 && node.description.refused.len() == 1
    });

    assert_eq!(node.description.plugins[0].name, "hello");
    let refused = &node.description.refused[0];
    assert!(refused.file == "log.wasm" && refused.reason.contains("rename"), "{refused:?}");
    let file = site.path("a/plugins/log.wasm");
    let cache = drover_tests::compiled();
    let line = ["plugin", "inspect", file.to_str().unwrap(), "--cache", cache.to_str().unwrap()];
    let errors = drover_tests::run(crate::DROVER.as_ref(), &line).failed(1);
    assert!(errors.contains("own commands"), "{errors}");
}

#[test]
fn an_agent_that_is_told_to_restart_answers_and_ends_with_its_own_status() {
    let site = site();
    let mut a = site.agent(1, "a");

    let answer = site.drover(&["call", "a", "agent.restart", "--json"]).ok();

    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["state"], "OK");
    assert_eq!(a.process.wait().code(), Some(75), "{}", a.process.log());
    let _again = site.agent(1, "a");
    assert_eq!(site.drover(&["call", "a", "agent.ping"]).ok(), "pong\n");
}
