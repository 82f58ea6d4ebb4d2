use super::*;

/// A submission that is run four times at most, with waits from 100 ms to 300 ms.
fn retried(on: Vec<RetryCause>) -> JobSubmit {
    let retry = Retry { attempts: 4, first_wait_ms: 100, longest_wait_ms: 300, on };
    JobSubmit { retry, ..request("s") }
}

#[test]
fn each_cause_is_tried_again_if_that_was_asked_for() {
    let causes = [
        (RetryCause::Failed, ErrorCode::Failed),
        (RetryCause::Timeout, ErrorCode::Timeout),
        (RetryCause::Interrupted, ErrorCode::Interrupted),
        (RetryCause::Busy, ErrorCode::Quarantined),
    ];
    for (cause, code) in causes {
        for asked in RetryCause::ALL {
            let mut ledger = ledger(1);
            let sent = delivered(&submit(&mut ledger, retried(vec![asked]), &[1], 0));
            let step = end(&mut ledger, sent[0], Some(code), 1);
            let is_again = states(&step).last() == Some(&JobState::Queued);
            assert_eq!(is_again, cause == asked, "{code}, and {asked:?} is tried again");
            // That was wait enough.
            assert_eq!(!delivered(&step).is_empty(), is_again && cause == RetryCause::Interrupted);
        }
    }
}

#[test]
fn the_wait_doubles_until_it_is_the_longest() {
    let mut ledger = ledger(1);
    let mut sent = delivered(&submit(&mut ledger, retried(vec![RetryCause::Failed]), &[1], 0));
    let mut now = 0;
    for wait in [100, 200, 300] {
        let step = end(&mut ledger, sent[0], Some(ErrorCode::Failed), now);
        assert!(delivered(&step).is_empty());
        assert!(delivered(&ledger.tick(at(now + wait - 1))).is_empty());
        now += wait;
        sent = delivered(&ledger.tick(at(now)));
        assert_eq!(sent.len(), 1, "after {wait} ms");
    }
    let last = end(&mut ledger, sent[0], Some(ErrorCode::Failed), now);
    assert_eq!(states(&last).last(), Some(&JobState::Error));
}

#[test]
fn the_deadline_for_starting_is_for_the_first_attempt_and_that_for_ending_for_all() {
    let mut ledger = ledger(1);
    let deadlines = JobSubmit {
        start_within_ms: Some(50),
        end_within_ms: Some(350),
        ..retried(vec![RetryCause::Failed])
    };
    let sent = delivered(&submit(&mut ledger, deadlines, &[1], 0));
    let _ = end(&mut ledger, sent[0], Some(ErrorCode::Failed), 10);
    let second = delivered(&ledger.tick(at(110)));
    let delivery = ledger.delivery(second[0].1, at(110)).unwrap();
    assert_eq!((delivery.start_within_ms, delivery.end_within_ms), (None, Some(240)));
    // The third would be at 360.
    let _ = end(&mut ledger, second[0], Some(ErrorCode::Failed), 160);
    assert!(states(&ledger.tick(at(349))).is_empty());
    assert_eq!(states(&ledger.tick(at(350))), [JobState::Timeout]);
}

#[test]
fn what_ends_after_its_deadline_or_was_killed_is_not_tried_again() {
    let mut ledger = ledger(1);
    let late = JobSubmit { end_within_ms: Some(100), ..retried(vec![RetryCause::Failed]) };
    let sent = delivered(&submit(&mut ledger, late, &[1], 0));
    let step = end(&mut ledger, sent[0], Some(ErrorCode::Failed), 100);
    assert_eq!(states(&step).last(), Some(&JobState::Error));

    let sent = delivered(&submit(&mut ledger, retried(vec![RetryCause::Failed]), &[1], 200));
    let _ = ledger.kill(&"s".parse().unwrap(), None, false, "bob", at(201));
    let step = end(&mut ledger, sent[0], Some(ErrorCode::Failed), 202);
    assert_eq!(states(&step).last(), Some(&JobState::Error));
}
