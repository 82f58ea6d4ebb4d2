//! The agent's program is replaced while programs run: each goes on, and whoever waits
//! for it does not notice.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use drover_api::{JobState, Submission, UpdateOutcome};
use drover_tests::{Process, wait_for};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::DROVER;
use crate::self_update::{BAD, Scene, is_alive, kill_9, patiently};

/// Programs that run until the gate is opened.
struct Cast<'a> {
    scene: &'a Scene,
    gate: PathBuf,
    dir: PathBuf,
}

impl<'a> Cast<'a> {
    fn of(scene: &'a Scene) -> Self {
        let dir = scene.site.path("cast");
        fs::create_dir(&dir).unwrap();
        Self { scene, gate: dir.join("gate"), dir }
    }

    /// Does something all the time until the gate is open, and then something else.
    fn until_open(&self, meanwhile: &str, then: &str) -> String {
        format!("until [ -e {} ]; do {meanwhile}; sleep 0.01; done; {then}", self.gate.display())
    }

    /// Runs a line of shell as if it ran here.
    fn exec(&self, options: &[&str], line: &str) -> Process {
        let line = ["--", "/bin/sh", "-c", line];
        self.scene.site.start_drover(&[&["exec", "a"], options, &line].concat())
    }

    fn open_gate(&self) {
        fs::write(&self.gate, "").unwrap();
    }

    /// Runs a line of shell for whoever asks later.
    fn submit(&self, more: &Value, line: &str) -> String {
        let mut args = json!({ "cmd": "/bin/sh", "args": ["-c", line] });
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let args = args.to_string();
        let line = ["job", "submit", "name=a", "process.execute", "--args", &args];
        self.scene.site.drover(&line).ok().trim().to_owned()
    }

    fn ended(&self, submission: &str) -> Submission {
        let ended = self.scene.site.drover(&["job", "wait", submission, "--json"]);
        serde_json::from_str(&ended.stdout).unwrap()
    }

    fn jobs(&self) -> Vec<Value> {
        let jobs = wait_for("an answer", || self.scene.call("process.list"));
        jobs.as_array().unwrap().clone()
    }

    /// What there is of the job of that name.
    fn job(&self, name: &str) -> Value {
        self.jobs().into_iter().find(|job| job["name"] == name).unwrap_or_default()
    }

    fn pid(&self, name: &str) -> u64 {
        wait_for(&format!("the process of {name}"), || {
            let job = self.job(name);
            job["pid"].as_u64().ok_or(job)
        })
    }
}

fn end(process: &mut Process) -> Option<i32> {
    let ended = patiently("the end", || process.has_ended().ok_or_else(|| process.last_words()));
    ended.code()
}

/// Checks that lines count up from one, and says to what.
fn counted(lines: &[String]) -> usize {
    for (line, number) in lines.iter().zip(1..) {
        assert_eq!(*line, format!("number {number}"));
    }
    lines.len()
}

