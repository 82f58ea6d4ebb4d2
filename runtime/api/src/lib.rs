//! The words that cross Drover's link, and nothing that acts on them.
//!
//! A caller sends a [`Command`] to a node; the node runs it as a job and
//! answers with a [`JobResult`]. A node describes itself to the controller
//! with a [`NodeDescription`]; the controller tells what it knows of a node
//! with a [`NodeStatus`]. [`procedures`] has the names under which all this is
//! called. Everything here is serialised as maps with the field names as they
//! stand, and unknown fields are ignored, so that old and new programs
//! understand each other.

#![forbid(unsafe_code)]

mod access;
mod catalog;
mod command;
mod data;
mod desired;
mod error;
mod id;
mod job;
mod join;
mod limits;
mod node;
mod plugin;
pub mod procedures;
mod result;
mod rollout;
mod schedule;
mod selector;
mod service;
mod source;
mod stream_tail;
mod streaming;
mod time;
mod update;
mod version;

pub use access::{
    AccessName, ApiToken, Approve, AuditEntry, AuditQuery, AuditVerdict, Authority, Claim,
    ClaimCode, Enrol, Enrolled, KnownNode, LabelNode, MadeToken, NEWCOMER, NewApiToken,
    NewJoinToken, PutUser, RotateKey, Scope, User, WhoAmI,
};
pub use catalog::{
    CatalogAdd, CatalogChanged, CatalogChannel, CatalogDetail, CatalogName, CatalogPiece,
    CatalogPlugin, CatalogRead, CatalogSetChannel, CatalogStatement, CatalogVersion, CatalogWrite,
    CatalogWritten, CatalogYank, MOST_PIECE_BYTES, Octets,
};
pub use command::Command;
pub use data::{DEEPEST, Data, NoJson, is_too_deep};
pub use desired::{DesiredMode, DesiredRemove, DesiredRule, DesiredSet, Drift, DriftState};
pub use error::{ErrorCode, JobError};
pub use id::{Gid, JobId, JobIdError, Nid, NodeId, NodeIdError};
pub use job::{
    DeliveredJob, Holding, JobCancel, JobCounts, JobDelivered, JobDelivery, JobKill, JobKilled,
    JobList, JobQuery, JobReport, JobReported, JobResults, JobSubmit, JobSubmitted, NodeJob, Retry,
    RetryCause, Submission, SubmissionDetail, Transition, job_on, parts_of_job,
};
pub use join::{JoinText, JoinTextError};
pub use limits::JobLimits;
pub use node::{
    Heartbeat, HostCommand, LogFormat, NodeDescription, NodeOperations, NodeStatus, Operation,
    OperationKind, Plugin, PluginSummary, Presence, RefusedPlugin,
};
pub use plugin::{
    DrainingVersion, NextVersion, PluginList, PluginState, PluginStatus, QuarantineStatus,
    ServingVersion,
};
pub use result::{Exit, JobResult, JobState, Level, Progress, Record};
pub use rollout::{
    Rollout, RolloutControl, RolloutCounts, RolloutDetail, RolloutId, RolloutNode,
    RolloutNodeState, RolloutNote, RolloutOrder, RolloutOutcome, RolloutPhase, RolloutPlan,
    RolloutStart, RolloutTarget, Share, ShareError,
};
pub use schedule::{LastTime, Missed, Overlap, Schedule, ScheduleName, ScheduleStatus};
pub use selector::{Choice, NearMiss, Selector, SelectorError};
pub use service::{FeedEvent, FeedValue, Restart, ServiceState, ServiceStatus};
pub use source::{SourceFile, SourceState, SourceStatus};
pub use stream_tail::StreamTail;
pub use streaming::{StreamPart, Streaming};
pub use time::Timestamp;
pub use update::{
    KeptVersion, OWN_PROGRAM, PluginVersions, UpdateEnd, UpdateOutcome, UpdateStatus, UpdateStep,
};
pub use version::{STAMP, STAMP_ROOM, version};
