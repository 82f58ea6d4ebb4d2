//! Disks that are full and files that are damaged.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::Command;

use drover_api::Level;

use super::*;

/// A small file system that is gone with the test.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "drover-test"])
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(status.success(), "this test mounts a small tmpfs: run it as root");
        Self { dir }
    }

    /// Leaves no room at all, until the file that is returned is removed.
    fn fill(&self) -> PathBuf {
        let ballast = self.dir.path().join("ballast");
        let mut file = fs::File::create(&ballast).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
    }
}

#[test]
fn a_full_disk_loses_nothing_once_there_is_room() {
    let disk = SmallDisk::mount("4m");
    let config = StoreConfig { max_queue_bytes: 100_000, ..StoreConfig::new(disk.dir.path()) };
    let store = LogStore::open(config).unwrap();
    log(&store, "a", 1, 1, "before");
    let ballast = disk.fill();

    let writer = store.clone();
    let thread = std::thread::spawn(move || {
        let (origin, padding) = (origin("a"), "x".repeat(100));
        for number in 0..5000 {
            let text = format!("{number} {padding}");
            writer.append_blocking(batch(&origin, 1, [&*text])).unwrap();
        }
        writer.flush_blocking().unwrap();
    });
    let trouble = store.trouble();
    let reason = wait_until(|| trouble.borrow().clone(), Option::is_some);
    assert!(!thread.is_finished(), "who logs waits, and does not fail");
    assert_eq!(texts(&all(&store, &of_job("a")))[0], "before", "what is there is found");

    fs::remove_file(&ballast).unwrap();
    thread.join().unwrap();
    wait_until(|| trouble.borrow().clone(), Option::is_none);
    let records = all(&store, &of_job("a"));
    assert_eq!(records.len(), 5001);
    for (record, number) in records[1..].iter().zip(0..) {
        assert!(record.text().starts_with(&format!("{number} ")), "{}", record.text());
    }
    let notes = all(&store, &of_job("drover.logs"));
    let note = notes.iter().find(|note| note.level == Level::CRITICAL).unwrap();
    let reason = reason.unwrap();
    assert!(note.text().contains(&reason), "{} does not say {reason}", note.text());
}

/// What a crash leaves of a store with one record of job `a`: the record is in the
/// write-ahead log alone.
fn crashed_in(dir: &Path) {
    let other = tempfile::tempdir().unwrap();
    let store = open(other.path());
    let mut batch = Batch::new(Arc::new(Origin {
        forward: "*".parse().unwrap(),
        ..Origin::clone(&origin("a"))
    }));
    batch.push(Timestamp(1), message(1, b"before"));
    store.append_blocking(batch).unwrap();
    store.flush_blocking().unwrap();
    for name in ["current.db", "current.db-wal", "state.json", "identity"] {
        fs::copy(other.path().join(name), dir.join(name)).unwrap();
    }
}

#[test]
fn a_store_opens_on_a_full_disk_and_stores_when_there_is_room() {
    for is_new in [false, true] {
        let disk = SmallDisk::mount("4m");
        let dir = disk.dir.path();
        if !is_new {
            crashed_in(dir);
        }
        let ballast = disk.fill();
        let store = open(dir);
        let identity = store.identity().to_owned();
        let trouble = store.trouble();
        wait_until(|| trouble.borrow().clone(), Option::is_some);
        let (mut forwarder, mut follower) =
            (store.forwarder("controller"), store.follow(of_job("a"), Start::After(RecordId(0))));
        assert_eq!((forwarder.batch(10, 1000), follower.read(10)), (None, Vec::new()));
        store.append_blocking(batch(&origin("a"), 2, ["during"])).unwrap();

        fs::remove_file(ballast).unwrap();
        store.flush_blocking().unwrap();
        let expected: &[_] = if is_new { &["during"] } else { &["before", "during"] };
        assert_eq!(texts(&all(&store, &of_job("a"))), expected);
        wait_until(|| trouble.borrow().clone(), Option::is_none);
        assert_eq!(
            texts(&follower.read(10)),
            expected,
            "what could not be read is not passed over"
        );
        let sent = forwarder.batch(10, 1000).map(|batch| texts(&batch.records));
        assert_eq!(sent, (!is_new).then(|| vec!["before".to_owned()]));
        let notes = all(&store, &of_job("drover.logs"));
        assert_eq!((notes.len(), notes[0].level), (1, Level::CRITICAL), "{notes:?}");
        drop((store, forwarder, follower));
        assert_eq!(open(dir).identity(), identity);
    }
}

