use std::cell::Cell;
use std::time::Duration;

use super::*;
use crate::step::tests::version;
use crate::step::{Request, ask};

const NOW: Timestamp = Timestamp(7);

fn number(text: &str) -> Number {
    text.parse().unwrap()
}

fn request(of: &str) -> Request {
    Request { version: version(of), watch: Duration::from_secs(9), again: true }
}

/// A record whose update is about to swap.
fn about_to_swap(record: &Record, of: &str) -> Record {
    let events = [Event::Fetched, Event::Verified, Event::Prepared, Event::Tested];
    let asked = ask(record, request(of), NOW).unwrap().record;
    events.into_iter().fold(asked, |record, event| step(&record, event, NOW).record)
}

/// A record in which a version was pushed and did well.
fn well(record: &Record, of: &str) -> Record {
    let (record, _) = choose(&about_to_swap(record, of), &number("1.0.0"), NOW);
    step(&record, Event::Passed, NOW).record
}

fn runs(record: &Record, installed: &str) -> String {
    match choose(record, &number(installed), NOW).1 {
        Choice::Installed => INSTALLED.to_owned(),
        Choice::Pushed(version) => version.version.to_string(),
    }
}

#[test]
fn the_installed_program_runs_until_another_is_about_to() {
    let record = Record::default();
    assert_eq!(runs(&record, "1.0.0"), INSTALLED);
    let asked = ask(&record, request("2.0.0"), NOW).unwrap().record;
    assert_eq!(runs(&asked, "1.0.0"), INSTALLED);
    assert_eq!(runs(&about_to_swap(&record, "2.0.0"), "1.0.0"), "2.0.0");
    assert_eq!(runs(&well(&record, "2.0.0"), "1.0.0"), "2.0.0");
}

#[test]
fn what_dies_while_it_is_watched_gives_way_to_what_ran_before_and_to_nothing_older() {
    let two = well(&Record::default(), "2.0.0");
    let (three, _) = choose(&about_to_swap(&two, "3.0.0"), &number("1.0.0"), NOW);
    let step = died(&three, version("3.0.0").hash, "it crashed".to_owned(), NOW);
    let ended = step.ended.unwrap();
    assert_eq!((ended.outcome, ended.back_to.as_deref()), (UpdateOutcome::FellBack, Some("2.0.0")));
    assert_eq!(runs(&step.record, "1.0.0"), "2.0.0");
    assert!(step.record.program.as_ref().unwrap().is_untold);
    assert!(!told(&step.record).program.unwrap().is_untold);

    // The installed program ran before, though an older one was kept.
    let back = go_back(&step.record, Some(INSTALLED), 9, NOW).unwrap().record;
    let (four, _) = choose(&about_to_swap(&back, "4.0.0"), &number("1.0.0"), NOW);
    let step = died(&four, version("4.0.0").hash, "it crashed".to_owned(), NOW);
    assert_eq!(step.ended.unwrap().back_to.as_deref(), Some("1.0.0"));
    assert_eq!(runs(&step.record, "1.0.0"), INSTALLED);
}

#[test]
fn what_dies_when_it_is_no_longer_watched_is_started_again() {
    let two = well(&Record::default(), "2.0.0");
    let step = died(&two, version("2.0.0").hash, "killed".to_owned(), NOW);
    assert_eq!((&step.record, step.ended), (&two, None));
}

#[test]
fn what_is_started_again_and_again_while_it_is_watched_has_failed() {
    let mut record = about_to_swap(&Record::default(), "2.0.0");
    let mut runs = Vec::new();
    for _ in 0..6 {
        let (next, choice) = choose(&record, &number("1.0.0"), NOW);
        record = next;
        runs.push(choice != Choice::Installed);
    }
    assert_eq!(runs, [true, true, true, true, false, false]);
    let last = record.last.unwrap();
    assert!(last.reason.unwrap().contains("was started 4 times"));
}

#[test]
fn what_cannot_be_started_is_given_up_whenever_that_is_found() {
    let two = well(&Record::default(), "2.0.0");
    let three = well(&two, "3.0.0");
    let step = unstartable(&three, version("3.0.0").hash, "damaged".to_owned(), NOW);
    assert_eq!(runs(&step.record, "1.0.0"), "2.0.0");
    let step = unstartable(&step.record, version("2.0.0").hash, "damaged".to_owned(), NOW);
    assert_eq!(runs(&step.record, "1.0.0"), INSTALLED);
}

#[test]
fn a_newer_program_that_is_installed_goes_before_and_an_older_one_does_not() {
    let two = well(&Record::default(), "2.0.0");
    assert_eq!(runs(&two, "1.9.0"), "2.0.0");
    assert_eq!(runs(&two, "2.1.0"), INSTALLED);
    // An older one that was pushed on purpose stays, as long as nothing else is installed.
    let old = well(&Record::default(), "0.9.0");
    assert_eq!(runs(&old, "1.0.0"), "0.9.0");
    assert_eq!(runs(&old, "1.0.1"), INSTALLED);
    let (watched, _) = choose(&about_to_swap(&two, "3.0.0"), &number("1.0.0"), NOW);
    let (record, choice) = choose(&watched, &number("4.0.0"), NOW);
    assert_eq!(
        (choice, record.last.unwrap().outcome),
        (Choice::Installed, UpdateOutcome::Superseded)
    );
}

