use drover_api::UpdateStep;

use super::*;
use crate::record::KEPT;

const NOW: Timestamp = Timestamp(7);

pub(crate) fn version(number: &str) -> Version {
    let digit = number.bytes().map(u32::from).sum::<u32>();
    Version {
        version: number.parse().unwrap(),
        hash: format!("{digit:064x}").parse().unwrap(),
        length: 4,
        signature: "signature".to_owned(),
        by: Some("ada".to_owned()),
        since: NOW,
        has_served: false,
        fault: None,
    }
}

fn request(number: &str) -> Request {
    Request { version: version(number), watch: Duration::from_secs(9), again: false }
}

/// A record after `events`, each of which must fit.
fn after(record: &Record, events: impl IntoIterator<Item = Event>) -> Step {
    let unchanged = Step::unchanged(record);
    events.into_iter().fold(unchanged, |last, event| {
        let next = step(&last.record, event.clone(), NOW);
        assert!(next != Step::unchanged(&last.record), "{event:?} changes nothing");
        next
    })
}

fn up_to_swap() -> Vec<Event> {
    vec![Event::Fetched, Event::Verified, Event::Prepared, Event::Tested]
}

fn served(number: &str) -> Event {
    Event::Served(version(number).hash, None)
}

/// A record in which each of `numbers` has served and done well.
fn well(numbers: &[&str]) -> Record {
    numbers.iter().fold(Record::default(), |record, number| {
        let asked = ask(&record, request(number), NOW).unwrap().record;
        after(&asked, up_to_swap().into_iter().chain([served(number), Event::Passed])).record
    })
}

fn asked(record: &Record, number: &str) -> Record {
    ask(record, request(number), NOW).unwrap().record
}

fn active(record: &Record) -> Option<String> {
    record.active().map(|one| one.version.to_string())
}

#[test]
fn an_update_goes_step_by_step_and_touches_what_serves_only_at_the_end() {
    let mut record = asked(&well(&["1.0.0"]), "2.0.0");
    for (event, now, number) in [
        (Event::Fetched, UpdateStep::Verifying, "1.0.0"),
        (Event::Verified, UpdateStep::Preparing, "1.0.0"),
        (Event::Prepared, UpdateStep::Testing, "1.0.0"),
        (Event::Tested, UpdateStep::Swapping, "1.0.0"),
        (served("2.0.0"), UpdateStep::Watching, "2.0.0"),
    ] {
        record = after(&record, [event]).record;
        assert_eq!(record.update.as_ref().unwrap().stage.step(), now);
        assert_eq!(active(&record).as_deref(), Some(number));
        assert_eq!(record.good, Some(version("1.0.0").hash));
    }
    let end = after(&record, [Event::Passed]);
    assert_eq!(end.record.good, Some(version("2.0.0").hash));
    assert_eq!(end.ended.unwrap().outcome, UpdateOutcome::Active);
    assert_eq!((end.record.update, end.effects), (None, vec![Effect::Sweep]));
}

#[test]
fn without_a_watch_it_ends_with_the_swap() {
    let request = Request { watch: Duration::ZERO, ..request("1.0.0") };
    let record = ask(&Record::default(), request, NOW).unwrap().record;
    let end = after(&record, up_to_swap().into_iter().chain([served("1.0.0")]));
    assert_eq!(end.ended.unwrap().outcome, UpdateOutcome::Active);
}

#[test]
fn a_bad_version_gives_way_to_the_good_one_and_is_not_taken_again() {
    let record = asked(&well(&["1.0.0", "2.0.0"]), "3.0.0");
    let watched = up_to_swap().into_iter().chain([served("3.0.0")]);
    let bad = Event::Bad("it crashed".into());
    let end = after(&record, watched.chain([bad]));
    assert_eq!(active(&end.record).as_deref(), Some("2.0.0"));
    let back = end.record.active().unwrap().clone();
    assert_eq!(end.effects, [Effect::Serve(back), Effect::Sweep]);
    let ended = end.ended.unwrap();
    assert_eq!((ended.outcome, ended.back_to.as_deref()), (UpdateOutcome::FellBack, Some("2.0.0")));

    let error = ask(&end.record, request("3.0.0"), NOW).unwrap_err();
    assert!(error.to_string().contains("it crashed") && error.to_string().contains("again=true"));
    let again = Request { again: true, ..request("3.0.0") };
    let step = ask(&end.record, again, NOW).unwrap();
    assert!(matches!(step.effects[..], [Effect::Verify(_)]), "{step:?}");
}