#[test]
fn a_store_that_never_gets_room_is_closed_all_the_same() {
    let disk = SmallDisk::mount("4m");
    disk.fill();
    let store = open(disk.dir.path());
    store.append_blocking(batch(&origin("a"), 1, ["lost"])).unwrap();
    store.close();
    store.append_blocking(batch(&origin("a"), 1, ["refused"])).unwrap_err();
}

/// Overwrites the middle of a file.
fn damage(path: &Path, from: u64, bytes: usize) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(from)).unwrap();
    file.write_all(&vec![0x5a; bytes]).unwrap();
}

#[test]
fn a_file_that_is_none_is_set_aside_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    log(&store, "a", 1, 1, "lost with its file");
    drop(store);
    let current = dir.path().join("current.db");
    damage(&current, 0, 100);

    let store = open(dir.path());
    log(&store, "a", 1, 1, "after");
    assert_eq!(texts(&all(&store, &of_job("a"))), ["after"]);
    let note = &all(&store, &of_job("drover.logs"))[0];
    assert_eq!(note.level, Level::CRITICAL);
    let kept = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "damaged"))
        .unwrap();
    assert!(note.text().contains(kept.to_str().unwrap()), "{}", note.text());
    let newest = all(&store, &Filter::default()).last().unwrap().id;
    assert!(newest.0 > 2, "an id of a lost record is not given again");
}

#[test]
fn damage_while_writing_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    log(&store, "a", 1, 1, "lost with its file");
    store.flush_blocking().unwrap();
    // Everything the writer may have to read again: also what is not yet in place.
    let bytes = |name: &str| fs::metadata(dir.path().join(name)).unwrap().len();
    for name in ["current.db-wal", "current.db"] {
        let length = usize::try_from(bytes(name)).unwrap();
        damage(&dir.path().join(name), 0, length);
    }
    // The file is opened anew after a restart at the latest.
    drop(store);
    let store = open(dir.path());
    for i in 0..100 {
        log(&store, "a", i, 1, "after");
    }
    let after = texts(&all(&store, &of_job("a")));
    assert_eq!(after.iter().filter(|text| *text == "after").count(), 100);
}

#[test]
fn damage_in_an_old_file_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(small_files(dir.path())).unwrap();
    let (origin, padding) = (origin("a"), "x".repeat(200));
    for number in 0..5000 {
        let text = format!("{number} {padding}");
        store.append_blocking(batch(&origin, 1, [&*text])).unwrap();
        if number % 50 == 0 {
            store.flush_blocking().unwrap();
        }
    }
    store.flush_blocking().unwrap();
    drop(store);
    let mut files: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().is_ok())
        .collect();
    files.sort();
    assert!(files.len() > 2);
    damage(&files[1], 50_000, 100_000);

    let store = LogStore::open(small_files(dir.path())).unwrap();
    let mut query = Query { order: Order::Oldest, ..Query::default() };
    let (mut records, mut damaged) = (Vec::new(), Vec::new());
    loop {
        let page = store.query(&query);
        records.extend(page.records);
        damaged.extend(page.damaged);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    damaged.dedup();
    assert_eq!(damaged, [files[1].to_str().unwrap()]);
    let notes = wait_until(
        || store.query(&Query { filter: of_job("drover.logs"), ..Query::default() }).records,
        |notes| !notes.is_empty(),
    );
    assert_eq!((notes.len(), notes[0].level), (1, Level::CRITICAL));
    assert!(notes[0].text().contains(&damaged[0]), "{}", notes[0].text());
    // The log's own record of the damage may have come while pages were read.
    records.retain(|record| record.source.job.as_str() == "a");
    let texts = texts(&records);
    assert!(texts[0].starts_with("0 ") && texts.last().unwrap().starts_with("4999 "));
    assert!(texts.len() > 2500, "{} were found", texts.len());
}
