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
        data: json!(nid).into(),
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
fn what_moved_is_with_its_new_node_after_a_restart_and_what_was_done_is_remembered() {
    let mut kept = Kept::new();
    let command = Command { id: "s".parse().unwrap(), ..Command::new("a.b") };
    let request = JobSubmit { any: Some(2), ..JobSubmit::new(command, "*") };
    let nodes = [1, 2].map(|nid| NodeId::new(1, nid));
    let step = kept.ledger.submit(request, &nodes, "ada", Timestamp(10)).unwrap();
    kept.write(step);
    kept.end(2, JobState::Ok, 20);
    // Node 1 stays away, and node 3 comes.
    let three = NodeId::new(1, 3);
    let mut kept = kept.again(30);
    let step = kept.ledger.node_joined(three, Timestamp(30));
    kept.write(step);
    let stranded = kept.ledger.stranded(None, 10, Timestamp(20_000));
    assert!(!kept.ledger.may_move(stranded[0].key, nodes[1]));
    let step = kept.ledger.move_on(stranded[0].key, three, Timestamp(20_000));
    kept.write(step);

    // It was about to be delivered when the controller died.
    let mut kept = kept.again(30_000);
    assert_eq!(kept.ledger.nodes_of(&"s".parse().unwrap()).collect::<Vec<_>>(), [three]);
    assert!(kept.ledger.stranded(None, 10, Timestamp(60_000)).is_empty());
    let step = kept.ledger.tick(Timestamp(60_000));
    kept.write(step);
    kept.end(3, JobState::Ok, 60_001);
    let detail = show(&kept.connection, &JobQuery::new("s".parse().unwrap())).unwrap().unwrap();
    assert_eq!(detail.submission.state, JobState::Ok);
    assert_eq!(detail.jobs[1].id.as_str(), "s:1.3");
    let told: Vec<_> = detail.jobs[1].transitions.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(
        told,
        [
            "submitted by ada",
            "node 1.1 is away and was not given the job: it goes to node 1.3",
            "node 1.3 is away, and the job stays with it: it was given to that node and may have \
             begun there",
            "started",
            "done"
        ]
    );
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

/// Every way to ask for a list: with and without each filter.
fn filters() -> impl Iterator<Item = JobList> {
    (0..1u32 << 6).map(|chosen| {
        let is_chosen = |place: u32| chosen & (1 << place) != 0;
        JobList {
            state: is_chosen(0).then_some(JobState::Ok),
            cmd: is_chosen(1).then(|| "a.b".to_owned()),
            node: is_chosen(2).then(|| NodeId::new(1, 2)),
            by: is_chosen(3).then(|| "ada".to_owned()),
            schedule: is_chosen(4).then(|| "nightly".to_owned()),
            since: is_chosen(5).then_some(Timestamp(200)),
            limit: None,
        }
    })
}

#[test]
fn no_list_reads_a_whole_table_or_sorts() {
    let kept = Kept::new();
    for wanted in filters() {
        let list::Query { sql, values } = list::query(&kept.connection, &wanted).unwrap();
        let mut plan = kept.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = plan.query_map(rusqlite::params_from_iter(values), |row| row.get(3)).unwrap();
        for step in steps {
            let step: String = step.unwrap();
            let is_narrow = step.starts_with("SEARCH") || step.contains("SUBQUERY");
            assert!(is_narrow && !step.contains("B-TREE"), "{wanted:?}: {step}\n{sql}");
        }
    }
}

#[test]
fn filters_together_find_what_each_of_them_finds() {
    let mut kept = Kept::new();
    let mut state = [JobState::Ok, JobState::Error, JobState::Killed].into_iter().cycle();
    for number in 0..60 {
        kept.submit(&format!("s{number}"), &[1 + number % 3], u64::from(number) * 10);
        kept.end(1 + number % 3, state.next().unwrap(), 1000);
    }
    let sql = "UPDATE submissions SET cmd = 'c' || key % 5, by = 'b' || key % 7,
                   schedule = CASE WHEN key % 2 THEN 'nightly' END";
    assert_eq!(kept.connection.execute(sql, []).unwrap(), 60);
    let all = |wanted: &JobList| list(&kept.connection, wanted).unwrap();
    let everything = all(&JobList { limit: Some(100), ..JobList::default() });
    assert_eq!(everything.len(), 60);
    for wanted in filters() {
        let cmd = wanted.cmd.map(|_| "c1".to_owned());
        let by = wanted.by.map(|_| "b4".to_owned());
        let wanted = JobList { cmd, by, limit: Some(100), ..wanted };
        let expected: Vec<_> = everything
            .iter()
            .filter(|one| wanted.state.is_none_or(|state| one.state == state))
            .filter(|one| wanted.cmd.as_ref().is_none_or(|cmd| one.cmd == *cmd))
            .filter(|one| wanted.by.as_ref().is_none_or(|by| one.by == *by))
            .filter(|one| wanted.schedule.is_none() || one.schedule == wanted.schedule)
            .filter(|one| wanted.since.is_none_or(|since| one.time >= since))
            .filter(|one| wanted.node.is_none() || on_second_node(&kept, &one.id))
            .cloned()
            .collect();
        assert_eq!(all(&wanted), expected, "{wanted:?}");
    }
}

fn on_second_node(kept: &Kept, id: &JobId) -> bool {
    let job = job_on(id, NodeId::new(1, 2)).unwrap();
    !show(&kept.connection, &JobQuery::new(job)).unwrap().unwrap().jobs.is_empty()
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
        (3, include_str!("../../../tests/schemas/jobs-3.sql")),
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
        assert_eq!(saved.schedules.len(), usize::from(version >= 2));
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
