use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MAX: u32 = 3;

fn life(restart: Restart) -> Life {
    let failures = RestartPolicy { max: Some(MAX), first: SECOND, longest: 8 * SECOND };
    Life::new(Rules { restart, failures })
}

/// One that runs, as the run of number 1.
fn running(restart: Restart) -> (Life, Instant) {
    let (mut life, now) = (life(restart), Instant::now());
    assert_eq!(life.step(Event::Start, now), [Action::Launch { run: 1 }]);
    (life, now)
}

fn ended(life: &Life, end: End) -> Event {
    Event::Ended { run: life.run, end }
}

fn failure(life: &Life) -> Event {
    ended(life, End::Failed("oh no".to_owned()))
}

fn launches(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Launch { .. })).count()
}

fn level(actions: &[Action]) -> Option<Level> {
    actions.iter().find_map(|action| match action {
        Action::Tell { level, .. } => Some(*level),
        _ => None,
    })
}

#[test]
fn what_follows_an_end_is_the_policys_choice() {
    for (restart, end, expected) in [
        (Restart::Never, End::Done, Stage::Stopped),
        (Restart::OnFailure, End::Done, Stage::Stopped),
        (Restart::Never, End::Failed("x".into()), Stage::Failed),
        (Restart::Always, End::Refused("x".into()), Stage::Failed),
        (Restart::Always, End::NoGround("x".into()), Stage::Waiting { until: None }),
        (Restart::Never, End::ShuttingDown, Stage::Waiting { until: None }),
    ] {
        let (mut life, now) = running(restart);
        life.step(ended(&life, end.clone()), now);
        assert_eq!(*life.stage(), expected, "{restart:?} {end:?}");
    }
    for (restart, end) in
        [(Restart::Always, End::Done), (Restart::OnFailure, End::Failed("x".into()))]
    {
        let (mut life, now) = running(restart);
        life.step(ended(&life, end), now);
        assert_eq!(*life.stage(), Stage::BackingOff { until: now + SECOND });
        assert!(life.step(Event::Tick, now).is_empty());
        assert_eq!(life.step(Event::Tick, now + SECOND), [Action::Launch { run: 2 }]);
        assert_eq!(life.restarts(), 1);
    }
}

#[test]
fn delays_double_and_the_failure_after_the_last_restart_is_critical() {
    let (mut life, mut now) = running(Restart::OnFailure);
    for seconds in [1, 2, 4] {
        life.step(failure(&life), now);
        assert_eq!(life.due(), Some(now + SECOND * seconds));
        now += SECOND * seconds;
        assert_eq!(launches(&life.step(Event::Tick, now)), 1);
    }
    let actions = life.step(failure(&life), now);
    assert_eq!((life.stage(), level(&actions)), (&Stage::Failed, Some(Level::CRITICAL)));
    assert_eq!(life.error(), Some("oh no"));
    assert!(life.step(Event::Ground(Ground::Same), now).is_empty());
    assert_eq!(launches(&life.step(Event::Ground(Ground::Changed), now)), 1, "new code is tried");
}

#[test]
fn failures_far_apart_do_not_count_together() {
    let (mut life, mut now) = running(Restart::OnFailure);
    for _ in 0..20 {
        life.step(failure(&life), now);
        assert_eq!(life.due(), Some(now + SECOND));
        now += Failures::WINDOW;
        life.step(Event::Tick, now);
    }
}

#[test]
fn a_stop_is_final_whatever_comes_meanwhile() {
    let (mut life, now) = running(Restart::Always);
    assert_eq!(life.step(Event::Stop, now), [Action::Cancel { run: 1 }]);
    assert!(!life.is_wanted());
    assert!(life.step(Event::Stop, now).is_empty(), "it is told once");
    assert!(life.step(Event::Ground(Ground::Changed), now).is_empty());
    assert!(life.step(failure(&life), now).is_empty());
    assert_eq!(*life.stage(), Stage::Stopped);
    assert!(life.step(Event::Ground(Ground::Changed), now).is_empty());
    assert!(life.step(Event::Tick, now + Failures::WINDOW).is_empty());
}

#[test]
fn new_code_comes_after_the_old_ones_end() {
    let (mut life, now) = running(Restart::Never);
    let actions = life.step(Event::Ground(Ground::Changed), now);
    assert_eq!((launches(&actions), actions.last()), (0, Some(&Action::Cancel { run: 1 })));
    assert!(life.step(Event::Ground(Ground::Changed), now).is_empty());
    assert_eq!(life.step(ended(&life, End::Done), now), [Action::Launch { run: 2 }]);
    assert!(life.step(Event::Ended { run: 1, end: End::Done }, now).is_empty(), "it is late");
    assert_eq!(*life.stage(), Stage::Running);
}

