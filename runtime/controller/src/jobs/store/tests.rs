use drover_api::{Command, Gid, JobId, JobList, JobQuery, JobResult, Nid, Transition, job_on};
use drover_jobs::{Effect, Ledger, Rules};
use serde_json::json;

use super::*;

const RULES: Rules = Rules { window: 10, most_per_node: 100, most: 1000 };

/// A store, and the ledger that writes into it.
struct Kept {
    dir: tempfile::TempDir,
    store: Store,
    connection: Connection,
    ledger: Ledger,
}

impl Kept {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, connection, saved) = Store::open(dir.path()).unwrap();
        Self { dir, store, connection, ledger: Ledger::new(RULES, saved.next) }
    }

    /// The controller ends and starts again.
    fn again(self, now: u64) -> Self {
        let Self { dir, store, connection, .. } = self;
        drop((store, connection));
        let (store, connection, saved) = Store::open(dir.path()).unwrap();
        let ledger = Ledger::restore(RULES, saved.next, saved.submissions, Timestamp(now));
        Self { dir, store, connection, ledger }
    }

    fn write(&self, step: drover_jobs::Step<Write, Effect>) -> Vec<Effect> {
        for one in step.writes {
            write(&self.connection, &StoreWrite::Job(one)).unwrap();
        }
        step.effects
    }

    fn submit(&mut self, id: &str, nodes: &[u32], now: u64) {
        let nodes: Vec<_> = nodes.iter().map(|nid| NodeId::new(1, *nid)).collect();
        let command = Command { id: id.parse().unwrap(), ..Command::new("a.b") };
        let request = JobSubmit { keep_ms: Some(1000), ..JobSubmit::new(command, "*") };
        let step = self.ledger.submit(request, &nodes, "ada", Timestamp(now)).unwrap();
        self.write(step);
    }

    /// The node does what it is given, which ends so.
    fn end(&mut self, nid: u32, state: JobState, now: u64) {
        let node = NodeId::new(1, nid);
        let step = self.ledger.node_joined(node, Timestamp(now));
        let mut ended = Vec::new();
        for effect in self.write(step) {
            let (Effect::Deliver(_, numbers) | Effect::Ask(_, numbers)) = effect else { continue };
            for number in numbers {
                ended.push((number, result(self.ledger.job_of(number).unwrap(), nid, state)));
            }
        }
        let store = String::new();
        let report = drover_api::JobReport { node, store, started: vec![], ended };
        let (step, _) = self.ledger.reported(report, Timestamp(now));
        self.write(step);
    }

    fn list(&self, wanted: &JobList) -> Vec<String> {
        let found = list(&self.connection, wanted).unwrap();
        found.iter().map(|one| one.id.to_string()).collect()
    }

    fn state(&self, id: &str) -> (JobState, drover_api::JobCounts) {
        let found = find(&self.connection, &id.parse().unwrap()).unwrap().unwrap();
        (found.submission.state, found.submission.counts)
    }
}

fn result(id: &JobId, nid: u32, state: JobState) -> JobResult {
    JobResult {
        id: id.clone(),
        gid: Gid(1),
        nid: Nid(nid),
        cmd: "a.b".to_owned(),
        args: Default::default(),
        state,
        data: json!(nid),
        error: None,
        streams: Default::default(),
        exit: None,
        critical: None,
        records: Vec::new(),
        starttime: Timestamp(5),
        time: 1.0,
    }
}

#[test]
fn what_was_submitted_is_there_after_a_restart_and_goes_on() {
    let mut kept = Kept::new();
    kept.submit("s", &[1, 2], 100);
    kept.end(1, JobState::Ok, 200);
    let (state, counts) = kept.state("s");
    assert_eq!((state, counts.queued, counts.ok), (JobState::Running, 1, 1));

    let mut kept = kept.again(300);
    assert_eq!(kept.ledger.unfinished(), 1);
    kept.end(2, JobState::Error, 400);
    let (state, counts) = kept.state("s");
    assert_eq!((state, counts.ok, counts.error), (JobState::Error, 1, 1));
    assert_eq!(kept.again(500).ledger.unfinished(), 0);
}

