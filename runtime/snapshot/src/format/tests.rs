//! Every way from one version to another, and what becomes of files that are none.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Jobs {
    jobs: BTreeMap<String, f64>,
}

const FORMAT: Format = Format { name: "the jobs", steps: &[] };

fn jobs(names: &[&str]) -> Jobs {
    Jobs { jobs: names.iter().map(|name| ((*name).to_owned(), 0.1)).collect() }
}

#[test]
fn what_is_written_is_read_again_and_is_the_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.json");
    assert_eq!(FORMAT.read::<Jobs>(&path).unwrap(), Found::Nothing);
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(FORMAT.read::<Jobs>(&dir.path().join("file/jobs")).unwrap(), Found::Nothing);
    for names in [&["a", "b"][..], &["b"]] {
        FORMAT.replace(&path, &jobs(names)).unwrap();
        assert_eq!(FORMAT.read(&path).unwrap(), Found::Whole(jobs(names)));
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"version":1,"jobs":{"b":0.1}}"#);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_is_damaged_is_put_aside_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (path, aside) = (dir.path().join("jobs.json"), dir.path().join("jobs.damaged"));
    for (text, reason) in [
        (&b"{\"version\":1,\"jobs\":{"[..], "EOF while parsing"),
        (b"{\"version\":0,\"jobs\":{}}", "there is no version 0"),
        (b"{\"version\":1}", "missing field `jobs`"),
        (b"{\"jobs\":{}}", "missing field `version`"),
        (b"\xff\xfe", "expected value"),
        (b"", "EOF while parsing"),
    ] {
        fs::write(&path, text).unwrap();
        let Found::PutAside(found) = FORMAT.read::<Jobs>(&path).unwrap() else {
            panic!("{reason} is no reason");
        };
        assert!(found.reason.contains(reason), "{}", found.reason);
        assert_eq!((found.path, fs::read(&aside).unwrap()), (aside.clone(), text.to_vec()));
        assert!(!path.exists());
    }
}

#[test]
fn a_later_version_is_refused_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.json");
    for text in [r#"{"version":2,"tasks":[]}"#, r#"{"tasks":[],"version":4294967295}"#] {
        fs::write(&path, text).unwrap();
        let error = FORMAT.read::<Jobs>(&path).unwrap_err();
        assert!(matches!(error, ReadError::Newer { found: 2.., known: 1, .. }), "{error:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let said = io::Error::from(error).to_string();
        assert!(said.contains("a later version of drover has written the jobs"), "{said}");
        assert!(said.contains("jobs.json.before-v"), "{said}");
    }
}

/// Once jobs were a list, and had no time.
const GROWN: Format = Format {
    name: "the jobs",
    steps: &[
        |fields| {
            let names = fields.remove("names").ok_or("it has no names")?;
            fields.insert("list".to_owned(), names);
            Ok(())
        },
        |fields| {
            let list = fields.remove("list");
            let list = list.as_ref().and_then(Value::as_array).ok_or("the names are no list")?;
            let names = list.iter().filter_map(Value::as_str);
            let jobs: Map<_, _> = names.map(|name| (name.to_owned(), 0.1.into())).collect();
            fields.insert("jobs".to_owned(), jobs.into());
            Ok(())
        },
    ],
};

const EARLIER: [&str; 2] =
    [r#"{"version":1,"names":["a","b"]}"#, r#"{"version":2,"list":["a","b"]}"#];

#[test]
fn every_earlier_version_is_read_and_kept_until_the_next_change() {
    for (text, version) in EARLIER.into_iter().zip(1..) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        let (kept, older) = (before(&path, 3), before(&path, 2));
        fs::write(&path, text).unwrap();
        fs::write(&older, "from before another change").unwrap();
        // Whoever only reads changes nothing, however often.
        for _ in 0..2 {
            assert_eq!(GROWN.read(&path).unwrap(), Found::Whole(jobs(&["a", "b"])), "{version}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        GROWN.replace(&path, &jobs(&["c"])).unwrap();
        assert_eq!(GROWN.read(&path).unwrap(), Found::Whole(jobs(&["c"])));
        assert_eq!(fs::read_to_string(&kept).unwrap(), text, "what was there is kept");
        assert!(!older.exists());
        // The way back, as the refusal says it.
        let known = Format { steps: &GROWN.steps[..version - 1], ..GROWN };
        let Err(ReadError::Newer { earlier, .. }) = known.read::<Value>(&path) else {
            panic!("version {version} knows no version 3");
        };
        fs::rename(&earlier, &path).unwrap();
        assert!(matches!(known.read::<Value>(&path), Ok(Found::Whole(_))));
    }
}

#[test]
fn an_earlier_version_that_no_step_understands_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.json");
    for (text, why) in [
        (r#"{"version":1,"jobs":{}}"#, "no version 2 of it: it has no names"),
        (r#"{"version":1,"names":7}"#, "no version 3 of it: the names are no list"),
    ] {
        fs::write(&path, text).unwrap();
        let Found::PutAside(aside) = GROWN.read::<Jobs>(&path).unwrap() else { panic!("{why}") };
        assert_eq!(aside.reason, why);
        assert_eq!(fs::read_to_string(aside.path).unwrap(), text);
        assert!(!before(&path, 3).exists());
    }
}

#[test]
fn what_cannot_be_kept_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.json");
    fs::write(&path, EARLIER[0]).unwrap();
    fs::create_dir(before(&path, 3)).unwrap();
    assert!(matches!(GROWN.read::<Jobs>(&path), Err(ReadError::File(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), EARLIER[0]);
}

#[test]
fn who_only_looks_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.json");
    assert_eq!(GROWN.look::<Jobs>(&path).unwrap(), None);
    for (text, is_understood) in [
        (EARLIER[0], true),
        (EARLIER[1], true),
        (r#"{"version":9}"#, false),
        (r#"{"version":1}"#, false),
        ("", false),
    ] {
        fs::write(&path, text).unwrap();
        assert_eq!(GROWN.look::<Jobs>(&path).is_ok(), is_understood, "{text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_file_that_cannot_be_written_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.json");
    FORMAT.replace(&path, &jobs(&["a"])).unwrap();
    fs::create_dir(path.with_extension("new")).unwrap();
    FORMAT.replace(&path, &jobs(&["b"])).unwrap_err();
    assert_eq!(FORMAT.read(&path).unwrap(), Found::Whole(jobs(&["a"])));
    FORMAT.read::<Jobs>(dir.path()).unwrap_err();
}
