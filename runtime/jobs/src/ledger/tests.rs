mod presence;
mod retry;

use drover_api::{
    Command, ErrorCode, Holding, JobDelivered, JobReport, JobState, Retry, RetryCause,
};

use super::pace::place_in;
use super::*;

const RULES: Rules = Rules { window: 2, most_per_node: 4, most: 10 };

fn node(nid: u32) -> NodeId {
    NodeId::new(1, nid)
}

fn at(ms: u64) -> Timestamp {
    Timestamp(ms)
}

/// A submission that is called `id`.
fn request(id: &str) -> JobSubmit {
    JobSubmit::new(Command { id: id.parse().unwrap(), ..Command::new("a.b") }, "*")
}

/// A ledger whose nodes 1 to `nodes` are there.
fn ledger(nodes: u32) -> Ledger {
    let mut ledger = Ledger::new(RULES, 1);
    for nid in 1..=nodes {
        assert!(ledger.node_joined(node(nid), at(0)).is_empty());
    }
    ledger
}

fn submit(ledger: &mut Ledger, request: JobSubmit, nodes: &[u32], now: u64) -> LedgerStep {
    let nodes: Vec<_> = nodes.iter().map(|nid| node(*nid)).collect();
    ledger.submit(request, &nodes, "ada", at(now)).unwrap()
}

/// The numbers that a step delivers, by node.
fn delivered(step: &LedgerStep) -> Vec<(u32, u64)> {
    let deliveries = step.effects.iter().filter_map(|effect| match effect {
        Effect::Deliver(node, numbers) => Some((node.nid.0, numbers)),
        _ => None,
    });
    deliveries.flat_map(|(nid, numbers)| numbers.iter().map(move |number| (nid, *number))).collect()
}

/// A node tells that an attempt has ended so.
fn end(
    ledger: &mut Ledger,
    (nid, number): (u32, u64),
    code: Option<ErrorCode>,
    now: u64,
) -> LedgerStep {
    let key = ledger.sent[&number];
    let state = match code {
        None => JobState::Ok,
        Some(ErrorCode::Timeout) => JobState::Timeout,
        Some(_) => JobState::Error,
    };
    let error = code.unwrap_or(ErrorCode::Failed);
    let mut result = ledger.without_answer(key, state, error, "it failed", at(now));
    result.error = result.error.filter(|_| code.is_some());
    result.time = 1.0;
    let (store, started) = (String::new(), Vec::new());
    let report = JobReport { node: node(nid), store, started, ended: vec![(number, result)] };
    ledger.reported(report, at(now)).0
}

/// The states that a step writes, in order.
fn states(step: &LedgerStep) -> Vec<JobState> {
    let transitions = step.writes.iter().flat_map(|write| match write {
        Write::Ended { transitions, .. } | Write::Again { transitions, .. } => transitions.clone(),
        Write::Started { transition, .. } => vec![transition.clone()],
        _ => Vec::new(),
    });
    transitions.map(|transition| transition.state).collect()
}

#[test]
fn a_job_for_a_node_that_is_there_is_delivered_at_once_and_ends_with_its_result() {
    let mut ledger = ledger(1);
    let step = submit(&mut ledger, request("s"), &[1], 0);
    let Write::Submitted(new) = &step.writes[0] else { panic!("{step:?}") };
    let sent = delivered(&step);
    // It is written as sent before it is.
    assert_eq!((step.writes.len(), new.jobs[0].number), (1, sent[0].1));
    let step = end(&mut ledger, sent[0], None, 5);
    assert_eq!(states(&step), [JobState::Running, JobState::Ok]);
    assert!(step.effects.contains(&Effect::Ended("s".parse().unwrap())));
    assert_eq!(ledger.unfinished(), 0);
}

#[test]
fn what_has_ended_is_told_to_whoever_must_know_it_until_it_is_on_disk() {
    let mut ledger = ledger(2);
    let sent = delivered(&submit(&mut ledger, request("s"), &[1, 2], 0));
    let _ = end(&mut ledger, sent[0], None, 1);
    assert_eq!(ledger.request(&"s".parse().unwrap()).unwrap().1, 2);
    assert!(ledger.take_ended().is_empty());
    let _ = end(&mut ledger, sent[1], None, 2);
    let ended = ledger.take_ended();
    assert_eq!((ended.len(), ended[0].0.command.id.as_str(), ended[0].1), (1, "s", 2));
    assert!(ledger.take_ended().is_empty());
}

