//! Whose turn it is: serial queues, the bound on running jobs, dependencies and
//! timers over all jobs. As pure as the [life](crate::lifecycle) of each of them.
//!
//! ```text
//!  dependencies met ──> serial queue ──> line for one of `max_jobs` ──> turn
//!                       (its first job,     (first come, first served;
//!                        then the next)      not for long-running jobs)
//! ```

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use drover_api::{JobState, Timestamp};

use crate::lifecycle::{Action, Due, Event, HandedLife, Interval, Life, Now, Policy, Stage};

/// How long a wait for the wall clock is at most: when the clock jumps, the
/// schedule follows within this time.
const WALL_STEP: Duration = Duration::from_secs(1);

/// A job's number here; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(u64);

/// All jobs that have not ended.
#[derive(Debug)]
pub(crate) struct Scheduler {
    jobs: HashMap<Key, Entry>,
    last_key: u64,
    queues: HashMap<String, SerialQueue>,
    /// Jobs that want one of the turns that count. Can hold keys of jobs that
    /// have ended.
    line: VecDeque<Key>,
    /// How many jobs have a turn that counts.
    turns: usize,
    max_turns: usize,
    timers: BTreeSet<(Instant, Key)>,
    wall_timers: BTreeSet<(Timestamp, Key)>,
    /// What the wall clock showed last, or before it was set back since the last tick.
    last_wall: Timestamp,
}

/// What is to become of an accepted job.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) policy: Policy,
    pub(crate) queue: Option<String>,
    /// Jobs that must provide first. Those that are unknown count as done.
    pub(crate) after: Vec<Key>,
}

#[derive(Debug)]
struct Entry {
    life: Life,
    queue: Option<String>,
    place: Place,
    /// Dependencies that have not provided yet.
    missing: usize,
    /// Who waits for this one.
    dependents: Vec<Key>,
    has_provided: bool,
    /// A job for ever would keep its turn for ever, so it takes none.
    counts: bool,
    timer: Option<Due>,
}

/// Where a job stands on its way to a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nowhere: it waits for time or for its dependencies.
    Outside,
    /// In its serial queue or in the line.
    InLine,
    /// At its turn.
    AtTurn,
}

#[derive(Debug, Default)]
struct SerialQueue {
    /// Who is in the line or at its turn: one, or more of those that were adopted. An
    /// agent that was killed leaves one that has ended, whose end nobody was told, and
    /// the next one that runs.
    ahead: Vec<Key>,
    /// Can hold keys of jobs that have ended.
    waiting: VecDeque<Key>,
}

/// What is to be done, in order.
pub(crate) type Actions = Vec<(Key, Action)>;

impl Scheduler {
    pub(crate) fn new(max_turns: usize) -> Self {
        Self {
            jobs: HashMap::new(),
            last_key: 0,
            queues: HashMap::new(),
            line: VecDeque::new(),
            turns: 0,
            max_turns: max_turns.max(1),
            timers: BTreeSet::new(),
            wall_timers: BTreeSet::new(),
            last_wall: Timestamp(0),
        }
    }

    /// A job's life; none once it has ended.
    pub(crate) fn life(&self, key: Key) -> Option<&Life> {
        self.jobs.get(&key).map(|entry| &entry.life)
    }

    /// What a job waits for, for people; none if it is at its turn.
    pub(crate) fn waits_for(&self, key: Key) -> Option<WaitsFor> {
        let entry = self.jobs.get(&key)?;
        match (entry.place, entry.life.stage()) {
            (_, Stage::Delayed { .. }) => Some(WaitsFor::Time),
            (Place::Outside, _) => Some(WaitsFor::Dependencies),
            (Place::InLine, _) => Some(WaitsFor::Turn),
            (Place::AtTurn, _) => None,
        }
    }

    /// Takes a job; it may be launched at once.
    pub(crate) fn submit(&mut self, job: Submission, now: Now) -> (Key, Actions) {
        let key = self.add(job, now);
        (key, self.work(vec![(key, Event::Tick)].into(), now))
    }

    /// Takes a job that an earlier agent started and that runs, or ran a moment
    /// ago. It has its turn, whatever the bounds say.
    pub(crate) fn adopt(
        &mut self,
        job: Submission,
        run: u64,
        ran_for: Duration,
        now: Now,
    ) -> (Key, Actions) {
        let queue = job.queue.clone();
        let key = self.add(job, now);
        if let Some(entry) = self.jobs.get_mut(&key) {
            entry.place = Place::AtTurn;
            self.turns += usize::from(entry.counts);
        }
        if let Some(queue) = queue {
            self.queues.entry(queue).or_default().ahead.push(key);
        }
        (key, self.work(vec![(key, Event::Adopted { run, ran_for })].into(), now))
    }

