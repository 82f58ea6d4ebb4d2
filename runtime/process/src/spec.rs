//! What a command asks for: one program, and the rules it runs under.
//!
//! [`ProcessSpec::execute`] and [`ProcessSpec::execute_script`] read the
//! arguments of the two commands; everything is checked there, so that a spec
//! is always one that can be tried.

mod amount;
mod arguments;
mod pattern;
mod template;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use arguments::{SpecContext, SpecError};
pub use drover_cron::CronSchedule;
pub use pattern::ReadyPattern;
pub use template::Places;

/// A program and the rules it runs under.
///
/// Kept on disk as JSON for jobs that are remembered; it can hold secrets in
/// `environment` and `input`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The program: a path, or a name to look up in the child's `PATH`.
    pub cmd: String,
    /// Its arguments, without the program itself. No shell is involved.
    pub args: Vec<String>,
    /// A script to write to a file whose path follows the first
    /// `script.position` arguments.
    pub script: Option<Script>,
    /// Where it runs; the root directory if nothing is said.
    pub working_dir: PathBuf,
    /// What the child sees of the environment.
    pub environment: Environment,
    /// What is written to the child's standard input first.
    pub input: String,
    /// What comes after `input`.
    pub stdin: StdinPolicy,
    /// What the caller sorts the job under; may be empty.
    pub domain: String,
    /// What the job is called; the program's file name if nothing is said.
    pub name: String,
    /// How long one run may take.
    pub max_time: MaxTime,
    /// What follows a run that failed.
    pub restart: RestartPolicy,
    /// When the job runs again after a run that needs no restart.
    pub recurrence: Option<Recurrence>,
    /// Time from the acceptance to the first run.
    pub start_delay: Duration,
    /// Ids or names of jobs that must be ready, or have ended well, before
    /// the first run.
    pub after: Vec<String>,
    /// What a line of output looks like that says that the program is ready.
    pub ready: Option<ReadyPattern>,
    /// The serial queue: of the jobs with the same one, one runs at a time,
    /// first in, first out.
    pub queue: Option<String>,
    /// Time between TERM and KILL.
    pub grace: Duration,
    /// What becomes of a running child when the agent starts again.
    pub on_agent_restart: OnAgentRestart,
    /// Time between two measurements of what the tree uses.
    pub stats_interval: Duration,
    /// Which levels of the output go where.
    pub levels: LevelTexts,
    /// What parses the plain lines of the output.
    #[serde(default)]
    pub parse: Option<ParseSpec>,
    /// The user that the child runs as, by name or number; the agent's own if
    /// nothing is said.
    pub user: Option<String>,
    /// The group, by name or number; the user's own if nothing is said.
    pub group: Option<String>,
    /// What the child may use.
    pub limits: ProcessLimits,
}

impl ProcessSpec {
    /// Whether the job is kept on disk and comes back when the agent starts
    /// again, until it ends or is killed.
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        self.max_time == MaxTime::LongRunning || self.recurrence.is_some()
    }
}

/// A script that the manager writes to a file for each run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Its text.
    pub text: String,
    /// How many of `args` belong to the interpreter and come before the path.
    pub position: usize,
}

/// What a child sees of the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// What of the agent's own environment.
    pub inherit: Inherit,
    /// What is set beside that; it wins.
    pub set: BTreeMap<String, String>,
}

/// What of the agent's environment a child inherits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inherit {
    /// Nothing: the child has a plain `PATH` and what is set for it.
    #[default]
    Nothing,
    /// These names, where they are set.
    Names(Vec<String>),
    /// Everything.
    Everything,
}

/// What becomes of standard input after the first text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StdinPolicy {
    /// It is closed.
    #[default]
    Close,
    /// It stays open for more.
    Open,
}

/// How long a run may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTime {
    /// As long as it needs.
    #[default]
    Unlimited,
    /// No longer than this.
    Limit(Duration),
    /// For ever: the job is remembered and comes back with the agent.
    LongRunning,
}

/// What follows a run that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// How many failures within five minutes are followed by a restart; none
    /// says that every one is.
    pub max: Option<u32>,
    /// The wait before the first restart; it doubles with each failure within
    /// five minutes.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

/// When a job runs again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recurrence {
    /// This long after the start before; at once if that run took longer.
    Every(Duration),
    /// When the wall clock says so; what was missed is not made up for.
    Cron(Box<CronSchedule>),
}

/// What becomes of a running child when the agent starts again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnAgentRestart {
    /// The new agent takes it over as it is. The job is on disk meanwhile.
    Adopt,
    /// The new agent ends it; a remembered job then starts anew. Only when the agent
    /// ends for another version of its program does it go on.
    #[default]
    End,
    /// It is a part of what the agent itself does, such as a program of a plugin, and
    /// ends with it in any case.
    EndWithAgent,
}

/// Level sets as they were written; the agent parses them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelTexts {
    /// Which levels are looked at at all.
    pub loglevels: Option<String>,
    /// Which of those are stored on the node.
    pub loglevels_db: Option<String>,
    /// Which of those are sent to the controller.
    pub loglevels_ac: Option<String>,
}

/// The parser that plain lines go through: those that do not say in the level
/// protocol what they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParseSpec {
    /// The plugin.
    pub plugin: String,
    /// One of its formats.
    pub format: String,
    /// What it wants to know of the format.
    pub options: Map<String, Value>,
}

/// What a child and its descendants may use; absent: no limit of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// Processes of the tree.
    pub processes: Option<u64>,
    /// Open files of each process.
    pub open_files: Option<u64>,
    /// Niceness, from -20 (first) to 19 (last).
    pub nice: Option<i32>,
}
