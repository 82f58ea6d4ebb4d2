//! Any WAMP client can call a node, with or without envelopes.

use drover_api::{
    Command, ErrorCode, JobResult, JobState, NodeDescription, NodeId, Presence, Timestamp,
    procedures,
};
use drover_wamp::{CallError, CallOptions, Client, ClientConfig, Payload};
use serde_json::{Value, json};

use crate::site;

pub(crate) const A: NodeId = NodeId { gid: drover_api::Gid(1), nid: drover_api::Nid(1) };

pub(crate) async fn join(site: &drover_tests::Site) -> Client {
    Client::connect(&ClientConfig::new(&site.url, procedures::REALM)).await.unwrap()
}

pub(crate) async fn run(client: &Client, command: &Command) -> JobResult {
    let payload = Payload::one(command).unwrap();
    let answer = client.call(&procedures::run(A), payload, CallOptions::default()).await;
    answer.unwrap().first().unwrap()
}

/// Calls a procedure of node 1.1 with keyword arguments.
pub(crate) async fn bare(client: &Client, name: &str, kwargs: Value) -> Value {
    let payload = Payload::keyword(&kwargs).unwrap();
    let procedure = procedures::node_prefix(A) + name;
    let answer = client.call(&procedure, payload, CallOptions::default()).await;
    answer.unwrap().first().unwrap()
}

#[tokio::test]
async fn an_operation_is_a_procedure_with_keyword_arguments() {
    let site = site();
    let _a = site.agent(1, "a");
    let client = join(&site).await;

    let procedure = procedures::node_prefix(A) + "hello.greet";
    let arguments = Payload::keyword(&json!({"name": "Ada"})).unwrap();
    let answer = client.call(&procedure, arguments, CallOptions::default()).await.unwrap();
    let text = answer.first::<Value>().unwrap().to_string();
    assert!(text.contains("Hello, Ada!"), "{text}");

    let error = client.call(&procedure, Payload::empty(), CallOptions::default()).await;
    let Err(CallError::Application(error)) = error else { panic!("{error:?}") };
    assert_eq!(error.uri, "drover.error.invalid_arguments");
}

#[tokio::test]
async fn a_node_describes_itself() {
    let site = site();
    let _a = site.agent(1, "a");
    let client = join(&site).await;

    let answer = client
        .call(&procedures::describe(A), Payload::empty(), CallOptions::default())
        .await
        .unwrap();

    assert_eq!(answer.first::<NodeDescription>().unwrap().name, "a");
}

#[tokio::test]
async fn a_command_for_another_node_and_a_message_that_is_none_are_refused() {
    let site = site();
    let _a = site.agent(1, "a");
    let client = join(&site).await;

    let mut command = Command::new("hello.greet");
    command.nid = Some(drover_api::Nid(9));
    let result = run(&client, &command).await;
    assert_eq!(result.state, JobState::Error);
    assert_eq!(result.error.unwrap().code, ErrorCode::WrongNode);

    let payload = Payload::one(&json!({"no": "command"})).unwrap();
    let error = client.call(&procedures::run(A), payload, CallOptions::default()).await;
    let Err(CallError::Application(error)) = error else { panic!("{error:?}") };
    assert_eq!(error.uri, "drover.error.invalid_command");
}

#[tokio::test]
async fn an_id_can_be_used_again_only_after_its_job_has_ended() {
    let site = site();
    site.add_plugin("a", "guests.wasm", &std::fs::read(drover_tests::component("guests")).unwrap());
    let _a = site.start_agent(1, "a", "");
    site.wait_until_ready("a", 1);
    let client = join(&site).await;
    let mut command = Command::new("guests.until_cancelled");

    let payload = Payload::one(&command).unwrap();
    let procedure = procedures::run(A);
    let running = client.start(&procedure, payload, CallOptions::default());
    let mut running = running.await.unwrap();
    assert!(running.next().await.is_some(), "the job has ended");

    command.cmd = "guests.empty".to_owned();
    let second = run(&client, &command).await;
    assert_eq!(second.error.unwrap().code, ErrorCode::DuplicateId);
}

#[tokio::test]
async fn killing_every_session_ends_neither_the_controller_nor_the_node() {
    let site = site();
    let _a = site.agent(1, "a");
    let client = join(&site).await;

    let procedure = "wamp.session.kill_all";
    let killed = client.call(procedure, Payload::empty(), CallOptions::default()).await.unwrap();
    assert!(killed.first::<u64>().unwrap() >= 2, "the node's and the controller's own");

    let killed = Timestamp::now();
    site.wait_for_node("a", |node| node.presence == Presence::Present && node.last_seen >= killed);
    assert!(site.drover(&["call", "a", "hello.greet", "name=Ada"]).ok().contains("Hello, Ada!"));
}
