//! Files that grow, are rotated, cut and removed, and a follower that is
//! started anew, on a real file system.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use drover_sources::{
    Beginning, CHUNK_BYTES, Event, FileId, Follower, FollowerConfig, Position, What,
};
use proptest::prelude::*;
use tempfile::TempDir;

/// Somebody who stores what a follower tells, and can be killed at any time.
struct Reader {
    dir: TempDir,
    pattern: String,
    follower: Follower,
    positions: BTreeMap<FileId, Position>,
    lines: Vec<String>,
    gaps: Vec<Option<u64>>,
    now: Instant,
}

impl Reader {
    fn new(pattern: &str, beginning: Beginning) -> Self {
        let dir = TempDir::new().unwrap();
        let config = config(dir.path(), pattern, beginning);
        Self {
            pattern: pattern.to_owned(),
            follower: Follower::new(config, None),
            dir,
            positions: BTreeMap::new(),
            lines: Vec::new(),
            gaps: Vec::new(),
            now: Instant::now(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn cut(&self, name: &str) {
        OpenOptions::new().write(true).truncate(true).open(self.path(name)).unwrap();
    }

    /// Takes one event, and stores it with its position.
    fn take(&mut self, event: Event) {
        let Event { file, what, .. } = event;
        match what {
            What::Begun { position } => drop(self.positions.insert(file, position)),
            What::Lines { lines, position, .. } => {
                assert!(lines.len() <= CHUNK_BYTES && lines.ends_with(b"\n"));
                let text = String::from_utf8(lines).unwrap();
                self.lines.extend(text.lines().map(str::to_owned));
                self.positions.insert(file, position);
            }
            What::Gap { lost, position, .. } => {
                self.gaps.push(lost);
                self.positions.insert(file, position);
            }
            What::Ended { lost_after } => {
                self.gaps.extend(lost_after.map(|_| None));
                self.positions.remove(&file);
            }
        }
    }

    /// Takes at most so many events, and says whether that was all.
    fn read(&mut self, most: usize) -> bool {
        self.follower.look(self.now);
        for _ in 0..most {
            let Some(event) = self.follower.next(self.now) else {
                return true;
            };
            self.take(event);
        }
        false
    }

    fn read_all(&mut self) {
        while !self.read(usize::MAX) {}
    }

    fn restart(&mut self) {
        let config = config(self.dir.path(), &self.pattern, Beginning::End);
        let positions = self.positions.values().cloned().collect();
        self.follower = Follower::new(config, Some(positions));
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn config(dir: &Path, pattern: &str, beginning: Beginning) -> FollowerConfig {
    let pattern = format!("{}/{pattern}", dir.display()).parse().unwrap();
    FollowerConfig { beginning, ..FollowerConfig::new(vec![pattern]) }
}

#[test]
fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
    let mut reader = Reader::new("a.log", Beginning::Start);
    reader.append("a.log", "1\n2\n");
    reader.read_all();
    reader.append("a.log", "3\n");
    reader.rename("a.log", "a.log.1");
    reader.append("a.log", "5\n");
    reader.append("a.log.1", "4\n");
    reader.read_all();
    // Its writer has not noticed yet.
    reader.append("a.log.1", "6\n");
    reader.read_all();
    assert_eq!(reader.lines, ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(reader.follower.files().len(), 2);
    reader.later(61);
    reader.read_all();
    assert_eq!(reader.follower.files().len(), 1, "the old one is closed");
    assert_eq!(reader.positions.len(), 1);
    assert!(reader.gaps.is_empty());
}

#[test]
fn a_file_that_is_removed_while_it_is_open_is_read_to_its_end() {
    let mut reader = Reader::new("a.log", Beginning::Start);
    reader.append("a.log", "1\n");
    reader.read_all();
    reader.append("a.log", "2\n");
    fs::remove_file(reader.path("a.log")).unwrap();
    reader.append("a.log", "3\n");
    reader.read_all();
    assert_eq!(reader.lines, ["1", "2", "3"]);
}

#[test]
fn a_file_that_is_cut_begins_anew_and_what_is_lost_is_told() {
    let mut reader = Reader::new("a.log", Beginning::Start);
    reader.append("a.log", "one\ntwo\n");
    reader.read_all();
    // As copytruncate does it, and all was read: nothing is lost.
    reader.cut("a.log");
    reader.append("a.log", "3\n");
    reader.read_all();
    assert!(reader.gaps.is_empty());
    // It has grown beyond where it was read, and part of it was never read.
    let long = "x".repeat(CHUNK_BYTES - 1);
    reader.append("a.log", &format!("{long}\n{long}\n{long}\n"));
    reader.read(1);
    reader.cut("a.log");
    reader.append("a.log", &format!("4\n{long}\n{long}\n"));
    reader.read_all();
    let lost = reader.gaps.iter().copied().collect::<Option<Vec<u64>>>().unwrap();
    assert!(lost.len() == 1 && lost[0] >= 2 * CHUNK_BYTES as u64, "{lost:?}");
    assert_eq!(reader.lines.iter().filter(|line| line.len() == 1).count(), 2);
}

#[test]
fn what_happens_while_nobody_follows_is_caught_up_with_or_told() {
    let mut reader = Reader::new("a.log", Beginning::Start);
    reader.append("a.log", "1\n");
    reader.read_all();
    reader.append("a.log", "2\n");
    reader.rename("a.log", "a.log-20261121");
    reader.append("a.log", "3\n");
    reader.restart();
    reader.read_all();
    assert_eq!(reader.lines, ["1", "2", "3"]);
    fs::remove_file(reader.path("a.log-20261121")).unwrap();
    fs::remove_file(reader.path("a.log")).unwrap();
    reader.append("b.log", "it may have the number of one that is gone\n");
    reader.append("a.log", "4\n");
    reader.restart();
    reader.read_all();
    assert_eq!(reader.lines, ["1", "2", "3", "4"]);
    assert_eq!(reader.gaps, [None, None], "nobody knows what the two had");
    // The same file, cut.
    reader.cut("a.log");
    reader.restart();
    reader.read_all();
    assert_eq!(reader.gaps.len(), 3);
}

#[test]
fn following_begins_at_the_end_and_files_that_come_later_at_their_start() {
    let mut reader = Reader::new("*.log", Beginning::End);
    reader.append("a.log", "old\nbegun ");
    reader.read_all();
    reader.append("a.log", "before\nnew\n");
    reader.append("b.log", "b\n");
    reader.read_all();
    // Nothing was read of it, and yet it is not new after a restart.
    reader.append("c.log", "");
    reader.read_all();
    reader.append("c.log", "c\n");
    reader.restart();
    reader.read_all();
    reader.lines.sort();
    assert_eq!(reader.lines, ["b", "c", "new"], "in any order: they are of different files");
}

#[test]
fn a_line_without_an_end_is_taken_when_it_has_been_one_for_a_while() {
    let mut reader = Reader::new("a.log", Beginning::Start);
    reader.append("a.log", "one\ntw");
    reader.read_all();
    reader.later(4);
    reader.append("a.log", "o");
    reader.read_all();
    reader.later(4);
    reader.read_all();
    assert_eq!(reader.lines, ["one"]);
    reader.later(1);
    reader.read_all();
    assert_eq!(reader.lines, ["one", "two"]);
    reader.append("a.log", "\nthree\n");
    reader.read_all();
    assert_eq!(reader.lines, ["one", "two", "", "three"]);
}

#[test]
fn a_line_that_is_too_long_is_cut_also_over_a_restart() {
    let mut reader = Reader::new("a.log", Beginning::Start);
    reader.append("a.log", &"x".repeat(3 * CHUNK_BYTES));
    reader.read(2);
    reader.restart();
    reader.append("a.log", "x\nnext\n");
    reader.read_all();
    assert_eq!(reader.lines, ["x".repeat(CHUNK_BYTES - 1), "next".to_owned()]);
}

#[test]
fn what_cannot_be_read_is_told_and_holds_up_nothing_else() {
    let mut reader = Reader::new("*/a.log", Beginning::Start);
    for folder in ["1", "2", "3", "4"] {
        fs::create_dir(reader.path(folder)).unwrap();
    }
    fs::create_dir(reader.path("1/a.log")).unwrap();
    nix::unistd::mkfifo(&reader.path("2/a.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("a.log", reader.path("3/a.log")).unwrap();
    reader.append("4/a.log", "1\n");
    symlink("4/a.log", reader.path("link")).unwrap();
    reader.read_all();
    assert_eq!(reader.lines, ["1"]);
    assert_eq!(reader.follower.troubles().len(), 3, "{:?}", reader.follower.troubles());
    // The same file by another name is the same file.
    let both = [reader.path("4/a.log"), reader.path("link")];
    let both = both.map(|path| path.display().to_string().parse().unwrap());
    let config =
        FollowerConfig { beginning: Beginning::Start, ..FollowerConfig::new(both.to_vec()) };
    reader.follower = Follower::new(config, None);
    reader.read_all();
    assert_eq!(reader.lines, ["1", "1"]);
}

#[test]
fn a_directory_that_comes_later_is_followed_then() {
    let mut reader = Reader::new("app/*.log", Beginning::End);
    reader.read_all();
    assert_eq!(reader.follower.troubles().len(), 1);
    fs::create_dir(reader.path("app")).unwrap();
    reader.append("app/a.log", "1\n");
    reader.read_all();
    assert_eq!(reader.lines, ["1"]);
    assert!(reader.follower.troubles().is_empty());
    assert_eq!(reader.follower.directories(), [reader.path("app")]);
}

/// Something that happens to a log.
#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    AppendInTwo,
    Rename,
    Cut,
    Read(usize),
    ReadAll,
    Restart,
}

fn steps(may_be_cut: bool) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..40_usize).prop_map(Step::Append),
        1 => Just(Step::AppendInTwo),
        2 => Just(if may_be_cut { Step::Cut } else { Step::Rename }),
        1 => Just(Step::Rename),
        3 => (1..4_usize).prop_map(Step::Read),
        1 => Just(Step::ReadAll),
        2 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

/// Lines that all differ and are long enough that a file takes several reads.
fn text(number: &mut usize, count: usize) -> String {
    let numbers = *number..*number + count;
    *number += count;
    numbers.map(|n| format!("{n} {}\n", "x".repeat(n * 37 % 5000))).collect()
}

/// Does the steps, and says which lines were written, and which of them may be
/// lost, since they were not read when the file was cut.
fn play(reader: &mut Reader, steps: &[Step]) -> (usize, Vec<usize>) {
    let (mut number, mut renamed) = (0, 0);
    let mut unread_from = 0;
    let mut endangered = Vec::new();
    reader.append("a.log", "");
    reader.read_all();
    for step in steps {
        match step {
            Step::Append(count) => reader.append("a.log", &text(&mut number, *count)),
            Step::AppendInTwo => {
                let line = text(&mut number, 1);
                let (begin, rest) = line.split_at(1);
                reader.append("a.log", begin);
                reader.read(1);
                reader.append("a.log", rest);
            }
            Step::Rename => {
                renamed += 1;
                reader.rename("a.log", &format!("a.log.{renamed}"));
                reader.append("a.log", "");
            }
            Step::Cut => {
                endangered.extend(unread_from..number);
                unread_from = number;
                reader.cut("a.log");
            }
            Step::Read(most) => drop(reader.read(*most)),
            Step::ReadAll => {
                reader.read_all();
                unread_from = number;
            }
            Step::Restart => reader.restart(),
        }
    }
    reader.read_all();
    (number, endangered)
}

fn numbers(lines: &[String]) -> Vec<usize> {
    lines.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn renaming_and_restarting_neither_lose_nor_double_a_line(steps in steps(false)) {
        let mut reader = Reader::new("a.log*", Beginning::Start);
        let (written, _) = play(&mut reader, &steps);
        let mut read = numbers(&reader.lines);
        read.sort_unstable();
        prop_assert!(read.into_iter().eq(0..written));
        prop_assert!(reader.gaps.is_empty());
    }

    #[test]
    fn without_a_restart_lines_come_in_their_order(steps in steps(false)) {
        let mut reader = Reader::new("a.log", Beginning::Start);
        // Looked at between any two renamings, as by a watch.
        let steps: Vec<Step> = steps
            .into_iter()
            .filter(|step| !matches!(step, Step::Restart))
            .flat_map(|step| match step {
                Step::Rename => vec![Step::Read(0), Step::Rename],
                step => vec![step],
            })
            .collect();
        let (written, _) = play(&mut reader, &steps);
        prop_assert!(numbers(&reader.lines).into_iter().eq(0..written));
    }

    #[test]
    fn cutting_loses_only_what_was_not_read_and_doubles_nothing(steps in steps(true)) {
        let mut reader = Reader::new("a.log*", Beginning::Start);
        let (written, endangered) = play(&mut reader, &steps);
        let mut read = numbers(&reader.lines);
        read.sort_unstable();
        let before = read.len();
        read.dedup();
        prop_assert_eq!(read.len(), before, "none is doubled");
        for number in 0..written {
            prop_assert!(read.binary_search(&number).is_ok() || endangered.contains(&number), "{}", number);
        }
    }
}
