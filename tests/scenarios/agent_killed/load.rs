//! What the agent has to do until it is killed, and what it has answered.

use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use drover_api::{Command, JobId, JobResult, JobState, procedures};
use drover_wamp::{CallOptions, Client, Payload};
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::wamp_callers::A;

/// What the lines of the two counting children begin with. Those of the second go
/// to the controller.
pub(super) const PREFIXES: [&str; 2] = ["", "7::"];

/// Services that live on; more would make the machine slow rather than the test hard.
const SERVICES: usize = 6;

/// Says if another holds the lock of descriptor 9. A `flock` that was itself ended by a
/// signal, as all of a job's processes are, has found nobody.
const ALONE: &str = "flock -n 9; case $? in 0|137|143) ;; *) echo overlap >>overlaps ;; esac";

/// Begins with `prefix number`, and says where it has begun.
const COUNTING: &str = "\
import sys, time
prefix, lines, ran = sys.argv[1], int(sys.argv[2]), sys.argv[3]
open(ran, 'a').write('ran\\n')
number = 0
while True:
    block = ''.join('%snumber %08d of many\\n' % (prefix, number + i) for i in range(lines))
    sys.stdout.write(block)
    sys.stdout.flush()
    number += lines
    time.sleep(0.02)
";

/// A job that is remembered, by what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Asked for, and nothing answered.
    Asked,
    Accepted,
    /// Asked to be killed, and nothing answered.
    Killing,
    Killed,
}

/// What whoever calls the agent knows.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Every job there ever was.
    pub(super) everything: BTreeSet<JobId>,
    /// The two children that number their lines.
    pub(super) counting: Vec<JobId>,
    pub(super) recurring: Option<JobId>,
    pub(super) services: BTreeMap<JobId, Service>,
    /// Those of the services that go on when the agent is gone.
    pub(super) adopted: BTreeSet<JobId>,
    /// Short ones, and whether their end was answered.
    pub(super) short: BTreeMap<JobId, bool>,
    /// Records that a query has shown: their ids and texts.
    pub(super) acknowledged: BTreeSet<(u32, String)>,
    /// Whether the agent of now has answered anything.
    is_answering: bool,
}

/// The load.
pub(super) struct Load<'a> {
    client: &'a Client,
    rng: &'a RefCell<StdRng>,
    dir: PathBuf,
    known: RefCell<Known>,
}

impl<'a> Load<'a> {
    /// Its programs write into `dir`.
    pub(super) fn new(client: &'a Client, rng: &'a RefCell<StdRng>, dir: PathBuf) -> Self {
        std::fs::create_dir(&dir).unwrap();
        Self { client, rng, dir, known: RefCell::default() }
    }

    pub(super) fn known(&self) -> Ref<'_, Known> {
        self.known.borrow()
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn agent_is_gone(&self) {
        self.known.borrow_mut().is_answering = false;
    }

    /// Waits until the agent of now has answered something.
    pub(super) async fn until_answered(&self) {
        while !self.known().is_answering {
            self.call("agent.ping", json!({})).await;
        }
    }

    /// Starts what runs from the beginning to the end.
    pub(super) async fn begin(&self) {
        self.until_answered().await;
        for (prefix, lines) in PREFIXES.into_iter().zip(["20", "5"]) {
            let mut command = self.command(json!({ "cmd": "python3", "max_time": -1 }));
            let ran = format!("{}/ran-{}", self.dir.display(), command.id);
            command.args.insert("args".into(), json!(["-c", COUNTING, prefix, lines, ran]));
            assert_eq!(self.run(&command).await.unwrap().state, JobState::Ok);
            self.known.borrow_mut().counting.push(command.id);
        }
        let script = format!("exec 9>period; {ALONE}; echo tick >>ticks; sleep 0.05");
        let command = self.shell(&script, json!({ "recurring_period": 0.3 }));
        self.known.borrow_mut().recurring = Some(command.id.clone());
        assert_eq!(self.run(&command).await.unwrap().state, JobState::Ok);
    }

    /// Asks for all kinds of things for as long as it is polled.
    pub(super) async fn work(&self) {
        tokio::join!(
            self.short(),
            self.short(),
            self.queued(),
            self.queued(),
            self.services(),
            self.queries()
        );
    }

    async fn short(&self) {
        loop {
            let command = self.shell("echo ran >>ran-$DROVER_PROCESS; echo short", json!({}));
            self.short_job(&command).await;
        }
    }

