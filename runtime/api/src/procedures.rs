//! The names of procedures and topics, all under `drover.`.
//!
//! | name | what it is |
//! |---|---|
//! | `drover.node.<gid>.<nid>.run` | runs the [`Command`](crate::Command) given as the one positional argument, answers with a [`JobResult`](crate::JobResult), tells [`Progress`](crate::Progress) to callers that ask for progressive results |
//! | `drover.node.<gid>.<nid>.describe` | answers with a [`NodeDescription`](crate::NodeDescription) |
//! | `drover.node.<gid>.<nid>.operations` | answers with [`NodeOperations`](crate::NodeOperations): all, or the one whose name is the argument |
//! | `drover.node.<gid>.<nid>.<plugin>.<operation>` | runs one operation with the keyword arguments as its arguments and answers with its data alone, for callers that know nothing of envelopes; an error is `drover.error.<code>` |
//! | `drover.node.<gid>.<nid>.<command>` | the same for one of the host's own commands, such as `log.query`, and for their old names, such as `get_msgs` |
//! | `drover.node.<gid>.<nid>.feed.<service>` | topic: what a service publishes, as [`FeedEvent`](crate::FeedEvent)s |
//! | `drover.node.<gid>.<nid>.deliver` | takes durable jobs, a [`JobDelivery`](crate::JobDelivery), and answers with [`JobDelivered`](crate::JobDelivered) when they are on the node's disk |
//! | `drover.node.<gid>.<nid>.cancel` | ends durable jobs, a [`JobCancel`](crate::JobCancel), also those that have not arrived |
//! | `drover.node.heartbeat` | topic: [`Heartbeat`](crate::Heartbeat)s |
//! | `drover.controller.metrics` | answers with what the controller counts of itself, in the text format of OpenMetrics; a node has `agent.metrics` |
//! | `drover.controller.nodes` | answers with a list of [`NodeStatus`](crate::NodeStatus) |
//! | `drover.controller.node.changed` | topic: the [`NodeStatus`](crate::NodeStatus) of a node that has come, gone or described itself anew |
//! | `drover.controller.job.submit` | takes a [`JobSubmit`](crate::JobSubmit) and answers with [`JobSubmitted`](crate::JobSubmitted) when it is on the controller's disk; the same id again is the same submission |
//! | `drover.controller.job.list` | answers a [`JobList`](crate::JobList) with a list of [`Submission`](crate::Submission), the newest first |
//! | `drover.controller.job.show` | answers a [`JobQuery`](crate::JobQuery) with a [`SubmissionDetail`](crate::SubmissionDetail) |
//! | `drover.controller.job.wait` | answers a [`JobQuery`](crate::JobQuery) with the [`Submission`](crate::Submission) when all its jobs have ended |
//! | `drover.controller.job.result` | answers a [`JobQuery`](crate::JobQuery) with [`JobResults`](crate::JobResults) |
//! | `drover.controller.job.kill` | ends what a [`JobKill`](crate::JobKill) says, and answers with [`JobKilled`](crate::JobKilled) |
//! | `drover.controller.job.retry` | submits again what did not end `OK` of the submission that a [`JobQuery`](crate::JobQuery) names, and answers with [`JobSubmitted`](crate::JobSubmitted) |
//! | `drover.controller.schedule.add` | takes a [`Schedule`](crate::Schedule), in place of one of this name, and answers with its [`ScheduleStatus`](crate::ScheduleStatus) |
//! | `drover.controller.schedule.list` | answers with a list of [`ScheduleStatus`](crate::ScheduleStatus) |
//! | `drover.controller.schedule.show`, `….pause`, `….resume`, `….remove` | do that with the schedule that a [`ScheduleName`](crate::ScheduleName) names, and answer with its [`ScheduleStatus`](crate::ScheduleStatus) |
//! | `drover.controller.job.report` | for nodes: takes a [`JobReport`](crate::JobReport) and answers with [`JobReported`](crate::JobReported) when it is on the controller's disk |
//! | `drover.controller.records` | takes log records that a node forwards; the one argument and its delivery are `drover-logs`'s |
//! | `drover.controller.log.query`, `….follow`, `….delete` | as `log.query`, `log.follow` and `log.delete` of a node, for what nodes forwarded; `node` is one more condition |
//! | `drover.controller.catalog.list` | answers with a list of [`CatalogPlugin`](crate::CatalogPlugin) |
//! | `drover.controller.catalog.show` | answers a [`CatalogName`](crate::CatalogName) with a [`CatalogDetail`](crate::CatalogDetail) |
//! | `drover.controller.catalog.write` | takes a piece of content, a [`CatalogWrite`](crate::CatalogWrite), and answers with [`CatalogWritten`](crate::CatalogWritten) |
//! | `drover.controller.catalog.add` | adds a version, a [`CatalogAdd`](crate::CatalogAdd), and answers with a [`CatalogDetail`](crate::CatalogDetail) |
//! | `drover.controller.catalog.read` | answers a [`CatalogRead`](crate::CatalogRead) with a [`CatalogPiece`](crate::CatalogPiece) |
//! | `drover.controller.catalog.statement` | answers with the [`CatalogStatement`](crate::CatalogStatement) that counts, or null |
//! | `drover.controller.catalog.state` | takes a [`CatalogStatement`](crate::CatalogStatement) |
//! | `drover.controller.catalog.yank` | withdraws a version, a [`CatalogYank`](crate::CatalogYank) |
//! | `drover.controller.catalog.channel` | lets a channel stand for a version, a [`CatalogSetChannel`](crate::CatalogSetChannel) |
//! | `drover.controller.catalog.changed` | topic: [`CatalogChanged`](crate::CatalogChanged), when there is another statement |
//! | `drover.controller.rollout.start` | starts a [`RolloutStart`](crate::RolloutStart), or says what it would do; answers with a [`RolloutDetail`](crate::RolloutDetail) |
//! | `drover.controller.rollout.list` | answers with a list of [`Rollout`](crate::Rollout), the latest first |
//! | `drover.controller.rollout.show` | answers a [`RolloutId`](crate::RolloutId) with a [`RolloutDetail`](crate::RolloutDetail) |
//! | `drover.controller.rollout.control` | takes a [`RolloutControl`](crate::RolloutControl), and answers with a [`Rollout`](crate::Rollout) |
//! | `drover.controller.rollout.changed` | topic: a [`RolloutDetail`](crate::RolloutDetail) of what has changed |
//! | `drover.controller.desired.set` | sets a rule, a [`DesiredSet`](crate::DesiredSet), and answers with the [`DesiredRule`](crate::DesiredRule) |
//! | `drover.controller.desired.list` | answers with a list of [`DesiredRule`](crate::DesiredRule), the latest first |
//! | `drover.controller.desired.remove` | removes a rule, a [`DesiredRemove`](crate::DesiredRemove) |
//! | `drover.controller.desired.drift` | answers with a list of [`Drift`](crate::Drift) |
//! | `drover.controller.access.join_token` | makes a [`MadeToken`](crate::MadeToken) of a [`NewJoinToken`](crate::NewJoinToken) |
//! | `drover.controller.access.enrol` | makes a node of whoever calls, who has a key and an [`Enrol`](crate::Enrol), and answers with [`Enrolled`](crate::Enrolled) |
//! | `drover.controller.access.claims`, `….approve` | lists [`Claim`](crate::Claim)s; lets one in, an [`Approve`](crate::Approve) |
//! | `drover.controller.access.nodes`, `….revoke` | lists [`KnownNode`](crate::KnownNode)s; puts an end to the one of that [`AccessName`](crate::AccessName) |
//! | `drover.controller.access.label`, `….forget` | changes the labels of a node, a [`LabelNode`](crate::LabelNode), and answers with them; forgets the one of that [`AccessName`](crate::AccessName), which is lost or revoked |
//! | `drover.controller.access.ticket` | for nodes: answers with a [`MadeToken`](crate::MadeToken) that is good for an hour, and for nothing but the content of the catalog over HTTP |
//! | `drover.controller.access.rotate` | takes another key of the node that calls, a [`RotateKey`](crate::RotateKey) |
//! | `drover.controller.access.users`, `….put_user`, `….remove_user` | lists [`User`](crate::User)s; takes a [`PutUser`](crate::PutUser); removes one by [`AccessName`](crate::AccessName) |
//! | `drover.controller.access.tokens`, `….new_token`, `….remove_token` | lists [`ApiToken`](crate::ApiToken)s; makes a [`MadeToken`](crate::MadeToken) of a [`NewApiToken`](crate::NewApiToken); removes one by [`AccessName`](crate::AccessName) |
//! | `drover.controller.access.who_am_i` | answers with [`WhoAmI`](crate::WhoAmI) |
//! | `drover.controller.access.password` | takes the caller's own new password, the one argument |
//! | `drover.controller.audit.list`, `….verify` | answers an [`AuditQuery`](crate::AuditQuery) with [`AuditEntry`](crate::AuditEntry)s; checks the audit log, an [`AuditVerdict`](crate::AuditVerdict) |