#[test]
fn what_was_sent_is_repeated_until_it_is_confirmed_and_asked_for_afterwards() {
    let mut ledger = ledger(1);
    let sent = delivered(&submit(&mut ledger, request("s"), &[1], 0));
    assert!(delivered(&ledger.tick(at(1999))).is_empty());
    assert_eq!(delivered(&ledger.tick(at(2000))), sent);
    let answer = JobDelivered { jobs: vec![(sent[0].1, Holding::Running)] };
    let _ = ledger.delivered(node(1), Some(&answer), at(2001));
    assert!(ledger.tick(at(10_000)).is_empty());
    let again = ledger.node_joined(node(1), at(10_001));
    assert_eq!(again.effects, [Effect::Ask(node(1), vec![sent[0].1])]);
    // It could not answer.
    let _ = ledger.delivered(node(1), None, at(10_001));
    assert_eq!(ledger.tick(at(12_001)).effects, again.effects);
    let answer = JobDelivered { jobs: vec![(sent[0].1, Holding::Unknown)] };
    let step = ledger.delivered(node(1), Some(&answer), at(10_002));
    assert_eq!(states(&step), [JobState::Error]);
}

#[test]
fn a_node_has_no_more_than_its_window_and_gets_the_next_when_one_ends() {
    let mut ledger = ledger(1);
    let sent: Vec<_> = ["a", "b", "c"]
        .iter()
        .flat_map(|id| delivered(&submit(&mut ledger, request(id), &[1], 0)))
        .collect();
    assert_eq!(sent.len(), 2);
    assert_eq!(delivered(&end(&mut ledger, sent[0], None, 1)).len(), 1);
}

#[test]
fn only_so_many_of_a_submission_are_at_work() {
    let mut ledger = ledger(3);
    let limited = JobSubmit { at_once: Some(2), ..request("s") };
    let sent = delivered(&submit(&mut ledger, limited, &[1, 2, 3], 0));
    assert_eq!(sent.iter().map(|(nid, _)| *nid).collect::<Vec<_>>(), [1, 2]);
    let next = delivered(&end(&mut ledger, sent[1], None, 1));
    assert_eq!(next.iter().map(|(nid, _)| *nid).collect::<Vec<_>>(), [3]);
}

#[test]
fn what_may_be_tried_again_is_under_another_number_after_the_wait() {
    let mut ledger = ledger(1);
    let on = vec![RetryCause::Failed];
    let retry = Retry { attempts: 2, first_wait_ms: 500, on, ..Retry::default() };
    let first = delivered(&submit(&mut ledger, JobSubmit { retry, ..request("s") }, &[1], 0));
    let step = end(&mut ledger, first[0], Some(ErrorCode::Failed), 100);
    assert_eq!(states(&step), [JobState::Running, JobState::Queued]);
    assert!(delivered(&ledger.tick(at(599))).is_empty());
    let second = delivered(&ledger.tick(at(600)));
    assert!(second[0].1 > first[0].1);
    // The last attempt counts, and the first one's number is nobody's.
    let step = end(&mut ledger, second[0], Some(ErrorCode::Failed), 700);
    assert_eq!(states(&step), [JobState::Running, JobState::Error]);
    assert!(ledger.delivery(first[0].1, at(700)).is_none());
}

#[test]
fn what_would_fail_in_the_same_way_again_is_not_tried_again() {
    for code in [ErrorCode::InvalidArguments, ErrorCode::Interrupted] {
        let mut ledger = ledger(1);
        let on = vec![RetryCause::Failed];
        let retry = Retry { attempts: 5, on, ..Retry::default() };
        let sent = delivered(&submit(&mut ledger, JobSubmit { retry, ..request("s") }, &[1], 0));
        let step = end(&mut ledger, sent[0], Some(code), 1);
        assert_eq!(states(&step), [JobState::Running, JobState::Error], "{code}");
    }
}

#[test]
fn deadlines_end_what_has_not_started_here_and_what_the_node_does_not_tell_of() {
    let mut ledger = ledger(0);
    let late = JobSubmit { start_within_ms: Some(100), ..request("late") };
    assert!(delivered(&submit(&mut ledger, late, &[1], 0)).is_empty());
    assert_eq!(states(&ledger.tick(at(100))), [JobState::Timeout]);

    let _ = ledger.node_joined(node(1), at(200));
    let slow = JobSubmit { end_within_ms: Some(100), ..request("slow") };
    let sent = delivered(&submit(&mut ledger, slow, &[1], 200));
    let _ = ledger.node_left(node(1), at(200));
    assert!(states(&ledger.tick(at(10_299))).is_empty());
    let step = ledger.tick(at(10_300));
    assert_eq!(states(&step), [JobState::Timeout]);
    assert!(step.effects.contains(&Effect::Cancel(node(1), vec![sent[0].1])));
}

