//! What the rounds came to, and the bars.

use super::churn::Churn;
use super::memory::{Memory, SESSIONS};
use crate::latency::{Samples, median};
use crate::report::{Bar, Row};

/// Calls in flight, and their bars.
pub(super) const LANES: [(usize, CallBars); 2] = [
    (1, CallBars { compiled: 5.0, autobahn: 2.4, limit: None, cpu: None }),
    (64, CallBars { compiled: 12.0, autobahn: 2.3, limit: Some(0.5), cpu: Some(CPU) }),
];

/// Subscribers of one topic, and the bar.
pub(super) const SUBSCRIBERS: [(usize, Option<Bar>); 3] =
    [(1, Some(Bar::AtLeastTimesPeer(15.0))), (10, Some(Bar::AtLeastTimesPeer(13.0))), (100, None)];

const JOINS: Bar = Bar::AtLeastTimesPeer(7.0);
/// Where calls share system calls. With one in flight each message has its own
/// wake-up, read and write, which are the kernel's and take most of the time.
const CPU: Bar = Bar::AtMostPartOfPeer(12.0);
const PER_SESSION_KB: Bar = Bar::AtMost(12.0);
const IDLE_MB: Bar = Bar::AtMost(20.0);

/// Memory is read in pages and allocated in arenas: less than this is no growth.
const GROWTH_MB: Bar = Bar::AtMost(0.5);

/// Bytes in the units of the memory rows.
const KILOBYTE: f64 = 1e3;
const MEGABYTE: f64 = 1e6;

/// How many times the peer, and the limit, calls must come to, and what they may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallBars {
    compiled: f64,
    autobahn: f64,
    limit: Option<f64>,
    cpu: Option<Bar>,
}

/// Something of ours, of the peer, and of the limit.
#[derive(Debug, Default)]
pub(super) struct Sides<T> {
    pub(super) ours: T,
    pub(super) peer: T,
    pub(super) limit: T,
}

/// CPU time of a router.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cpu {
    pub(super) us_per_call: f64,
}

/// Calls with so many in flight.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) compiled: Sides<Samples>,
    /// Calls a second.
    pub(super) autobahn: Sides<Vec<f64>>,
    pub(super) cpu: Sides<Vec<Cpu>>,
}

/// What the rounds came to.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) calls: [Calls; LANES.len()],
    /// Received in a second, by all subscribers together.
    pub(super) events: [Sides<Vec<f64>>; SUBSCRIBERS.len()],
    pub(super) joins: Sides<Vec<f64>>,
    pub(super) memory: Sides<Vec<Memory>>,
    pub(super) churn: Option<Churn>,
}

impl Findings {
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for ((in_flight, bars), calls) in LANES.iter().zip(&self.calls) {
            rows.extend(calls.rows(*in_flight, *bars));
        }
        for ((subscribers, bar), events) in SUBSCRIBERS.iter().zip(&self.events) {
            let name = format!("compiled events, subscribers: {subscribers}");
            rows.push(events.row(name, "1/s", *bar));
        }
        rows.push(self.joins.row("compiled joins, 16 at a time".to_owned(), "1/s", Some(JOINS)));
        rows.extend(self.memory.rows());
        rows.extend(self.churn.iter().flat_map(Churn::rows));
        rows
    }
}

impl Calls {
    fn rows(&self, in_flight: usize, bars: CallBars) -> Vec<Row> {
        let Self { compiled, autobahn, cpu } = self;
        let name = |what: &str| format!("{what}, {in_flight} in flight");
        let us_per_call = |cpu: &Vec<Cpu>| median(cpu.iter().map(|cpu| cpu.us_per_call).collect());
        let rate = Samples::calls_per_second;
        let mut rows = vec![compiled.row_of(
            name("compiled calls"),
            "1/s",
            rate,
            Some(Bar::AtLeastTimesPeer(bars.compiled)),
        )];
        if let Some(bar) = bars.limit {
            let row = compiled.row_of(name("… beside NATS"), "1/s", rate, None);
            rows.push(Row { peer: None, bar: Some(Bar::AtLeastTimesLimit(bar)), ..row });
        }
        rows.extend([
            compiled.row_of(name("compiled calls, p50"), "µs", Samples::p50_us, None),
            compiled.row_of(name("compiled calls, p99"), "µs", Samples::p99_us, None),
            cpu.row_of(name("CPU of the router per call"), "µs", us_per_call, bars.cpu),
            autobahn.row(name("autobahn calls"), "1/s", Some(Bar::AtLeastTimesPeer(bars.autobahn))),
        ]);
        rows
    }
}

