//! The agent is killed with -9 at random moments under load, and started again.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::kit::PATIENCE;

const KILLS: usize = 50;

/// A run of the test program, and what it says.
struct Agent {
    program: Child,
    lines: mpsc::Receiver<String>,
}

impl Agent {
    fn start(dir: &Path, mode: &str) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_test-agent"))
            .arg(dir)
            .arg(env!("CARGO_BIN_EXE_test-keeper"))
            .arg(mode)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(program.stdout.take().unwrap());
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                drop(said.send(line));
            }
        });
        Self { program, lines }
    }

    /// Listens until the moment, then kills the program; everything that it said
    /// is kept.
    fn live_for(mut self, moment: Duration, known: &mut Known) {
        let until = Instant::now() + moment;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => known.learn(&line),
                Err(mpsc::RecvTimeoutError::Timeout) => break,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    panic!("the agent ended by itself: {:?}", self.program.wait());
                }
            }
        }
        self.program.kill().unwrap();
        self.program.wait().unwrap();
        self.lines.iter().for_each(|line| known.learn(&line));
    }
}

/// What is known of every job.
#[derive(Default)]
struct Known {
    /// The kinds of those that were accepted.
    accepted: BTreeMap<String, String>,
    /// How often somebody began to kill them.
    killing: BTreeMap<String, usize>,
    killed: BTreeSet<String>,
    /// Those whose end the agent of now has told. The next one may tell it again,
    /// if this one is killed before the keeper or the disk knows that it was told.
    ended: BTreeSet<String>,
}

impl Known {
    fn learn(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["accepted", kind, id] => {
                self.accepted.insert(id.to_owned(), kind.to_owned());
            }
            ["killing", id] => {
                *self.killing.entry(id.to_owned()).or_default() += 1;
            }
            ["gone", id] => {
                assert!(self.killing[id] > 1, "nobody killed {id}, and it is gone");
            }
            ["killed", id] => drop(self.killed.insert(id.to_owned())),
            ["ended", id] => {
                assert!(self.ended.insert(id.to_owned()), "one agent told the end of {id} twice");
            }
            _ => {}
        }
    }

    /// Those that must have come back.
    fn must_live(&self) -> BTreeSet<String> {
        let remembered = self
            .accepted
            .iter()
            .filter(|(_, kind)| matches!(kind.as_str(), "service" | "recurring"));
        remembered.map(|(id, _)| id).filter(|id| !self.killing.contains_key(*id)).cloned().collect()
    }
}

/// The processes of each job of ours, as the machine sees them.
fn processes(of: &BTreeSet<String>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        let mut variables = environment.split(|byte| *byte == 0);
        let id = variables.find_map(|variable| variable.strip_prefix(b"DROVER_PROCESS="));
        let id = id.map(|id| String::from_utf8_lossy(id).into_owned());
        if let Some(id) = id.filter(|id| of.contains(id)) {
            *found.entry(id).or_default() += 1;
        }
    }
    found
}

#[test]
fn whenever_the_agent_is_killed_no_job_is_lost_doubled_or_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut known = Known::default();
    for _ in 0..KILLS {
        let moment = Duration::from_millis(RandomState::new().hash_one(()) % 300);
        known.ended.clear();
        Agent::start(dir.path(), "load").live_for(moment, &mut known);
    }
    known.ended.clear();
    let mut last = Agent::start(dir.path(), "watch");
    let settled = Instant::now() + PATIENCE;
    loop {
        let line = last.lines.recv_timeout(PATIENCE).unwrap();
        known.learn(&line);
        let Some(listed) = line.strip_prefix("listed") else { continue };
        match judge(listed, &known) {
            Ok(()) => break,
            Err(reason) => assert!(Instant::now() < settled, "{reason}"),
        }
    }
    assert!(!known.must_live().is_empty(), "the load was too light to show anything");

    drop(last.program.stdin.take());
    assert!(last.program.wait().unwrap().success());
    let everything = known.accepted.keys().cloned().collect();
    assert_eq!(processes(&everything), BTreeMap::new(), "left behind");
}

/// Whether what is listed, what is known and what the machine shows agree.
fn judge(listed: &str, known: &Known) -> Result<(), String> {
    let mut states: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (state, id) in listed.split_whitespace().filter_map(|word| word.split_once('=')) {
        states.entry(id.to_owned()).or_default().push(state);
    }
    let everything: BTreeSet<_> = known.accepted.keys().chain(states.keys()).cloned().collect();
    let processes = processes(&everything);
    for (id, states) in &states {
        if states.len() != 1 {
            return Err(format!("job {id} is in two states: {states:?}"));
        }
        if known.killed.contains(id) {
            return Err(format!("job {id} was killed and is back"));
        }
        if known.accepted.get(id).is_some_and(|kind| kind == "short" || kind == "ended") {
            return Err(format!("job {id} outlived its agent"));
        }
    }
    for id in known.must_live() {
        match states.get(&id).and_then(|states| states.first()) {
            None => return Err(format!("job {id} is lost")),
            Some(&state) if known.accepted[&id] == "service" => {
                let count = processes.get(&id).copied().unwrap_or_default();
                if (state, count) != ("runs", 1) {
                    return Err(format!("service {id} {state}, with {count} processes"));
                }
            }
            Some(_) => {}
        }
    }
    match processes.iter().find(|(id, count)| !states.contains_key(*id) || **count > 1) {
        Some((id, count)) => {
            Err(format!("{count} processes of job {id}, which {:?}", states.get(id)))
        }
        None => Ok(()),
    }
}