#[test]
fn a_kill_ends_what_was_not_sent_and_tells_the_node_of_what_was() {
    let mut ledger = ledger(1);
    let id = "s".parse().unwrap();
    let sent = delivered(&submit(&mut ledger, request("s"), &[1, 2], 0));
    let (step, killed) = ledger.kill(&id, None, false, "bob", at(1));
    assert_eq!((killed.ended, killed.told), (1, 1));
    assert!(step.effects.contains(&Effect::Cancel(node(1), vec![sent[0].1])));
    // It is told again until the node has told its end, or somebody gives it up.
    let again = ledger.tick(at(2001));
    assert_eq!(again.effects, [Effect::Cancel(node(1), vec![sent[0].1])]);
    let (step, killed) = ledger.kill(&id, Some(node(1)), true, "bob", at(3000));
    assert_eq!((states(&step), killed.ended), (vec![JobState::Killed], 1));
}

#[test]
fn what_may_not_be_done_any_more_ends_unless_its_node_has_it() {
    let mut ledger = ledger(1);
    let limited = JobSubmit { at_once: Some(2), ..request("s") };
    let sent = delivered(&submit(&mut ledger, limited, &[1, 2, 3, 4], 0));
    assert_eq!(sent.len(), 1);
    // Node 1 has its job, node 2 is away, and 3 and 4 wait for their turn.
    let may = |request: &JobSubmit, one: NodeId| match (request.command.id.as_str(), one.nid.0) {
        ("s", 1 | 3 | 4) => Err(format!("not on {one}")),
        _ => Ok(()),
    };
    let step = ledger.judge(may, at(1));
    assert_eq!(states(&step), [JobState::Error, JobState::Error]);
    assert!(delivered(&step).is_empty());
    let Write::Ended { result, .. } = &step.writes[0] else { panic!("{step:?}") };
    let error = result.error.as_ref().unwrap();
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::Denied, "it was not started: not on 1.3")
    );
    assert_eq!(ledger.unfinished(), 2);
    assert!(ledger.judge(may, at(2)).is_empty());
}

#[test]
fn there_is_room_for_so_many_and_one_alone_has_half_of_a_nodes_queue() {
    let mut ledger = ledger(0);
    for id in ["a", "b"] {
        let _ = submit(&mut ledger, request(id), &[1], 0);
    }
    let refusal = ledger.submit(request("c"), &[node(1)], "ada", at(0)).unwrap_err();
    assert!(refusal.what.contains("of ada wait for node 1.1"), "{refusal}");
    assert!(ledger.submit(request("d"), &[node(1)], "bob", at(0)).is_ok());
    let many: Vec<_> = (2..=9).map(node).collect();
    let refusal = ledger.submit(request("e"), &many, "bob", at(0)).unwrap_err();
    assert!(refusal.what.contains("`jobs.max_queued`"), "{refusal}");
    assert!(refusal.wait >= Duration::from_secs(1));
}

#[test]
fn the_places_of_nodes_in_a_spread_are_spread() {
    let places: Vec<_> = (1..=1000).map(|nid| place_in(10_000, node(nid))).collect();
    for tenth in 0..10 {
        let count = places.iter().filter(|place| **place / 1000 == tenth).count();
        assert!((50..=150).contains(&count), "{count} in the tenth {tenth}");
    }
    assert_eq!(place_in(10_000, node(7)), place_in(10_000, node(7)));
    assert_eq!(place_in(0, node(7)), 0);
}

#[test]
fn after_a_backup_nothing_starts_that_may_have_run_and_nodes_are_asked_for_the_rest() {
    let mut ledger = ledger(1);
    // One that was sent, one that waits, one that waits for another of its submission,
    // and one that may run twice.
    let sent = delivered(&submit(&mut ledger, request("sent"), &[1], 0));
    let _ = submit(&mut ledger, JobSubmit { at_once: Some(1), ..request("held") }, &[2, 3], 0);
    let on = vec![RetryCause::Interrupted];
    let retry = Retry { attempts: 2, on, ..Retry::default() };
    let _ = submit(&mut ledger, JobSubmit { retry, ..request("again") }, &[2], 0);
    let step = ledger.restored("yesterday", at(5));
    assert_eq!(states(&step), [JobState::Error; 2]);
    assert!(step.effects.contains(&Effect::Ended("held".parse().unwrap())), "{step:?}");
    assert!(ledger.is_open(&"again".parse().unwrap()));
    assert!(!delivered(&ledger.node_joined(node(2), at(6))).is_empty());

    // The node gave its result to the controller that is gone.
    let answer = JobDelivered { jobs: vec![(sent[0].1, Holding::Unknown)] };
    let step = ledger.delivered(node(1), Some(&answer), at(7));
    assert_eq!(states(&step), [JobState::Error]);
}
