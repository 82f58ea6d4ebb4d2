//! Claims about all jobs together, tried on a simulated world: children that end
//! when the test wants, and clocks that move when it says so.

use std::collections::BTreeMap;

use drover_api::Timestamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;
use crate::failures::Failures;
use crate::keeper::Exit;
use crate::lifecycle::Outcome;
use crate::spec::{CronSchedule, Recurrence, RestartPolicy};

const QUEUES: [&str; 2] = ["a", "b"];
const MAX_TURNS: usize = 4;

/// One thing that happens in the world.
#[derive(Debug, Clone)]
enum Move {
    Submit(Plan),
    Pass {
        milliseconds: u64,
    },
    JumpWall {
        seconds: i64,
    },
    /// Something happens to the job that the number picks.
    To(usize, Happening),
    KillAll,
    /// Another scheduler goes on, a while later.
    HandOver {
        milliseconds: u64,
    },
}

#[derive(Debug, Clone)]
enum Happening {
    Starts,
    DoesNotStart,
    IsReady,
    Exits {
        code: i32,
    },
    Settles,
    IsKilled,
    IsRecycled,
    /// The event of an earlier run, or one that makes no sense now.
    RepeatsItself {
        code: i32,
    },
}

#[derive(Debug, Clone)]
struct Plan {
    queue: Option<usize>,
    max_restart: Option<u32>,
    max_time: Option<u64>,
    is_long_running: bool,
    has_ready_pattern: bool,
    recurrence: u8,
    start_delay: u64,
    after: Vec<usize>,
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        proptest::option::of(0..QUEUES.len()),
        proptest::option::weighted(0.8, 0..4_u32),
        proptest::option::of(1..20_u64),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.2),
        0..6_u8,
        prop_oneof![Just(0), 1..10_u64],
        proptest::collection::vec(0..10_usize, 0..3),
    )
        .prop_map(
            |(queue, max_restart, max_time, long, ready, recurrence, start_delay, after)| Plan {
                queue: queue.filter(|_| !long),
                max_restart,
                max_time: max_time.filter(|_| !long),
                is_long_running: long,
                has_ready_pattern: ready,
                recurrence,
                start_delay,
                after,
            },
        )
}

fn a_move() -> impl Strategy<Value = Move> {
    let code = prop_oneof![Just(0), Just(1)];
    let happening = prop_oneof![
        4 => Just(Happening::Starts),
        1 => Just(Happening::DoesNotStart),
        1 => Just(Happening::IsReady),
        4 => code.clone().prop_map(|code| Happening::Exits { code }),
        4 => Just(Happening::Settles),
        1 => Just(Happening::IsKilled),
        1 => Just(Happening::IsRecycled),
        1 => code.prop_map(|code| Happening::RepeatsItself { code }),
    ];
    prop_oneof![
        3 => plan().prop_map(Move::Submit),
        3 => (0..20_000_u64).prop_map(|milliseconds| Move::Pass { milliseconds }),
        1 => (-7200..7200_i64).prop_map(|seconds| Move::JumpWall { seconds }),
        12 => (0..10_usize, happening).prop_map(|(job, happening)| Move::To(job, happening)),
        1 => Just(Move::KillAll),
        1 => (0..20_000_u64).prop_map(|milliseconds| Move::HandOver { milliseconds }),
    ]
}

impl Plan {
    fn policy(&self) -> Policy {
        let second = Duration::from_secs(1);
        Policy {
            max_time: self.max_time.map(Duration::from_secs),
            is_long_running: self.is_long_running,
            has_ready_pattern: self.has_ready_pattern,
            grace: second,
            restart: RestartPolicy { max: self.max_restart, first: second, longest: 8 * second },
            recurrence: match self.recurrence {
                0 => Some(Recurrence::Every(5 * second)),
                1 => {
                    let schedule = CronSchedule::new("*/10 * * * * *", "UTC").unwrap();
                    Some(Recurrence::Cron(Box::new(schedule)))
                }
                _ => None,
            },
            start_delay: Duration::from_secs(self.start_delay),
        }
    }

    /// Whether nothing but its queue decides when the job runs first.
    fn waits_for_its_queue_alone(&self) -> bool {
        self.start_delay == 0 && self.after.is_empty() && self.recurrence != 1
    }
}

/// What the world remembers of a job, to check the scheduler's word.
#[derive(Debug)]
struct Seen {
    plan: Plan,
    /// Before those that were submitted later.
    number: usize,
    /// The number of the run that the job has at the moment.
    active: Option<u64>,
    last_run: u64,
    restarts: Vec<Instant>,
    told_to_end: u64,
    killed: bool,
    outcome: Option<Outcome>,
}

