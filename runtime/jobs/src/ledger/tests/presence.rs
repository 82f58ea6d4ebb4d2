use super::*;

/// The reasons that a step writes without anything having ended.
fn reasons(step: &LedgerStep) -> Vec<&str> {
    let noted = step.writes.iter().filter_map(|write| match write {
        Write::Noted { transition, .. } | Write::Moved { transition, .. } => {
            Some(transition.reason.as_str())
        }
        _ => None,
    });
    noted.collect()
}

fn any(id: &str) -> JobSubmit {
    JobSubmit { any: Some(1), ..request(id) }
}

fn one_at_once(id: &str) -> JobSubmit {
    JobSubmit { at_once: Some(1), ..request(id) }
}

/// A ledger of three nodes, of which the first has been given all that it may have.
fn with_a_busy_node() -> (Ledger, Vec<(u32, u64)>) {
    let mut ledger = ledger(3);
    let mut sent = Vec::new();
    for id in ["a", "b"] {
        sent.extend(delivered(&submit(&mut ledger, request(id), &[1], 0)));
    }
    (ledger, sent)
}

fn stranded(ledger: &Ledger, now: u64) -> Vec<(u32, u64)> {
    let stranded = ledger.stranded(None, 10, at(now));
    stranded.iter().map(|job| (job.node.nid.0, job.key)).collect()
}

#[test]
fn what_is_for_any_node_moves_when_its_own_stays_away() {
    let (mut ledger, _) = with_a_busy_node();
    assert!(delivered(&submit(&mut ledger, any("s"), &[1], 0)).is_empty());
    let _ = ledger.node_left(node(1), at(5));
    // It may only be restarted.
    assert_eq!(stranded(&ledger, 10_004), []);
    let [(1, key)] = stranded(&ledger, 10_005)[..] else { panic!("{ledger:?}") };

    let step = ledger.move_on(key, node(3), at(10_005));
    assert_eq!(reasons(&step), ["node 1.1 is away and was not given the job: it goes to node 1.3"]);
    let moved = delivered(&step);
    assert_eq!(moved[0].0, 3);
    let delivery = ledger.delivery(moved[0].1, at(10_005)).unwrap();
    assert_eq!((delivery.command.id.as_str(), delivery.command.nid), ("s:1.3", Some(node(3).nid)));
    let of_three = end(&mut ledger, moved[0], None, 10_006);
    assert!(of_three.effects.contains(&Effect::Ended("s".parse().unwrap())), "{of_three:?}");
    // The node that comes back has its own jobs, and not this one.
    assert_eq!(delivered(&ledger.node_joined(node(1), at(10_007))).len(), 2);
    assert_eq!(ledger.unfinished(), 2);
}

#[test]
fn what_its_node_was_given_stays_and_says_why_once() {
    let mut ledger = ledger(2);
    let sent = delivered(&submit(&mut ledger, any("s"), &[1], 0));
    let key = ledger.sent[&sent[0].1];
    let _ = ledger.node_left(node(1), at(0));
    assert!(reasons(&ledger.tick(at(9_999))).is_empty());
    let step = ledger.tick(at(10_000));
    assert_eq!(
        reasons(&step),
        ["node 1.1 is away, and the job stays with it: it was given to that node and may have \
          begun there"]
    );
    assert_eq!(stranded(&ledger, 20_000), []);
    assert!(ledger.move_on(key, node(2), at(20_000)).is_empty());
    // It comes and goes, and nothing is new.
    assert_eq!(delivered(&ledger.node_joined(node(1), at(20_001))), sent);
    let _ = ledger.node_left(node(1), at(20_002));
    assert!(reasons(&ledger.tick(at(90_000))).is_empty());
}

#[test]
fn a_later_attempt_stays_where_the_first_one_was() {
    let mut ledger = ledger(2);
    let retry = Retry { attempts: 2, first_wait_ms: 500, ..Retry::default() };
    let sent = delivered(&submit(&mut ledger, JobSubmit { retry, ..any("s") }, &[1], 0));
    let _ = end(&mut ledger, sent[0], Some(ErrorCode::Failed), 100);
    let _ = ledger.node_left(node(1), at(200));
    let step = ledger.tick(at(10_200));
    assert!(reasons(&step)[0].ends_with("it has been tried there"), "{step:?}");
    assert_eq!(stranded(&ledger, 10_200), []);
}

#[test]
fn a_job_moves_only_to_a_node_that_is_there_has_room_and_had_none_of_its_submission() {
    let (mut ledger, sent) = with_a_busy_node();
    let two = JobSubmit { any: Some(2), ..request("s") };
    let given = delivered(&submit(&mut ledger, two, &[1, 2], 0));
    let _ = end(&mut ledger, given[0], None, 1);
    let _ = ledger.node_left(node(1), at(2));
    let [(1, key)] = stranded(&ledger, 20_000)[..] else { panic!("{ledger:?}") };
    // Node 2 has done one, and node 4 is away.
    let free = |ledger: &Ledger| [2, 3, 4].map(|nid| ledger.may_move(key, node(nid)));
    assert_eq!(free(&ledger), [false, true, false]);
    for id in ["c", "d", "e", "f"] {
        let _ = submit(&mut ledger, request(id), &[3], 20_000);
    }
    assert_eq!(free(&ledger), [false, false, false]);
    let _ = ledger.node_joined(node(4), at(20_001));
    assert_eq!(free(&ledger), [false, false, true]);
    // What is not for any node stays.
    assert_eq!(sent.iter().filter(|(_, number)| ledger.may_move(*number, node(4))).count(), 0);
}

