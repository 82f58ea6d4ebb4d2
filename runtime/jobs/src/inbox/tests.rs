use drover_api::JobReported;

use super::*;

const RULES: InboxRules = InboxRules { at_once: 1, most: 2, most_bytes: 100_000 };

fn inbox() -> Inbox {
    let (inbox, step) =
        Inbox::restore(NodeId::new(1, 1), RULES, SavedInbox::default(), Timestamp(0));
    assert!(step.is_empty());
    inbox
}

fn job(number: u64) -> DeliveredJob {
    let command = Command { id: format!("j{number}").parse().unwrap(), ..Command::new("a.b") };
    let (start_within_ms, end_within_ms, by) = (None, None, "ada".to_owned());
    DeliveredJob { number, command, start_within_ms, end_within_ms, by }
}

fn delivery(settled_below: u64, jobs: Vec<DeliveredJob>) -> JobDelivery {
    JobDelivery { store: "store".to_owned(), settled_below, jobs, held: Vec::new() }
}

fn starts(step: &InboxStep) -> Vec<u64> {
    let started = step.effects.iter().filter_map(|effect| match effect {
        InboxEffect::Start(work) => Some(work.number),
        _ => None,
    });
    started.collect()
}

fn end(inbox: &mut Inbox, number: u64) -> InboxStep {
    let work = Arc::clone(inbox.running(number).unwrap());
    let error = JobError::new(ErrorCode::Failed, "it failed");
    let result = result_without_answer(
        NodeId::new(1, 1),
        &work.command,
        JobState::Error,
        error,
        Timestamp(1),
    );
    inbox.ended(&work, result, Timestamp(1))
}

#[test]
fn a_job_is_taken_once_however_often_it_comes() {
    let mut inbox = inbox();
    let (step, answer) = inbox.deliver(delivery(0, vec![job(5)]), Timestamp(0));
    assert_eq!((starts(&step), answer.jobs), (vec![5], vec![(5, Holding::Running)]));
    let (step, _) = inbox.deliver(delivery(0, vec![job(5)]), Timestamp(0));
    assert!(step.is_empty());
    let _ = end(&mut inbox, 5);
    let (step, answer) = inbox.deliver(delivery(0, vec![job(5)]), Timestamp(0));
    assert_eq!((starts(&step), answer.jobs), (vec![], vec![(5, Holding::Ended)]));

    // Told, and then settled: still not again.
    let reported = JobReported { acknowledged: vec![5], settled_below: 5 };
    let _ = inbox.acknowledged("store", &reported);
    let (step, _) = inbox.deliver(delivery(0, vec![job(5)]), Timestamp(0));
    assert!(starts(&step).is_empty());
    let (step, answer) = inbox.deliver(delivery(6, vec![job(5)]), Timestamp(0));
    assert_eq!((starts(&step), answer.jobs), (vec![], vec![(5, Holding::Unknown)]));
    assert_eq!(inbox.remembered(), 0);
}

#[test]
fn what_there_is_no_room_for_stays_with_the_controller() {
    let mut inbox = inbox();
    let (step, answer) = inbox.deliver(delivery(0, vec![job(1), job(2), job(3)]), Timestamp(0));
    let expected = vec![(1, Holding::Running), (2, Holding::Waiting), (3, Holding::Full)];
    assert_eq!((starts(&step), answer.jobs), (vec![1], expected));
    assert_eq!(starts(&end(&mut inbox, 1)), [2]);
}

#[test]
fn who_has_much_waiting_does_not_hold_up_who_has_little() {
    let rules = InboxRules { most: 100, ..RULES };
    let saved = SavedInbox::default();
    let (mut inbox, _) = Inbox::restore(NodeId::new(1, 1), rules, saved, Timestamp(0));
    let of_bob = |number| DeliveredJob { by: "bob".to_owned(), ..job(number) };
    let jobs = (1..=4).map(job).chain([of_bob(5), of_bob(6)]).collect();
    let (step, _) = inbox.deliver(delivery(0, jobs), Timestamp(0));
    let mut started = starts(&step);
    while let Some(last) = started.last().copied().filter(|_| started.len() < 6) {
        started.extend(starts(&end(&mut inbox, last)));
    }
    assert_eq!(started, [1, 5, 2, 6, 3, 4]);
}

#[test]
fn what_is_cancelled_before_it_comes_never_starts() {
    let mut inbox = inbox();
    let jobs = vec![(7, "j7".parse().unwrap())];
    let step = inbox.cancel(&JobCancel { store: "store".to_owned(), jobs }, Timestamp(0));
    assert!(matches!(step.effects[..], [InboxEffect::Report(7)]));
    let (step, answer) = inbox.deliver(delivery(0, vec![job(7)]), Timestamp(0));
    assert_eq!((starts(&step), answer.jobs), (vec![], vec![(7, Holding::Ended)]));
}