struct World {
    scheduler: Scheduler,
    now: Now,
    jobs: BTreeMap<Key, Seen>,
    first_launches: Vec<usize>,
    hand_overs: usize,
}

impl World {
    fn new() -> Self {
        Self {
            scheduler: Scheduler::new(MAX_TURNS),
            now: Now { instant: Instant::now(), wall: Timestamp(1_700_000_000_000) },
            jobs: BTreeMap::new(),
            first_launches: Vec::new(),
            hand_overs: 0,
        }
    }

    fn make(&mut self, happens: &Move) {
        match happens {
            Move::Submit(plan) => self.submit(plan),
            Move::Pass { milliseconds } => self.pass(*milliseconds),
            Move::JumpWall { seconds } => {
                self.now.wall.0 = self.now.wall.0.saturating_add_signed(seconds * 1000);
                self.tick();
            }
            Move::To(job, happening) => {
                let lives = self.jobs.iter().filter(|(_, seen)| seen.outcome.is_none());
                let keys: Vec<_> = lives.map(|(key, _)| *key).collect();
                if let Some(key) = keys.get(job % keys.len().max(1)) {
                    self.happen(*key, happening);
                }
            }
            Move::HandOver { milliseconds } => self.hand_over(*milliseconds),
            Move::KillAll => {
                for key in self.jobs.keys().copied().collect::<Vec<_>>() {
                    self.happen(key, &Happening::IsRecycled);
                }
            }
        }
        self.check();
    }

    fn submit(&mut self, plan: &Plan) {
        let keys: Vec<_> = self.jobs.keys().copied().collect();
        let after = plan.after.iter().filter_map(|&index| keys.get(index).copied()).collect();
        let queue = plan.queue.map(|index| QUEUES[index].to_owned());
        let submission = Submission { policy: plan.policy(), queue, after };
        let (key, actions) = self.scheduler.submit(submission, self.now);
        let seen = Seen {
            plan: plan.clone(),
            number: self.jobs.len(),
            active: None,
            last_run: 0,
            restarts: Vec::new(),
            told_to_end: 0,
            killed: false,
            outcome: None,
        };
        self.jobs.insert(key, seen);
        self.take(actions);
    }

    /// Lets time pass, with a tick whenever the scheduler has asked for one.
    fn pass(&mut self, milliseconds: u64) {
        let end = self.now.instant + Duration::from_millis(milliseconds);
        while self.now.instant < end {
            let wake = self.scheduler.next_wake(self.now).unwrap_or(end);
            let step = wake.max(self.now.instant + Duration::from_millis(1)).min(end);
            let passed = step - self.now.instant;
            self.now.instant = step;
            self.now.wall.0 += u64::try_from(passed.as_millis()).unwrap();
            self.tick();
        }
    }

    /// Has another scheduler go on, if every job is where it can be handed over.
    fn hand_over(&mut self, milliseconds: u64) {
        let mut handed = Vec::new();
        for key in self.scheduler.in_order() {
            let Some(life) = self.scheduler.life(key).unwrap().handed(false, self.now) else {
                return;
            };
            // As it is on disk.
            let text = serde_json::to_string(&life).unwrap();
            handed.push((key, self.scheduler.missing(key), serde_json::from_str(&text).unwrap()));
        }
        let away = Duration::from_millis(milliseconds);
        self.now.instant += away;
        self.now.wall.0 += milliseconds;
        let mut next = Scheduler::new(MAX_TURNS);
        // No key means two jobs here.
        next.last_key = self.scheduler.last_key;
        let (mut keys, mut then) = (BTreeMap::new(), Vec::new());
        for (key, _, life) in &handed {
            let mut seen = self.jobs.remove(key).unwrap();
            let queue = seen.plan.queue.map(|index| QUEUES[index].to_owned());
            let policy = seen.plan.policy();
            let submission = Submission { policy, queue, after: Vec::new() };
            let interval = Interval { away, ran_for: away };
            let (new, actions) = next.resume(submission, life, interval, self.now);
            // What was told to end is told again.
            seen.told_to_end = 0;
            self.jobs.insert(new, seen);
            keys.insert(*key, new);
            then.extend(actions);
        }
        for (key, after, _) in &handed {
            for on in after {
                next.depend(keys[key], keys[on]);
            }
        }
        self.scheduler = next;
        self.hand_overs += 1;
        let all: Vec<_> = handed.iter().map(|(key, ..)| keys[key]).collect();
        then.extend(self.scheduler.go_on(&all, self.now));
        self.take(then);
    }

    fn tick(&mut self) {
        let actions = self.scheduler.tick(self.now);
        self.take(actions);
    }

