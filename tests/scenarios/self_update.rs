//! The agent's own program is replaced while the node works.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use drover_api::{
    CatalogDetail, NodeId, NodeStatus, PluginVersions, Presence, UpdateEnd, UpdateOutcome,
    procedures,
};
use drover_logs::store::Filter;
use drover_tests::{Agent, Process, Site, http, records_in, stamp, wait_at_most, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::{DROVER, keys};

pub(crate) const BAD: &str = env!("CARGO_BIN_EXE_bad-agent");

/// A node whose agent may be replaced by whoever has the key.
pub(crate) struct Scene {
    pub(crate) site: Site,
    _keys: tempfile::TempDir,
    key: String,
    config: String,
    pub(crate) agent: Agent,
}

impl Scene {
    pub(crate) fn start() -> Self {
        let keys = tempfile::tempdir().unwrap();
        let (key, public) = keys::new_key(keys.path(), "release");
        let trust = format!("[trusted_keys.release]\npublic_key = \"{public}\"\n");
        // Programs with all that a debugger reads are larger than any that is released.
        let catalog = "[catalog]\nmax_content = \"1 GiB\"\nmax_rate = \"1 GiB\"\n";
        let site = Site::start_with(DROVER, &format!("{trust}{catalog}"));
        let config = format!(
            "{trust}[updates]\nrate = \"1 GiB\"\nfrom = \"http\"\nagent_keys = [\"release\"]\n\
             patience = \"4s\"\n"
        );
        let agent = site.start_agent(1, "a", &config);
        let scene = Self { site, _keys: keys, key, config, agent };
        scene.until_version(drover_api::version());
        scene
    }

    /// Puts a program into the catalog under another version.
    pub(crate) fn push(&self, program: &str, version: &str) -> CatalogDetail {
        let path = self.site.path(&format!("drover-{version}"));
        stamp(program.as_ref(), &path, version);
        let path = path.to_str().unwrap();
        let line = ["catalog", "push", path, "--key", &self.key, "--json"];
        let detail: CatalogDetail = serde_json::from_str(&self.site.drover(&line).ok()).unwrap();
        assert_eq!((detail.name.as_str(), detail.version.version.as_str()), ("agent", version));
        detail
    }

    /// Asks the node to run a version, as long as it answers.
    pub(crate) fn update(&self, pushed: &CatalogDetail, watch: &str) -> Process {
        let arguments = json!({
            "version": pushed.version.version, "hash": pushed.version.hash,
            "length": pushed.version.length, "signature": pushed.signature, "watch": watch,
        });
        let line = ["call", "a", "agent.update", "--args", &arguments.to_string()];
        self.site.start_drover(&line)
    }

    /// Waits until the node is there and runs this version.
    pub(crate) fn until_version(&self, version: &str) {
        patiently(&format!("version {version}"), || {
            let nodes = self.ask(procedures::NODES).unwrap_or_default();
            let nodes: Vec<NodeStatus> = serde_json::from_value(nodes).unwrap_or_default();
            let is_right = nodes.iter().any(|node| {
                node.presence == Presence::Present && node.description.version == version
            });
            if is_right { Ok(()) } else { Err(nodes) }
        });
    }

    /// Calls the node without a program of its own, of which there would be many.
    pub(crate) fn call(&self, cmd: &str) -> Result<Value, Value> {
        self.ask(&(procedures::node_prefix(NodeId::new(1, 1)) + cmd))
    }

    fn ask(&self, procedure: &str) -> Result<Value, Value> {
        let address = self.site.url.trim_start_matches("ws://").trim_end_matches("/ws");
        let request = json!({ "procedure": procedure }).to_string();
        let answer = http(address, "POST /call", "", &request).json();
        match answer.get("error") {
            None => Ok(answer["args"][0].clone()),
            Some(_) => Err(answer),
        }
    }

    fn versions(&self) -> Option<PluginVersions> {
        wait_for("an answer", || self.call("agent.versions"))
            .as_object()
            .map(|versions| serde_json::from_value(Value::Object(versions.clone())).unwrap())
    }

    /// Waits for the end of the update to a version.
    pub(crate) fn until_ended(&self, version: &str) -> UpdateEnd {
        patiently(&format!("the end of {version}"), || {
            let versions = self.versions();
            let last = versions.as_ref().and_then(|versions| versions.last.clone());
            last.filter(|last| last.version == version).ok_or_else(|| format!("{versions:?}"))
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        let info = wait_for("an answer", || self.call("agent.info"));
        info["pid"].as_u64().unwrap().try_into().unwrap()
    }

    /// The process of a job, while it runs.
    pub(crate) fn program(&self, job: &str) -> Option<u64> {
        let jobs = wait_for("an answer", || self.call("process.list"));
        let found = jobs.as_array().unwrap().iter().find(|one| one["id"] == job.trim()).cloned();
        found.and_then(|found| found["pid"].as_u64())
    }

    pub(crate) fn restart(&mut self) {
        self.agent.process.wait();
        self.agent = self.site.start_agent(1, "a", &self.config);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.site.path(&format!("a/{name}"))
    }
}

/// Waits longer than others: a program of a hundred megabytes, built for tests, is
/// signed, hashed and copied several times.
pub(crate) fn patiently<T, E: std::fmt::Debug>(
    what: &str,
    look: impl FnMut() -> Result<T, E>,
) -> T {
    wait_at_most(Duration::from_secs(120), look)
        .unwrap_or_else(|last| panic!("waited in vain for {what}; last seen: {last:?}"))
}

fn parent(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    line.trim().parse().unwrap()
}

pub(crate) fn kill_9(pid: u32) {
    kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
}

/// Whether a process runs; one that only waits to be reaped does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

#[test]
fn a_node_runs_another_version_of_its_agent_and_its_programs_go_on() {
    let mut scene = Scene::start();
    let launcher = scene.agent.process.pid();
    assert_eq!(scene.pid(), launcher);
    // Half of a line is there nearly always.
    let count = "i=0; while :; do i=$((i+1)); printf num; sleep 0.01; echo \"ber $i\"; done";
    let line = ["exec", "a", "--detach", "--name", "count", "--", "/bin/sh", "-c", count];
    let job = scene.site.drover(&line).ok();
    let counting = wait_for("the program", || scene.program(&job).ok_or(()));

    let _asked = scene.update(&scene.push(DROVER, "0.2.0"), "1s");
    scene.until_version("0.2.0");
    assert_eq!(scene.until_ended("0.2.0").outcome, UpdateOutcome::Active);
    assert_eq!(parent(scene.pid()), launcher);
    assert_eq!(scene.program(&job), Some(counting));

    // From a version that was pushed to the next one, and back to it.
    let _asked = scene.update(&scene.push(DROVER, "0.3.0"), "1s");
    scene.until_version("0.3.0");
    assert_eq!(scene.until_ended("0.3.0").outcome, UpdateOutcome::Active);
    let _asked = scene.site.start_drover(&["call", "a", "agent.revert"]);
    scene.until_version("0.2.0");
    assert_eq!((parent(scene.pid()), scene.program(&job)), (launcher, Some(counting)));

    // It stays after a restart of the service.
    let running = scene.pid();
    scene.agent.process.signal(Signal::SIGTERM);
    assert!(scene.agent.process.wait().success());
    assert!(!is_alive(running));
    scene.restart();
    scene.until_version("0.2.0");
    assert_eq!(scene.program(&job), Some(counting));
    let _asked = scene.site.start_drover(&["call", "a", "agent.revert", "version=installed"]);
    scene.until_version(drover_api::version());
    assert_eq!((scene.pid(), scene.program(&job)), (scene.agent.process.pid(), Some(counting)));

    let _ = scene.site.drover(&["kill", "a", job.trim()]).ok();
    scene.agent.process.signal(Signal::SIGTERM);
    scene.agent.process.wait();
    let filter = Filter { job: Some(job.trim().parse().unwrap()), ..Filter::default() };
    let records = records_in(&scene.path("logs"), &filter);
    let texts = records.iter().map(|one| String::from_utf8_lossy(&one.data).into_owned());
    let mut lines: Vec<_> =
        texts.filter(|text| text.contains("num") || text.contains("ber")).collect();
    // It was ended in the middle of one.
    lines.pop_if(|last| last == "num");
    let expected = lines.len();
    for (line, number) in lines.iter().zip(1..) {
        assert_eq!(*line, format!("number {number}"));
    }
    assert!(expected > 100, "{expected} lines");
}

#[test]
fn a_bad_program_leads_back_to_the_old_one_which_tells_why() {
    let scene = Scene::start();
    let launcher = scene.agent.process.pid();
    for (version, outcome, words) in [
        ("0.2.0-mute", UpdateOutcome::Refused, "its trial failed: it ended with exit status: 3"),
        ("0.2.0-exits", UpdateOutcome::FellBack, "it ended with exit status: 7"),
        ("0.2.0-hangs", UpdateOutcome::FellBack, "it was not heard of for 4s"),
    ] {
        let _asked = scene.update(&scene.push(BAD, version), "1m");
        let ended = scene.until_ended(version);
        assert_eq!(ended.outcome, outcome, "{ended:?}");
        let reason = ended.reason.unwrap();
        assert!(reason.contains(words), "{reason}");
        scene.until_version(drover_api::version());
        assert_eq!(scene.pid(), launcher);
        if outcome == UpdateOutcome::FellBack {
            assert_eq!(ended.back_to.as_deref(), Some(drover_api::version()));
            wait_for("the record", || {
                let line = ["logs", "a", "--level", "9", "--grep", version];
                let told = scene.site.drover(&line).stdout;
                told.contains("did badly").then_some(()).ok_or(told)
            });
        }
    }
}

#[test]
fn a_program_that_loses_the_controller_while_it_is_watched_gives_way() {
    let mut scene = Scene::start();
    let _asked = scene.update(&scene.push(DROVER, "0.2.0"), "10m");
    scene.until_version("0.2.0");
    scene.agent.process.wait_for_log("started the agent that was pushed");
    let mut controller = scene.site.controller.take().unwrap();
    controller.signal(Signal::SIGKILL);
    controller.wait();
    patiently("the end of the update", || {
        let record = fs::read_to_string(scene.path("pushed/agent/record.json")).unwrap();
        if record.contains("fell-back") { Ok(()) } else { Err(record) }
    });
    scene.site.start_controller();
    scene.until_version(drover_api::version());
    let ended = scene.until_ended("0.2.0");
    assert_eq!(ended.outcome, UpdateOutcome::FellBack);
    assert_eq!(ended.reason.as_deref(), Some("it had no link to the controller for 4s"));
}

#[test]
fn whoever_is_killed_there_is_one_agent() {
    let mut scene = Scene::start();
    let pushed = scene.push(DROVER, "0.2.0");
    // The agent that is to be replaced: the update goes on by itself.
    let _asked = scene.update(&pushed, "10m");
    wait_for("the update", || scene.versions().and_then(|one| one.update).ok_or(()));
    kill_9(scene.agent.process.pid());
    scene.restart();
    scene.until_version("0.2.0");
    // The launcher: its agent goes with it, and the next one goes on watching.
    let agent = scene.pid();
    kill_9(scene.agent.process.pid());
    wait_for("the end of the agent", || if is_alive(agent) { Err(agent) } else { Ok(()) });
    scene.restart();
    scene.until_version("0.2.0");
    assert_eq!(parent(scene.pid()), scene.agent.process.pid());
    // The agent alone: what is watched and dies has failed.
    let agent = scene.pid();
    kill_9(agent);
    scene.until_version(drover_api::version());
    assert_eq!(scene.pid(), scene.agent.process.pid());
    assert_eq!(scene.until_ended("0.2.0").outcome, UpdateOutcome::FellBack);
}

#[test]
fn a_rollout_of_the_agent_is_only_a_name() {
    let scene = Scene::start();
    let roll_out = |version: &str| {
        let what = format!("agent@{version}");
        let line =
            ["rollout", "start", &what, "--to", "*", "--pause", "0s", "--watch", "1s", "--follow"];
        let mut following = scene.site.start_drover(&line);
        let ended = patiently("the end of the rollout", || {
            following.has_ended().ok_or_else(|| following.last_words())
        });
        (ended.code(), following.last_words())
    };
    scene.push(DROVER, "0.2.0");
    let (status, said) = roll_out("0.2.0");
    assert_eq!(status, Some(0), "{said}");
    scene.until_version("0.2.0");
    scene.push(BAD, "0.3.0-exits");
    let (status, said) = roll_out("0.3.0-exits");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("it ended with exit status: 7"), "{said}");
    scene.until_version("0.2.0");
}

#[test]
fn no_key_for_plugins_is_one_for_agents() {
    let mut scene = Scene::start();
    let pushed = scene.push(DROVER, "0.2.0");
    scene.agent.process.signal(Signal::SIGTERM);
    scene.config = scene.config.replace("agent_keys = [\"release\"]\n", "");
    scene.restart();
    scene.until_version(drover_api::version());
    let mut asked = scene.update(&pushed, "1s");
    assert!(!asked.wait().success());
    assert!(asked.log().contains("add `agent_keys"), "{}", asked.log());
}