#[test]
fn what_ran_when_the_agent_died_is_interrupted_and_what_waited_is_started() {
    let work = |number| Work {
        store: "store".to_owned(),
        number,
        command: job(number).command,
        start_by: None,
        end_by: None,
        by: String::new(),
    };
    let saved = SavedInbox {
        store: "store".to_owned(),
        settled_below: 0,
        jobs: vec![
            KeptJob { number: 1, phase: KeptPhase::Running(work(1)) },
            KeptJob { number: 2, phase: KeptPhase::Waiting(work(2)) },
        ],
        going_on: BTreeSet::new(),
    };
    let (_, step) = Inbox::restore(NodeId::new(1, 1), RULES, saved, Timestamp(0));
    assert_eq!(starts(&step), [2]);
    let ended = step.writes.iter().find_map(|write| match write {
        InboxWrite::Ended(1, result) => result.error.as_ref().map(|error| error.code),
        _ => None,
    });
    assert_eq!(ended, Some(ErrorCode::Interrupted));
}

#[test]
fn what_was_handed_over_goes_on_and_is_not_started() {
    let work = Work {
        store: "store".to_owned(),
        number: 1,
        command: job(1).command,
        start_by: None,
        end_by: None,
        by: String::new(),
    };
    let saved = SavedInbox {
        store: "store".to_owned(),
        settled_below: 0,
        going_on: [work.id().clone()].into(),
        jobs: vec![KeptJob { number: 1, phase: KeptPhase::Running(work) }],
    };
    let (mut inbox, step) = Inbox::restore(NodeId::new(1, 1), RULES, saved, Timestamp(0));
    assert!(step.writes.is_empty());
    assert!(matches!(&step.effects[..], [InboxEffect::GoOn(work)] if work.number == 1));
    let step = end(&mut inbox, 1);
    assert!(matches!(step.writes[..], [InboxWrite::Ended(1, _)]), "{step:?}");
}

#[test]
fn what_has_not_begun_when_the_agent_ends_waits_and_nothing_else_begins() {
    let mut inbox = inbox();
    let _ = inbox.deliver(delivery(0, vec![job(1), job(2)]), Timestamp(0));
    let work = Arc::clone(inbox.running(1).unwrap());
    let step = inbox.put_back(&work);
    assert!(matches!(step.writes[..], [InboxWrite::PutBack(1)]) && step.effects.is_empty());
    assert!(inbox.put_back(&work).writes.is_empty());
    assert_eq!(starts(&inbox.tick(Timestamp(1))), Vec::<u64>::new());
}

#[test]
fn what_waited_too_long_does_not_start() {
    let mut inbox = inbox();
    let late = DeliveredJob { start_within_ms: Some(100), ..job(2) };
    let _ = inbox.deliver(delivery(0, vec![job(1), late]), Timestamp(0));
    assert_eq!(inbox.next_due(), Some(Timestamp(100)));
    let step = inbox.tick(Timestamp(101));
    assert!(matches!(step.effects[..], [InboxEffect::Report(2)]), "{step:?}");
}

#[test]
fn another_store_ends_and_forgets_the_jobs_of_the_first() {
    let mut inbox = inbox();
    let _ = inbox.deliver(delivery(0, vec![job(5)]), Timestamp(0));
    let other = JobDelivery { store: "other".to_owned(), ..delivery(0, vec![job(5)]) };
    let (step, _) = inbox.deliver(other, Timestamp(0));
    assert!(matches!(step.effects[0], InboxEffect::Stop(5)));
    assert_eq!((starts(&step), inbox.remembered()), (vec![5], 1));
}

fn dropped(step: &InboxStep) -> Vec<&Dropped> {
    let dropped = step.effects.iter().filter_map(|effect| match effect {
        InboxEffect::Dropped(dropped) => Some(dropped),
        _ => None,
    });
    dropped.collect()
}

#[test]
fn what_is_dropped_for_another_store_or_given_up_is_told() {
    let mut inbox = inbox();
    let _ = inbox.deliver(delivery(0, vec![job(5), job(6)]), Timestamp(0));
    let _ = end(&mut inbox, 5);
    let other = JobDelivery { store: "other".to_owned(), ..delivery(0, vec![job(1)]) };
    let (step, _) = inbox.deliver(other, Timestamp(0));
    let unfinished = vec!["j6".parse().unwrap()];
    let told = Dropped { unfinished, unreported: 1, is_other_store: true };
    assert_eq!(dropped(&step), [&told]);
    assert!(matches!(step.effects[0], InboxEffect::Stop(6)), "{step:?}");

    let back = JobDelivery { store: "other".to_owned(), ..delivery(9, vec![]) };
    let (step, _) = inbox.deliver(back, Timestamp(0));
    let unfinished = vec!["j1".parse().unwrap()];
    let told = Dropped { unfinished, unreported: 0, is_other_store: false };
    assert_eq!(dropped(&step), [&told]);
    // There is nothing left that anybody could miss.
    let (step, _) = inbox.deliver(delivery(0, vec![]), Timestamp(0));
    assert!(dropped(&step).is_empty(), "{step:?}");
}

#[test]
fn a_result_that_was_told_to_a_controller_that_lost_it_is_unknown() {
    let mut inbox = inbox();
    let _ = inbox.deliver(delivery(0, vec![job(5)]), Timestamp(0));
    let _ = end(&mut inbox, 5);
    let reported = JobReported { acknowledged: vec![5], settled_below: 5 };
    let _ = inbox.acknowledged("store", &reported);
    let (step, answer) = inbox.deliver(delivery(0, vec![job(5)]), Timestamp(0));
    assert_eq!((starts(&step), answer.jobs), (vec![], vec![(5, Holding::Unknown)]));
}
