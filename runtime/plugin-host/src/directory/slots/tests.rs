//! Tables, and one story told at random.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::directory::listing::Identity;

const MS: Duration = Duration::from_millis(1);
const OLD: Duration = Duration::from_secs(3600);

/// The file `a.wasm` with content number `content`, `age` after its change.
fn file(content: u64, age: Duration) -> Choice {
    let identity = Identity { device: 1, inode: 1, size: content, modified: 1, changed: 1 };
    Choice { name: "a".into(), path: "a.wasm".into(), version: None, found: Ok(identity), age }
}

fn seen(choice: &Choice) -> BTreeMap<String, Choice> {
    BTreeMap::from([(choice.name.clone(), choice.clone())])
}

fn nothing() -> BTreeMap<String, Choice> {
    BTreeMap::new()
}

fn hash(choice: &Choice) -> String {
    choice.found.as_ref().unwrap().size.to_string()
}

fn failure(may_pass: bool) -> LoadFailure {
    LoadFailure { reason: "broken".into(), may_pass }
}

/// Slots in which content 1 serves, seen last at 0.
fn serving() -> Slots {
    let mut slots = Slots::default();
    let one = file(1, OLD);
    assert_eq!(slots.look(Duration::ZERO, &seen(&one)), [Action::Load(one.clone())]);
    assert_eq!(slots.ended(Duration::ZERO, &one, Ok(hash(&one))), Verdict::Serve);
    slots
}

#[test]
fn an_old_file_is_loaded_at_once_and_left_alone_from_then_on() {
    let mut slots = serving();
    assert!(slots.is_settled() && slots.wake_at().is_none());
    assert_eq!(slots.look(MS, &seen(&file(1, OLD))), []);
}

#[test]
fn a_file_that_grows_is_not_loaded_until_it_is_left_alone() {
    let mut slots = serving();
    for step in 0..100 {
        let growing = file(2 + u64::from(step), Duration::ZERO);
        assert_eq!(slots.look(MS * 100 * step, &seen(&growing)), []);
        assert!(!slots.is_settled());
    }
    let whole = file(101, Duration::ZERO);
    let end = MS * 9900;
    assert_eq!(slots.wake_at(), Some(end + SETTLE));
    assert_eq!(slots.look(end + SETTLE - MS, &seen(&whole)), []);
    assert_eq!(slots.look(end + SETTLE, &seen(&whole)), [Action::Load(whole)]);
}

#[test]
fn a_refused_file_leaves_the_old_one_and_is_tried_again_when_it_changes() {
    let mut slots = serving();
    let bad = file(2, OLD);
    assert_eq!(slots.look(MS, &seen(&bad)), [Action::Load(bad.clone())]);
    assert_eq!(slots.ended(MS, &bad, Err(failure(false))), Verdict::Refused);
    assert_eq!(slots.look(OLD, &seen(&bad)), []);
    assert_eq!(slots.wake_at(), None);
    let pending: Vec<_> = slots.pending().collect();
    assert!(pending.len() == 1 && pending[0].reason == Some("broken"), "{pending:?}");

    let good = file(3, OLD);
    assert_eq!(slots.look(OLD, &seen(&good)), [Action::Load(good.clone())]);
    assert_eq!(slots.ended(OLD, &good, Ok(hash(&good))), Verdict::Serve);
    assert_eq!(slots.pending().count(), 0);
}