    fn happen(&mut self, key: Key, happening: &Happening) {
        let seen = self.jobs.get_mut(&key).unwrap();
        let run = seen.active.unwrap_or(seen.last_run);
        let event = match *happening {
            Happening::Starts => Event::Launched { run },
            Happening::DoesNotStart => Event::NotLaunched { run, message: "no".to_owned() },
            Happening::IsReady => Event::Ready { run },
            Happening::Exits { code } => Event::Exited { run, exit: Exit::Code(code) },
            Happening::Settles => Event::Settled { run },
            Happening::IsKilled => {
                seen.killed = true;
                Event::Kill
            }
            Happening::IsRecycled => Event::Recycle,
            Happening::RepeatsItself { code } => {
                Event::Exited { run: run.saturating_sub(1), exit: Exit::Code(code) }
            }
        };
        let was_starting =
            matches!(self.scheduler.life(key).map(Life::stage), Some(Stage::Starting { .. }));
        let was_settling =
            matches!(self.scheduler.life(key).map(Life::stage), Some(Stage::Settling { .. }));
        let is_over = match happening {
            Happening::DoesNotStart => was_starting,
            Happening::Settles => was_settling,
            _ => false,
        };
        if is_over {
            self.jobs.get_mut(&key).unwrap().active = None;
        }
        let actions = self.scheduler.apply(key, event, self.now);
        self.take(actions);
    }

    fn take(&mut self, actions: Actions) {
        for (key, action) in actions {
            let now = self.now.instant;
            // The actions of a submission come before its key is known.
            let Some(seen) = self.jobs.get_mut(&key) else { panic!("unknown {key:?}") };
            assert_eq!(seen.outcome, None, "{action:?} after the end");
            match action {
                Action::Launch { run } => {
                    assert!(!seen.killed, "a killed job runs again");
                    assert_eq!(seen.active, None, "two runs of one job");
                    assert_eq!(run, seen.last_run + 1);
                    (seen.active, seen.last_run) = (Some(run), run);
                    if run == 1 {
                        self.first_launches.push(seen.number);
                    }
                }
                Action::EndTree { run, .. } => {
                    assert_eq!(Some(run), seen.active);
                    assert!(seen.told_to_end < run, "a second stop moved the deadline");
                    seen.told_to_end = run;
                }
                Action::Settle { run } => assert_eq!(Some(run), seen.active),
                Action::TellRestart { .. } => seen.restarts.push(now),
                Action::Finish(outcome) => {
                    assert_eq!(seen.active, None, "ended while a run goes on");
                    assert!(!seen.killed || outcome.state == JobState::Killed);
                    seen.outcome = Some(outcome);
                }
                Action::Provide
                | Action::TellRunEnd { .. }
                | Action::TellNext { .. }
                | Action::TellCritical { .. } => {}
            }
        }
    }

