//! What is in the log, and that nothing can be changed in it unnoticed.

use std::fs;

use super::*;

/// More than any test writes.
const MAX_FILE: u64 = 1 << 20;

fn act(what: &str) -> Act {
    Act {
        who: "ada".into(),
        role: "operator".into(),
        from: "192.0.2.7".into(),
        what: what.into(),
        on: "1.7".into(),
    }
}

/// A log of some acts, closed, and its file.
fn log(dir: &Path) -> PathBuf {
    let (audit, task) = Audit::open(dir, MAX_FILE).unwrap();
    for (nth, what) in ["hello.greet", "agent.restart", "hello.greet"].iter().enumerate() {
        let number = audit.begin(act(what)).unwrap();
        if nth != 1 {
            audit.end(number, "ok");
        }
    }
    task.close();
    dir.join("audit.log")
}

#[test]
fn what_was_done_is_there_with_what_came_of_it() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path());
    let (audit, task) = Audit::open(dir.path(), MAX_FILE).unwrap();
    audit.done(Act { who: "bob".into(), ..act("user.add") }, "denied");
    let all = audit.list(&AuditQuery::default()).unwrap();
    let results: Vec<_> = all.iter().map(|entry| entry.result.as_deref()).collect();
    assert_eq!(results, [Some("ok"), None, Some("ok"), Some("denied")]);
    assert_eq!((all[0].who.as_str(), all[0].from.as_str()), ("ada", "192.0.2.7"));

    let last = audit.list(&AuditQuery { limit: Some(1), ..Default::default() }).unwrap();
    assert_eq!(last, all[3..]);
    let hers = AuditQuery { who: Some("ada".into()), ..Default::default() };
    assert_eq!(audit.list(&hers).unwrap(), all[..3]);
    let restarts = AuditQuery { what: Some("restart".into()), ..Default::default() };
    assert_eq!(audit.list(&restarts).unwrap(), all[1..2]);
    assert_eq!(audit.verify().unwrap().fault, None);
    task.close();
}

#[test]
fn every_line_that_is_altered_removed_doubled_or_moved_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = log(dir.path());
    assert_eq!(read::verify(&path, None).unwrap().fault, None);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 5);
    let mut forgeries = Vec::new();
    for at in 0..lines.len() {
        let without = [&lines[..at], &lines[at + 1..]].concat();
        let doubled = [&lines[..=at], &lines[at..]].concat();
        forgeries.extend([without, doubled]);
        // Each byte but the line's end, in one bit.
        for byte in 0..lines[at].len() {
            let mut bytes = lines[at].clone().into_bytes();
            bytes[byte] ^= 1;
            if let Ok(altered) = String::from_utf8(bytes) {
                let mut forged = lines.clone();
                forged[at] = altered;
                forgeries.push(forged);
            }
        }
        for other in 0..at {
            let mut moved = lines.clone();
            moved.swap(at, other);
            forgeries.push(moved);
        }
        forgeries.push(lines[..at].to_vec());
    }
    for forged in forgeries {
        fs::write(&path, forged.iter().map(|line| format!("{line}\n")).collect::<String>())
            .unwrap();
        assert!(read::verify(&path, None).unwrap().fault.is_some(), "{forged:#?}");
    }
}

#[test]
fn a_log_that_was_made_anew_is_found() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, forged) = (log(dir.path()), log(other.path()));
    fs::copy(&forged, &path).unwrap();
    // The times differ, and so do all hashes.
    let is_other = fs::read(dir.path().join("audit.head")).unwrap()
        != fs::read(other.path().join("audit.head")).unwrap();
    assert_eq!(read::verify(&path, None).unwrap().fault.is_some(), is_other);
}

#[test]
fn a_line_that_was_not_whole_is_cut_off_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = log(dir.path());
    let mut text = fs::read(&path).unwrap();
    text.extend(b"0123 {\"number\":6,");
    fs::write(&path, text).unwrap();
    let (audit, task) = Audit::open(dir.path(), MAX_FILE).unwrap();
    audit.done(act("hello.greet"), "ok");
    let verdict = audit.verify().unwrap();
    // What became of it is in the log itself.
    assert_eq!((verdict.lines, verdict.fault), (9, None));
    let repair = AuditQuery { what: Some("audit.repair".into()), ..Default::default() };
    let repair = audit.list(&repair).unwrap().remove(0);
    assert_eq!((repair.who.as_str(), repair.result.as_deref()), ("controller", Some("ok")));
    assert!(repair.on.contains("17 bytes of a line"), "{}", repair.on);
    task.close();
}

