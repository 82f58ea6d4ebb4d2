//! The process manager: commands become children, and every child ends surely.
//!
//! [`ProcessSpec`] reads what a command asks for, and a [`ProcessManager`] has it
//! done: it waits for its turn, is started, watched, restarted and ended. What
//! happens is told to an [`Observer`], bytes of output included.
//!
//! The agent does not start children itself. One small program, the *keeper*
//! ([`run_keeper`]), is the parent of them all; it outlives the agent, so that no
//! exit and no byte of output is lost when the agent is killed. The manager in
//! the agent decides what is started, restarted and ended, with a pure state
//! machine, and drives the keeper.

mod failures;
mod keeper;
mod keeper_client;
mod lifecycle;
mod manager;
mod scheduler;
mod spec;
mod tree;
mod usage;

pub use failures::{AfterFailure, Failures};
pub use keeper::{
    Exit, Force, Found, KeptRun, Launch, LaunchError, LaunchErrorKind, Limits, RunKeeperError,
    Stdin, TreeEnd, run_keeper,
};
pub use keeper_client::{
    Connection, Keeper, KeeperError, KeeperEvent, Kept, Pipes, Spawned, connect_or_start,
};
pub use lifecycle::{Cause, Outcome, RunEnd, Stop};
pub use manager::{
    GroupUsage, HandedJob, JobEvent, JobInfo, JobStatus, JobUsage, KillReport, ManagerConfig,
    ManagerError, ManagerTask, Observer, OpenError, Origin, OutputStream, Phase, ProcessManager,
    StdinWriter, open,
};
pub use spec::{
    CronSchedule, Environment, Inherit, LevelTexts, MaxTime, OnAgentRestart, ParseSpec, Places,
    ProcessLimits, ProcessSpec, ReadyPattern, Recurrence, RestartPolicy, Script, SpecContext,
    SpecError, StdinPolicy,
};
pub use tree::Tree;
pub use usage::{TreeUsage, UsageSampler};
