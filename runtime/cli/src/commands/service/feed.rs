//! `drover service feed`: what a service publishes, as it does so.

use anyhow::Context;
use clap::Args;
use drover_api::{FeedEvent, FeedValue, ServiceStatus, Timestamp, procedures};
use drover_wamp::{CallError, SubscribeOptions};
use serde_json::json;

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{controller, output};

/// Follows what a service publishes from now on until Ctrl-C. Each value is a
/// line of JSON with its number, the time in milliseconds since 1970, and the
/// value; `{"missed": N}` stands for N values that were lost. The service may
/// stop and start meanwhile.
#[derive(Debug, Args)]
pub(super) struct Feed {
    /// The node, by name or id
    node: String,
    /// What the service is called
    name: String,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn run(feed: &Feed) -> Result<Exit, Failure> {
    let session = feed.address.connect().await?;
    let nodes = controller::nodes(&session).await?;
    let node = controller::find_present(&nodes, &feed.node)?;
    let topic = procedures::feed(node.description.id(), &feed.name);
    let subscribed = session.subscribe(&topic, SubscribeOptions::default()).await;
    let mut events =
        subscribed.map_err(|error| controller::lost(error, "cannot follow the service"))?;
    let request = json!({ "name": feed.name });
    let _: ServiceStatus = controller::ask(&session, node, "service.status", &request).await?;
    let mut lines = Lines::default();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            signalled = tokio::signal::ctrl_c() => {
                signalled.context("cannot listen for Ctrl-C")?;
                return Ok(Exit::Cancelled);
            }
        };
        let Some(event) = event else {
            let reason = CallError::from(session.closed().await);
            return Err(controller::lost(reason, "cannot follow the service any longer"));
        };
        // What this side was too slow for is a hole in the numbers.
        for line in lines.of(&event.payload.first()?)? {
            output::answer(&line)?;
        }
    }
}

/// Turns events into lines.
#[derive(Debug, Default)]
struct Lines {
    /// The number and the time of the last value that was printed.
    last: Option<(u64, Timestamp)>,
}

impl Lines {
    fn of(&mut self, event: &FeedEvent) -> serde_json::Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut missed = event.missed;
        for value in &event.values {
            let FeedValue { number, time, .. } = *value;
            match self.last {
                // Sent once more after an outage. An agent that has started
                // again counts from 1 again, and later.
                Some((last, last_time)) if number <= last && time <= last_time => continue,
                Some((last, _)) if number > last => missed = missed.max(number - last - 1),
                _ => {}
            }
            if missed > 0 {
                lines.push(json!({ "missed": missed }).to_string());
                missed = 0;
            }
            lines.push(serde_json::to_string(value)?);
            self.last = Some((number, time));
        }
        if missed > 0 {
            lines.push(json!({ "missed": missed }).to_string());
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of these events: when, how many were missed, and the numbers.
    fn lines(events: &[(u64, u64, &[u64])]) -> Vec<String> {
        let mut lines = Lines::default();
        let event = |&(time, missed, numbers): &(u64, u64, &[u64])| {
            let time = Timestamp(time);
            let value = |&number: &u64| FeedValue { number, time, value: json!("x") };
            lines.of(&FeedEvent { missed, values: numbers.iter().map(value).collect() }).unwrap()
        };
        let all = events.iter().flat_map(event);
        all.map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            line.get("number").map_or_else(|| line.to_string(), ToString::to_string)
        })
        .collect()
    }

    #[test]
    fn values_come_once_and_holes_are_told() {
        assert_eq!(lines(&[(1, 0, &[5, 6]), (1, 0, &[6, 7])]), ["5", "6", "7"]);
        let missed = |count: u64| json!({ "missed": count }).to_string();
        assert_eq!(lines(&[(1, 3, &[4]), (1, 2, &[])]), [missed(3), "4".to_owned(), missed(2)]);
        assert_eq!(
            lines(&[(1, 0, &[5]), (1, 0, &[8])]),
            ["5".to_owned(), missed(2), "8".to_owned()]
        );
    }

    #[test]
    fn an_agent_that_started_again_counts_anew() {
        assert_eq!(lines(&[(1, 0, &[5, 6]), (2, 0, &[2, 3])]), ["5", "6", "2", "3"]);
    }
}
