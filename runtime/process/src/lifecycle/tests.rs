use super::*;
use crate::spec::{CronSchedule, Recurrence, RestartPolicy};

const SECOND: Duration = Duration::from_secs(1);

/// A clock that only moves when it is told to.
struct Clock(Now);

impl Clock {
    fn new() -> Self {
        Self(Now { instant: Instant::now(), wall: Timestamp(1_700_000_000_000) })
    }

    fn pass(&mut self, time: Duration) -> Now {
        self.0.instant += time;
        self.0.wall.0 += u64::try_from(time.as_millis()).unwrap();
        self.0
    }
}

fn policy() -> Policy {
    Policy {
        max_time: None,
        is_long_running: false,
        has_ready_pattern: false,
        grace: 10 * SECOND,
        restart: RestartPolicy { max: Some(0), first: SECOND, longest: 8 * SECOND },
        recurrence: None,
        start_delay: Duration::ZERO,
    }
}

/// A job that has its turn, and runs.
fn running(policy: Policy, clock: &Clock) -> Life {
    let mut life = Life::new(policy, clock.0);
    assert_eq!(life.step(Event::Admitted, clock.0), [Action::Launch { run: 1 }]);
    life.step(Event::Launched { run: 1 }, clock.0);
    life
}

/// Ends the run, and says what follows.
fn end(life: &mut Life, exit: Exit, now: Now) -> Vec<Action> {
    let run = life.run();
    assert_eq!(life.step(Event::Exited { run, exit }, now), [Action::Settle { run }]);
    let mut actions = life.step(Event::Settled { run }, now);
    assert!(matches!(actions.remove(0), Action::TellRunEnd { .. }));
    actions
}

fn finished(actions: &[Action]) -> &Outcome {
    match actions.last() {
        Some(Action::Finish(outcome)) => outcome,
        _ => panic!("the job has not ended: {actions:?}"),
    }
}

#[test]
fn a_run_that_ends_well_ends_the_job() {
    let clock = Clock::new();
    let mut life = running(policy(), &clock);
    let actions = end(&mut life, Exit::Code(0), clock.0);
    assert_eq!(actions[0], Action::Provide);
    let outcome = finished(&actions);
    assert_eq!((outcome.state, outcome.exit, outcome.runs), (JobState::Ok, Some(Exit::Code(0)), 1));
    assert_eq!(outcome.message, "");
}

#[test]
fn a_failure_without_restarts_ends_the_job_and_says_why() {
    let clock = Clock::new();
    for (exit, message) in [
        (Exit::Code(3), "the program ended with exit status 3"),
        (Exit::Signal(9), "the program ended with signal 9"),
        (Exit::Lost, "the program ended with unknown: its keeper was killed"),
    ] {
        let mut life = running(policy(), &clock);
        let actions = end(&mut life, exit, clock.0);
        let outcome = finished(&actions);
        assert_eq!((outcome.state, outcome.message.as_str()), (JobState::Error, message));
        assert_eq!(actions.len(), 1, "nobody asked for restarts, so nothing is critical");
    }
}

#[test]
fn a_program_that_does_not_start_is_a_failure_with_its_reason() {
    let clock = Clock::new();
    let mut life = Life::new(policy(), clock.0);
    life.step(Event::Admitted, clock.0);
    let event = Event::NotLaunched { run: 1, message: "no such program".to_owned() };
    let actions = life.step(event, clock.0);
    assert_eq!(finished(&actions).message, "no such program");
    assert_eq!(finished(&actions).exit, None);
}

#[test]
fn restarts_back_off_and_the_last_failure_is_critical() {
    let mut clock = Clock::new();
    let restart = RestartPolicy { max: Some(5), first: SECOND, longest: 8 * SECOND };
    let mut life = running(Policy { restart, ..policy() }, &clock);
    for (failures, seconds) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8)] {
        let actions = end(&mut life, Exit::Code(1), clock.0);
        let delay = seconds * SECOND;
        assert_eq!(actions, [Action::TellRestart { delay, failures }]);
        assert_eq!(life.step(Event::Tick, clock.0), [], "not before its time");
        let run = life.run() + 1;
        assert_eq!(life.step(Event::Tick, clock.pass(delay)), [Action::Launch { run }]);
        life.step(Event::Launched { run }, clock.0);
    }
    let actions = end(&mut life, Exit::Code(1), clock.0);
    assert!(matches!(&actions[0], Action::TellCritical { message } if message.contains("6 times")));
    assert_eq!(finished(&actions).state, JobState::Error);
}