#[test]
fn programs_of_every_kind_go_on_over_a_good_version_and_a_bad_one() {
    let scene = Scene::start();
    let cast = Cast::of(&scene);
    // Half of a line is there nearly always.
    let count = "i=$((i+1)); printf num; sleep 0.01; echo \"ber $i\"";
    let mut counting = cast.exec(&["--name", "count"], &cast.until_open(count, "exit 3"));
    let cat = ["exec", "a", "--name", "cat", "--", "cat"];
    let (mut cat, mut input) = Process::spawn_listening(&mut scene.site.command(&cat));
    writeln!(input, "one").unwrap();
    cat.wait_for_output("one", |line| (line == "one").then_some(()));
    let late = cast.submit(&json!({ "name": "late", "max_time": "1h" }), "exec sleep 3600");
    let wait = cast.until_open(":", "echo first");
    let mut first = cast.exec(&["--name", "first", "--queue", "q"], &wait);
    cast.pid("first");
    let mut second = cast.exec(&["--name", "second", "--queue", "q"], "echo second");
    let told = format!("echo '20::[1]'; {}", cast.until_open(":", "echo '20::[1,2]'"));
    let durable = cast.submit(&json!({ "name": "durable" }), &told);
    let half = cast.until_open(":", "echo '1]'; echo :::");
    let halves = cast.submit(&json!({ "name": "halves" }), &format!("echo '20:::['; {half}"));
    let recurring = json!({ "cmd": "/bin/sh", "args": ["-c", cast.until_open(":", "")],
        "name": "again", "recurring_period": 3600 });
    let line = ["call", "a", "process.execute", "--args", &recurring.to_string()];
    let _ = scene.site.drover(&line).ok();
    let names = ["count", "cat", "late", "first", "durable", "halves", "again"];
    let pids = || names.map(|name| cast.pid(name));
    let before = pids();
    wait_for("the one that waits", || {
        let second = cast.job("second");
        if second["phase"] == "waiting-for-turn" { Ok(()) } else { Err(second) }
    });
    counting.wait_for_outputs("number", 20);

    let _asked = scene.update(&scene.push(DROVER, "0.2.0"), "1s");
    scene.until_version("0.2.0");
    assert_eq!(scene.until_ended("0.2.0").outcome, UpdateOutcome::Active);
    assert_eq!(pids(), before);
    writeln!(input, "two").unwrap();
    cat.wait_for_output("two", |line| (line == "two").then_some(()));

    let _asked = scene.update(&scene.push(BAD, "0.3.0-exits"), "1m");
    assert_eq!(scene.until_ended("0.3.0-exits").outcome, UpdateOutcome::FellBack);
    scene.until_version("0.2.0");
    assert_eq!(pids(), before);
    assert_eq!(cast.job("second")["phase"], "waiting-for-turn");
    writeln!(input, "three").unwrap();
    cat.wait_for_output("three", |line| (line == "three").then_some(()));
    let so_far = counting.output().len();
    counting.wait_for_outputs("number", so_far + 10);

    cast.open_gate();
    assert_eq!(end(&mut counting), Some(3), "{}", counting.last_words());
    assert!(counted(&counting.output()) > 20);
    assert_eq!(counting.log(), "");
    drop(input);
    assert_eq!(end(&mut cat), Some(0), "{}", cat.last_words());
    assert_eq!((cat.output().join(" "), cat.log()), ("one two three".to_owned(), String::new()));
    assert_eq!((end(&mut first), first.output()), (Some(0), vec!["first".to_owned()]));
    assert_eq!((end(&mut second), second.output()), (Some(0), vec!["second".to_owned()]));
    for (submission, result) in [(durable, "[1,2]"), (halves, "[1]")] {
        assert_eq!(cast.ended(&submission).state, JobState::Ok);
        let told = scene.site.drover(&["job", "result", &submission, "--json"]).ok();
        let told: String = told.split_whitespace().collect();
        assert!(told.contains(&format!("\"data\":{result}")), "{told}");
    }
    let id = cast.job("late")["id"].as_str().unwrap().to_owned();
    let _ = scene.site.drover(&["kill", "a", &id]).ok();
    assert_ne!(cast.ended(&late).state, JobState::Ok);
    let again = cast.job("again");
    assert_eq!((&again["runs"], &again["phase"]), (&json!(1), &json!("waiting-for-time")));
}

#[test]
fn whoever_is_killed_during_it_what_runs_is_found_or_ended_and_nothing_runs_twice() {
    let mut scene = Scene::start();
    let pushed = scene.push(DROVER, "0.2.0");
    let cast = Cast::of(&scene);
    let ran = cast.dir.join("ran");
    let line = format!("echo >> {}; {}", ran.display(), cast.until_open(":", "echo done"));
    let mut following = cast.exec(&["--name", "job"], &line);
    let submission = cast.submit(&json!({ "name": "durable" }), &cast.until_open(":", ""));
    let before = [cast.pid("job"), cast.pid("durable")];
    let _asked = scene.update(&pushed, "10m");
    scene.until_version("0.2.0");
    assert_eq!([cast.pid("job"), cast.pid("durable")], before);
    drop(cast);

    // The new one, while it is watched: the old one takes over what it had.
    let agent = scene.pid();
    kill_9(agent);
    scene.until_version(drover_api::version());
    let cast =
        Cast { dir: scene.site.path("cast"), gate: scene.site.path("cast/gate"), scene: &scene };
    assert_eq!([cast.pid("job"), cast.pid("durable")], before);
    assert_eq!(fs::read_to_string(&ran).unwrap(), "\n");
    drop(cast);

    // The old one with nobody to follow, as ever: what was handed over goes on.
    kill_9(scene.agent.process.pid());
    scene.restart();
    scene.until_version(drover_api::version());
    let cast =
        Cast { dir: scene.site.path("cast"), gate: scene.site.path("cast/gate"), scene: &scene };
    assert_eq!([cast.pid("job"), cast.pid("durable")], before);
    cast.open_gate();
    assert_eq!(cast.ended(&submission).state, JobState::Ok);
    assert_eq!(end(&mut following), Some(0), "{}", following.last_words());
    assert_eq!(fs::read_to_string(&ran).unwrap(), "\n");
    assert_eq!(cast.jobs(), Vec::<Value>::new());
    scene.agent.process.signal(Signal::SIGTERM);
    scene.agent.process.wait();
    assert!(!is_alive(u32::try_from(before[0]).unwrap()));
}