#[test]
fn a_first_version_that_is_bad_serves_no_longer() {
    let record = asked(&Record::default(), "1.0.0");
    let watched = up_to_swap().into_iter().chain([served("1.0.0"), Event::Bad("no".into())]);
    let end = after(&record, watched);
    assert_eq!((end.effects, end.record.active), (vec![Effect::Withdraw, Effect::Sweep], None));
}

#[test]
fn what_is_refused_leaves_all_as_it_was() {
    let before = well(&["1.0.0"]);
    for done in 0..=up_to_swap().len() {
        let record = after(&asked(&before, "2.0.0"), up_to_swap().into_iter().take(done)).record;
        let end = after(&record, [Event::Refused("no".into())]);
        assert_eq!(end.ended.unwrap().outcome, UpdateOutcome::Refused);
        assert_eq!(end.effects, [Effect::Sweep]);
        assert_eq!(Record { last: before.last.clone(), ..end.record }, before, "after {done}");
    }
}

#[test]
fn a_held_update_goes_on_when_something_changes() {
    let record = after(
        &asked(&Record::default(), "1.0.0"),
        [Event::Fetched, Event::Verified, Event::Held("not granted".into())],
    );
    assert!(record.effects.is_empty());
    let record = record.record;
    assert_eq!(record.update.as_ref().unwrap().status(0).reason.as_deref(), Some("not granted"));
    let step = after(&record, [Event::Changed]);
    assert!(matches!(step.effects[..], [Effect::Prepare(_)]), "{step:?}");
}

#[test]
fn the_same_wish_again_changes_nothing_and_another_one_takes_its_place() {
    let record = asked(&well(&["1.0.0"]), "2.0.0");
    assert_eq!(ask(&record, request("2.0.0"), NOW).unwrap(), Step::unchanged(&record));
    let served = well(&["1.0.0"]);
    assert_eq!(ask(&served, request("1.0.0"), NOW).unwrap(), Step::unchanged(&served));

    let step = ask(&record, request("3.0.0"), NOW).unwrap();
    assert_eq!(step.ended.as_ref().unwrap().outcome, UpdateOutcome::Superseded);
    assert!(
        matches!(&step.effects[..], [Effect::Sweep, Effect::Fetch(one)] if *one == version("3.0.0"))
    );
    // Had the other one just begun to serve, it does not stay.
    let late = after(&step.record, [Event::Served(version("2.0.0").hash, None)]);
    assert!(matches!(&late.effects[..], [Effect::Serve(one)] if one.hash == version("1.0.0").hash));
}

#[test]
fn a_version_that_was_never_proved_is_not_gone_back_to() {
    let watched = up_to_swap().into_iter().chain([served("2.0.0")]);
    let record = after(&asked(&well(&["1.0.0"]), "2.0.0"), watched).record;
    let record = asked(&record, "3.0.0");
    let watched = up_to_swap().into_iter().chain([served("3.0.0"), Event::Bad("no".into())]);
    assert_eq!(active(&after(&record, watched).record).as_deref(), Some("1.0.0"));
}