#[test]
fn failures_count_for_five_minutes() {
    let mut clock = Clock::new();
    let restart = RestartPolicy { max: Some(1), first: SECOND, longest: SECOND };
    let mut life = running(Policy { restart, ..policy() }, &clock);
    for _ in 0..10 {
        let now = clock.pass(Failures::WINDOW);
        assert!(matches!(end(&mut life, Exit::Code(1), now)[..], [Action::TellRestart { .. }]));
        life.step(Event::Tick, clock.pass(SECOND));
        let run = life.run();
        life.step(Event::Launched { run }, clock.0);
    }
    let now = clock.pass(Failures::WINDOW - 2 * SECOND);
    assert_eq!(finished(&end(&mut life, Exit::Code(1), now)).state, JobState::Error);
}

#[test]
fn a_restart_without_delay_is_at_once() {
    let clock = Clock::new();
    let restart = RestartPolicy { max: Some(1), first: Duration::ZERO, longest: SECOND };
    let mut life = running(Policy { restart, ..policy() }, &clock);
    let actions = end(&mut life, Exit::Signal(9), clock.0);
    assert_eq!(actions[1..], [Action::Launch { run: 2 }]);
}

#[test]
fn the_time_of_a_run_ends_it() {
    let mut clock = Clock::new();
    let mut life = running(Policy { max_time: Some(5 * SECOND), ..policy() }, &clock);
    assert_eq!(life.step(Event::Tick, clock.pass(4 * SECOND)), []);
    let stop = life.step(Event::Tick, clock.pass(SECOND));
    assert_eq!(stop, [Action::EndTree { run: 1, grace: 10 * SECOND }]);
    let actions = end(&mut life, Exit::Code(0), clock.0);
    assert_eq!(finished(&actions).state, JobState::Timeout, "even if it ends well after all");
}

#[test]
fn a_second_stop_keeps_the_first_deadline() {
    let mut clock = Clock::new();
    let mut life = running(Policy { max_time: Some(SECOND), ..policy() }, &clock);
    assert_eq!(life.step(Event::Tick, clock.pass(SECOND)).len(), 1);
    for stop in [Event::Tick, Event::Recycle, Event::Kill, Event::Kill, Event::Recycle] {
        assert_eq!(life.step(stop, clock.pass(SECOND)), []);
    }
    assert_eq!(finished(&end(&mut life, Exit::Signal(15), clock.0)).state, JobState::Killed);
}

#[test]
fn a_kill_is_for_good_at_every_stage() {
    let mut clock = Clock::new();
    let restart = RestartPolicy { max: None, first: SECOND, longest: SECOND };
    let recurrence = Some(Recurrence::Every(SECOND));
    let policy = Policy { restart, recurrence, is_long_running: true, ..policy() };

    let mut waiting = Life::new(policy.clone(), clock.0);
    assert_eq!(finished(&waiting.step(Event::Kill, clock.0)).state, JobState::Killed);

    let mut starting = Life::new(policy.clone(), clock.0);
    starting.step(Event::Admitted, clock.0);
    assert_eq!(starting.step(Event::Kill, clock.0), []);
    let stop = starting.step(Event::Launched { run: 1 }, clock.0);
    assert_eq!(stop, [Action::EndTree { run: 1, grace: 10 * SECOND }]);
    assert_eq!(finished(&end(&mut starting, Exit::Signal(15), clock.0)).state, JobState::Killed);

    let mut settling = running(policy.clone(), &clock);
    settling.step(Event::Exited { run: 1, exit: Exit::Code(0) }, clock.0);
    settling.step(Event::Kill, clock.0);
    let actions = settling.step(Event::Settled { run: 1 }, clock.0);
    assert_eq!(finished(&actions).state, JobState::Killed);

    let mut backing_off = running(Policy { recurrence: None, ..policy }, &clock);
    end(&mut backing_off, Exit::Code(1), clock.0);
    assert!(backing_off.has_turn());
    assert_eq!(finished(&backing_off.step(Event::Kill, clock.0)).state, JobState::Killed);
    assert_eq!(backing_off.step(Event::Tick, clock.pass(Failures::WINDOW)), []);
}