#[test]
fn lines_that_are_missing_are_still_missing_when_the_log_has_gone_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = log(dir.path());
    let text = fs::read_to_string(&path).unwrap();
    let kept: String = text.lines().take(3).map(|line| format!("{line}\n")).collect();
    fs::write(&path, kept).unwrap();
    let (audit, task) = Audit::open(dir.path(), MAX_FILE).unwrap();
    audit.done(act("hello.greet"), "ok");
    let verdict = audit.verify().unwrap();
    assert!(verdict.fault.unwrap().contains("line 4"), "the first that does not follow");
    task.close();
}

#[test]
fn what_is_cut_off_before_its_end_was_noted_on_disk_is_missed_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = log(dir.path());
    let (audit, task) = Audit::open(dir.path(), MAX_FILE).unwrap();
    let before = fs::read_to_string(&path).unwrap();
    audit.done(act("hello.greet"), "ok");
    assert_eq!(audit.verify().unwrap().fault, None);
    fs::write(&path, before).unwrap();
    let fault = audit.verify().unwrap().fault.unwrap();
    assert!(fault.contains("lines are missing at the end"), "{fault}");
    task.close();
}

/// A log of 40 acts over some files, closed, and all its files in order.
fn rotated(dir: &Path) -> Vec<PathBuf> {
    for _ in 0..4 {
        let (audit, task) = Audit::open(dir, 1000).unwrap();
        for _ in 0..10 {
            let number = audit.begin(act("hello.greet")).unwrap();
            // Each is written by itself, so that files are full soon.
            audit.queue.settle();
            audit.end(number, "ok");
            audit.queue.settle();
        }
        task.close();
    }
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().unwrap() == "log").collect();
    files.sort();
    files
}

#[test]
fn the_log_goes_on_over_files_and_is_read_and_checked_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let files = rotated(dir.path());
    assert!(files.len() > 5, "{files:?}");
    assert!(files[0].ends_with("audit-000000000001.log"), "{files:?}");
    let (audit, task) = Audit::open(dir.path(), 1000).unwrap();
    let verdict = audit.verify().unwrap();
    assert_eq!((verdict.lines, verdict.fault), (80, None));
    assert_eq!(verdict.files as usize, files.len());
    let all = audit.list(&AuditQuery::default()).unwrap();
    let numbers: Vec<_> = all.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (0..40).map(|nth| 2 * nth + 1).collect::<Vec<_>>());
    // Also of those that ended in another file than they were begun in.
    assert!(all.iter().all(|entry| entry.result.as_deref() == Some("ok")), "{all:?}");
    let last = audit.list(&AuditQuery { limit: Some(7), ..Default::default() }).unwrap();
    assert_eq!(last, all[33..]);
    task.close();
}

#[test]
fn a_file_that_is_gone_cut_off_or_another_is_found_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let files = rotated(dir.path());
    let other = tempfile::tempdir().unwrap();
    let others = rotated(other.path());
    let path = dir.path().join("audit.log");
    let check = |what: &str| {
        let fault = read::verify(&path, None).unwrap().fault;
        assert!(fault.is_some(), "{what}");
        fault.unwrap()
    };
    assert_eq!(read::verify(&path, None).unwrap().fault, None);
    for (nth, file) in files.iter().enumerate().filter(|(_, file)| **file != path) {
        let kept = fs::read(file).unwrap();
        fs::remove_file(file).unwrap();
        assert!(check("gone").contains("are missing"), "{nth}");
        // Cut off at a line and within one.
        let end = kept.iter().rposition(|byte| *byte == b'\n').unwrap();
        let line = kept[..end].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        for length in [line, end, end - 10] {
            fs::write(file, &kept[..length]).unwrap();
            check("cut off");
        }
        fs::write(file, fs::read(&others[nth]).unwrap()).unwrap();
        check("another");
        fs::write(file, kept).unwrap();
        assert_eq!(read::verify(&path, None).unwrap().fault, None);
    }
    // The last one, and what says how far the log goes.
    let head = path.with_extension("head");
    let kept = fs::read(&head).unwrap();
    fs::remove_file(&head).unwrap();
    assert!(check("head").contains("audit.head"));
    fs::write(&head, kept).unwrap();
    fs::write(&path, "").unwrap();
    let (audit, task) = Audit::open(dir.path(), 1000).unwrap();
    audit.done(act("hello.greet"), "ok");
    // Without its lines, it began where the former one had ended.
    let fault = audit.verify().unwrap().fault.unwrap();
    assert!(fault.contains("are missing"), "{fault}");
    task.close();
}

#[test]
fn a_crash_between_two_files_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = log(dir.path());
    // It was put away, and the next one was not there yet.
    fs::rename(&path, dir.path().join("audit-000000000001.log")).unwrap();
    let (audit, task) = Audit::open(dir.path(), MAX_FILE).unwrap();
    audit.done(act("hello.greet"), "ok");
    let verdict = audit.verify().unwrap();
    assert_eq!((verdict.lines, verdict.files, verdict.fault), (7, 2, None));
    assert_eq!(audit.list(&AuditQuery::default()).unwrap().len(), 4);
    task.close();
}
