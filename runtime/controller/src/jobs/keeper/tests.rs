use drover_api::{Command, JobReport, NodeDescription};
use drover_jobs::Rules;
use rusqlite::Connection;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::access::Policy;
use crate::audit::{Audit, AuditTask};

/// A keeper whose disk does not answer until it is dropped here.
struct Site {
    keeper: Keeper,
    disk: std::sync::mpsc::Sender<()>,
    _asker: Asker,
    _audit: AuditTask,
    _dir: tempfile::TempDir,
}

fn site() -> Site {
    let dir = tempfile::tempdir().unwrap();
    let (audit, task) = Audit::open(&dir.path().join("audit"), 1 << 20).unwrap();
    let access = Access::open(&dir.path().join("access.db"), Policy::default(), audit).unwrap();
    let (disk, answer) = std::sync::mpsc::channel::<()>();
    let connection = Connection::open_in_memory().unwrap();
    let write = move |_: &Connection, _: &StoreWrite| {
        let _ = answer.recv();
        Ok(())
    };
    let journal = Journal::start("test", connection, write).unwrap();
    let rules = Rules { window: 10, most_per_node: 100, most: 100 };
    let ledger = Ledger::new(rules, 1);
    let store_id = "store".to_owned();
    let parts = Parts { store_id, ledger, journal, dir: dir.path().to_owned() };
    let (mut keeper, asker) = Keeper::new(parts, access, Vitals::default());
    keeper.take(Request::Nodes(vec![node()]));
    Site { keeper, disk, _asker: asker, _audit: task, _dir: dir }
}

fn node() -> NodeStatus {
    let id = NodeId::new(1, 1);
    let description = NodeDescription {
        gid: id.gid,
        nid: id.nid,
        name: "a".to_owned(),
        labels: vec![],
        version: String::new(),
        program: None,
        started: Timestamp(0),
        plugins: vec![],
        refused: vec![],
        trouble: None,
    };
    let now = Timestamp(0);
    NodeStatus { presence: Presence::Present, since: now, last_seen: now, description }
}

type Answer<T> = oneshot::Receiver<Result<T, JobError>>;

impl Site {
    fn submit(&mut self, id: &str, cmd: &str) -> Answer<JobSubmitted> {
        let command = Command { id: id.parse().unwrap(), ..Command::new(cmd) };
        let (reply, answer) = oneshot::channel();
        let (selector, by) = ("*".parse().unwrap(), "ada".to_owned());
        let request = JobSubmit::new(command, "*");
        self.keeper.take(Request::Submit(Box::new(Submitting { request, selector, by, reply })));
        answer
    }

    fn kill(&mut self, id: &str) -> Answer<JobKilled> {
        let (reply, answer) = oneshot::channel();
        let (id, by) = (id.parse().unwrap(), "ada".to_owned());
        let kill = Kill { id, node: None, force: true, by, authority: None };
        self.keeper.take(Request::Kill(kill, reply));
        answer
    }

    /// The disk answers from now on, and all that waits for it is done.
    async fn disk_answers<T>(self, mut last: Answer<T>) -> Result<T, JobError> {
        let Self { mut keeper, disk, .. } = self;
        drop(disk);
        loop {
            match last.try_recv() {
                Ok(answer) => return answer,
                Err(error) => assert_eq!(error, TryRecvError::Empty),
            }
            keeper.journal.safe().await.into_iter().for_each(|then| keeper.perform(then));
        }
    }
}

#[tokio::test]
async fn what_ended_an_instant_ago_is_known_although_it_is_not_on_disk() {
    let mut site = site();
    let _submitted = site.submit("nightly", "a.b");
    let _killed = site.kill("nightly");
    let mut other = site.submit("nightly", "a.other");
    assert_eq!(other.try_recv().unwrap().unwrap_err().code, ErrorCode::DuplicateId);
    let again = site.submit("nightly", "a.b");
    let again = site.disk_answers(again).await.unwrap();
    assert!(again.is_old && again.nodes == 1, "{again:?}");
}

#[tokio::test]
async fn while_the_disk_does_not_answer_what_is_new_is_refused_and_kills_are_taken() {
    let mut site = site();
    let _submitted = site.submit("first", "a.b");
    while site.keeper.obstacle().is_none() {
        let (reply, _) = oneshot::channel();
        site.keeper.take(Request::Write(StoreWrite::Sweep(Timestamp(0)), reply));
    }
    let error = site.submit("second", "a.b").try_recv().unwrap().unwrap_err();
    assert_eq!((error.code, &error.detail["retry_after_ms"]), (ErrorCode::Busy, &json!(5000)));
    let report = JobReport {
        node: NodeId::new(1, 1),
        store: "store".to_owned(),
        started: vec![],
        ended: vec![],
    };
    let (reply, mut reported) = oneshot::channel();
    site.keeper.take(Request::Report(report, reply));
    assert_eq!(reported.try_recv().unwrap().unwrap_err().code, ErrorCode::Busy);

    let killed = site.kill("first");
    assert_eq!(site.disk_answers(killed).await.unwrap().ended, 1);
}