#[test]
fn an_exit_that_is_reported_late_or_twice_changes_nothing() {
    let clock = Clock::new();
    let restart = RestartPolicy { max: Some(9), first: Duration::ZERO, longest: SECOND };
    let mut life = running(Policy { restart, ..policy() }, &clock);
    let exited = Event::Exited { run: 1, exit: Exit::Code(1) };
    assert_eq!(life.step(exited.clone(), clock.0).len(), 1);
    assert_eq!(life.step(exited.clone(), clock.0), []);
    life.step(Event::Settled { run: 1 }, clock.0);
    assert_eq!(*life.stage(), Stage::Starting { stop: None });
    for late in [exited, Event::Settled { run: 1 }, Event::Launched { run: 1 }] {
        assert_eq!(life.step(late, clock.0), []);
        assert_eq!(*life.stage(), Stage::Starting { stop: None });
    }
}

#[test]
fn an_exit_before_the_news_of_the_start_is_an_exit() {
    let clock = Clock::new();
    let mut life = Life::new(policy(), clock.0);
    life.step(Event::Admitted, clock.0);
    let exited = Event::Exited { run: 1, exit: Exit::Code(0) };
    assert_eq!(life.step(exited, clock.0), [Action::Settle { run: 1 }]);
    assert_eq!(life.step(Event::Launched { run: 1 }, clock.0), []);
    assert_eq!(finished(&life.step(Event::Settled { run: 1 }, clock.0)).state, JobState::Ok);
}

#[test]
fn a_recurring_job_counts_from_start_to_start_and_never_overlaps() {
    let mut clock = Clock::new();
    let recurrence = Some(Recurrence::Every(10 * SECOND));
    let mut life = running(Policy { recurrence, ..policy() }, &clock);
    let started = clock.0.instant;
    end(&mut life, Exit::Code(1), clock.pass(3 * SECOND));
    assert_eq!(life.due(), Some(Due::At(started + 10 * SECOND)), "a failure is no end");
    assert!(!life.has_turn());

    life.step(Event::Tick, clock.pass(7 * SECOND));
    life.step(Event::Admitted, clock.0);
    life.step(Event::Launched { run: 2 }, clock.0);
    let late = clock.pass(25 * SECOND);
    end(&mut life, Exit::Code(0), late);
    assert_eq!(life.due(), Some(Due::At(late.instant)), "what was missed comes once");
}

#[test]
fn a_cron_job_follows_the_wall_clock_wherever_it_jumps() {
    let mut clock = Clock::new();
    let schedule = || CronSchedule::new("0 * * * *", "UTC").unwrap();
    let next = |now: Now| schedule().next_after(now.wall).unwrap();
    let recurrence = Some(Recurrence::Cron(Box::new(schedule())));
    let mut life = Life::new(Policy { recurrence, ..policy() }, clock.0);
    let due = next(clock.0);
    assert_eq!(life.due(), Some(Due::OnWall(due)));

    clock.0.wall = due;
    life.step(Event::Tick, clock.0);
    assert_eq!(*life.stage(), Stage::Waiting, "the clock jumped to the time");
    life.step(Event::Admitted, clock.0);
    life.step(Event::Launched { run: 1 }, clock.0);

    clock.0.wall.0 -= 1000;
    end(&mut life, Exit::Code(0), clock.0);
    let after = Due::OnWall(Timestamp(due.0 + 3_600_000));
    assert_eq!(life.due(), Some(after), "a step back brings no time twice");
}