    /// Two at a time, of which one has to wait.
    async fn queued(&self) {
        loop {
            let script =
                format!("exec 9>queue; {ALONE}; echo ran >>ran-$DROVER_PROCESS; sleep 0.02");
            let command = self.shell(&script, json!({ "queue": "one" }));
            self.short_job(&command).await;
        }
    }

    async fn short_job(&self, command: &Command) {
        self.known.borrow_mut().short.insert(command.id.clone(), false);
        let result = self.run(command).await;
        if result.is_some_and(|result| result.state == JobState::Ok) {
            self.known.borrow_mut().short.insert(command.id.clone(), true);
        }
    }

    /// Starts services until there are many, and kills some.
    async fn services(&self) {
        loop {
            let alive: Vec<JobId> = {
                let known = self.known();
                let accepted = known.services.iter().filter(|(_, is)| **is == Service::Accepted);
                accepted.map(|(id, _)| id.clone()).collect()
            };
            let is_enough = alive.len() >= SERVICES || self.rng.borrow_mut().random_bool(0.3);
            if is_enough && !alive.is_empty() {
                let id = &alive[self.rng.borrow_mut().random_range(0..alive.len())];
                self.become_of(id, Service::Killing);
                let killed = self.call("process.kill", json!({ "id": id })).await;
                if let Some(killed) = killed {
                    assert_eq!(killed["left"], json!([]), "{killed}");
                    self.become_of(id, Service::Killed);
                }
                continue;
            }
            let policy = if self.rng.borrow_mut().random_bool(0.5) { "adopt" } else { "end" };
            let script = "echo ran >>ran-$DROVER_PROCESS; exec sleep 3600";
            let more = json!({ "max_time": -1, "restart_delay": 0.01, "on_agent_restart": policy });
            let command = self.shell(script, more);
            if policy == "adopt" {
                self.known.borrow_mut().adopted.insert(command.id.clone());
            }
            self.become_of(&command.id, Service::Asked);
            if self.run(&command).await.is_some_and(|result| result.state == JobState::Ok) {
                self.become_of(&command.id, Service::Accepted);
            }
        }
    }

    fn become_of(&self, id: &JobId, service: Service) {
        self.known.borrow_mut().services.insert(id.clone(), service);
    }

    /// Reads the last lines of a counting child again and again.
    async fn queries(&self) {
        loop {
            let job = self.known().counting[self.rng.borrow_mut().random_range(0..2)].clone();
            let page = self.call("log.query", json!({ "job": job, "limit": 3 })).await;
            for record in page.iter().flat_map(|page| page["records"].as_array().unwrap()) {
                let id = u32::try_from(record["id"].as_u64().unwrap()).unwrap();
                let text = record["data"].as_str().unwrap().to_owned();
                self.known.borrow_mut().acknowledged.insert((id, text));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A line of shell that works in the load's directory, and more arguments.
    fn shell(&self, script: &str, more: Value) -> Command {
        let Value::Object(mut args) = more else { panic!("arguments are an object") };
        args.insert("cmd".into(), "/bin/sh".into());
        args.insert("args".into(), json!(["-c", script]));
        self.command(Value::Object(args))
    }

    fn command(&self, args: Value) -> Command {
        let Value::Object(mut args) = args else { panic!("arguments are an object") };
        args.insert("working_dir".into(), json!(self.dir));
        let command = Command { args, ..Command::new("process.execute") };
        self.known.borrow_mut().everything.insert(command.id.clone());
        command
    }

    /// Runs a command; `None` if there was no answer.
    async fn run(&self, command: &Command) -> Option<JobResult> {
        let payload = Payload::one(command).unwrap();
        let answer = self.answer(&procedures::run(A), payload).await?;
        let result: JobResult = answer.first().unwrap();
        Some(result)
    }

    /// Calls a procedure of the node; `None` if there was no answer.
    async fn call(&self, name: &str, kwargs: Value) -> Option<Value> {
        let payload = Payload::keyword(&kwargs).unwrap();
        let answer = self.answer(&(procedures::node_prefix(A) + name), payload).await?;
        Some(answer.first().unwrap())
    }

    async fn answer(&self, procedure: &str, payload: Payload) -> Option<Payload> {
        match self.client.call(procedure, payload, CallOptions::default()).await {
            Ok(answer) => {
                self.known.borrow_mut().is_answering = true;
                Some(answer)
            }
            Err(_) => {
                // The node is away, or a job that was to be killed is gone.
                tokio::time::sleep(Duration::from_millis(10)).await;
                None
            }
        }
    }
}
