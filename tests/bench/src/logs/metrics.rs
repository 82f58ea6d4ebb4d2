//! statsd: from lines and packets to series.

use std::io::IoSlice;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use drover_logs::statsd::{Aggregator, MetricReceiver, ReceiverAddress};
use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg};

/// Metric lines of a measurement, and the names they are of.
const LINES: u64 = 1_000_000;
const NAMES: u64 = 1000;

/// Packets that are sent with one system call.
const AT_ONCE: usize = 64;

/// How many packets may be on their way: far fewer than the receive buffer
/// holds, so that what is lost is the receiver's fault and not the sender's.
const UNDER_WAY: u64 = 10_000;

const PACKET: &[u8] = b"app.requests.1:1|c\napp.took.2:17|ms\napp.load.3:4|g";

/// What a receiver made of packets.
pub(super) struct Received {
    pub(super) per_second: f64,
    pub(super) lost: f64,
}

/// Lines a second that are parsed and aggregated on one core.
pub(super) fn aggregated() -> f64 {
    let text: String = (0..LINES)
        .map(|line| match (line % 4, line % NAMES) {
            (0, name) => format!("app.requests.{name}:1|c\n"),
            (1, name) => format!("app.load.{name}:{}.5|g\n", line % 100),
            (2, name) => format!("app.took.{name}:{}|ms|@0.5\n", line % 250),
            (_, name) => format!("app.requests.{name}:2|c|#host:a,zone:b\n"),
        })
        .collect();
    let mut aggregator = Aggregator::default();
    let scope = aggregator.begin(super::source(0));
    let started = Instant::now();
    aggregator.add(scope, text.as_bytes());
    LINES as f64 / started.elapsed().as_secs_f64()
}

/// Sends packets over loopback for `time`, as fast as they are taken.
pub(super) fn received(time: Duration) -> anyhow::Result<Received> {
    let arrived = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&arrived);
    let mut aggregator = Aggregator::default();
    let scope = aggregator.begin(super::source(0));
    let address = ReceiverAddress::Udp("127.0.0.1:0".parse()?);
    let receiver = MetricReceiver::start(address, move |text| {
        aggregator.add(scope, text);
        counter.fetch_add(1, Ordering::Relaxed);
    })?;
    let ReceiverAddress::Udp(address) = receiver.address().clone() else {
        bail!("the receiver of UDP is none")
    };
    let sender = UdpSocket::bind("127.0.0.1:0").context("cannot bind a loopback socket")?;
    sender.connect(address).context("cannot reach the receiver")?;

    let packets = [[IoSlice::new(PACKET)]; AT_ONCE];
    let mut headers = MultiHeaders::<()>::preallocate(packets.len(), None);
    let started = Instant::now();
    let mut sent = 0_u64;
    let taken = || arrived.load(Ordering::Relaxed) + receiver.lost();
    while started.elapsed() < time {
        let (flags, none) = (MsgFlags::empty(), [None; AT_ONCE]);
        let results = sendmmsg(sender.as_raw_fd(), &mut headers, &packets, none, [], flags)?;
        sent += results.count() as u64;
        while sent - taken() > UNDER_WAY {
            std::thread::yield_now();
        }
    }
    while taken() < sent {
        std::thread::yield_now();
    }
    let took = started.elapsed().as_secs_f64();
    Ok(Received {
        per_second: (sent - receiver.lost()) as f64 / took,
        lost: receiver.lost() as f64,
    })
}