    fn check(&self) {
        for (index, name) in QUEUES.iter().enumerate() {
            let active = self
                .jobs
                .values()
                .filter(|seen| seen.plan.queue == Some(index) && seen.active.is_some());
            assert!(active.count() <= 1, "two runs of the serial queue {name}");
            let in_order = self.first_launches.iter().filter(|number| {
                let mut all = self.jobs.values();
                let plan = &all.find(|seen| seen.number == **number).unwrap().plan;
                plan.queue == Some(index) && plan.waits_for_its_queue_alone()
            });
            assert!(in_order.is_sorted(), "the queue {name} is not first in, first out");
        }
        let counted =
            self.jobs.values().filter(|seen| seen.active.is_some() && !seen.plan.is_long_running);
        assert!(counted.count() <= MAX_TURNS, "more runs than turns");
        for seen in self.jobs.values() {
            let Some(max) = seen.plan.max_restart else { continue };
            // A new occurrence has a budget of its own.
            if seen.plan.recurrence <= 1 {
                continue;
            }
            let recent = |at: &&Instant| self.now.instant - **at < Failures::WINDOW;
            assert!(seen.restarts.iter().filter(recent).count() <= max as usize, "over budget");
        }
        for (key, seen) in &self.jobs {
            let lives = self.scheduler.life(*key).is_some();
            assert_eq!(lives, seen.outcome.is_none(), "{key:?} neither lives nor has ended");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn queues_are_serial_ends_are_final_and_budgets_are_kept(
        moves in proptest::collection::vec(a_move(), 1..120),
    ) {
        let mut world = World::new();
        for happens in &moves {
            world.make(happens);
        }
        // Whatever has happened, a kill of every job ends every job.
        let keys: Vec<_> = world.jobs.keys().copied().collect();
        for key in &keys {
            world.happen(*key, &Happening::IsKilled);
        }
        for key in &keys {
            world.happen(*key, &Happening::Starts);
            world.happen(*key, &Happening::Exits { code: 0 });
            world.happen(*key, &Happening::Settles);
        }
        world.check();
        prop_assert!(world.jobs.values().all(|seen| seen.outcome.is_some()));
        let rest = &world.scheduler;
        prop_assert_eq!((rest.jobs.len(), rest.turns, rest.queues.len()), (0, 0, 0));
        prop_assert!(rest.timers.is_empty() && rest.wall_timers.is_empty());
        prop_assert_eq!(rest.next_wake(world.now), None);
    }

    #[test]
    fn whatever_can_run_does_run(moves in proptest::collection::vec(a_move(), 1..60)) {
        let mut world = World::new();
        for happens in &moves {
            world.make(happens);
        }
        // Every child that is started ends well at once: nothing stays behind, and a
        // clock that was set back delays a schedule by five minutes at most.
        for _ in 0..200 {
            for key in world.jobs.keys().copied().collect::<Vec<_>>() {
                for happening in
                    [Happening::Starts, Happening::Exits { code: 0 }, Happening::Settles]
                {
                    world.happen(key, &happening);
                }
            }
            world.pass(2000);
            world.check();
        }
        for seen in world.jobs.values() {
            prop_assert!(seen.outcome.is_some() || seen.plan.recurrence <= 1 || seen.last_run > 0);
        }
    }
}

#[test]
fn jobs_are_handed_over_in_most_worlds() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let moves = proptest::collection::vec(a_move(), 60);
    let hand_overs = (0..200).map(|_| {
        let moves = moves.new_tree(&mut runner).unwrap().current();
        let mut world = World::new();
        moves.iter().for_each(|happens| world.make(happens));
        world.hand_overs
    });
    assert!(hand_overs.filter(|count| *count > 0).count() > 100);
}

#[test]
fn a_dependency_that_fails_ends_who_waits_for_it() {
    let mut world = World::new();
    let plan = Plan {
        queue: None,
        max_restart: Some(0),
        max_time: None,
        is_long_running: false,
        has_ready_pattern: false,
        recurrence: 9,
        start_delay: 0,
        after: Vec::new(),
    };
    world.submit(&plan);
    world.submit(&Plan { after: vec![0], ..plan.clone() });
    world.submit(&Plan { after: vec![1], ..plan });
    let keys: Vec<_> = world.jobs.keys().copied().collect();
    assert_eq!(world.scheduler.waits_for(keys[1]), Some(WaitsFor::Dependencies));
    world.happen(keys[0], &Happening::Starts);
    world.happen(keys[0], &Happening::Exits { code: 1 });
    world.happen(keys[0], &Happening::Settles);
    let ended = |key| world.jobs[key].outcome.as_ref().map(|outcome| outcome.state);
    assert!(keys.iter().all(|key| ended(key) == Some(JobState::Error)));
    assert_eq!(world.first_launches, [0], "they never ran");
}

#[test]
fn a_clock_set_back_right_after_the_submission_does_not_delay_a_schedule() {
    let mut world = World::new();
    let every_ten_seconds = 1;
    world.submit(&Plan {
        queue: None,
        max_restart: None,
        max_time: None,
        is_long_running: false,
        has_ready_pattern: false,
        recurrence: every_ten_seconds,
        start_delay: 0,
        after: Vec::new(),
    });
    world.make(&Move::JumpWall { seconds: -3600 });
    world.pass(11_000);
    assert_eq!(world.first_launches.len(), 1);
}

#[test]
fn a_queue_waits_for_every_job_that_an_earlier_agent_has_left() {
    let (mut scheduler, now) = (Scheduler::new(MAX_TURNS), World::new().now);
    let plan = Plan {
        queue: Some(0),
        max_restart: Some(0),
        max_time: None,
        is_long_running: false,
        has_ready_pattern: false,
        recurrence: 9,
        start_delay: 0,
        after: Vec::new(),
    };
    let submission = || Submission {
        policy: plan.policy(),
        queue: Some(QUEUES[0].to_owned()),
        after: Vec::new(),
    };
    // The end of the first was not told yet, and the second had begun.
    let [first, second] = [(); 2].map(|()| scheduler.adopt(submission(), 1, Duration::ZERO, now).0);
    let (third, mut actions) = scheduler.submit(submission(), now);
    let launched = |actions: &Actions| actions.contains(&(third, Action::Launch { run: 1 }));
    for key in [first, second] {
        assert!(!launched(&actions));
        actions = scheduler.apply(key, Event::Exited { run: 1, exit: Exit::Code(0) }, now);
        assert!(!launched(&actions));
        actions = scheduler.apply(key, Event::Settled { run: 1 }, now);
    }
    assert!(launched(&actions));
}
