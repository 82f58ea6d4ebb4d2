//! What nodes are asked on behalf of rollouts and of rules, and what is heard of it.

use std::collections::HashMap;

use drover_api::{
    Command, ErrorCode, JobResult, JobState, NodeId, Progress, RolloutId, RolloutTarget,
    UpdateStatus, procedures,
};
use drover_rollout::{Event, Outcome};
use drover_wamp::{ApplicationError, CallError, CallOptions, Client, Payload, uri};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

/// What nodes told and the service has not taken yet; a node that finds no room
/// waits, and nothing else does.
const HEARD: usize = 1024;

/// On whose behalf a node is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    Rollout(RolloutId),
    /// The rules of a plugin.
    Rules(String),
}

/// Calls to nodes, one at most for each node and owner.
#[derive(Debug)]
pub(super) struct Errands {
    running: HashMap<(Owner, NodeId), Errand>,
    tasks: JoinSet<()>,
    turn: u64,
    tell: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
}

#[derive(Debug)]
struct Errand {
    /// What an earlier errand is told is of no interest.
    turn: u64,
    task: AbortHandle,
}

/// Something that a node told.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) owner: Owner,
    pub(super) node: NodeId,
    turn: u64,
    pub(super) event: Event,
}

impl Errands {
    pub(super) fn new() -> Self {
        let (tell, heard) = mpsc::channel(HEARD);
        Self { running: HashMap::new(), tasks: JoinSet::new(), turn: 0, tell, heard }
    }

    /// Asks a node something; what was asked before is listened to no longer.
    pub(super) fn ask(&mut self, session: &Client, owner: Owner, node: NodeId, command: Command) {
        self.leave(owner.clone(), node);
        self.turn += 1;
        let mouth = Mouth { tell: self.tell.clone(), owner: owner.clone(), node, turn: self.turn };
        let session = session.clone();
        let is_update = command.cmd == UPDATE;
        let task = self.tasks.spawn(async move {
            let outcome = run(&session, &command, &mouth).await;
            let event = match is_update {
                true => Event::Updated(node, outcome),
                false => Event::WentBack(node, outcome),
            };
            mouth.say(event).await;
        });
        self.running.insert((owner, node), Errand { turn: self.turn, task });
    }

    /// Listens no longer; the node goes on by itself.
    pub(super) fn leave(&mut self, owner: Owner, node: NodeId) {
        if let Some(errand) = self.running.remove(&(owner, node)) {
            errand.task.abort();
        }
    }