use crate::{ErrorCode, NodeId};

/// The realm in which all of Drover's names live unless the config says otherwise.
pub const REALM: &str = "drover";

/// The topic on which nodes publish their heartbeats.
pub const HEARTBEAT: &str = "drover.node.heartbeat";

/// The procedure that lists the controller's nodes.
pub const NODES: &str = "drover.controller.nodes";

/// The procedure that tells what the controller counts of itself.
pub const METRICS: &str = "drover.controller.metrics";

/// The topic on which the controller tells that something about a node has changed.
pub const NODE_CHANGED: &str = "drover.controller.node.changed";

/// The topic on which the controller tells that it has forgotten a node.
pub const NODE_FORGOTTEN: &str = "drover.controller.node.forgotten";

/// What all procedures of durable jobs begin with; ends with a dot.
pub const JOB_PREFIX: &str = "drover.controller.job.";

/// The procedure that takes submissions.
pub const JOB_SUBMIT: &str = "drover.controller.job.submit";

/// The procedure that lists submissions.
pub const JOB_LIST: &str = "drover.controller.job.list";

/// The procedure that tells all of a submission.
pub const JOB_SHOW: &str = "drover.controller.job.show";

/// The procedure that answers when a submission has ended.
pub const JOB_WAIT: &str = "drover.controller.job.wait";