#[test]
fn a_plugin_that_goes_stops_it_and_one_that_comes_back_starts_it() {
    let (mut life, now) = running(Restart::OnFailure);
    let gone = || Event::Ground(Ground::Gone("there is no plugin".to_owned()));
    life.step(gone(), now);
    assert_eq!(*life.stage(), Stage::Stopping { then: Then::Wait });
    life.step(ended(&life, End::Done), now);
    assert_eq!(
        (life.stage(), life.error()),
        (&Stage::Waiting { until: None }, Some("there is no plugin"))
    );
    assert!(life.step(gone(), now).is_empty());
    assert_eq!(launches(&life.step(Event::Ground(Ground::Same), now)), 1);

    // Back before the old one has ended.
    life.step(gone(), now);
    life.step(Event::Ground(Ground::Same), now);
    assert_eq!(launches(&life.step(ended(&life, End::Done), now)), 1);
}

#[test]
fn one_that_is_to_wait_is_tried_again_then_and_not_counted() {
    let (mut life, mut now) = running(Restart::OnFailure);
    for _ in 0..20 {
        life.step(ended(&life, End::NotNow("quarantine".to_owned(), 30 * SECOND)), now);
        assert_eq!(life.due(), Some(now + 30 * SECOND));
        now += 30 * SECOND;
        assert_eq!(launches(&life.step(Event::Tick, now)), 1);
    }
    assert_eq!(life.restarts(), 0, "it never ran");
}

/// What the world does to a service.
#[derive(Debug, Clone)]
enum Move {
    Pass(u32),
    Start,
    Stop,
    Restart,
    Look(Ground),
    End(End),
}

fn moves() -> impl Strategy<Value = Move> {
    let text = || "x".to_owned();
    prop_oneof![
        4 => (0..400u32).prop_map(Move::Pass),
        1 => Just(Move::Start),
        1 => Just(Move::Stop),
        1 => Just(Move::Restart),
        1 => Just(Move::Look(Ground::Same)),
        1 => Just(Move::Look(Ground::Changed)),
        1 => Just(Move::Look(Ground::Gone(text()))),
        1 => Just(Move::End(End::Done)),
        4 => Just(Move::End(End::Failed(text()))),
        1 => Just(Move::End(End::NotNow(text(), SECOND))),
        1 => Just(Move::End(End::NoGround(text()))),
    ]
}

proptest! {
    #[test]
    fn there_is_one_run_at_a_time_and_none_that_nobody_wants(
        moves in vec(moves(), 0..120),
        restart in prop_oneof![
            Just(Restart::Never), Just(Restart::OnFailure), Just(Restart::Always),
        ],
    ) {
        let (mut life, mut now) = (life(restart), Instant::now());
        let mut alive: Option<u64> = None;
        let mut was_stopped = true;
        // Failures that nobody but the service itself has answered.
        let mut failures: Vec<Instant> = Vec::new();
        for each in moves {
            let is_outside = !matches!(each, Move::Pass(_) | Move::End(_));
            let event = match each {
                Move::Pass(ms) => {
                    now += Duration::from_millis(u64::from(ms) * 10);
                    Event::Tick
                }
                Move::Start => Event::Start,
                Move::Stop => Event::Stop,
                Move::Restart => Event::Restart,
                Move::Look(ground) => Event::Ground(ground),
                Move::End(end) => {
                    let Some(run) = alive.take() else { continue };
                    if *life.stage() == Stage::Running && matches!(end, End::Failed(_)) {
                        failures.push(now);
                    }
                    Event::Ended { run, end }
                }
            };
            match event {
                Event::Stop => was_stopped = true,
                Event::Start | Event::Restart => was_stopped = false,
                _ => {}
            }
            for action in life.step(event, now) {
                match action {
                    Action::Launch { run } => {
                        prop_assert!(!was_stopped, "started though nobody wants it");
                        prop_assert_eq!(alive.replace(run), None, "two runs at once");
                    }
                    Action::Cancel { run } => prop_assert_eq!(alive, Some(run)),
                    Action::Tell { .. } => {}
                }
            }
            if is_outside {
                failures.clear();
            }
            failures.retain(|at| now - *at < Failures::WINDOW);
            if failures.len() > MAX as usize && alive.is_none() {
                let is_going_on = matches!(life.stage(), Stage::BackingOff { .. });
                prop_assert!(!is_going_on, "{life:?}");
            }
            let has_run = matches!(life.stage(), Stage::Running | Stage::Stopping { .. });
            prop_assert_eq!(has_run, alive.is_some());
        }
        // Whatever happened, a stop ends it for good.
        life.step(Event::Stop, now);
        if let Some(run) = alive {
            life.step(Event::Ended { run, end: End::Done }, now);
        }
        prop_assert_eq!(life.stage(), &Stage::Stopped);
        prop_assert_eq!(life.due(), None);
    }
}
