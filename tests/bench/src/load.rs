//! The compiled peer: a process that puts load on a router, the same on every
//! router, and as little of its own as possible.
//!
//! `drover-bench load --url URL` reads orders from its standard input, one a
//! line; each is answered with a line of JSON on standard output.
//! It has one thread, so that on a small machine the router has the others.

pub(crate) mod order;

mod calls;
mod churn;
mod events;
mod message;
mod nats;
mod session;
mod sessions;

use std::io::Write;

use anyhow::{Context, bail};
use clap::Args;
use drover_api::procedures;
use tokio::io::{AsyncBufReadExt, BufReader};

use order::{Measured, Order};
use sessions::Idle;

/// What the process prints when it can be given orders.
pub(crate) const READY: &str = "ready";

/// Which router the load is put on.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// Address of the router, `ws://HOST:PORT/PATH` or `nats://HOST:PORT`
    #[arg(long)]
    pub(crate) url: String,
    /// Realm to join
    #[arg(long, default_value = procedures::REALM)]
    pub(crate) realm: String,
}

/// Carries out orders until there are no more.
///
/// # Errors
///
/// If an order is none, or cannot be carried out.
pub(crate) async fn run(target: &Target) -> anyhow::Result<()> {
    let mut load = Load { target: target.clone(), idle: Idle::default(), orders: 0 };
    say(READY)?;
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = orders.next_line().await.context("cannot read the orders")? {
        let order = serde_json::from_str(&line).with_context(|| format!("no order: {line}"))?;
        let measured = load.carry_out(order).await?;
        say(&serde_json::to_string(&measured).context("cannot write what was measured")?)?;
    }
    Ok(())
}

/// Everything that outlives an order. Sessions do not, unless they are to be
/// idle: nobody would answer the router's pings.
struct Load {
    target: Target,
    idle: Idle,
    orders: u64,
}

impl Load {
    async fn carry_out(&mut self, order: Order) -> anyhow::Result<Measured> {
        self.orders += 1;
        let target = &self.target;
        if let Some(address) = target.url.strip_prefix("nats://") {
            let Order::Calls { in_flight, seconds } = order else {
                bail!("NATS is the limit of calls, not of {order:?}");
            };
            return nats::calls(address).await?.measure(in_flight, seconds).await;
        }
        match order {
            Order::Calls { in_flight, seconds } => {
                // The router may not have missed the last callee yet.
                let procedure = format!("bench.load.empty.{}", self.orders);
                session::calls(target, &procedure).await?.measure(in_flight, seconds).await
            }
            Order::Events { subscribers, seconds } => {
                events::measure(target, subscribers, seconds).await
            }
            Order::Joins { lanes, seconds } => {
                sessions::measure_joins(target, lanes, seconds).await
            }
            Order::Idle { sessions } => self.idle.grow_to(target, sessions).await,
            Order::Churn { sessions } => churn::run(target, sessions).await,
        }
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("nobody hears the answers")
}
