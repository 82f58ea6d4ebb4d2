//! Programs that plugins run, with a stand-in for who runs them.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drover_api::{ErrorCode, JobId, JobState, Level};
use drover_plugin_host::{
    Doing, Ending, Host, Job, Limits, NotStarted, Outcome, Program, ProgramControl, ProgramOutput,
    ProgramStream, Programs, Started, Surroundings,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::kit::{assert_says, error, grants, host_around, job, packed_of};

const MANIFEST: &str = r#"
[[asks.programs]]
program = "/bin/echo"
args = [["**"]]
env = ["LANG"]
reason = "says it again"

[[asks.programs]]
program = "/bin/flood"
reason = "says much"

[[asks.programs]]
program = "/bin/cat"
reason = "says what it hears"

[[asks.programs]]
program = "/bin/sleep"
reason = "waits"

[[asks.programs]]
program = "/bin/none"
reason = "is not there"

[[asks.directories]]
path = "/data"
access = "read"
reason = "where it is"
"#;

const GRANTS: &str = r#"
[p]
programs."/bin/echo" = { args = [["**"]], env = ["LANG"], user = "nobody", memory = "1 MiB", processes = 3, max_time = "10s" }
programs."/bin/flood" = {}
programs."/bin/cat" = {}
programs."/bin/sleep" = {}
programs."/bin/none" = {}
directories."/data" = { path = "/srv", access = "read" }
"#;

/// Programs that are none: what each does goes by its path.
#[derive(Debug, Clone, Default)]
struct Fake {
    asked: Arc<Mutex<Vec<Program>>>,
    running: Arc<Mutex<BTreeSet<JobId>>>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

struct FakeControl {
    input: Mutex<Option<mpsc::Sender<Vec<u8>>>>,
    end: CancellationToken,
    gone: watch::Receiver<bool>,
}

impl Programs for Fake {
    fn start(&self, program: Program) -> Started {
        let id = JobId::generate();
        let (tell_began, began) = oneshot::channel();
        let (write, output) = mpsc::channel(1);
        let (tell_end, ended) = oneshot::channel();
        let (input, read) = mpsc::channel(1);
        let (tell_gone, gone) = watch::channel(false);
        let end = CancellationToken::new();
        self.asked.lock().unwrap().push(program.clone());
        self.running.lock().unwrap().insert(id.clone());
        let (running, own, stop) = (Arc::clone(&self.running), id.clone(), end.clone());
        self.tasks.lock().unwrap().spawn(async move {
            let _ = tell_began.send(match &*program.path {
                "/bin/none" => Err(NotStarted("no such file".to_owned())),
                _ => Ok(()),
            });
            let ending = tokio::select! {
                biased;
                () = stop.cancelled() => Ending::Killed,
                () = work(program, write, read) => Ending::Code(0),
            };
            running.lock().unwrap().remove(&own);
            let _ = tell_end.send(ending);
            tell_gone.send_replace(true);
        });
        let control = FakeControl { input: Mutex::new(Some(input)), end, gone };
        Started { id, began, output, ended, control: Box::new(control) }
    }
}

/// What a program does.
async fn work(
    program: Program,
    write: mpsc::Sender<ProgramOutput>,
    mut read: mpsc::Receiver<Vec<u8>>,
) {
    let stream = ProgramStream::Stdout;
    let say = |text: Vec<u8>| async {
        let _ = write.send(ProgramOutput { stream, bytes: text.into() }).await;
    };
    match &*program.path {
        "/bin/echo" => say(program.arguments.join("|").into_bytes()).await,
        "/bin/flood" => {
            for _ in 0..100 {
                say(vec![b'x'; 64 << 10]).await;
            }
        }
        "/bin/cat" => {
            while let Some(text) = read.recv().await {
                say(text).await;
            }
        }
        "/bin/none" => {}
        _ => {
            say(b"waiting".to_vec()).await;
            std::future::pending::<()>().await;
        }
    }
}

impl ProgramControl for FakeControl {
    fn write<'a>(&'a self, bytes: &'a [u8]) -> Doing<'a, io::Result<()>> {
        let input = self.input.lock().unwrap().clone();
        Box::pin(async move {
            let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
            input.ok_or_else(closed)?.send(bytes.to_vec()).await.map_err(|_| closed())
        })
    }

    fn close_input(&self) -> Doing<'_, ()> {
        Box::pin(async { drop(self.input.lock().unwrap().take()) })
    }

    fn end(&self) {
        self.end.cancel();
    }

    fn gone(&self) -> Doing<'_, Vec<u32>> {
        let mut gone = self.gone.clone();
        Box::pin(async move {
            let _ = gone.wait_for(|gone| *gone).await;
            Vec::new()
        })
    }
}