#[test]
fn no_window_delay_or_deadline_follows_the_wall_clock() {
    const DAYS: i64 = 24 * 3600 * 1000;
    let mut clock = Clock::new();
    let restart = RestartPolicy { max: Some(2), first: SECOND, longest: SECOND };
    let policy = Policy { restart, max_time: Some(60 * SECOND), ..policy() };
    let mut life = running(policy, &clock);
    for (run, jump) in [(2, 400 * DAYS), (3, -800 * DAYS)] {
        clock.0.wall.0 = clock.0.wall.0.saturating_add_signed(jump);
        let deadline = clock.0.instant + 60 * SECOND;
        assert_eq!(life.due(), Some(Due::At(deadline)));
        assert_eq!(life.step(Event::Tick, clock.0), [], "no deadline has passed");
        let actions = end(&mut life, Exit::Code(1), clock.0);
        assert!(matches!(actions[..], [Action::TellRestart { .. }]), "{actions:?}");
        clock.0.wall.0 = clock.0.wall.0.saturating_add_signed(-jump / 2);
        assert_eq!(life.step(Event::Tick, clock.0), [], "the delay is not over");
        assert_eq!(life.step(Event::Tick, clock.pass(SECOND)), [Action::Launch { run }]);
        life.step(Event::Launched { run }, clock.0);
    }
    clock.0.wall.0 = clock.0.wall.0.saturating_add_signed(DAYS);
    let actions = end(&mut life, Exit::Code(1), clock.0);
    assert!(matches!(actions[0], Action::TellCritical { .. }), "three failures within a minute");
}

#[test]
fn a_schedule_is_kept_when_the_clock_jumps_back_for_long() {
    let mut clock = Clock::new();
    let schedule = CronSchedule::new("0 * * * *", "UTC").unwrap();
    let recurrence = Some(Recurrence::Cron(Box::new(schedule)));
    let mut life = Life::new(Policy { recurrence, ..policy() }, clock.0);
    clock.0.wall.0 -= 400 * 24 * 3600 * 1000;
    life.step(Event::Tick, clock.0);
    let Some(Due::OnWall(due)) = life.due() else { panic!("{:?}", life.due()) };
    assert!(due.since(clock.0.wall) <= 3600 * SECOND, "it waits for the old time");
    clock.0.wall.0 += 800 * 24 * 3600 * 1000;
    life.step(Event::Tick, clock.0);
    assert_eq!(*life.stage(), Stage::Waiting, "what was jumped over is run once");
}

#[test]
fn killing_all_begins_again_what_is_remembered() {
    let mut clock = Clock::new();
    let mut task = running(policy(), &clock);
    task.step(Event::Recycle, clock.0);
    assert_eq!(finished(&end(&mut task, Exit::Signal(15), clock.0)).state, JobState::Killed);

    let mut service = running(Policy { is_long_running: true, ..policy() }, &clock);
    service.step(Event::Recycle, clock.0);
    assert_eq!(end(&mut service, Exit::Signal(15), clock.0), []);
    assert_eq!(service.step(Event::Tick, clock.pass(SECOND)), [Action::Launch { run: 2 }]);

    let recurrence = Some(Recurrence::Every(10 * SECOND));
    let mut recurring = running(Policy { recurrence, ..policy() }, &clock);
    recurring.step(Event::Recycle, clock.0);
    let actions = end(&mut recurring, Exit::Signal(15), clock.0);
    assert!(matches!(actions[..], [Action::TellNext { .. }]));
}

#[test]
fn a_service_provides_when_it_is_ready_and_only_once() {
    let clock = Clock::new();
    let policy = Policy { is_long_running: true, has_ready_pattern: true, ..policy() };
    let mut life = running(policy, &clock);
    assert_eq!(life.step(Event::Ready { run: 7 }, clock.0), [], "of another run");
    assert_eq!(life.step(Event::Ready { run: 1 }, clock.0), [Action::Provide]);
    assert_eq!(life.step(Event::Ready { run: 1 }, clock.0), []);
}