#[test]
fn what_may_pass_is_tried_again_ever_more_rarely() {
    let mut slots = Slots::default();
    let one = file(1, OLD);
    let mut now = Duration::ZERO;
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(slots.look(now, &seen(&one)), [Action::Load(one.clone())]);
        let verdict = slots.ended(now, &one, Err(failure(true)));
        assert_eq!(verdict == Verdict::Refused, waits.is_empty());
        let next = slots.wake_at().unwrap();
        assert_eq!(slots.look(next - MS, &seen(&one)), []);
        waits.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn what_is_refused_is_tried_again_when_it_is_measured_by_something_else() {
    let mut slots = serving();
    let bad = file(2, OLD);
    slots.look(MS, &seen(&bad));
    slots.ended(MS, &bad, Err(failure(false)));
    slots.try_again(MS * 2);
    assert_eq!(slots.look(MS * 2, &seen(&bad)), [Action::Load(bad.clone())]);
    assert_eq!(slots.ended(MS * 2, &bad, Err(failure(false))), Verdict::StillRefused);
    assert_eq!(slots.look(OLD, &seen(&bad)), []);

    let mut slots = serving();
    slots.try_again(MS);
    assert_eq!(slots.look(MS, &seen(&file(1, OLD))), []);
}

#[test]
fn a_file_that_is_gone_for_a_moment_goes_on_serving() {
    let mut slots = serving();
    assert_eq!(slots.look(MS, &nothing()), []);
    assert_eq!(slots.wake_at(), Some(MS + SETTLE));
    assert_eq!(slots.look(SETTLE, &seen(&file(1, OLD))), []);
    assert_eq!(slots.look(SETTLE * 2, &nothing()), []);
    assert_eq!(slots.look(SETTLE * 3, &nothing()), [Action::Unload("a".into())]);
    assert_eq!(slots.look(SETTLE * 4, &nothing()), []);
}

#[test]
fn going_back_to_what_serves_gives_up_the_attempt() {
    let mut slots = serving();
    let two = file(2, OLD);
    assert_eq!(slots.look(MS, &seen(&two)), [Action::Load(two.clone())]);
    assert_eq!(slots.look(MS, &seen(&file(1, OLD))), [Action::GiveUp("a".into())]);
    assert_eq!(slots.ended(MS, &two, Ok(hash(&two))), Verdict::Outdated);
    assert!(slots.is_settled());
}

#[test]
fn a_file_that_changes_while_it_is_loaded_is_loaded_again() {
    let mut slots = serving();
    let (two, three) = (file(2, OLD), file(3, OLD));
    slots.look(MS, &seen(&two));
    assert_eq!(slots.look(MS, &seen(&three)), [Action::Load(three.clone())]);
    assert_eq!(slots.ended(MS, &two, Ok(hash(&two))), Verdict::Outdated);
    assert_eq!(slots.ended(MS, &three, Ok(hash(&three))), Verdict::Serve);
}

#[test]
fn the_same_bytes_in_another_file_change_nothing() {
    let mut slots = serving();
    let touched = file(9, OLD);
    slots.look(MS, &seen(&touched));
    assert_eq!(slots.ended(MS, &touched, Ok(hash(&file(1, OLD)))), Verdict::Keep);
    assert_eq!(slots.look(MS, &seen(&touched)), []);
}

#[test]
fn what_is_no_file_is_told_once() {
    let mut slots = serving();
    let broken = Choice { found: Err("a dead link".into()), ..file(0, OLD) };
    let told = Action::Refuse(broken.clone(), "a dead link".into());
    assert_eq!(slots.look(MS, &seen(&broken)), [told]);
    assert_eq!(slots.look(OLD, &seen(&broken)), []);
    assert!(slots.is_settled());
}

/// What happens in one step of the story below.
#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Write(u64),
    Remove,
    LoadEnds,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..400u64).prop_map(Step::Wait),
        (0..6u64).prop_map(Step::Write),
        Just(Step::Remove),
        Just(Step::LoadEnds),
    ]
}

/// A directory of one file and a loader that refuses odd contents.
#[derive(Default)]
struct World {
    now: Duration,
    content: Option<u64>,
    changed: Duration,
    slots: Slots,
    loading: Option<Choice>,
    serving: Option<u64>,
}

impl World {
    fn look(&mut self) {
        let age = self.now - self.changed;
        let chosen = self.content.map(|content| {
            let mut choice = file(content, age);
            // Who writes the same once more changes the file.
            let identity = choice.found.as_mut().unwrap();
            identity.changed = i128::try_from(self.changed.as_nanos()).unwrap();
            choice
        });
        let chosen = chosen.as_ref().map(seen).unwrap_or_default();
        for action in self.slots.look(self.now, &chosen) {
            match action {
                Action::Load(choice) => {
                    assert!(age >= SETTLE, "loaded {age:?} after its change");
                    assert_eq!(Some(choice.found.clone().unwrap().size), self.content);
                    self.loading = Some(choice);
                }
                Action::GiveUp(_) => assert!(self.loading.take().is_some()),
                Action::Unload(_) => {
                    assert!(self.content.is_none() && age >= SETTLE, "{age:?}");
                    (self.serving, self.loading) = (None, None);
                }
                Action::Refuse(..) => panic!("every file can be read"),
            }
        }
    }

    fn load_ends(&mut self) {
        let Some(choice) = self.loading.take() else { return };
        let content = choice.found.clone().unwrap().size;
        let outcome =
            if content % 2 == 0 { Ok(hash(&choice)) } else { Err(failure(content % 4 == 1)) };
        if self.slots.ended(self.now, &choice, outcome) == Verdict::Serve {
            self.serving = Some(content);
        }
    }

    fn change(&mut self, content: Option<u64>) {
        if self.content.is_some() || content.is_some() {
            (self.content, self.changed) = (content, self.now);
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_what_serves_is_in_the_end_what_is_there(steps in vec(step(), 0..60)) {
        let mut world = World::default();
        for step in steps {
            let before = world.serving;
            match step {
                Step::Wait(ms) => world.now += MS * u32::try_from(ms).unwrap(),
                Step::Write(content) => world.change(Some(content)),
                Step::Remove => world.change(None),
                Step::LoadEnds => world.load_ends(),
            }
            world.look();
            // Nothing but a good file takes the place of a good one, unless it is removed.
            let is_replaced = world.serving.is_some_and(|content| content % 2 == 0);
            prop_assert!(world.serving == before || is_replaced || world.content.is_none());
        }
        // It is left alone.
        for _ in 0..4 {
            world.now += SETTLE;
            world.look();
            world.load_ends();
        }
        prop_assert!(world.slots.is_settled() && world.loading.is_none());
        match world.content {
            None => prop_assert_eq!(world.serving, None),
            Some(content) if content % 2 == 0 => prop_assert_eq!(world.serving, Some(content)),
            Some(_) => prop_assert_eq!(world.slots.pending().count(), 1),
        }
    }
}