#[test]
fn whoever_goes_back_has_what_ran_before_or_what_is_named() {
    let two = well(&Record::default(), "2.0.0");
    let back = go_back(&two, None, 9, NOW).unwrap();
    assert_eq!(
        (runs(&back.record, "1.0.0"), back.effects),
        (INSTALLED.to_owned(), vec![Effect::Withdraw])
    );
    let three = well(&two, "3.0.0");
    for wanted in [None, Some("2.0.0")] {
        let update = go_back(&three, wanted, 9, NOW).unwrap().record.update.unwrap();
        assert_eq!((update.target.version, update.watch_ms), (number("2.0.0"), 9));
    }
    // Asked for again while it is on its way or watched, it goes on.
    let asked = go_back(&three, None, 9, NOW).unwrap().record;
    let events = [Event::Prepared, Event::Tested];
    let swapping =
        events.into_iter().fold(asked.clone(), |one, event| step(&one, event, NOW).record);
    let (watched, _) = choose(&swapping, &number("1.0.0"), NOW);
    for record in [asked, watched] {
        let again = go_back(&record, Some("2.0.0"), 9, NOW).unwrap();
        assert_eq!((&again.record, again.effects.len()), (&record, 0));
    }
    assert!(go_back(&three, Some("7.0.0"), 9, NOW).is_err());
    assert!(go_back(&Record::default(), None, 9, NOW).is_err());
    // Whoever lost the answer asks once more.
    let again = go_back(&back.record, Some("none"), 9, NOW).unwrap();
    assert_eq!(again, Step { record: back.record, effects: vec![], ended: None });
}

/// What becomes of the new program, and when everything is killed.
struct Fate {
    is_bad: bool,
    /// Points until the kill; none: everything lives on.
    left: Cell<Option<u32>>,
}

struct Killed;

impl Fate {
    /// A moment at which the launcher and its child may be killed.
    fn point(&self) -> Result<(), Killed> {
        let left = self.left.get();
        self.left.set(left.and_then(|left| left.checked_sub(1)));
        if left == Some(0) { Err(Killed) } else { Ok(()) }
    }
}

/// Starts the launcher, and gives back what runs when nothing happens any more.
fn launch(disk: &mut Record, fate: &Fate) -> Result<String, Killed> {
    loop {
        fate.point()?;
        let (record, choice) = choose(disk, &number("1.0.0"), NOW);
        fate.point()?;
        *disk = record;
        fate.point()?;
        let running = match &choice {
            Choice::Installed => None,
            Choice::Pushed(version) => Some(version.hash),
        };
        if fate.is_bad && running == Some(version("3.0.0").hash) {
            fate.point()?;
            let reason = "it ended".to_owned();
            *disk = died(disk, version("3.0.0").hash, reason, NOW).record;
            continue;
        }
        if agent(disk, running, fate)? {
            continue;
        }
        return Ok(choice_in_words(&choice));
    }
}

fn choice_in_words(choice: &Choice) -> String {
    match choice {
        Choice::Installed => INSTALLED.to_owned(),
        Choice::Pushed(version) => version.version.to_string(),
    }
}

/// Runs the agent until nothing is left to do; whether it ends for another program.
fn agent(disk: &mut Record, running: Option<ContentHash>, fate: &Fate) -> Result<bool, Killed> {
    assert_eq!(disk.active, running, "another program runs than the record says");
    let first = match &disk.update {
        Some(Update { stage: Stage::Watching { .. }, target, .. }) => {
            Event::Served(target.hash, None)
        }
        _ => Event::Started,
    };
    let mut events = vec![first];
    while let Some(event) = events.pop() {
        fate.point()?;
        let next = step(disk, event, NOW);
        *disk = next.record;
        for effect in next.effects {
            fate.point()?;
            match effect {
                Effect::Fetch(_) => events.push(Event::Fetched),
                Effect::Verify(_) => events.push(Event::Verified),
                Effect::Prepare(_) => events.push(Event::Prepared),
                Effect::Test(_) => events.push(Event::Tested),
                Effect::Watch(..) => events.push(Event::Passed),
                Effect::Serve(version) if Some(version.hash) == running => {}
                Effect::Serve(_) | Effect::Withdraw => return Ok(true),
                Effect::Sweep => {}
            }
        }
    }
    Ok(false)
}

#[test]
fn killed_at_any_two_instants_the_old_or_the_new_program_runs() {
    let mut instants = 0;
    for (is_bad, expected) in [(false, "3.0.0"), (true, "2.0.0")] {
        'first: for first in 0.. {
            for second in 0.. {
                let two = well(&Record::default(), "2.0.0");
                let mut disk = ask(&two, request("3.0.0"), NOW).unwrap().record;
                let fate = Fate { is_bad, left: Cell::new(Some(first)) };
                if launch(&mut disk, &fate).is_ok() {
                    break 'first;
                }
                instants += 1;
                let again = Fate { is_bad, left: Cell::new(Some(second)) };
                let was_killed_twice = launch(&mut disk, &again).is_err();
                let Ok(running) = launch(&mut disk, &Fate { is_bad, left: Cell::new(None) }) else {
                    panic!("nobody kills it");
                };
                assert_eq!(running, expected, "{first} {second}");
                assert_eq!(disk.update, None);
                if !was_killed_twice {
                    break;
                }
            }
        }
    }
    assert!(instants > 200, "only {instants} pairs of instants");
}