#[test]
fn numbers_are_never_given_again_although_what_had_them_is_deleted() {
    let mut kept = Kept::new();
    kept.submit("s", &[1], 100);
    kept.end(1, JobState::Ok, 200);
    write(&kept.connection, &StoreWrite::Sweep(Timestamp(1199))).unwrap();
    assert_eq!(kept.list(&JobList::default()), ["s"]);
    write(&kept.connection, &StoreWrite::Sweep(Timestamp(1201))).unwrap();
    assert!(kept.list(&JobList::default()).is_empty());
    let sql = "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM results)
                   + (SELECT count(*) FROM requests)";
    assert_eq!(kept.connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 0);

    // Two keys and a number had been given.
    let saved = load(&kept.connection).unwrap();
    assert_eq!(saved.next, 4);
}

#[test]
fn lists_are_filtered_and_begin_with_the_newest() {
    let mut kept = Kept::new();
    kept.submit("one", &[1], 100);
    kept.submit("two", &[2], 200);
    kept.submit("both", &[1, 2], 300);
    kept.end(1, JobState::Ok, 400);
    let list = |wanted: JobList| kept.list(&wanted);
    assert_eq!(list(JobList::default()), ["both", "two", "one"]);
    assert_eq!(list(JobList { state: Some(JobState::Ok), ..JobList::default() }), ["one"]);
    let node = Some(NodeId::new(1, 2));
    assert_eq!(list(JobList { node, ..JobList::default() }), ["both", "two"]);
    let since = Some(Timestamp(200));
    assert_eq!(list(JobList { since, node, limit: Some(1), ..JobList::default() }), ["both"]);
    assert!(list(JobList { by: Some("bob".into()), ..JobList::default() }).is_empty());
}

#[test]
fn results_come_in_pages_and_those_of_one_node_alone() {
    let mut kept = Kept::new();
    kept.submit("s", &[1, 2, 3], 100);
    for nid in 1..=3 {
        kept.end(nid, JobState::Ok, 200);
    }
    let submission: JobId = "s".parse().unwrap();
    let mut query = JobQuery::new(submission.clone());
    let mut seen = Vec::new();
    loop {
        let page = results(&kept.connection, &query, 1).unwrap().unwrap();
        assert_eq!(page.results.len(), 1);
        seen.push(page.results[0].nid.0);
        match page.next {
            Some(after) => query.after = Some(after),
            None => break,
        }
    }
    assert_eq!(seen, [1, 2, 3]);
    let one = JobQuery::new(job_on(&submission, NodeId::new(1, 2)).unwrap());
    let page = results(&kept.connection, &one, 1).unwrap().unwrap();
    assert_eq!(page.results.iter().map(|result| result.nid.0).collect::<Vec<_>>(), [2]);
    let shown = show(&kept.connection, &one).unwrap().unwrap();
    let reasons: Vec<_> = shown.jobs[0].transitions.iter().map(told).collect();
    assert_eq!(reasons, ["QUEUED submitted by ada", "RUNNING started", "OK done"]);
}

fn told(transition: &Transition) -> String {
    format!("{} {}", state_text(transition.state), transition.reason)
}

#[tokio::test]
async fn those_who_read_see_what_was_written() {
    let mut kept = Kept::new();
    kept.submit("s", &[1], 100);
    let found = kept.store.read(|connection| list(connection, &JobList::default())).await.unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn jobs_of_every_earlier_version_go_on() {
    for (version, dump) in [
        (1, include_str!("../../../tests/schemas/jobs-1.sql")),
        (2, include_str!("../../../tests/schemas/jobs-2.sql")),
    ] {
        let dir = tempfile::tempdir().unwrap();
        Connection::open(dir.path().join("jobs.db")).unwrap().execute_batch(dump).unwrap();
        let (_, connection, saved) = Store::open(dir.path()).unwrap();
        assert_eq!(saved.id, "01a1ffef-33c0-7737-b002-47f19962d560");
        assert_eq!(saved.next, 9);
        let open: Vec<_> = saved
            .submissions
            .iter()
            .map(|one| {
                (one.request.command.id.as_str(), one.jobs[0].number, one.jobs[0].is_running)
            })
            .collect();
        assert_eq!(open, [("runs-1", 6, true), ("waits-1", 0, false)]);
        assert_eq!(saved.schedules.len(), usize::from(version == 2));
        let found = list(&connection, &JobList::default()).unwrap();
        let ids: Vec<_> = found.iter().map(|job| (job.id.as_str(), job.state)).collect();
        assert_eq!(
            ids,
            [
                ("waits-1", JobState::Queued),
                ("runs-1", JobState::Running),
                ("done-1", JobState::Ok)
            ]
        );
        let schedule = StoreWrite::Schedule { name: "hourly".into(), schedule: "{}".into() };
        write(&connection, &schedule).unwrap();
    }
}