    /// The next that is heard.
    pub(super) async fn heard(&mut self) -> Heard {
        loop {
            tokio::select! {
                Some(heard) = self.heard.recv() => {
                    if self.is_awaited(&heard) {
                        return heard;
                    }
                }
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    /// What else was heard and waits.
    pub(super) fn heard_already(&mut self) -> Option<Heard> {
        loop {
            let heard = self.heard.try_recv().ok()?;
            if self.is_awaited(&heard) {
                return Some(heard);
            }
        }
    }

    /// Whether it comes from the errand that is on; one that has ended is over.
    fn is_awaited(&mut self, heard: &Heard) -> bool {
        let place = (heard.owner.clone(), heard.node);
        let is_awaited = self.running.get(&place).is_some_and(|errand| errand.turn == heard.turn);
        if is_awaited && !matches!(heard.event, Event::Told(..)) {
            self.running.remove(&place);
        }
        is_awaited
    }

    /// Ends all calls; the nodes go on by themselves.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// Says what a node told.
struct Mouth {
    tell: mpsc::Sender<Heard>,
    owner: Owner,
    node: NodeId,
    turn: u64,
}

impl Mouth {
    async fn say(&self, event: Event) {
        let Self { tell, owner, node, turn } = self;
        let heard = Heard { owner: owner.clone(), node: *node, turn: *turn, event };
        // Nobody hears it when the controller ends.
        let _ = tell.send(heard).await;
    }
}

/// The command by which a node takes a version.
pub(super) const UPDATE: &str = "plugin.update";

/// Has a node take a version, and watch it for so long; `again`, even if it did badly
/// there before.
pub(super) fn update(node: NodeId, target: &RolloutTarget, watch_ms: u64, again: bool) -> Command {
    let RolloutTarget { plugin, version, hash, length, signature } = target;
    let arguments = json!({
        "name": plugin, "version": version, "hash": hash, "length": length,
        "signature": signature, "watch": format!("{watch_ms}ms"), "again": again,
    });
    command(node, UPDATE, arguments)
}

/// What stands for no version where a version may stand.
const NONE: &str = "none";

/// Has a node go back to what it had: the version with this hash, or none.
pub(super) fn revert(node: NodeId, target: &RolloutTarget, to: Option<&str>) -> Command {
    let arguments = json!({ "name": target.plugin, "version": to.unwrap_or(NONE) });
    command(node, "plugin.revert", arguments)
}

fn command(node: NodeId, cmd: &str, arguments: Value) -> Command {
    let args = match arguments {
        Value::Object(args) => args,
        _ => Map::new(),
    };
    Command { gid: Some(node.gid), nid: Some(node.nid), args, ..Command::new(cmd) }
}

/// Asks a node, tells its steps, and says how it ended.
async fn run(session: &Client, command: &Command, mouth: &Mouth) -> Outcome {
    let procedure = procedures::run(mouth.node);
    let start = async {
        let payload = Payload::one(command)?;
        session.start(&procedure, payload, CallOptions::default()).await
    };
    let mut running = match start.await {
        Ok(running) => running,
        Err(error) => return Outcome::Lost(in_words(&error)),
    };
    let mut last = None;
    while let Some(report) = running.next().await {
        let status = report
            .first::<Progress>()
            .ok()
            .and_then(|report| serde_json::from_value::<UpdateStatus>(report.progress).ok());
        // Each piece that arrives is told; a step is told once.
        if let Some(status) = status.filter(|status| last != Some(status.step)) {
            last = Some(status.step);
            mouth.say(Event::Told(mouth.node, status)).await;
        }
    }
    match running.answer().await.and_then(|answer| Ok(answer.first::<JobResult>()?)) {
        Ok(result) => outcome(result),
        Err(error) => Outcome::Lost(in_words(&error)),
    }
}

fn outcome(result: JobResult) -> Outcome {
    let Some(error) = result.error else {
        return match result.state {
            JobState::Ok => Outcome::Done,
            _ => Outcome::Lost("its answer says nothing".to_owned()),
        };
    };
    match error.code {
        // These say nothing of the version.
        ErrorCode::ShuttingDown
        | ErrorCode::Busy
        | ErrorCode::DuplicateId
        | ErrorCode::Cancelled
        | ErrorCode::Internal => Outcome::Lost(error.message),
        _ => Outcome::Failed(error.message),
    }
}

fn in_words(error: &CallError) -> String {
    match error {
        CallError::Application(ApplicationError { uri, .. })
            if uri == uri::error::NO_SUCH_PROCEDURE || uri == uri::error::CANCELED =>
        {
            "it is away".to_owned()
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use drover_api::JobError;

    use super::*;

    fn result(error: Option<ErrorCode>) -> JobResult {
        let state = if error.is_some() { "ERROR" } else { "OK" };
        let text = json!({
            "id": "j", "gid": 1, "nid": 7, "cmd": UPDATE, "state": state, "starttime": 0,
            "time": 0.0, "error": error.map(|code| JobError::new(code, "why")),
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn what_says_nothing_of_the_version_is_no_failure_of_it() {
        assert_eq!(outcome(result(None)), Outcome::Done);
        let why = || "why".to_owned();
        for code in [ErrorCode::ShuttingDown, ErrorCode::Busy, ErrorCode::Internal] {
            assert_eq!(outcome(result(Some(code))), Outcome::Lost(why()));
        }
        for code in [ErrorCode::Failed, ErrorCode::Denied, ErrorCode::InvalidArguments] {
            assert_eq!(outcome(result(Some(code))), Outcome::Failed(why()));
        }
    }
}