#[test]
fn what_is_stranded_is_told_bit_by_bit() {
    let mut ledger = ledger(0);
    for (id, nid) in [("a", 1), ("b", 1), ("c", 2)] {
        let _ = submit(&mut ledger, any(id), &[nid], 0);
    }
    let all = stranded(&ledger, 1);
    assert_eq!(all.iter().map(|(nid, _)| *nid).collect::<Vec<_>>(), [1, 1, 2]);
    let told = |after: Option<(u32, u64)>| -> Vec<_> {
        let after = after.map(|(nid, key)| (node(nid), key));
        let some = ledger.stranded(after, 2, at(1));
        some.iter().map(|job| (job.node.nid.0, job.key)).collect()
    };
    assert_eq!(told(None), all[..2]);
    assert_eq!(told(Some(all[1])), all[2..]);
    assert!(told(Some(all[2])).is_empty());
}

#[test]
fn a_controller_that_starts_gives_nodes_time_to_come_and_knows_where_it_was_done() {
    let job = |key, nid, number| SavedJob {
        key,
        node: node(nid),
        number,
        attempt: 1,
        ready: at(0),
        is_running: false,
        is_killed: false,
    };
    let saved = SavedSubmission {
        key: 1,
        request: JobSubmit { any: Some(3), ..request("s") },
        by: "ada".to_owned(),
        time: at(0),
        start_by: None,
        end_by: None,
        nodes: 3,
        jobs: vec![job(2, 1, 0), job(3, 2, 7)],
        done: vec![node(3)],
    };
    let mut ledger = Ledger::restore(RULES, 10, vec![saved], at(1000));
    let _ = ledger.node_joined(node(3), at(1000));
    let _ = ledger.node_joined(node(4), at(1000));
    assert_eq!(stranded(&ledger, 10_999), []);
    assert_eq!(stranded(&ledger, 11_000), [(1, 2)]);
    assert_eq!([3, 4].map(|nid| ledger.may_move(2, node(nid))), [false, true]);
    // The other one may have been given to its node before.
    let step = ledger.tick(at(11_000));
    assert!(reasons(&step)[0].starts_with("node 1.2 is away, and the job stays"), "{step:?}");
}

#[test]
fn a_node_that_is_forgotten_has_what_may_move_until_then() {
    let (mut ledger, _) = with_a_busy_node();
    let _ = submit(&mut ledger, any("s"), &[1], 0);
    let movable = ledger.movable_from(node(1));
    assert_eq!(movable.len(), 1);
    let moved = delivered(&ledger.move_on(movable[0].key, node(2), at(1)));
    assert_eq!(moved[0].0, 2);
    assert_eq!(states(&ledger.node_forgotten(node(1), at(2))), [JobState::Error; 2]);
    assert_eq!(ledger.unfinished(), 1);
}

#[test]
fn places_are_for_nodes_that_are_there() {
    let mut ledger = ledger(2);
    // Node 3 is away, and holds up nobody.
    let first = delivered(&submit(&mut ledger, one_at_once("s"), &[3, 1, 2], 0));
    assert_eq!(first[0].0, 1);
    // What node 1 was given may be at work there, for a minute.
    let _ = ledger.node_left(node(1), at(1000));
    assert!(delivered(&ledger.tick(at(60_999))).is_empty());
    let second = delivered(&ledger.tick(at(61_000)));
    assert_eq!(second[0].0, 2);
    // Back again, it counts: with it there are two, and node 3 waits for both.
    assert_eq!(delivered(&ledger.node_joined(node(1), at(62_000))), first);
    assert!(delivered(&ledger.node_joined(node(3), at(62_001))).is_empty());
    assert!(delivered(&end(&mut ledger, second[0], None, 62_002)).is_empty());
    let third = delivered(&end(&mut ledger, first[0], None, 62_003));
    assert_eq!(third[0].0, 3);
    let last = end(&mut ledger, third[0], None, 62_004);
    assert!(last.effects.contains(&Effect::Ended("s".parse().unwrap())), "{last:?}");
}

#[test]
fn what_waits_for_a_node_that_goes_gives_its_place_up_at_once() {
    let (mut ledger, _) = with_a_busy_node();
    assert!(delivered(&submit(&mut ledger, one_at_once("s"), &[1, 2], 0)).is_empty());
    let second = delivered(&ledger.node_left(node(1), at(1)));
    assert_eq!(second[0].0, 2);
    let _ = ledger.node_joined(node(1), at(2));
    let held = |ledger: &Ledger| ledger.census().held;
    assert_eq!(held(&ledger), 1);
    let _ = end(&mut ledger, second[0], None, 3);
    assert_eq!((held(&ledger), ledger.unfinished()), (0, 3));
}

#[test]
fn a_place_in_the_spread_is_not_kept_for_a_node_that_is_away() {
    let mut ledger = ledger(2);
    let spread = JobSubmit { spread_ms: 1000, ..one_at_once("s") };
    assert!(delivered(&submit(&mut ledger, spread, &[1, 2], 0)).is_empty());
    let _ = ledger.node_left(node(1), at(1));
    let second = delivered(&ledger.tick(at(1000)));
    let second = [second, delivered(&ledger.tick(at(2000)))].concat();
    assert_eq!(second[0].0, 2);
}
