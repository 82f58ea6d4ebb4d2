//! A node on a simulated disk is killed at every write and every effect, and at
//! every pair of them.

use std::cell::Cell;
use std::collections::BTreeSet;

use super::tests::version;
use super::*;

/// What outlives a node that is killed.
#[derive(Debug, Clone, Default)]
struct Disk {
    record: Record,
    files: BTreeSet<ContentHash>,
}

/// A node while it lives.
struct Node<'a> {
    disk: &'a mut Disk,
    serving: Option<ContentHash>,
    fate: &'a Fate,
}

/// What becomes of an update, and when the node is killed.
struct Fate {
    /// The step at which the update fails, if it does.
    fails: Option<Failure>,
    /// Points until the node is killed; none: it lives on.
    left: Cell<Option<u32>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Fetch,
    Verify,
    Prepare,
    Held,
    Test,
    Load,
    Watch,
}

/// The node was killed.
#[derive(Debug)]
struct Killed;

impl Fate {
    /// A moment at which a node may be killed.
    fn point(&self) -> Result<(), Killed> {
        match self.left.get() {
            Some(0) => {
                self.left.set(None);
                Err(Killed)
            }
            Some(left) => {
                self.left.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Node<'_> {
    /// Does what follows from a step until nothing follows any more.
    fn run(&mut self, first: Step) -> Result<(), Killed> {
        self.fate.point()?;
        self.disk.record = first.record;
        let mut events = Vec::new();
        for effect in first.effects {
            self.fate.point()?;
            events.extend(self.perform(effect));
        }
        for event in events {
            self.fate.point()?;
            // What follows is decided by the record as it is by then.
            self.run(step(&self.disk.record, event, Timestamp(0)))?;
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        let is_new = |one: &Version| one.version.to_string() == "2.0.0";
        let fails = |failure, one: &Version| self.fate.fails == Some(failure) && is_new(one);
        let refused = || Some(Event::Refused("no".into()));
        match effect {
            Effect::Fetch(one) if fails(Failure::Fetch, &one) => refused(),
            Effect::Fetch(one) => {
                self.disk.files.insert(one.hash);
                Some(Event::Fetched)
            }
            Effect::Verify(one) if fails(Failure::Verify, &one) => refused(),
            Effect::Verify(one) => {
                assert!(self.disk.files.contains(&one.hash), "a file is lost");
                Some(Event::Verified)
            }
            Effect::Prepare(one) if fails(Failure::Prepare, &one) => refused(),
            Effect::Prepare(one) if fails(Failure::Held, &one) => Some(Event::Held("no".into())),
            Effect::Prepare(_) => Some(Event::Prepared),
            Effect::Test(one) if fails(Failure::Test, &one) => refused(),
            Effect::Test(_) => Some(Event::Tested),
            Effect::Serve(one) if fails(Failure::Load, &one) => {
                Some(Event::Unservable(one.hash, "damaged".into()))
            }
            Effect::Serve(one) => {
                assert!(self.disk.files.contains(&one.hash), "what is to serve was deleted");
                self.serving = Some(one.hash);
                Some(Event::Served(one.hash, Some(Tally::default())))
            }
            Effect::Withdraw => {
                self.serving = None;
                None
            }
            Effect::Watch(one, ..) if fails(Failure::Watch, &one) => Some(Event::Bad("no".into())),
            Effect::Watch(..) => Some(Event::Passed),
            Effect::Sweep => {
                let wanted: BTreeSet<_> = self.disk.record.wanted().map(|one| one.hash).collect();
                self.disk.files.retain(|hash| wanted.contains(hash));
                None
            }
        }
    }
}

/// Starts a node on what is on the disk.
fn start(disk: &mut Disk, fate: &Fate) -> Result<Option<ContentHash>, Killed> {
    let first = step(&disk.record, Event::Started, Timestamp(0));
    let mut node = Node { disk, serving: None, fate };
    node.run(first)?;
    Ok(node.serving)
}

/// Starts it again until it lives on, and then it must serve `old` or `new`.
fn live_on(disk: &mut Disk, fate: &Fate, old: &ContentHash, new: &ContentHash) -> ContentHash {
    let serving = loop {
        if let Ok(serving) = start(disk, fate) {
            break serving.expect("none serves");
        }
    };
    assert!(serving == *old || serving == *new, "something else serves");
    assert_eq!(disk.record.active.as_ref(), Some(&serving));
    let files: BTreeSet<_> = disk.record.wanted().map(|one| one.hash).collect();
    assert_eq!(disk.files, files, "a file is lost, or left over");
    serving
}

fn wish(disk: &mut Disk, number: &str, fate: &Fate) -> Result<(), Killed> {
    let version = version(number);
    let request = Request { version, watch: Duration::from_secs(1), again: true };
    let serving = disk.record.active;
    let step = ask(&disk.record, request, Timestamp(0)).unwrap();
    Node { disk, serving, fate }.run(step)
}

fn fate(fails: Option<Failure>, left: Option<u32>) -> Fate {
    Fate { fails, left: Cell::new(left) }
}

#[test]
fn killed_at_any_two_instants_it_serves_the_old_or_the_new_version() {
    let failures = [
        None,
        Some(Failure::Fetch),
        Some(Failure::Verify),
        Some(Failure::Prepare),
        Some(Failure::Held),
        Some(Failure::Test),
        Some(Failure::Load),
        Some(Failure::Watch),
    ];
    let mut old_disk = Disk::default();
    wish(&mut old_disk, "1.0.0", &fate(None, None)).unwrap();
    let (old, new) = (version("1.0.0").hash, version("2.0.0").hash);
    let mut instants = 0;
    for fails in failures {
        'first: for first in 0.. {
            for second in 0.. {
                let mut disk = old_disk.clone();
                let death = fate(fails, Some(first));
                if wish(&mut disk, "2.0.0", &death).is_ok() {
                    break 'first;
                }
                instants += 1;
                let again = fate(fails, Some(second));
                live_on(&mut disk, &again, &old, &new);
                let was_killed_twice = again.left.get().is_none();
                // Who asked asks again, and has what would have been without a death.
                wish(&mut disk, "2.0.0", &fate(fails, None)).unwrap();
                let expected = if fails.is_none() { &new } else { &old };
                assert_eq!(
                    disk.record.active.as_ref(),
                    Some(expected),
                    "{fails:?} {first} {second}"
                );
                if !was_killed_twice {
                    break;
                }
            }
        }
    }
    assert!(instants > 500, "only {instants} pairs of instants");
}

#[test]
fn killed_at_any_instant_of_a_return_it_serves_one_of_the_two() {
    let mut both = Disk::default();
    wish(&mut both, "1.0.0", &fate(None, None)).unwrap();
    wish(&mut both, "2.0.0", &fate(None, None)).unwrap();
    let (old, new) = (version("1.0.0").hash, version("2.0.0").hash);
    for instant in 0.. {
        let mut disk = both.clone();
        let death = fate(None, Some(instant));
        let step = revert(&disk.record, None, Timestamp(0)).unwrap();
        let mut node = Node { serving: Some(new), disk: &mut disk, fate: &death };
        if node.run(step).is_ok() {
            assert_eq!(disk.record.active, Some(old));
            break;
        }
        live_on(&mut disk, &fate(None, None), &old, &new);
    }
}
