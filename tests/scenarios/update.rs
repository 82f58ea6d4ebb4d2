//! The controller pushes plugin code to a node that works.

mod controller;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use drover_api::{
    Command, ErrorCode, JobError, JobResult, JobState, NodeDescription, PluginList, PluginVersions,
    Progress, UpdateEnd, UpdateOutcome, UpdateStatus, UpdateStep, procedures,
};
use drover_tests::{Process, compiled, component};
use drover_wamp::{CallOptions, Payload, RunningCall};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use tokio::time::timeout;

use crate::DROVER;
use crate::wamp_callers::A;
use controller::{ALL, Controller, Pushed};

/// What every version asks for.
const STATE: &str = "state = { size = \"1 MiB\", reason = \"counts\" }\n";

/// How long anything may take: only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node, and the controller that it obeys.
struct Node {
    controller: Controller,
    dir: TempDir,
    process: Process,
}

impl Node {
    async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same with more in its configuration.
    async fn start_with(more: &str) -> Self {
        // Building it can take minutes, in which this thread does nothing else.
        let _ = component("pushed");
        let controller = Controller::start().await;
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("grants.toml"), "[pushed]\nstate = \"1 MiB\"\n").unwrap();
        let config = format!(
            "controller = {:?}\nname = \"a\"\ndata_dir = {:?}\ncache_dir = {:?}\n\
             heartbeat = \"200ms\"\nreconnect_first = \"50ms\"\nreconnect_longest = \"500ms\"\n{}{more}",
            controller.url,
            dir.path(),
            compiled(),
            controller.trusted(),
        );
        fs::write(dir.path().join("agent.toml"), config).unwrap();
        let process = start(&dir);
        let node = Self { controller, dir, process };
        node.until_joined().await;
        node
    }

    /// Waits until the node answers.
    async fn until_joined(&self) {
        eventually("the node", || async {
            let client = &self.controller.client;
            let options = CallOptions::default();
            client.call(&procedures::describe(A), Payload::empty(), options).await.map(drop)
        })
        .await;
    }

    /// Ends the agent with kill -9, and starts it again.
    async fn kill(&mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.wait();
        self.process = start(&self.dir);
        self.until_joined().await;
    }

    async fn run(&self, cmd: &str, args: Value) -> JobResult {
        let payload = Payload::one(&command(cmd, args)).unwrap();
        let client = &self.controller.client;
        let answer = client.call(&procedures::run(A), payload, CallOptions::default()).await;
        answer.unwrap().first().unwrap()
    }

    /// Begins an update, and listens to it.
    async fn begin(&self, pushed: &Pushed, watch: &str) -> RunningCall {
        let payload = Payload::one(&command("plugin.update", pushed.arguments(watch))).unwrap();
        let client = &self.controller.client;
        client.start(&procedures::run(A), payload, CallOptions::default()).await.unwrap()
    }

    /// Has the node run a version, and waits for the end.
    async fn update(&self, pushed: &Pushed, watch: &str) -> Result<UpdateEnd, JobError> {
        end(self.run("plugin.update", pushed.arguments(watch)).await)
    }

    async fn greet(&self) -> Result<String, JobError> {
        let result = self.run("pushed.greet", json!({"name": "Ada"})).await;
        match result.error {
            Some(error) => Err(error),
            None => Ok(result.data.as_str().unwrap().to_owned()),
        }
    }

    async fn versions(&self) -> PluginVersions {
        let result = self.run("plugin.versions", json!({"name": "pushed"})).await;
        let mut plugins: Vec<PluginVersions> =
            serde_json::from_value((*result.data).clone()).unwrap_or_else(|_| panic!("{result:?}"));
        plugins.pop().unwrap()
    }

    /// Waits until the node tells the controller of something that does not work.
    async fn until_troubled_by(&self, words: &[&str]) {
        eventually(&format!("trouble with {words:?}"), || async {
            let client = &self.controller.client;
            let (describe, options) = (procedures::describe(A), CallOptions::default());
            let answer = client.call(&describe, Payload::empty(), options).await.unwrap();
            let node: NodeDescription = answer.first().unwrap();
            let trouble = node.trouble.unwrap_or_default();
            let has_all = words.iter().all(|words| trouble.contains(words));
            has_all.then_some(()).ok_or(trouble)
        })
        .await;
    }

    async fn until_greeted_by(&self, version: &str) {
        eventually(&format!("a greeting by {version}"), || async {
            let said = self.greet().await;
            match &said {
                Ok(text) if text.ends_with(&format!("by {version}")) => Ok(()),
                _ => Err(said),
            }
        })
        .await;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn start(dir: &TempDir) -> Process {
    let config = dir.path().join("agent.toml");
    Process::start(DROVER.as_ref(), &["agent", "--config", config.to_str().unwrap()])
}

fn command(cmd: &str, args: Value) -> Command {
    let Value::Object(args) = args else { panic!("{args}") };
    Command { args, ..Command::new(cmd) }
}

fn end(result: JobResult) -> Result<UpdateEnd, JobError> {
    match result.error {
        Some(error) => Err(error),
        None => Ok(serde_json::from_value(result.data.into_value()).unwrap()),
    }
}

/// Waits for the end of an update.
async fn ended(call: RunningCall) -> Result<UpdateEnd, JobError> {
    let answer = timeout(PATIENCE, call.answer()).await.expect("the update ends");
    end(answer.unwrap().first().unwrap())
}

/// How an update ended that is told as an error.
fn end_of(error: &JobError) -> UpdateEnd {
    serde_json::from_value(error.detail.clone()).unwrap_or_else(|_| panic!("{error:?}"))
}

/// Asks again and again until `look` gives `Ok`.
async fn eventually<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(last) if Instant::now() > deadline => {
                panic!("waited in vain for {what}; last seen: {last:?}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Waits until an update tells that it is at a step.
async fn until(call: &mut RunningCall, step: UpdateStep) {
    let mut seen = Vec::new();
    let next = async |call: &mut RunningCall| timeout(PATIENCE, call.next()).await.ok().flatten();
    while let Some(report) = next(call).await {
        let progress: Progress = report.first().unwrap();
        let status: UpdateStatus = serde_json::from_value(progress.progress).unwrap();
        seen.push(status.step);
        if status.step == step {
            return;
        }
    }
    panic!("it was never at {step:?}, only at {seen:?}");
}

#[tokio::test]
async fn a_version_comes_in_pieces_serves_and_gives_way_to_the_next() {
    let node = Node::start().await;
    let one = node.controller.push("1.0.0", STATE);
    let mut call = node.begin(&one, "100ms").await;
    for step in [
        UpdateStep::Fetching,
        UpdateStep::Verifying,
        UpdateStep::Preparing,
        UpdateStep::Testing,
        UpdateStep::Swapping,
        UpdateStep::Watching,
    ] {
        until(&mut call, step).await;
    }
    let done = ended(call).await.unwrap();
    assert_eq!((done.outcome, done.version.as_str()), (UpdateOutcome::Active, "1.0.0"));
    assert_eq!(node.greet().await.unwrap(), "Ada is greeted by 1.0.0");
    assert!(node.controller.catalog.lock().unwrap().read.len() > 1);

    let two = node.controller.push("2.0.0", STATE);
    node.update(&two, "0s").await.unwrap();
    assert_eq!(node.greet().await.unwrap(), "Ada is greeted by 2.0.0");
    // The same again is answered at once, and nothing is fetched.
    node.controller.answers.send_replace(0);
    node.update(&two, "0s").await.unwrap();

    let back = end(node.run("plugin.revert", json!({"name": "pushed"})).await).unwrap();
    assert_eq!(back.version, "1.0.0");
    assert_eq!(node.greet().await.unwrap(), "Ada is greeted by 1.0.0");
    let kept = node.versions().await.versions;
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().any(|one| one.version == "1.0.0" && one.is_active));
}

#[tokio::test]
async fn a_version_that_crashes_on_its_third_call_is_off_and_the_old_one_is_back() {
    let mut node = Node::start().await;
    node.update(&node.controller.push("1.0.0", STATE), "0s").await.unwrap();
    let bad = node.controller.push("2.0.0-crashes", STATE);
    let mut call = node.begin(&bad, "10m").await;
    until(&mut call, UpdateStep::Watching).await;
    for _ in 0..2 {
        assert_eq!(node.greet().await.unwrap(), "Ada is greeted by 2.0.0-crashes");
    }
    assert_eq!(node.greet().await.unwrap_err().code, ErrorCode::Trapped);

    let error = ended(call).await.unwrap_err();
    let ended = end_of(&error);
    assert_eq!((ended.outcome, ended.back_to.as_deref()), (UpdateOutcome::FellBack, Some("1.0.0")));
    assert!(error.message.contains("1 of its 3 jobs crashed"), "{error}");
    node.until_greeted_by("1.0.0").await;
    let error = node.update(&bad, "0s").await.unwrap_err();
    assert!(error.message.contains("again=true"), "{error}");

    node.kill().await;
    node.until_greeted_by("1.0.0").await;
    let shown = node.versions().await;
    assert_eq!(shown.last.unwrap().outcome, UpdateOutcome::FellBack);
    assert!(shown.versions.iter().any(|one| one.fault.is_some()));
}

#[tokio::test]
async fn a_version_that_fails_where_the_old_one_worked_is_off() {
    let node = Node::start().await;
    node.update(&node.controller.push("1.0.0", STATE), "0s").await.unwrap();
    for _ in 0..10 {
        node.greet().await.unwrap();
    }
    let mut call = node.begin(&node.controller.push("2.0.0-fails", STATE), "10m").await;
    until(&mut call, UpdateStep::Watching).await;
    for _ in 0..10 {
        let _ = node.greet().await;
    }
    let error = ended(call).await.unwrap_err();
    assert!(error.message.contains("jobs failed"), "{error}");
    node.until_greeted_by("1.0.0").await;
}

#[tokio::test]
async fn a_version_that_fails_its_own_test_never_serves() {
    let node = Node::start().await;
    node.update(&node.controller.push("1.0.0", STATE), "0s").await.unwrap();
    let error = node.update(&node.controller.push("2.0.0-untrue", STATE), "0s").await.unwrap_err();
    assert_eq!(end_of(&error).at, UpdateStep::Testing);
    assert!(error.message.contains("does not keep what it promises"), "{error}");
    assert_eq!(node.greet().await.unwrap(), "Ada is greeted by 1.0.0");
}

#[tokio::test]
async fn what_asks_for_more_is_held_until_the_admin_grants_it() {
    let mut node = Node::start().await;
    node.update(&node.controller.push("1.0.0", STATE), "0s").await.unwrap();
    let asks = format!("{STATE}env = [{{ name = \"TZ\", reason = \"local time\" }}]\n");
    let greedy = node.controller.push("2.0.0", &asks);
    let mut call = node.begin(&greedy, "0s").await;
    until(&mut call, UpdateStep::Held).await;
    assert_eq!(node.greet().await.unwrap(), "Ada is greeted by 1.0.0");
    let reason = node.versions().await.update.unwrap().reason.unwrap();
    assert!(reason.contains("TZ"), "{reason}");
    node.until_troubled_by(&["version 2.0.0 of `pushed` is held", "env = [\"TZ\"]"]).await;
    let list: PluginList =
        serde_json::from_value(node.run("plugin.list", json!({})).await.data.into_value()).unwrap();
    let refusal = list.plugins[0].next.as_ref().unwrap().refusal.clone().unwrap();
    assert!(refusal.contains("env = [\"TZ\"]"), "{refusal}");

    node.kill().await;
    assert!(call.answer().await.is_err());
    let mut call = node.begin(&greedy, "0s").await;
    until(&mut call, UpdateStep::Held).await;
    node.until_greeted_by("1.0.0").await;
    let grants = "[pushed]\nstate = \"1 MiB\"\nenv = [\"TZ\"]\n";
    fs::write(node.path("grants.toml"), grants).unwrap();
    ended(call).await.unwrap();
    assert_eq!(node.greet().await.unwrap(), "Ada is greeted by 2.0.0");
}

#[tokio::test]
async fn the_admins_own_file_goes_before_what_is_pushed() {
    let node = Node::start().await;
    let one = node.controller.push("1.0.0", STATE);
    node.update(&one, "0s").await.unwrap();
    let own = node.path("plugins/pushed.wasm");
    fs::copy(component("hello"), &own).unwrap();
    eventually("the admin's plugin", || async {
        let said = node.greet().await;
        said.as_ref().is_ok_and(|said| said.contains("Hello")).then_some(()).ok_or(said)
    })
    .await;
    let trouble = eventually("the reason", || async {
        let shown = node.versions().await;
        shown.trouble.clone().ok_or(shown)
    })
    .await;
    assert!(trouble.contains("plugin directory"), "{trouble}");
    let two = node.controller.push("2.0.0", STATE);
    let mut call = node.begin(&two, "0s").await;
    until(&mut call, UpdateStep::Held).await;

    fs::remove_file(own).unwrap();
    ended(call).await.unwrap();
    node.until_greeted_by("2.0.0").await;
}

#[tokio::test]
async fn what_nobody_trusted_has_signed_or_stated_never_serves() {
    let node = Node::start().await;
    let one = node.controller.push("1.0.0", STATE);
    let stolen =
        Pushed { signature: node.controller.push("3.0.0", STATE).signature, ..one.clone() };
    let error = node.update(&stolen, "0s").await.unwrap_err();
    assert!(error.message.contains("signature"), "{error}");

    let error = node.update(&Pushed { version: "9.0.0".into(), ..one.clone() }, "0s").await;
    assert!(error.unwrap_err().message.contains("no pushed@9.0.0"));

    let old = node.controller.statement();
    let two = node.controller.push("2.0.0", STATE);
    node.controller.tamper(&two);
    let error = node.update(&two, "0s").await.unwrap_err();
    assert!(error.message.contains("not what was asked for"), "{error}");

    // A statement that was current once, and one that is over.
    node.controller.set_statement(old);
    let error = node.update(&one, "0s").await.unwrap_err();
    assert!(error.message.contains("is older than"), "{error}");
    node.controller.state("2026-01-02T00:00:00Z");
    let error = node.update(&one, "0s").await.unwrap_err();
    assert!(error.message.contains("expired"), "{error}");

    node.controller.state("2999-01-01T00:00:00Z");
    node.update(&one, "0s").await.unwrap();
    node.update(&node.controller.push("4.0.0", STATE), "0s").await.unwrap();
    let error = node.update(&one, "0s").await.unwrap_err();
    assert!(error.message.contains("older than version 4.0.0"), "{error}");
    assert_eq!(node.greet().await.unwrap(), "Ada is greeted by 4.0.0");
}

#[tokio::test]
async fn killed_while_it_fetches_it_goes_on_where_it_was() {
    let mut node = Node::start().await;
    node.update(&node.controller.push("1.0.0", STATE), "0s").await.unwrap();
    let two = node.controller.push("2.0.0", STATE);
    node.controller.catalog.lock().unwrap().read.clear();
    node.controller.answers.send_replace(2);
    let _call = node.begin(&two, "0s").await;
    eventually("two pieces", || async {
        let fetched = node.versions().await.update.map(|update| update.fetched);
        fetched.is_some_and(|fetched| fetched >= 32 << 10).then_some(()).ok_or(fetched)
    })
    .await;
    node.kill().await;
    node.until_greeted_by("1.0.0").await;

    node.controller.answers.send_replace(ALL);
    node.until_greeted_by("2.0.0").await;
    let read = node.controller.catalog.lock().unwrap().read.clone();
    assert_eq!(read.iter().filter(|offset| **offset == 0).count(), 1, "{read:?}");
}

#[tokio::test]
async fn killed_at_each_step_a_node_runs_the_old_or_the_new_version() {
    let mut node = Node::start().await;
    node.update(&node.controller.push("1.0.0", STATE), "0s").await.unwrap();
    let steps = [
        UpdateStep::Verifying,
        UpdateStep::Preparing,
        UpdateStep::Testing,
        UpdateStep::Swapping,
        UpdateStep::Watching,
    ];
    for (number, step) in steps.into_iter().enumerate() {
        let (old, new) = (format!("{}.0.0", number + 1), format!("{}.0.0", number + 2));
        let pushed = node.controller.push(&new, STATE);
        let mut call = node.begin(&pushed, "300ms").await;
        until(&mut call, step).await;
        node.kill().await;
        let said = eventually("a greeting", || node.greet()).await;
        assert!(said.ends_with(&old) || said.ends_with(&new), "{step:?}: {said}");
        // It goes on by itself; whoever asks again listens to it.
        let done = node.update(&pushed, "300ms").await.unwrap();
        assert_eq!(done.outcome, UpdateOutcome::Active, "{step:?}");
        node.until_greeted_by(&new).await;
    }
}

#[tokio::test]
async fn killed_in_the_middle_of_its_own_test_it_still_runs_the_old_version() {
    let mut node = Node::start().await;
    node.update(&node.controller.push("1.0.0", STATE), "0s").await.unwrap();
    let mut call = node.begin(&node.controller.push("2.0.0-slow", STATE), "0s").await;
    until(&mut call, UpdateStep::Testing).await;
    node.kill().await;
    node.until_greeted_by("1.0.0").await;
    // Another wish takes the place of the one that goes on.
    node.update(&node.controller.push("3.0.0", STATE), "0s").await.unwrap();
    assert_eq!(node.greet().await.unwrap(), "Ada is greeted by 3.0.0");
}

#[tokio::test]
async fn killed_while_a_bad_version_gives_way_it_runs_the_old_one() {
    let mut node = Node::start().await;
    node.update(&node.controller.push("1.0.0", STATE), "0s").await.unwrap();
    let mut call = node.begin(&node.controller.push("2.0.0-crashes", STATE), "10m").await;
    until(&mut call, UpdateStep::Watching).await;
    while node.greet().await.is_ok() {}
    node.kill().await;
    // It was killed before or after the fall-back was written down: in the one case
    // the version is still watched, and crashes again.
    eventually("the old version", || async {
        match node.greet().await {
            Ok(said) if said.ends_with("by 1.0.0") => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn no_call_fails_while_twenty_updates_go_by() {
    let node = Node::start().await;
    node.update(&node.controller.push("1.0.0", STATE), "0s").await.unwrap();
    let pushed: Vec<_> =
        (1..=20).map(|number| node.controller.push(&format!("1.{number}.0"), STATE)).collect();
    let updates = async {
        for pushed in &pushed {
            node.update(pushed, "0s").await.unwrap();
        }
    };
    let calls = async {
        let mut count = 0_u32;
        loop {
            let said = node.greet().await;
            assert!(said.is_ok(), "after {count} calls: {said:?}");
            count += 1;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = updates => {}
        () = calls => {}
    }
    assert_eq!(node.greet().await.unwrap(), "Ada is greeted by 1.20.0");
    let shown = node.versions().await;
    assert_eq!(shown.versions.len(), 10);
    let files = fs::read_dir(node.path("pushed/pushed")).unwrap();
    let files = files.filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".wasm")
    });
    assert_eq!(files.count(), 10);
}

#[tokio::test]
async fn what_is_withdrawn_is_known_without_anybody_asking() {
    let mut node = Node::start().await;
    let one = node.controller.push("1.0.0", STATE);
    node.update(&one, "0s").await.unwrap();
    let asks = format!("{STATE}env = [{{ name = \"TZ\", reason = \"local time\" }}]\n");
    let two = node.controller.push("2.0.0", &asks);
    let mut call = node.begin(&two, "0s").await;
    until(&mut call, UpdateStep::Held).await;
    node.controller.yank(&two).await;
    let error = ended(call).await.unwrap_err();
    assert!(error.message.contains("pushed@2.0.0 was yanked"), "{error}");

    // It serves until somebody decides what is to, and says so.
    node.controller.yank(&one).await;
    node.until_troubled_by(&["version 1.0.0 of `pushed` serves and was withdrawn"]).await;
    assert_eq!(node.greet().await.unwrap(), "Ada is greeted by 1.0.0");
    // A node that was away hears of it when it is back.
    node.kill().await;
    node.until_troubled_by(&["was withdrawn"]).await;
}

#[tokio::test]
async fn content_comes_by_http_where_the_configuration_says_so() {
    let node = Node::start_with("[updates]\nfrom = \"http\"\n").await;
    node.controller.answers.send_replace(0);
    node.update(&node.controller.push("1.0.0", STATE), "0s").await.unwrap();
    assert_eq!(node.greet().await.unwrap(), "Ada is greeted by 1.0.0");
    assert!(node.controller.catalog.lock().unwrap().read.is_empty());
}

#[tokio::test]
async fn what_http_does_not_give_comes_over_the_link() {
    // Nobody listens there.
    let node = Node::start_with("[updates]\nfrom = \"http://127.0.0.1:1/plugins\"\n").await;
    node.update(&node.controller.push("1.0.0", STATE), "0s").await.unwrap();
    assert!(!node.controller.catalog.lock().unwrap().read.is_empty());
}

#[tokio::test]
async fn keys_are_trusted_and_no_longer_trusted_while_the_agent_runs() {
    let node = Node::start().await;
    let with = fs::read_to_string(node.path("agent.toml")).unwrap();
    let without = with.replace(&node.controller.trusted(), "");
    let one = node.controller.push("1.0.0", STATE);
    fs::write(node.path("agent.toml"), without).unwrap();
    eventually("a refusal", || async {
        match node.update(&one, "0s").await {
            Err(error) if error.code == ErrorCode::Denied => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let two = node.controller.push("2.0.0", STATE);
    fs::write(node.path("agent.toml"), with).unwrap();
    eventually("an update", || node.update(&two, "0s")).await;
}

#[tokio::test]
async fn what_cannot_be_pushed_is_told_with_what_to_do() {
    let node = Node::start().await;
    let one = node.controller.push("1.0.0", STATE);
    for (key, value, words) in [
        ("name", json!("../a"), "no name"),
        ("name", json!("log"), "log"),
        ("version", json!("one"), "no version such as 1.2.0"),
        ("hash", json!("abc"), "64 hexadecimal digits"),
        ("length", json!(0), "a plugin has from 1"),
        ("watch", json!("soon"), "write 30s or 2m"),
    ] {
        let mut arguments = one.arguments("0s");
        arguments[key] = value;
        let result = node.run("plugin.update", arguments).await;
        assert_eq!(result.state, JobState::Error);
        let message = result.error.unwrap().message;
        assert!(message.contains(words), "{key}: {message}");
    }
    let result = node.run("plugin.revert", json!({"name": "pushed"})).await;
    assert!(result.error.unwrap().message.contains("ever pushed"));
}
