//! What is in the log, and that nothing can be changed in it unnoticed.

use std::fs;

use super::*;

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
    let (audit, task) = Audit::open(dir).unwrap();
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
    let (audit, task) = Audit::open(dir.path()).unwrap();
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
    assert_eq!(read::verify(&path).unwrap().fault, None);
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
        assert!(read::verify(&path).unwrap().fault.is_some(), "{forged:#?}");
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
    assert_eq!(read::verify(&path).unwrap().fault.is_some(), is_other);
}

#[test]
fn a_line_that_was_not_whole_is_cut_off_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = log(dir.path());
    let mut text = fs::read(&path).unwrap();
    text.extend(b"0123 {\"number\":6,");
    fs::write(&path, text).unwrap();
    let (audit, task) = Audit::open(dir.path()).unwrap();
    audit.done(act("hello.greet"), "ok");
    let verdict = audit.verify().unwrap();
    assert_eq!((verdict.lines, verdict.fault), (7, None));
    task.close();
}

#[test]
fn lines_that_are_missing_are_still_missing_when_the_log_has_gone_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = log(dir.path());
    let text = fs::read_to_string(&path).unwrap();
    let kept: String = text.lines().take(3).map(|line| format!("{line}\n")).collect();
    fs::write(&path, kept).unwrap();
    let (audit, task) = Audit::open(dir.path()).unwrap();
    audit.done(act("hello.greet"), "ok");
    let verdict = audit.verify().unwrap();
    assert!(verdict.fault.unwrap().contains("line 4"), "the first that does not follow");
    task.close();
}
