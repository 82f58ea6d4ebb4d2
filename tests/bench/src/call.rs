//! `call`: a round trip from a caller to an empty task and back.

use std::time::Duration;

use anyhow::Context;

use crate::echo::Echo;
use crate::instance::{Bare, Hosted};
use crate::latency::Samples;
use crate::peer::{Crossbar, Pair, Serializer};
use crate::progress::step;
use crate::report::{Bar, Row};
use crate::site::{Caller, Site};
use crate::{Inputs, Plan};

/// What the columns are.
pub(crate) const COLUMNS: &str = "\
ours: drover-wamp client -> controller's router -> agent -> plugin, a fresh instance each -> back
peer: autobahn-python caller -> Crossbar -> autobahn-python callee that does nothing -> back
limit: a bare WebSocket echo; for instances, bare wasmtime with the same component on the thread
       that asks, or handed over to other threads and back, as the plugin host does with what is not short";

/// The plugin and its operation that does nothing.
const PLUGIN: &str = "guests";
const OPERATION: &str = "empty";

/// Calls in flight, the bar against the peer, and whether latency has one.
const LANES: [(usize, Bar, Option<Bar>); 2] = [
    (1, Bar::AtLeastTimesPeer(3.0), Some(Bar::BelowIfQuiet(1000.0))),
    (64, Bar::AtLeastTimesPeer(6.0), None),
];

/// Instances under way at the same time.
const MANY: usize = 64;

/// A job in the host may cost so much more than its instance alone.
const HOST_OVERHEAD: Bar = Bar::AtMostTimesLimit(1.5);

/// Who is measured in turn with so many calls in flight.
#[derive(Default)]
struct RoundTrips {
    ours: Samples,
    msgpack: Samples,
    default: Samples,
    echo: Samples,
}

/// Runs the benchmark.
///
/// # Errors
///
/// If a program does not start or a call fails.
pub(crate) async fn run(inputs: &Inputs, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir().context("cannot make a working directory")?;
    let component = inputs.plugins.join(format!("{PLUGIN}.wasm"));

    step("starting the controller and an agent");
    let plugins = [component.clone()];
    let site = Site::start(&inputs.drover, &plugins, &dir.path().join("site")).await?;
    let agent = site.agent().await?;
    let caller = site.caller(&format!("{PLUGIN}.{OPERATION}")).await?;
    step("starting Crossbar and its peers");
    let crossbar = Crossbar::start(&inputs.venv, &dir.path().join("crossbar")).await?;
    let mut contestants = Contestants {
        caller,
        msgpack: crossbar.pair(Serializer::Msgpack).await?,
        default: crossbar.pair(Serializer::Default).await?,
        echo: Echo::start().await?,
        hosted: Hosted::load(&inputs.drover, &component, OPERATION, &dir.path().join("cache"))
            .await?,
        bare: Bare::load(&component, OPERATION)?,
    };

    step("warming up");
    contestants.round(plan.warm_up(), &mut Findings::default()).await?;
    let mut findings = Findings::default();
    for round in 1..=plan.rounds() {
        step(&format!("round {round} of {}", plan.rounds()));
        contestants.round(plan.slice(), &mut findings).await?;
    }

    let Contestants { caller, msgpack, default, echo, hosted, bare: _ } = contestants;
    drop(caller);
    hosted.stop().await;
    echo.stop().await?;
    msgpack.stop().await?;
    default.stop().await?;
    crossbar.stop().await?;
    agent.program.stop().await?;
    site.stop().await?;
    Ok(findings.rows())
}

/// Everything that is measured, ready to be called.
struct Contestants {
    caller: Caller,
    msgpack: Pair,
    default: Pair,
    echo: Echo,
    hosted: Hosted,
    bare: Bare,
}

/// What the rounds came to.
#[derive(Default)]
struct Findings {
    round_trips: [RoundTrips; LANES.len()],
    instances: Instances,
}

/// Runs of an empty task in a fresh instance, without a link.
#[derive(Default)]
struct Instances {
    hosted: Samples,
    bare_here: Samples,
    bare_apart: Samples,
    hosted_many: Samples,
    bare_many: Samples,
}