/// The procedure that tells results.
pub const JOB_RESULT: &str = "drover.controller.job.result";

/// The procedure that ends jobs.
pub const JOB_KILL: &str = "drover.controller.job.kill";

/// The procedure that submits again what did not end well.
pub const JOB_RETRY: &str = "drover.controller.job.retry";

/// What all procedures of schedules begin with; ends with a dot.
pub const SCHEDULE_PREFIX: &str = "drover.controller.schedule.";

/// The procedure that adds a schedule.
pub const SCHEDULE_ADD: &str = "drover.controller.schedule.add";

/// The procedure that lists the schedules.
pub const SCHEDULE_LIST: &str = "drover.controller.schedule.list";

/// The procedure that shows a schedule.
pub const SCHEDULE_SHOW: &str = "drover.controller.schedule.show";

/// The procedure that has a schedule submit nothing for a while.
pub const SCHEDULE_PAUSE: &str = "drover.controller.schedule.pause";

/// The procedure that has a schedule go on.
pub const SCHEDULE_RESUME: &str = "drover.controller.schedule.resume";

/// The procedure that removes a schedule.
pub const SCHEDULE_REMOVE: &str = "drover.controller.schedule.remove";

/// The procedure by which nodes tell of durable jobs.
pub const JOB_REPORT: &str = "drover.controller.job.report";

/// The procedure by which nodes forward log records.
pub const RECORDS: &str = "drover.controller.records";

/// The procedure that shows records that nodes forwarded.
pub const LOG_QUERY: &str = "drover.controller.log.query";

/// The procedure that tells records as nodes forward them.
pub const LOG_FOLLOW: &str = "drover.controller.log.follow";

/// The procedure that deletes records that nodes forwarded.
pub const LOG_DELETE: &str = "drover.controller.log.delete";

/// The procedure that lists the catalog.
pub const CATALOG_LIST: &str = "drover.controller.catalog.list";

/// The procedure that tells all of a version.
pub const CATALOG_SHOW: &str = "drover.controller.catalog.show";

/// The procedure that takes content, piece by piece.
pub const CATALOG_WRITE: &str = "drover.controller.catalog.write";

/// The procedure that adds a version whose content is there.
pub const CATALOG_ADD: &str = "drover.controller.catalog.add";

/// The procedure that hands out content, piece by piece.
pub const CATALOG_READ: &str = "drover.controller.catalog.read";

/// The procedure that tells what is current.
pub const CATALOG_STATEMENT: &str = "drover.controller.catalog.statement";

/// The procedure that is told what is current.
pub const CATALOG_STATE: &str = "drover.controller.catalog.state";

/// The procedure that withdraws a version.
pub const CATALOG_YANK: &str = "drover.controller.catalog.yank";

/// The procedure that changes a channel.
pub const CATALOG_CHANNEL: &str = "drover.controller.catalog.channel";

/// The topic on which the controller tells that there is another statement.
pub const CATALOG_CHANGED: &str = "drover.controller.catalog.changed";

/// The procedure that starts a rollout.
pub const ROLLOUT_START: &str = "drover.controller.rollout.start";

/// The procedure that lists rollouts.
pub const ROLLOUT_LIST: &str = "drover.controller.rollout.list";

/// The procedure that tells all of a rollout.
pub const ROLLOUT_SHOW: &str = "drover.controller.rollout.show";

/// The procedure that pauses, resumes and ends a rollout.
pub const ROLLOUT_CONTROL: &str = "drover.controller.rollout.control";

/// The topic on which the controller tells how rollouts go on.
pub const ROLLOUT_CHANGED: &str = "drover.controller.rollout.changed";

/// The procedure that sets a rule of what nodes are to have.
pub const DESIRED_SET: &str = "drover.controller.desired.set";

/// The procedure that lists those rules.
pub const DESIRED_LIST: &str = "drover.controller.desired.list";

