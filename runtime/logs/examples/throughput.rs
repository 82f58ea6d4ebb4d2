//! Measures the crate's rates, each beside a bare loop that does the least.
//!
//! `cargo run --release --package drover-logs --example throughput [MILLIONS]`,
//! where MILLIONS of records are stored for the queries (1 unless said).

#![allow(clippy::print_stdout, reason = "it prints what it measures")]

use std::hint::black_box;
use std::io::IoSlice;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use drover_api::Timestamp;
use drover_logs::statsd::{Aggregator, MetricReceiver, ReceiverAddress};
use drover_logs::store::{Batch, Filter, LogStore, Order, Origin, Query, Start, StoreConfig};
use drover_logs::{OutputParser, Source, Stream};
use memchr::memchr;
use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg};
use rusqlite::{Connection, params};

const CHUNK: usize = 64 * 1024;

fn main() {
    let millions = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    // First, while the process is small.
    storing();
    following();
    parsing();
    statsd();
    receiving();
    querying(millions);
}

/// The largest of three rates, in millions a second.
fn rate(count: u64, mut work: impl FnMut()) -> f64 {
    let once = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        count as f64 / start.elapsed().as_secs_f64() / 1e6
    };
    (0..3).map(|_| once(&mut work)).fold(0.0, f64::max)
}

fn source(job: u64) -> Source {
    let job = format!("0190d5e2-7b1a-7c3e-9f00-{job:012}").parse().expect("it is a job's id");
    Source { job, domain: "web".into(), name: "frontend".into() }
}

/// Lines of 100 bytes.
fn lines(count: u64, prefix: &str) -> Vec<u8> {
    (0..count)
        .flat_map(|i| format!("{prefix}{i:0>width$}\n", width = 99 - prefix.len()).into_bytes())
        .collect()
}

fn parsing() {
    let count = 2_000_000;
    for prefix in ["", "7::"] {
        let text = lines(count, prefix);
        let bare = rate(count, || {
            let mut found = 0;
            for chunk in text.chunks(CHUNK) {
                let mut rest = chunk;
                while let Some(end) = memchr(b'\n', rest) {
                    found += black_box(&rest[..end]).len();
                    rest = &rest[end + 1..];
                }
            }
            black_box(found);
        });
        let parsed = rate(count, || {
            let mut parser = OutputParser::new(Stream::Stdout, OutputParser::LONGEST_MESSAGE);
            let mut found = 0;
            for chunk in text.chunks(CHUNK) {
                parser.feed(chunk, |message| found += black_box(message.data).len());
            }
            black_box(found);
        });
        let batched = rate(count, || {
            let origin = Arc::new(Origin::new(source(0)));
            let mut parser = OutputParser::new(Stream::Stdout, OutputParser::LONGEST_MESSAGE);
            for chunk in text.chunks(CHUNK) {
                let mut batch = Batch::new(Arc::clone(&origin));
                parser.feed(chunk, |message| batch.push(Timestamp(1), message));
                black_box(batch);
            }
        });
        println!(
            "lines {prefix:>3}: bare split {bare:.1} M/s, parsed {parsed:.1} M/s ({:.0} %), as \
             records {batched:.1} M/s ({:.0} %)",
            parsed / bare * 100.0,
            batched / bare * 100.0
        );
    }
}

/// Lines of four kinds over so many names.
fn metrics(names: usize) -> String {
    (0..1_000_000)
        .map(|i| match i % 4 {
            0 => format!("app.requests.{}:1|c\n", i % names),
            1 => format!("app.load.{}:{}.5|g\n", i % names, i % 100),
            2 => format!("app.took.{}:{}|ms|@0.5\n", i % names, i % 250),
            _ => format!("app.requests.{}:2|c|#host:a,zone:b\n", i % names),
        })
        .collect()
}

fn statsd() {
    for names in [100, 1000, 10_000] {
        let text = metrics(names);
        let mut aggregator = Aggregator::default();
        let scope = aggregator.begin(source(0));
        let added = rate(1_000_000, || aggregator.add(scope, text.as_bytes()));
        println!("statsd, {names} names: {added:.1} M lines/s");
    }
}

fn receiving() {
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    let mut aggregator = Aggregator::default();
    let scope = aggregator.begin(source(0));
    let address = ReceiverAddress::Udp("127.0.0.1:0".parse().expect("it is an address"));
    let receiver = MetricReceiver::start(address, move |text| {
        aggregator.add(scope, text);
        counter.fetch_add(1, Ordering::Relaxed);
    })
    .expect("a loopback socket can be had");
    let ReceiverAddress::Udp(address) = receiver.address().clone() else { return };
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket can be had");
    sender.connect(address).expect("the receiver is there");
    let packet = b"app.requests.1:1|c\napp.took.2:17|ms\napp.load.3:4|g";
    let packets = [[IoSlice::new(packet)]; 64];
    let mut headers = MultiHeaders::<()>::preallocate(packets.len(), None);
    let start = Instant::now();
    let mut sent = 0_u64;
    while start.elapsed() < Duration::from_secs(2) {
        let (flags, none) = (MsgFlags::empty(), [None; 64]);
        let results = sendmmsg(sender.as_raw_fd(), &mut headers, &packets, none, [], flags);
        sent += results.map_or(0, |results| results.count() as u64);
    }
    let sending = start.elapsed().as_secs_f64();
    while received.load(Ordering::Relaxed) + receiver.lost() < sent {
        std::thread::yield_now();
    }
    println!(
        "udp: {:.0} packets/s sent by one thread, {} of {sent} lost",
        sent as f64 / sending,
        receiver.lost()
    );
}