impl Contestants {
    /// Measures everyone once, each for `time`.
    async fn round(&mut self, time: Duration, findings: &mut Findings) -> anyhow::Result<()> {
        for ((lanes, ..), found) in LANES.iter().zip(&mut findings.round_trips) {
            found.ours.push(self.caller.measure(*lanes, time).await?);
            found.msgpack.push(self.msgpack.measure(*lanes, time).await?);
            found.default.push(self.default.measure(*lanes, time).await?);
            found.echo.push(self.echo.measure(*lanes, time).await?);
        }
        let instances = &mut findings.instances;
        instances.hosted.push(self.hosted.measure(1, time).await?);
        instances.bare_here.push(self.bare.measure_here(time).await?);
        instances.bare_apart.push(self.bare.measure_apart(1, time).await?);
        instances.hosted_many.push(self.hosted.measure(MANY, time).await?);
        instances.bare_many.push(self.bare.measure_apart(MANY, time).await?);
        Ok(())
    }
}

impl Findings {
    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for ((lanes, rate, latency), found) in LANES.iter().zip(&self.round_trips) {
            rows.extend(found.rows(*lanes, *rate, *latency));
        }
        rows.extend(self.instances.rows());
        rows
    }
}

impl Instances {
    fn rows(&self) -> [Row; 3] {
        let row = |what: &str, ours: Option<f64>, limit: Option<f64>, bar| Row {
            name: format!("fresh instance, {what}"),
            unit: "µs",
            ours,
            peer: None,
            limit,
            bar,
        };
        let (one, many) = (self.hosted.p50_us(), self.hosted_many.us_per_call());
        [
            row("p50", one, self.bare_here.p50_us(), Some(HOST_OVERHEAD)),
            row("p50, limit handed over", one, self.bare_apart.p50_us(), None),
            row("each of 64, limit handed over", many, self.bare_many.us_per_call(), None),
        ]
    }
}

impl RoundTrips {
    fn rows(&self, lanes: usize, rate: Bar, latency: Option<Bar>) -> [Row; 4] {
        let row = |what: &str, unit, value: fn(&Samples) -> Option<f64>, peer, bar| Row {
            name: format!("{what}, {lanes} in flight"),
            unit,
            ours: value(&self.ours),
            peer: value(peer),
            limit: value(&self.echo),
            bar,
        };
        let msgpack = &self.msgpack;
        [
            row("calls", "1/s", Samples::calls_per_second, msgpack, Some(rate)),
            row(
                "calls, peer as OCS runs it",
                "1/s",
                Samples::calls_per_second,
                &self.default,
                Some(rate),
            ),
            row("p50", "µs", Samples::p50_us, msgpack, None),
            row("p99", "µs", Samples::p99_us, msgpack, latency),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Sample;

    fn samples(calls_per_second: f64) -> Samples {
        let mut samples = Samples::default();
        samples.push(Sample { calls_per_second, p50_us: 20.0, p99_us: 30.0 });
        samples
    }

    #[test]
    fn every_bar_of_the_benchmark_is_in_its_rows() {
        let findings = Findings {
            round_trips: LANES.map(|_| RoundTrips {
                ours: samples(600.0),
                msgpack: samples(100.0),
                default: samples(90.0),
                echo: samples(9000.0),
            }),
            instances: Instances::default(),
        };
        let rows = findings.rows();
        let bars = rows.iter().filter_map(|row| Some(format!("{}: {}", row.name, row.bar?)));
        let expected = [
            "calls, 1 in flight: >= 3 x peer",
            "calls, peer as OCS runs it, 1 in flight: >= 3 x peer",
            "p99, 1 in flight: < 1000 if quiet",
            "calls, 64 in flight: >= 6 x peer",
            "calls, peer as OCS runs it, 64 in flight: >= 6 x peer",
            "fresh instance, p50: <= 1.5 x limit",
        ];
        assert_eq!(bars.collect::<Vec<_>>(), expected);
        assert_eq!(rows[0].ratio(), Some(6.0));
    }
}
