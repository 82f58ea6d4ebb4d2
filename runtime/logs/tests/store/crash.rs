//! `kill -9` at random moments.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use drover_logs::store::Durability;

use super::*;

const DIRECTORY: &str = "DROVER_LOGS_TEST_DIRECTORY";
const FIRST: &str = "DROVER_LOGS_TEST_FIRST";

/// Not a test by itself: the program that the next one kills. It logs numbers
/// and prints each once it is flushed.
#[test]
fn the_child_that_writes() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let mut number: u64 = env::var(FIRST).unwrap().parse().unwrap();
    let config = StoreConfig {
        durability: Durability::EveryCommit,
        max_file_bytes: 100_000,
        ..StoreConfig::new(directory)
    };
    let store = LogStore::open(config).unwrap();
    let origin = origin("a");
    loop {
        for _ in 0..20 {
            let text = format!("{number} {}", "x".repeat(100));
            store.append_blocking(batch(&origin, number, [&*text])).unwrap();
            number += 1;
        }
        store.flush_blocking().unwrap();
        println!("flushed {}", number - 1);
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn kill_9_loses_nothing_that_was_flushed_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = 0;
    let mut flushed = Vec::new();
    for round in 0..12_usize {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["crash::the_child_that_writes", "--exact", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // How far it gets differs from round to round, and where in its work
        // it is hit from run to run.
        let mut acknowledged = None;
        let wanted = 1 + round * 7;
        let mut count = 0;
        while count < wanted {
            let line = lines.next().unwrap().unwrap();
            // The test harness prints its own lines, perhaps in front of ours.
            if let Some(at) = line.find("flushed ") {
                acknowledged = Some(line[at + 8..].parse::<u64>().unwrap());
                count += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still said before it died counts as well.
        for line in lines.map_while(Result::ok) {
            let said = line.find("flushed ").and_then(|at| line[at + 8..].parse::<u64>().ok());
            acknowledged = said.or(acknowledged);
        }
        flushed.push(first..=acknowledged.unwrap());
        first = (round as u64 + 1) * 1_000_000;

        let config = StoreConfig { max_file_bytes: 100_000, ..StoreConfig::new(dir.path()) };
        let store = LogStore::open(config).unwrap();
        let mut seen = HashMap::new();
        let mut ids = HashMap::new();
        for record in all(&store, &of_job("a")) {
            let number: u64 = record.text().split(' ').next().unwrap().parse().unwrap();
            *seen.entry(number).or_insert(0) += 1;
            *ids.entry(record.id).or_insert(0) += 1;
        }
        assert!(seen.values().chain(ids.values()).all(|count| *count == 1), "a record is doubled");
        for number in flushed.iter().cloned().flatten() {
            assert!(seen.contains_key(&number), "record {number} of round {round} is lost");
        }
    }
}