#[test]
fn somebody_can_go_back() {
    let record = well(&["1.0.0", "2.0.0", "3.0.0"]);
    for (wanted, number) in [(None, "2.0.0"), (Some("1.0.0"), "1.0.0")] {
        let step = revert(&record, wanted, NOW).unwrap();
        assert!(matches!(step.effects[..], [Effect::Prepare(_)]));
        let swapped = [Event::Prepared, Event::Tested, served(number)];
        let end = after(&step.record, swapped);
        assert_eq!(active(&end.record).as_deref(), Some(number));
        assert_eq!(end.record.good, end.record.active);
        // It is the one that serves, so it is not to be found as the one before.
        assert_ne!(end.record.before(end.record.active.as_ref()), end.record.active());
    }
    let error = revert(&record, Some("9.0.0"), NOW).unwrap_err().to_string();
    assert!(error.contains("there are: 1.0.0, 2.0.0, 3.0.0"), "{error}");
    assert_eq!(revert(&well(&["1.0.0"]), None, NOW), Err(AskError::NothingBefore));
}

#[test]
fn somebody_can_go_back_to_nothing() {
    let record = asked(&well(&["1.0.0"]), "2.0.0");
    let step = revert(&record, Some("none"), NOW).unwrap();
    assert_eq!((active(&step.record), step.record.update.clone()), (None, None));
    assert_eq!(step.ended.as_ref().unwrap().outcome, UpdateOutcome::Superseded);
    assert!(step.effects.contains(&Effect::Withdraw));
    // It is as much the second time, and what was on its way does not come back.
    let again = revert(&step.record, Some("none"), NOW).unwrap();
    assert_eq!((again.record, again.ended), (step.record.clone(), None));
    let late = super::step(&step.record, served("2.0.0"), NOW);
    assert_eq!(late.effects, [Effect::Withdraw]);
    assert_eq!(active(&revert(&step.record, None, NOW).unwrap().record), None);
}

#[test]
fn ten_versions_are_kept_and_the_one_to_go_back_to_among_them() {
    let numbers: Vec<_> = (0..20).map(|number| format!("1.{number}.0")).collect();
    let record = well(&numbers.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(record.versions.len(), KEPT);
    assert_eq!(record.versions[0].version.to_string(), "1.10.0");

    let back = revert(&record, Some("1.10.0"), NOW).unwrap().record;
    let back = after(&back, [Event::Prepared, Event::Tested, served("1.10.0")]).record;
    let next = asked(&back, "2.0.0");
    let watched = up_to_swap().into_iter().chain([served("2.0.0"), Event::Bad("no".into())]);
    assert_eq!(active(&after(&next, watched).record).as_deref(), Some("1.10.0"));
}

#[test]
fn a_version_under_which_the_agent_starts_again_and_again_is_to_blame() {
    let watched = up_to_swap().into_iter().chain([served("2.0.0")]);
    let mut record = after(&asked(&well(&["1.0.0"]), "2.0.0"), watched).record;
    for _ in 0..STARTS {
        record = step(&record, Event::Started, NOW).record;
        assert_eq!(active(&record).as_deref(), Some("2.0.0"));
    }
    let end = step(&record, Event::Started, NOW);
    assert_eq!(active(&end.record).as_deref(), Some("1.0.0"));
    assert!(end.ended.unwrap().reason.unwrap().contains("started 4 times"));
}

#[test]
fn a_damaged_version_gives_way_even_to_one_that_did_badly() {
    let watched = up_to_swap().into_iter().chain([served("2.0.0"), Event::Bad("no".into())]);
    let record = after(&asked(&well(&["1.0.0"]), "2.0.0"), watched).record;
    let damaged = |number: &str| Event::Unservable(version(number).hash, "damaged".into());
    let record = after(&record, [damaged("1.0.0")]).record;
    assert_eq!(active(&record).as_deref(), Some("2.0.0"));
    let record = after(&record, [damaged("2.0.0")]).record;
    assert_eq!(active(&record).as_deref(), Some("2.0.0"), "there is nothing left");
}

#[test]
fn a_record_reads_back_the_same_at_every_stage() {
    let mut record = asked(&well(&["1.0.0"]), "2.0.0");
    for event in up_to_swap().into_iter().chain([served("2.0.0"), Event::Bad("no".into())]) {
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        record = after(&record, [event]).record;
    }
}