    /// Takes a job over where another scheduler had it. It waits for nobody until
    /// [`Scheduler::depend`] says so, and moves on with [`Scheduler::go_on`].
    pub(crate) fn resume(
        &mut self,
        job: Submission,
        handed: &HandedLife,
        interval: Interval,
        now: Now,
    ) -> (Key, Actions) {
        let (life, actions) = Life::resume(job.policy.clone(), handed, interval, now);
        let queue = job.queue.clone();
        let key = self.add(job, now);
        let Some(entry) = self.jobs.get_mut(&key) else { return (key, Vec::new()) };
        entry.has_provided = life.has_provided();
        let has_turn = life.has_turn();
        entry.life = life;
        if has_turn {
            entry.place = Place::AtTurn;
            self.turns += usize::from(entry.counts);
            if let Some(queue) = queue {
                self.queues.entry(queue).or_default().ahead.push(key);
            }
        }
        (key, actions.into_iter().map(|action| (key, action)).collect())
    }

    /// Has a job wait for another one.
    pub(crate) fn depend(&mut self, key: Key, on: Key) {
        if !self.jobs.contains_key(&key) {
            return;
        }
        if let Some(on) = self.jobs.get_mut(&on).filter(|entry| !entry.has_provided) {
            on.dependents.push(key);
            if let Some(entry) = self.jobs.get_mut(&key) {
                entry.missing += 1;
            }
        }
    }

    /// Lets jobs that were taken over move on; those that stand in line do so in this
    /// order.
    pub(crate) fn go_on(&mut self, keys: &[Key], now: Now) -> Actions {
        self.work(keys.iter().map(|key| (*key, Event::Tick)).collect(), now)
    }

    /// All jobs: first those that stand in line, in their order.
    pub(crate) fn in_order(&self) -> Vec<Key> {
        let waiting = self.queues.values().flat_map(|queue| &queue.waiting);
        let mut keys = Vec::new();
        let mut seen = BTreeSet::new();
        let mut rest: Vec<_> = self.jobs.keys().collect();
        rest.sort_unstable();
        for key in self.line.iter().chain(waiting).chain(rest) {
            if self.jobs.contains_key(key) && seen.insert(*key) {
                keys.push(*key);
            }
        }
        keys
    }

    /// The jobs that a job still waits for.
    pub(crate) fn missing(&self, key: Key) -> Vec<Key> {
        if self.jobs.get(&key).is_none_or(|entry| entry.missing == 0) {
            return Vec::new();
        }
        let jobs = self.jobs.iter().filter(|(_, entry)| entry.dependents.contains(&key));
        jobs.map(|(key, _)| *key).collect()
    }

    /// Forgets a job that goes on elsewhere. Nothing follows from that.
    pub(crate) fn let_go(&mut self, key: Key) {
        let Some(entry) = self.jobs.remove(&key) else { return };
        if entry.place == Place::AtTurn {
            self.turns -= usize::from(entry.counts);
        }
        match entry.timer {
            Some(Due::At(instant)) => drop(self.timers.remove(&(instant, key))),
            Some(Due::OnWall(time)) => drop(self.wall_timers.remove(&(time, key))),
            None => {}
        }
    }

    fn add(&mut self, job: Submission, now: Now) -> Key {
        self.last_key += 1;
        let key = Key(self.last_key);
        let mut missing = 0;
        for dependency in job.after {
            let waited_for = self.jobs.get_mut(&dependency).filter(|entry| !entry.has_provided);
            if let Some(dependency) = waited_for {
                dependency.dependents.push(key);
                missing += 1;
            }
        }
        let entry = Entry {
            counts: !job.policy.is_long_running,
            life: Life::new(job.policy, now),
            queue: job.queue,
            place: Place::Outside,
            missing,
            dependents: Vec::new(),
            has_provided: false,
            timer: None,
        };
        self.jobs.insert(key, entry);
        key
    }

    /// Tells that something happened to a job. One that has ended is past that.
    pub(crate) fn apply(&mut self, key: Key, event: Event, now: Now) -> Actions {
        self.work(vec![(key, event)].into(), now)
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Now) -> Actions {
        let was_set_back = now.wall < std::mem::replace(&mut self.last_wall, now.wall);
        let by_duration = self.timers.iter().take_while(|(due, _)| *due <= now.instant);
        let by_clock =
            self.wall_timers.iter().take_while(|(due, _)| *due <= now.wall || was_set_back);
        let due = by_duration.map(|(_, key)| *key).chain(by_clock.map(|(_, key)| *key));
        let events = due.map(|key| (key, Event::Tick)).collect();
        self.work(events, now)
    }

    /// When [`Scheduler::tick`] is to be called next.
    pub(crate) fn next_wake(&self, now: Now) -> Option<Instant> {
        let by_duration = self.timers.first().map(|(due, _)| *due);
        let by_clock = self
            .wall_timers
            .first()
            .map(|(due, _)| now.instant + due.since(now.wall).min(WALL_STEP));
        by_duration.into_iter().chain(by_clock).min()
    }