impl<T> Sides<T> {
    fn row_of(
        &self,
        name: String,
        unit: &'static str,
        value: impl Fn(&T) -> Option<f64>,
        bar: Option<Bar>,
    ) -> Row {
        let (ours, peer, limit) = (value(&self.ours), value(&self.peer), value(&self.limit));
        Row { name, unit, ours, peer, limit, bar }
    }
}

impl Sides<Vec<f64>> {
    fn row(&self, name: String, unit: &'static str, bar: Option<Bar>) -> Row {
        self.row_of(name, unit, |values| median(values.clone()), bar)
    }
}

impl Sides<Vec<Memory>> {
    fn rows(&self) -> Vec<Row> {
        let idle = |rounds: &Vec<Memory>| {
            median(rounds.iter().map(|memory| memory.idle / MEGABYTE).collect())
        };
        let mut rows =
            vec![self.row_of("resident memory, idle".to_owned(), "MB", idle, Some(IDLE_MB))];
        for (index, count) in SESSIONS.iter().enumerate() {
            let per_session = |rounds: &Vec<Memory>| {
                let bytes = rounds.iter().map(|memory| memory.per_session[index] / KILOBYTE);
                median(bytes.collect())
            };
            let name = format!("… more for each of {count} idle sessions");
            rows.push(self.row_of(name, "kB", per_session, Some(PER_SESSION_KB)));
        }
        rows
    }
}

impl Churn {
    fn rows(&self) -> [Row; 2] {
        let row = |name: &str, bytes: f64, bar| Row {
            name: name.to_owned(),
            unit: "MB",
            ours: Some(bytes / MEGABYTE),
            peer: None,
            limit: None,
            bar,
        };
        [
            row("resident memory, 18 000 sessions came and went", self.after, None),
            row("… more than when it had warmed up", self.after - self.before, Some(GROWTH_MB)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Sample;

    fn sides<T>(ours: T, peer: T, limit: T) -> Sides<Vec<T>> {
        Sides { ours: vec![ours], peer: vec![peer], limit: vec![limit] }
    }

    fn samples(calls_per_second: f64) -> Samples {
        let mut samples = Samples::default();
        samples.push(Sample { calls_per_second, p50_us: 20.0, p99_us: 30.0 });
        samples
    }

    fn calls() -> Calls {
        let cpu = |us_per_call| Cpu { us_per_call };
        let calls = || Sides { ours: samples(90.0), peer: samples(10.0), limit: samples(180.0) };
        let autobahn = sides(90.0, 10.0, 180.0);
        Calls { compiled: calls(), autobahn, cpu: sides(cpu(10.0), cpu(120.0), cpu(0.0)) }
    }

    #[test]
    fn every_bar_of_the_benchmark_is_in_its_rows() {
        let memory = Memory { idle: 12e6, per_session: [9e3, 8e3] };
        let findings = Findings {
            calls: [calls(), calls()],
            events: SUBSCRIBERS.map(|_| sides(140.0, 10.0, 0.0)),
            joins: sides(80.0, 10.0, 0.0),
            memory: sides(memory, memory, memory),
            churn: Some(Churn { before: 14e6, after: 14.1e6 }),
        };
        let rows = findings.rows();
        let bars = rows
            .iter()
            .filter_map(|row| Some(format!("{}: {} {:?}", row.name, row.bar?, row.verdict(true))));
        let expected = [
            "compiled calls, 1 in flight: >= 5 x peer Met",
            "autobahn calls, 1 in flight: >= 2.4 x peer Met",
            "compiled calls, 64 in flight: >= 12 x peer Missed",
            "… beside NATS, 64 in flight: >= 0.5 x limit Met",
            "CPU of the router per call, 64 in flight: <= peer / 12 Met",
            "autobahn calls, 64 in flight: >= 2.3 x peer Met",
            "compiled events, subscribers: 1: >= 15 x peer Missed",
            "compiled events, subscribers: 10: >= 13 x peer Met",
            "compiled joins, 16 at a time: >= 7 x peer Met",
            "resident memory, idle: <= 20 Met",
            "… more for each of 1000 idle sessions: <= 12 Met",
            "… more for each of 10000 idle sessions: <= 12 Met",
            "… more than when it had warmed up: <= 0.5 Met",
        ];
        assert_eq!(bars.collect::<Vec<_>>(), expected);
    }
}