impl Drop for FakeControl {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// A host with the plugin `p`, which is granted the programs.
struct Site {
    host: Host,
    fake: Fake,
    _directory: TempDir,
}

impl Site {
    async fn new() -> Self {
        Self::with(Limits::default(), true).await
    }

    async fn with(limits: Limits, has_programs: bool) -> Self {
        let directory = TempDir::new().unwrap();
        let fake = Fake::default();
        let programs: Arc<dyn Programs> = Arc::new(fake.clone());
        let surroundings =
            Surroundings { programs: has_programs.then_some(programs), ..Surroundings::default() };
        let state_dir = directory.path().join("state");
        let host = host_around(limits, grants(GRANTS), state_dir, surroundings);
        host.load_file(&packed_of("programs", directory.path(), "p", MANIFEST)).await.unwrap();
        Self { host, fake, _directory: directory }
    }

    async fn run(&self, operation: &str, arguments: Value) -> Outcome {
        self.host.run(Job { plugin: "p".to_owned(), ..job(operation, arguments) }).await
    }

    async fn answer(&self, operation: &str, arguments: Value) -> Value {
        let outcome = self.run(operation, arguments).await;
        assert_eq!(outcome.state, JobState::Ok, "{outcome:?}");
        outcome.data.into_value()
    }

