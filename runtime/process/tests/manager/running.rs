//! Programs run, and what they say and how they end is told.

use drover_api::JobState;
use drover_process::{Exit, JobEvent, ManagerError, OutputStream, ProcessSpec};
use serde_json::json;

use super::kit::{Node, context, id, is_ok, shell, spec, spec_with};

#[tokio::test]
async fn a_program_runs_and_everything_is_told_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let outcome = node.run("job", shell("echo out; echo err >&2; exit 3", &json!({}))).await;
    assert_eq!((outcome.state, outcome.exit), (JobState::Error, Some(Exit::Code(3))));
    assert_eq!(node.output("job", OutputStream::Stdout), "out\n");
    assert_eq!(node.output("job", OutputStream::Stderr), "err\n");
    let events = node.events("job");
    assert!(matches!(events.first(), Some(JobEvent::Started { run: 1, .. })), "{events:?}");
    assert!(matches!(events[events.len() - 2], JobEvent::RunEnded { run: 1, .. }), "{events:?}");
    assert_eq!(node.manager.wait(&id("job")).await, Ok(outcome), "it is known for a while");
    node.shutdown().await;
}

#[tokio::test]
async fn data_goes_to_standard_input_and_the_environment_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    assert!(is_ok(&node.run("cat", spec_with(&json!({"cmd": "cat"}), "some\ndata")).await));
    assert_eq!(node.output("cat", OutputStream::Stdout), "some\ndata");

    let line = "echo $FROM_AGENT,$OWN,$HOME; pwd";
    node.run("clean", shell(line, &json!({"env": {"OWN": "own"}, "working_dir": "/usr"}))).await;
    assert_eq!(node.output("clean", OutputStream::Stdout), ",own,\n/usr\n");
    node.run("heir", shell(line, &json!({"inherit_env": true}))).await;
    assert_eq!(node.output("heir", OutputStream::Stdout), "yes,,\n/\n");
    node.shutdown().await;
}

#[tokio::test]
async fn a_script_runs_with_its_arguments_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let args = json!({"interpreter": "sh", "args": ["a b", "c"], "input": "typed"});
    let script = "read line; echo \"$1/$2/$line\"";
    let spec = ProcessSpec::execute_script(&context(), args.as_object().unwrap(), script).unwrap();
    assert!(is_ok(&node.run("script", spec).await));
    assert_eq!(node.output("script", OutputStream::Stdout), "a b/c/typed\n");
    assert_eq!(std::fs::read_dir(dir.path().join("scripts")).unwrap().count(), 0);
    node.shutdown().await;
}

#[tokio::test]
async fn standard_input_that_is_open_takes_more_until_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    node.submit("cat", spec_with(&json!({"cmd": "cat", "stdin": "open"}), "first ")).await;
    let stdin = node.manager.stdin(&id("cat")).await.unwrap();
    node.output_with("cat", "first ").await;
    stdin.write(b"second").await.unwrap();
    node.output_with("cat", "second").await;
    stdin.close().await;
    assert!(is_ok(&node.end_of("cat").await));
    assert!(stdin.write(b"late").await.is_err());

    node.submit("closed", shell("sleep 60", &json!({}))).await;
    let refusal = node.manager.stdin(&id("closed")).await.unwrap_err();
    assert_eq!(refusal, ManagerError::NoStdin(id("closed")));
    node.shutdown().await;
}

#[tokio::test]
async fn a_program_that_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let outcome = node.run("job", spec(&json!({"cmd": "/no/such/program"}))).await;
    assert_eq!((outcome.state, outcome.exit, outcome.runs), (JobState::Error, None, 1));
    assert!(outcome.message.contains("/no/such/program"), "{}", outcome.message);
    node.shutdown().await;
}

#[tokio::test]
async fn an_id_is_taken_until_its_job_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    node.submit("job", shell("sleep 60", &json!({}))).await;
    let again = node.manager.submit(id("job"), shell("true", &json!({}))).await;
    assert_eq!(again, Err(ManagerError::Duplicate(id("job"))));
    node.manager.kill(&id("job")).await.unwrap();
    node.end_of("job").await;
    assert!(is_ok(&node.run("job", shell("true", &json!({}))).await));
    let unknown = node.manager.wait(&id("never")).await;
    assert_eq!(unknown, Err(ManagerError::Unknown(id("never"))));
    node.shutdown().await;
}

#[tokio::test]
async fn what_jobs_use_is_told_at_their_interval_and_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let line = "sleep 3600 & echo up; while :; do :; done";
    for name in ["one", "two"] {
        let more = json!({"domain": "web", "name": "spin", "stats_interval": 0.1});
        node.submit(name, shell(line, &more)).await;
        node.output_with(name, "up").await;
    }
    node.submit("waits", shell("true", &json!({"start_delay": 3600}))).await;

    node.until("one", |events| {
        let busy = |event: &&JobEvent| {
            matches!(event, JobEvent::Usage { usage, .. }
                if usage.processes == 2 && usage.cpu_ms > 0 && usage.rss > 0)
        };
        events.iter().find(busy).map(drop)
    })
    .await;
    let one = node.manager.stats(&id("one")).await.unwrap();
    assert_eq!((one.usage.processes, one.usage.threads), (2, 2), "{one:?}");
    let groups = node.manager.stats_all(Some("web".to_owned()), None).await.unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].jobs.len(), groups[0].usage.processes), (2, 4));
    assert_eq!(node.manager.stats_all(None, Some("no".to_owned())).await.unwrap(), []);
    for (name, error) in [
        ("waits", ManagerError::NotRunning(id("waits"))),
        ("never", ManagerError::Unknown(id("never"))),
    ] {
        assert_eq!(node.manager.stats(&id(name)).await.unwrap_err(), error);
    }
    node.shutdown().await;
}

#[tokio::test]
async fn large_output_comes_whole_and_a_slow_reader_slows_the_child() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let line = "head -c 20000000 /dev/zero | tr '\\0' x; echo end >&2";
    assert!(is_ok(&node.run("job", shell(line, &json!({}))).await));
    assert_eq!(node.output("job", OutputStream::Stdout).len(), 20_000_000);
    assert_eq!(node.output("job", OutputStream::Stderr), "end\n");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_short_jobs_at_once_all_end_and_all_are_heard() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path());
    let names: Vec<_> = (0..1000).map(|number| format!("job-{number}")).collect();
    for name in &names {
        node.submit(name, spec(&json!({"cmd": "/bin/echo", "args": [name]}))).await;
    }
    for name in &names {
        assert!(is_ok(&node.end_of(name).await), "{name}");
        assert_eq!(node.output(name, OutputStream::Stdout), format!("{name}\n"));
    }
    assert_eq!(node.manager.list().await.unwrap(), []);
    node.shutdown().await;
}
