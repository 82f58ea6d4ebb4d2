//! `wamp`: the controller as a router, beside Crossbar and NATS.

mod churn;
mod findings;
mod memory;
mod nats;
mod stress;

use std::time::{Duration, Instant};

use anyhow::Context;
use drover_api::procedures;

use crate::latency::Sample;
use crate::load::Target;
use crate::load::order::{Measured, Order};
use crate::peer::{Crossbar, Pair, Serializer};
use crate::progress::step;
use crate::report::Row;
use crate::site::Site;
use crate::usage::Usage;
use crate::{Inputs, Plan};
use findings::{Cpu, Findings, LANES, SUBSCRIBERS};
use nats::NatsServer;
use stress::Stress;

/// What the columns are.
pub(crate) const COLUMNS: &str = "\
ours: `drover controller` as router; peer: Crossbar; the same sessions on both, all msgpack
compiled: caller, callee, publisher and subscribers in one process with one thread
autobahn: caller and callee in Python, in a process each
limit: NATS request and reply with the same pattern of calls; for autobahn, what the CPU time
of its two processes leaves room for when the router takes none";

/// Joins at the same time.
const JOINING: usize = 16;

/// Runs the benchmark.
///
/// # Errors
///
/// If a program does not start, or an order fails.
pub(crate) async fn run(inputs: &Inputs, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir().context("cannot make a working directory")?;
    step("starting the routers and what puts load on them");
    let site = Site::start(&inputs.drover, &[], &dir.path().join("site")).await?;
    let crossbar = Crossbar::start(&inputs.venv, &dir.path().join("crossbar")).await?;
    let nats = NatsServer::start(&inputs.nats).await?;
    let ours = target_of(&site);
    let mut contestants = Contestants {
        ours: Router {
            stress: Stress::start(&ours).await?,
            group: site.group(),
            autobahn: crossbar.pair_on(&ours, Serializer::Msgpack).await?,
        },
        peer: Router {
            stress: Stress::start(&crossbar.target()).await?,
            group: crossbar.group(),
            autobahn: crossbar.pair(Serializer::Msgpack).await?,
        },
        limit: Stress::start(&nats.target()).await?,
    };

    step("warming up");
    contestants.round(plan.warm_up().as_secs_f64(), &mut Findings::default()).await?;
    let mut findings = Findings::default();
    for round in 1..=plan.rounds() {
        step(&format!("round {round} of {}", plan.rounds()));
        contestants.round(plan.slice().as_secs_f64(), &mut findings).await?;
    }
    contestants.stop().await?;
    nats.stop().await?;
    crossbar.stop().await?;
    site.stop().await?;

    // Waiting for pings takes most of the time.
    let rounds = if plan.quick { 1 } else { plan.rounds() };
    for round in 1..=rounds {
        step(&format!("memory, round {round} of {rounds}"));
        let dir = dir.path().join(format!("memory-{round}"));
        findings.memory.ours.push(memory::of_controller(inputs, &dir).await?);
        findings.memory.peer.push(memory::of_crossbar(inputs, &dir).await?);
    }
    step("sessions, registrations and subscriptions come and go");
    findings.churn = Some(churn::run(inputs, plan, &dir.path().join("churn")).await?);
    Ok(findings.rows())
}

/// Where a controller is joined.
fn target_of(site: &Site) -> Target {
    Target { url: site.url().to_owned(), realm: procedures::REALM.to_owned() }
}

/// Everything that is measured, in turn.
struct Contestants {
    ours: Router,
    peer: Router,
    limit: Stress,
}

/// A router and what it is measured with.
struct Router {
    stress: Stress,
    group: i32,
    autobahn: Pair,
}

impl Contestants {
    /// Measures everyone once, each for so many `seconds`.
    async fn round(&mut self, seconds: f64, findings: &mut Findings) -> anyhow::Result<()> {
        for ((in_flight, _), found) in LANES.iter().zip(&mut findings.calls) {
            let order = Order::Calls { in_flight: *in_flight, seconds };
            let (calls, cpu) = self.ours.calls(order).await?;
            found.compiled.ours.push(calls);
            found.cpu.ours.push(cpu);
            let (calls, cpu) = self.peer.calls(order).await?;
            found.compiled.peer.push(calls);
            found.cpu.peer.push(cpu);
            found.compiled.limit.push(self.limit.carry_out(order).await?.sample()?);
            let (rate, limit) = self.ours.autobahn_calls(*in_flight, seconds).await?;
            found.autobahn.ours.push(rate);
            found.autobahn.limit.push(limit);
            let (rate, _) = self.peer.autobahn_calls(*in_flight, seconds).await?;
            found.autobahn.peer.push(rate);
        }
        for (&(subscribers, _), found) in SUBSCRIBERS.iter().zip(&mut findings.events) {
            let order = Order::Events { subscribers, seconds };
            found.ours.push(self.ours.stress.carry_out(order).await?.per_second());
            found.peer.push(self.peer.stress.carry_out(order).await?.per_second());
        }
        let order = Order::Joins { lanes: JOINING, seconds };
        findings.joins.ours.push(self.ours.stress.carry_out(order).await?.per_second());
        findings.joins.peer.push(self.peer.stress.carry_out(order).await?.per_second());
        Ok(())
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.limit.stop().await?;
        for router in [self.ours, self.peer] {
            router.stress.stop().await?;
            router.autobahn.stop().await?;
        }
        Ok(())
    }
}

impl Router {
    /// Compiled calls, and what each of them took from the router's processes.
    async fn calls(&mut self, order: Order) -> anyhow::Result<(Sample, Cpu)> {
        let before = Usage::of_group(self.group)?;
        let measured: Measured = self.stress.carry_out(order).await?;
        let busy = Usage::of_group(self.group)?.cpu.saturating_sub(before.cpu);
        let calls = u32::try_from(measured.count.max(1)).context("too many calls to count")?;
        Ok((measured.sample()?, Cpu { us_per_call: (busy / calls).as_secs_f64() * 1e6 }))
    }

    /// Calls a second between programs in Python, and how many their own CPU time
    /// allows: one call after the other is at work in one of the two at a time,
    /// and many are held up by the slower one.
    async fn autobahn_calls(
        &mut self,
        in_flight: usize,
        seconds: f64,
    ) -> anyhow::Result<(f64, f64)> {
        let time = Duration::try_from_secs_f64(seconds).context("no time")?;
        let (began, before) = (Instant::now(), self.autobahn.cpu()?);
        let rate = self.autobahn.measure(in_flight, time).await?.calls_per_second;
        let (took, after) = (began.elapsed(), self.autobahn.cpu()?);
        let [caller, callee] = [0, 1].map(|end| after[end].saturating_sub(before[end]));
        let busy = if in_flight == 1 { caller + callee } else { caller.max(callee) };
        Ok((rate, rate * took.as_secs_f64() / busy.as_secs_f64()))
    }
}