    fn running(&self) -> usize {
        self.fake.running.lock().unwrap().len()
    }
}

#[tokio::test]
async fn a_granted_program_runs_as_it_is_granted() {
    let site = Site::new().await;
    let arguments = json!({
        "line": ["/bin/echo", "a b", "", "$root"],
        "env": [["LANG", "C"]],
        "directory": "/data",
        "max_time_ms": 5000,
    });
    let answer = site.answer("complete", arguments).await;
    assert_eq!(answer["stdout"], "a b||$root");
    assert_eq!(answer["ending"], json!({ "Code": 0 }));
    let asked = site.fake.asked.lock().unwrap()[0].clone();
    assert_eq!(asked.plugin, "p");
    assert_eq!(asked.arguments, ["a b", "", "$root"]);
    assert_eq!(asked.environment["LANG"], "C");
    assert_eq!(asked.directory, Path::new("/srv"));
    assert_eq!(asked.user.as_deref(), Some("nobody"));
    assert_eq!((asked.memory_bytes, asked.processes), (Some(1 << 20), Some(3)));
    assert_eq!(asked.max_time, Some(Duration::from_secs(5)));
    assert!(!asked.has_input);
}

#[tokio::test]
async fn what_is_not_granted_is_denied_with_a_record_and_starts_nothing() {
    let site = Site::new().await;
    for (arguments, words) in [
        (json!({ "line": ["/bin/sh", "-c", "id"] }), "/bin/sh -c id"),
        (json!({ "line": ["echo", "x"] }), "echo x"),
        (json!({ "line": ["/bin/../bin/echo"] }), "/bin/../bin/echo"),
        (json!({ "line": ["/bin/cat", "/etc/passwd"] }), "/bin/cat /etc/passwd"),
        (json!({ "line": ["/bin/echo", "a\0b"] }), "/bin/echo"),
        (json!({ "line": ["/bin/echo"], "env": [["LD_PRELOAD", "x"]] }), "LD_PRELOAD"),
        (json!({ "line": ["/bin/echo"], "directory": "/etc" }), "/etc"),
        (json!({ "line": ["/bin/echo"], "directory": "/data/../x" }), "/data/../x"),
    ] {
        let outcome = site.run("complete", arguments).await;
        assert_says(&error(&outcome, ErrorCode::Failed).message, &["not granted"]);
        let record = &outcome.records[0];
        assert_eq!(record.level, Level::WARNING);
        assert_says(&record.data, &["denied to `p`: process.run", words]);
    }
    let many = vec!["/bin/echo"; 1002];
    let outcome = site.run("complete", json!({ "line": many })).await;
    assert_says(&error(&outcome, ErrorCode::Failed).message, &["1000 arguments"]);
    assert!(site.fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_flood_is_read_to_its_end_and_its_beginning_is_kept() {
    let site = Site::new().await;
    let answer = site.answer("complete", json!({ "line": ["/bin/flood"], "most": 100_000 })).await;
    assert_eq!(answer["stdout"].as_str().unwrap().len(), 100_000);
    assert_eq!(answer["left_out"], json!([100 * 65_536 - 100_000, 0]));
}

#[tokio::test]
async fn a_program_is_talked_to() {
    let site = Site::new().await;
    let arguments = json!({ "line": ["/bin/cat"], "texts": ["one", "two"] });
    let answer = site.answer("converse", arguments).await;
    assert_eq!(answer, json!([["one", "two"], { "Code": 0 }]));
    let answer = site.answer("complete", json!({ "line": ["/bin/cat"], "input": "hello" })).await;
    assert_eq!(answer["stdout"], "hello");
}

#[tokio::test]
async fn however_a_job_ends_its_programs_have_ended_before() {
    let site = Site::new().await;
    for (how, state) in [
        ("answer", JobState::Ok),
        ("trap", JobState::Error),
        ("spin", JobState::Timeout),
        ("wait", JobState::Timeout),
    ] {
        let arguments = json!({ "line": ["/bin/sleep"], "how": how });
        let timeout = Some(Duration::from_secs(3));
        let job = Job { plugin: "p".to_owned(), timeout, ..job("leave", arguments) };
        let outcome = site.host.run(job).await;
        assert_eq!(outcome.state, state, "{outcome:?}");
        assert_eq!(outcome.records[0].data, "waiting", "{how}");
        assert_eq!(site.running(), 0, "{how}");
    }
}

#[tokio::test]
async fn a_cancelled_job_and_one_that_nobody_waits_for_leave_no_program() {
    let site = Site::new().await;
    let (sender, mut said) = mpsc::channel(8);
    let arguments = json!({ "line": ["/bin/sleep"], "how": "wait" });
    let job = || Job {
        plugin: "p".to_owned(),
        said: Some(sender.clone()),
        ..job("leave", arguments.clone())
    };
    let cancelled = job();
    let cancel = cancelled.cancel.clone();
    let cancelling = async {
        said.recv().await.unwrap();
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(site.host.run(cancelled), cancelling);
    assert_eq!(outcome.state, JobState::Killed);
    assert_eq!(site.running(), 0);

    tokio::select! {
        outcome = site.host.run(job()) => panic!("{outcome:?}"),
        _ = said.recv() => {}
    }
    while let Some(ended) = site.fake.tasks.lock().unwrap().try_join_next() {
        ended.unwrap();
    }
    let mut tasks = std::mem::take(&mut *site.fake.tasks.lock().unwrap());
    let ended = async { while tasks.join_next().await.is_some() {} };
    tokio::time::timeout(crate::kit::PATIENCE, ended).await.unwrap();
    assert_eq!(site.running(), 0);
}

#[tokio::test]
async fn a_program_that_is_killed_is_gone_when_that_is_told() {
    let site = Site::new().await;
    let answer = site.answer("kill", json!({ "line": ["/bin/sleep"] })).await;
    assert_eq!(answer, json!(["waiting", "Killed", "Killed"]));
}

#[tokio::test]
async fn a_job_and_a_plugin_run_so_many_programs_at_once() {
    let all = json!({ "line": ["/bin/sleep"], "count": 10 });
    let site = Site::new().await;
    let answer = site.answer("several", all.clone()).await;
    assert_eq!(answer, json!([8, "/bin/sleep has to wait: 8 programs run already", true]));

    let site = Site::with(Limits { plugin_programs: 3, ..Limits::default() }, true).await;
    let answer = site.answer("several", all.clone()).await;
    assert_eq!(answer, json!([3, "/bin/sleep has to wait: 3 programs run already", true]));
    assert_eq!(site.answer("several", all).await[0], 3);
}

#[tokio::test]
async fn a_program_that_does_not_start_says_why() {
    let site = Site::new().await;
    let outcome = site.run("complete", json!({ "line": ["/bin/none"] })).await;
    let words = ["/bin/none was not started", "no such file"];
    assert_says(&error(&outcome, ErrorCode::Failed).message, &words);
    assert_eq!(site.running(), 0);

    let site = Site::with(Limits::default(), false).await;
    let outcome = site.run("complete", json!({ "line": ["/bin/cat"] })).await;
    let words = ["/bin/cat was not started", "runs no programs"];
    assert_says(&error(&outcome, ErrorCode::Failed).message, &words);
}