#[test]
fn an_adopted_run_has_the_rest_of_its_time() {
    let mut clock = Clock::new();
    let mut life = Life::new(Policy { max_time: Some(10 * SECOND), ..policy() }, clock.0);
    life.step(Event::Adopted { run: 4, ran_for: 7 * SECOND }, clock.0);
    assert_eq!(life.step(Event::Tick, clock.pass(2 * SECOND)), []);
    assert_eq!(life.step(Event::Tick, clock.pass(SECOND)).len(), 1);
    assert_eq!(finished(&end(&mut life, Exit::Signal(15), clock.0)).runs, 4);
}

/// The same life in the hands of the next manager, `away` later.
fn handed_over(life: &Life, clock: &mut Clock, away: Duration, ran_for: Duration) -> Life {
    let handed = life.handed(false, clock.0).unwrap();
    let now = clock.pass(away);
    let (next, actions) =
        Life::resume(life.policy.clone(), &handed, Interval { away, ran_for: ran_for + away }, now);
    assert_eq!(actions, []);
    next
}

#[test]
fn the_next_manager_gives_a_run_the_time_that_it_has_left() {
    let mut clock = Clock::new();
    let life = running(Policy { max_time: Some(10 * SECOND), ..policy() }, &clock);
    clock.pass(4 * SECOND);
    let mut life = handed_over(&life, &mut clock, 3 * SECOND, 4 * SECOND);
    assert_eq!(life.due(), Some(Due::At(clock.0.instant + 3 * SECOND)));
    let now = clock.pass(3 * SECOND);
    let end = || Action::EndTree { run: 1, grace: 10 * SECOND };
    assert_eq!(life.step(Event::Tick, now), [end()]);
    // And one that was told to end is told again.
    let handed = life.handed(false, now).unwrap();
    let interval = Interval { away: SECOND, ran_for: 11 * SECOND };
    let (_, actions) = Life::resume(life.policy.clone(), &handed, interval, now);
    assert_eq!(actions, [end()]);
}

#[test]
fn failures_before_a_hand_over_count_after_it() {
    let mut clock = Clock::new();
    let restart = RestartPolicy { max: Some(1), first: 8 * SECOND, longest: 8 * SECOND };
    let mut life = running(Policy { restart, ..policy() }, &clock);
    assert!(matches!(end(&mut life, Exit::Code(1), clock.0)[..], [Action::TellRestart { .. }]));
    let mut life = handed_over(&life, &mut clock, 5 * SECOND, Duration::ZERO);
    assert_eq!(life.due(), Some(Due::At(clock.0.instant + 3 * SECOND)));
    let now = clock.pass(3 * SECOND);
    assert_eq!(life.step(Event::Tick, now), [Action::Launch { run: 2 }]);
    life.step(Event::Launched { run: 2 }, now);
    let actions = end(&mut life, Exit::Code(1), now);
    assert_eq!((finished(&actions).state, finished(&actions).runs), (JobState::Error, 2));
}

#[test]
fn what_begins_or_ends_is_not_handed_over_but_a_launch_that_was_held_is() {
    let clock = Clock::new();
    let mut life = Life::new(policy(), clock.0);
    assert!(life.handed(false, clock.0).is_some());
    life.step(Event::Admitted, clock.0);
    assert_eq!(life.handed(false, clock.0), None);
    let held = life.handed(true, clock.0).unwrap();
    let interval = Interval { away: Duration::ZERO, ran_for: Duration::ZERO };
    let (mut next, _) = Life::resume(policy(), &held, interval, clock.0);
    assert!(next.has_turn());
    assert_eq!(next.step(Event::Tick, clock.0), [Action::Launch { run: 1 }]);
    life.step(Event::Launched { run: 1 }, clock.0);
    assert!(life.handed(false, clock.0).unwrap().has_child());
    life.step(Event::Kill, clock.0);
    assert_eq!(life.handed(false, clock.0), None);
    life.step(Event::Exited { run: 1, exit: Exit::Signal(15) }, clock.0);
    assert_eq!(life.handed(false, clock.0), None);
}