/// The same rows with one index on time, as fast as rusqlite goes.
fn bare_inserts(directory: &Path, count: u64, text: &str) {
    let mut connection = Connection::open(directory.join("bare.db")).expect("a file can be made");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             CREATE TABLE logs (id INTEGER PRIMARY KEY, job TEXT, domain TEXT, name TEXT,
                                epoch INTEGER, level INTEGER, data TEXT);
             CREATE INDEX by_time ON logs (epoch);",
        )
        .expect("the schema is right");
    let source = source(0);
    for batch in 0..count / 1000 {
        let transaction = connection.transaction().expect("nobody else writes");
        {
            let sql = "INSERT INTO logs VALUES (NULL, ?, ?, ?, ?, ?, ?)";
            let mut insert = transaction.prepare_cached(sql).expect("the statement is right");
            for i in 0..1000 {
                let time = 1_700_000_000_000 + batch * 1000 + i;
                let (job, time) = (source.job.as_str(), time.cast_signed());
                insert
                    .execute(params![job, source.domain, source.name, time, 1, text])
                    .expect("a row can be written");
            }
        }
        transaction.commit().expect("a row can be written");
    }
}

/// Memory of this process in MB: what it has now, and the most it had.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kib.unwrap_or(0) / 1024
    };
    (field("VmRSS"), field("VmHWM"))
}

fn storing() {
    let count = 2_000_000;
    let text = lines(20_000, "");
    let line = String::from_utf8_lossy(&text[..99]).into_owned();
    for round in 0..2 {
        let dir = tempfile::tempdir().expect("there is room for files");
        let start = Instant::now();
        bare_inserts(dir.path(), count, &line);
        let bare = count as f64 / start.elapsed().as_secs_f64() / 1e6;

        let dir = tempfile::tempdir().expect("there is room for files");
        let store = LogStore::open(StoreConfig::new(dir.path())).expect("the directory is new");
        let origin = Arc::new(Origin::new(source(0)));
        let start = Instant::now();
        let mut parser = OutputParser::new(Stream::Stdout, OutputParser::LONGEST_MESSAGE);
        for _ in 0..count / 20_000 {
            for chunk in text.chunks(CHUNK) {
                let mut batch = Batch::new(Arc::clone(&origin));
                let now = Timestamp::now();
                parser.feed(chunk, |message| batch.push(now, message));
                store.append_blocking(batch).expect("the store is open");
            }
        }
        store.flush_blocking().expect("the store is open");
        let stored = count as f64 / start.elapsed().as_secs_f64() / 1e6;
        println!(
            "store, round {round}: bare inserts {bare:.2} M rows/s, lines parsed and stored \
             {stored:.2} M/s ({:.0} %), memory (now, most) {:?} MB",
            stored / bare * 100.0,
            memory()
        );
    }
}

fn following() {
    let dir = tempfile::tempdir().expect("there is room for files");
    let store = LogStore::open(StoreConfig::new(dir.path())).expect("the directory is new");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it needs nothing");
    let mut follower = store.follow(Filter::default(), Start::Now);
    let origin = Arc::new(Origin::new(source(0)));
    let mut took: Vec<Duration> = (0..1000)
        .map(|_| {
            let mut batch = Batch::new(Arc::clone(&origin));
            OutputParser::new(Stream::Stdout, 100)
                .feed(b"a line\n", |message| batch.push(Timestamp::now(), message));
            let start = Instant::now();
            store.append_blocking(batch).expect("the store is open");
            while follower.read(10).is_empty() {
                runtime.block_on(follower.changed()).expect("the store is open");
            }
            start.elapsed()
        })
        .collect();
    took.sort();
    println!("follow: a line is seen after {:?} (median), {:?} (99 %)", took[500], took[990]);
}

fn querying(millions: u64) {
    for jobs in [10, 1000, 10_000] {
        let dir = tempfile::tempdir().expect("there is room for files");
        let config =
            StoreConfig { max_total_bytes: 10_000_000_000, ..StoreConfig::new(dir.path()) };
        let store = LogStore::open(config).expect("the directory is new");
        let origins: Vec<_> = (0..jobs).map(|job| Arc::new(Origin::new(source(job)))).collect();
        let text = lines(4, "");
        let start = Instant::now();
        for i in 0..millions * 250_000 {
            let mut batch = Batch::new(Arc::clone(&origins[(i % jobs) as usize]));
            let mut parser = OutputParser::new(Stream::Stdout, 1000);
            parser.feed(&text, |message| batch.push(Timestamp(i), message));
            store.append_blocking(batch).expect("the store is open");
        }
        store.flush_blocking().expect("the store is open");
        let stored = millions as f64 / start.elapsed().as_secs_f64();
        let ask = |filter: Filter, order| {
            let query = Query { filter, order, ..Query::default() };
            let mut took: Vec<Duration> = (0..15)
                .map(|_| {
                    let start = Instant::now();
                    black_box(store.query(&query));
                    start.elapsed()
                })
                .collect();
            let first = took[0];
            took.sort();
            format!("{:.2?} (first {first:.2?})", took[7])
        };
        let of_job = |job| Filter { job: Some(source(job).job), ..Filter::default() };
        let middle = Timestamp(millions * 125_000);
        println!(
            "{millions} M records of {jobs} jobs that take turns ({stored:.2} M/s): last 1000 of \
             one job {}, first 1000 {}, none {}, 1000 from the middle by time {}",
            ask(of_job(7), Order::Newest),
            ask(of_job(7), Order::Oldest),
            ask(of_job(999_999), Order::Newest),
            ask(Filter { from: Some(middle), ..Filter::default() }, Order::Oldest),
        );
    }
}