    /// Lets the events happen, and what follows from them for other jobs.
    fn work(&mut self, mut events: VecDeque<(Key, Event)>, now: Now) -> Actions {
        // The next tick sees that the clock was set back even if it is the first.
        self.last_wall = self.last_wall.max(now.wall);
        let mut actions = Vec::new();
        while let Some((key, event)) = events.pop_front() {
            let Some(entry) = self.jobs.get_mut(&key) else { continue };
            let steps = entry.life.step(event, now);
            for step in steps {
                self.spread(key, &step, &mut events);
                actions.push((key, step));
            }
            if self.take_place(key) {
                events.push_back((key, Event::Admitted));
            }
            self.set_timer(key);
            if self.life(key).is_some_and(|life| matches!(life.stage(), Stage::Ended(_))) {
                self.jobs.remove(&key);
            }
            while let Some(admitted) = self.admit() {
                events.push_back((admitted, Event::Admitted));
            }
        }
        actions
    }

    /// What an action of one job means for those that wait for it.
    fn spread(&mut self, key: Key, action: &Action, events: &mut VecDeque<(Key, Event)>) {
        let Some(entry) = self.jobs.get_mut(&key) else { return };
        match action {
            Action::Provide => {
                entry.has_provided = true;
                for dependent in std::mem::take(&mut entry.dependents) {
                    if let Some(dependent) = self.jobs.get_mut(&dependent) {
                        dependent.missing = dependent.missing.saturating_sub(1);
                    }
                    // It may take its place now.
                    events.push_back((dependent, Event::Tick));
                }
            }
            Action::Finish(outcome) if outcome.state != JobState::Ok => {
                for dependent in std::mem::take(&mut entry.dependents) {
                    let message = "a job that it comes `after` has ended without success";
                    let event = Event::DependencyFailed { message: message.to_owned() };
                    events.push_back((dependent, event));
                }
            }
            _ => {}
        }
    }

    /// Brings a job's place in line with its stage. True: it need not wait for
    /// its turn.
    fn take_place(&mut self, key: Key) -> bool {
        let Some(entry) = self.jobs.get_mut(&key) else { return false };
        let wants_turn = *entry.life.stage() == Stage::Waiting && entry.missing == 0;
        match entry.place {
            Place::Outside if wants_turn && !entry.counts => {
                entry.place = Place::AtTurn;
                return true;
            }
            Place::Outside if wants_turn => {
                entry.place = Place::InLine;
                match entry.queue.clone() {
                    Some(queue) => {
                        self.queues.entry(queue.clone()).or_default().waiting.push_back(key);
                        self.call_first(&queue);
                    }
                    None => self.line.push_back(key),
                }
            }
            Place::AtTurn if !entry.life.has_turn() && *entry.life.stage() != Stage::Waiting => {
                self.leave(key);
            }
            Place::InLine if matches!(entry.life.stage(), Stage::Ended(_)) => self.leave(key),
            _ => {}
        }
        false
    }

    /// Gives up a turn, or the place in a line.
    fn leave(&mut self, key: Key) {
        let Some(entry) = self.jobs.get_mut(&key) else { return };
        if std::mem::replace(&mut entry.place, Place::Outside) == Place::AtTurn {
            self.turns -= usize::from(entry.counts);
        }
        let Some(name) = entry.queue.clone() else { return };
        if let Some(queue) = self.queues.get_mut(&name) {
            queue.ahead.retain(|ahead| *ahead != key);
            self.call_first(&name);
        }
    }

    /// Sends the first of a serial queue into the line, if nobody is there.
    fn call_first(&mut self, name: &str) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        while queue.ahead.is_empty() {
            let Some(key) = queue.waiting.pop_front() else {
                self.queues.remove(name);
                return;
            };
            if self.jobs.get(&key).is_some_and(|entry| entry.place == Place::InLine) {
                queue.ahead.push(key);
                self.line.push_back(key);
            }
        }
    }

    /// Gives the next turn, if there is one to give and somebody to take it.
    fn admit(&mut self) -> Option<Key> {
        while self.turns < self.max_turns {
            let key = self.line.pop_front()?;
            if let Some(entry) = self.jobs.get_mut(&key) {
                entry.place = Place::AtTurn;
                self.turns += 1;
                return Some(key);
            }
        }
        None
    }

    fn set_timer(&mut self, key: Key) {
        let Some(entry) = self.jobs.get_mut(&key) else { return };
        let due = entry.life.due();
        let before = std::mem::replace(&mut entry.timer, due);
        if before == due {
            return;
        }
        match before {
            Some(Due::At(instant)) => drop(self.timers.remove(&(instant, key))),
            Some(Due::OnWall(time)) => drop(self.wall_timers.remove(&(time, key))),
            None => {}
        }
        match due {
            Some(Due::At(instant)) => drop(self.timers.insert((instant, key))),
            Some(Due::OnWall(time)) => drop(self.wall_timers.insert((time, key))),
            None => {}
        }
    }
}

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    Time,
    Dependencies,
    Turn,
}

#[cfg(test)]
mod tests;