/// The procedure that removes such a rule.
pub const DESIRED_REMOVE: &str = "drover.controller.desired.remove";

/// The procedure that tells which nodes do not have what they are to have.
pub const DESIRED_DRIFT: &str = "drover.controller.desired.drift";
/// What all procedures about who may join begin with.
pub const ACCESS: &str = "drover.controller.access.";

/// The procedure that makes join tokens.
pub const ACCESS_JOIN_TOKEN: &str = "drover.controller.access.join_token";

/// The procedure by which whoever has a key becomes a node.
pub const ACCESS_ENROL: &str = "drover.controller.access.enrol";

/// The procedure that lists who waits for approval.
pub const ACCESS_CLAIMS: &str = "drover.controller.access.claims";

/// The procedure that approves one of them.
pub const ACCESS_APPROVE: &str = "drover.controller.access.approve";

/// The procedure that lists the nodes that prove who they are.
pub const ACCESS_NODES: &str = "drover.controller.access.nodes";

/// The procedure that puts an end to a node.
pub const ACCESS_REVOKE: &str = "drover.controller.access.revoke";

/// The procedure that changes the labels of a node.
pub const ACCESS_LABEL: &str = "drover.controller.access.label";

/// The procedure that forgets a node that is gone for good.
pub const ACCESS_FORGET: &str = "drover.controller.access.forget";

/// The procedure that makes a ticket with which content is fetched over HTTP.
pub const ACCESS_TICKET: &str = "drover.controller.access.ticket";

/// The procedure by which a node changes its key.
pub const ACCESS_ROTATE: &str = "drover.controller.access.rotate";

/// The procedure that lists operators.
pub const ACCESS_USERS: &str = "drover.controller.access.users";

/// The procedure that adds and changes operators.
pub const ACCESS_PUT_USER: &str = "drover.controller.access.put_user";

/// The procedure that removes operators.
pub const ACCESS_REMOVE_USER: &str = "drover.controller.access.remove_user";

/// The procedure that lists the tokens of programs.
pub const ACCESS_TOKENS: &str = "drover.controller.access.tokens";

/// The procedure that makes them.
pub const ACCESS_NEW_TOKEN: &str = "drover.controller.access.new_token";

/// The procedure that withdraws them.
pub const ACCESS_REMOVE_TOKEN: &str = "drover.controller.access.remove_token";

/// The procedure that tells its caller who they are.
pub const ACCESS_WHO_AM_I: &str = "drover.controller.access.who_am_i";

/// The procedure by which its caller sets a password.
pub const ACCESS_PASSWORD: &str = "drover.controller.access.password";

/// What all procedures of the audit log begin with.
pub const AUDIT: &str = "drover.controller.audit.";

/// The procedure that shows the audit log.
pub const AUDIT_LIST: &str = "drover.controller.audit.list";

/// The procedure that checks the audit log.
pub const AUDIT_VERIFY: &str = "drover.controller.audit.verify";

/// The procedure of a node that runs a command, without the node's prefix.
pub const RUN: &str = "run";

/// The procedure of a node that describes it, without the node's prefix.
pub const DESCRIBE: &str = "describe";

/// The procedure of a node that tells what can be called, without the node's
/// prefix.
pub const OPERATIONS: &str = "operations";

/// The procedure of a node that takes durable jobs, without the node's prefix.
pub const DELIVER: &str = "deliver";

/// The procedure of a node that ends durable jobs, without the node's prefix.
pub const CANCEL: &str = "cancel";

/// What all procedures of a node begin with; ends with a dot.
#[must_use]
pub fn node_prefix(node: NodeId) -> String {
    format!("drover.node.{node}.")
}

/// The procedure of `node` that runs a command.
#[must_use]
pub fn run(node: NodeId) -> String {
    node_prefix(node) + RUN
}

/// The procedure of `node` that describes it.
#[must_use]
pub fn describe(node: NodeId) -> String {
    node_prefix(node) + DESCRIBE
}

/// The procedure of `node` that tells what can be called.
#[must_use]
pub fn operations(node: NodeId) -> String {
    node_prefix(node) + OPERATIONS
}

/// The topic on which a service of `node` publishes.
#[must_use]
pub fn feed(node: NodeId, service: &str) -> String {
    format!("{}feed.{service}", node_prefix(node))
}

/// The error URI of a code.
#[must_use]
pub fn error_uri(code: ErrorCode) -> String {
    format!("drover.error.{code}").replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_node_share_its_prefix() {
        let node = NodeId::new(1, 7);
        assert_eq!(run(node), "drover.node.1.7.run");
        assert!(describe(node).starts_with(&node_prefix(node)));
    }

    #[test]
    fn an_error_uri_is_a_strict_wamp_uri() {
        assert_eq!(error_uri(ErrorCode::UnknownCommand), "drover.error.unknown_command");
    }
}
