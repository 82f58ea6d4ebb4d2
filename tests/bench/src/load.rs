//! The compiled peer: a process that puts load on a router, the same on every
//! router, and as little of its own as possible.
//!
//! `drover-bench load --url URL` joins and then reads orders from its standard
//! input, one a line; each is answered with a line of JSON on standard output.
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

use calls::Calls;
use nats::Nats;
use order::{Measured, Order};
use session::Session;
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
/// If the router cannot be joined, or an order cannot be carried out.
pub(crate) async fn run(target: &Target) -> anyhow::Result<()> {
    let mut load = Load::start(target).await?;
    say(READY)?;
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = orders.next_line().await.context("cannot read the orders")? {
        let order = serde_json::from_str(&line).with_context(|| format!("no order: {line}"))?;
        let measured = load.carry_out(order).await?;
        say(&serde_json::to_string(&measured).context("cannot write what was measured")?)?;
    }
    Ok(())
}

/// Everything that outlives an order.
enum Load {
    Wamp { target: Target, calls: Box<Calls<Session>>, idle: Idle },
    Nats { calls: Calls<Nats> },
}

impl Load {
    async fn start(target: &Target) -> anyhow::Result<Self> {
        if let Some(address) = target.url.strip_prefix("nats://") {
            return Ok(Self::Nats { calls: nats::calls(address).await? });
        }
        let calls = Box::new(session::calls(target).await?);
        Ok(Self::Wamp { target: target.clone(), calls, idle: Idle::default() })
    }

    async fn carry_out(&mut self, order: Order) -> anyhow::Result<Measured> {
        match (self, order) {
            (Self::Wamp { calls, .. }, Order::Calls { in_flight, seconds }) => {
                calls.measure(in_flight, seconds).await
            }
            (Self::Nats { calls }, Order::Calls { in_flight, seconds }) => {
                calls.measure(in_flight, seconds).await
            }
            (Self::Wamp { target, .. }, Order::Events { subscribers, seconds }) => {
                events::measure(target, subscribers, seconds).await
            }
            (Self::Wamp { target, .. }, Order::Joins { lanes, seconds }) => {
                sessions::measure_joins(target, lanes, seconds).await
            }
            (Self::Wamp { target, idle, .. }, Order::Idle { sessions }) => {
                idle.grow_to(target, sessions).await
            }
            (Self::Wamp { target, .. }, Order::Churn { sessions }) => {
                churn::run(target, sessions).await
            }
            (Self::Nats { .. }, order) => bail!("NATS is the limit of calls, not of {order:?}"),
        }
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("nobody hears the answers")
}
