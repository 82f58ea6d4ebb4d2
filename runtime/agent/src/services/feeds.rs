//! What services publish, on its way to the topics of their feeds.
//!
//! Services put values in and never wait for the link; what finds no room pushes
//! out the oldest of its service, and is counted. [`publish`] sends what waits:
//! of each service one event at a time, so values keep their order, and again
//! until the router has it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_api::{FeedEvent, FeedValue, procedures};
use drover_plugin_host::Published;
use drover_wamp::{Backoff, CallError, Link, Payload, PublishOptions, uri};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::node::Node;

/// Values of one service that wait; see `wit/feed.wit`.
const VALUES: usize = 1_000;
/// Their length in JSON; see `wit/feed.wit`.
const BYTES: usize = 1 << 20;
/// The length of all that waits, of however many services.
const ALL_BYTES: usize = 16 << 20;

/// Events that are on their way at the same time.
const EVENTS: usize = 32;
/// Values in one event take about this part of the longest message.
const PART_OF_A_MESSAGE: usize = 8;

/// Waits between two attempts.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What waits to be sent. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Feeds {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queues: Mutex<Queues>,
    is_ready: Notify,
}

/// The queues of all services.
#[derive(Debug, Default)]
struct Queues {
    by_name: HashMap<String, Queue>,
    /// Those that have something to send, and of which nothing is on its way;
    /// who waits longest is first.
    ready: VecDeque<String>,
    bytes: usize,
}

/// What one service has published and is not sent.
#[derive(Debug, Default)]
struct Queue {
    values: VecDeque<(u64, Published)>,
    bytes: usize,
    /// Values that were pushed out before those.
    missed: u64,
    last_number: u64,
    place: Place,
}

/// Where a queue stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// It has nothing to send.
    #[default]
    Idle,
    /// It is in line.
    Ready,
    /// An event of it is on its way.
    Sending,
}

/// What goes into one event.
#[derive(Debug)]
struct Batch {
    name: String,
    missed: u64,
    values: Vec<(u64, Published)>,
}

impl Feeds {
    /// Takes one value.
    pub(crate) fn push(&self, name: &str, published: Published) {
        self.queues().push(name, published);
        self.shared.is_ready.notify_one();
    }

    /// Forgets a service that nobody knows any more, unless something of it is
    /// still to be sent.
    pub(crate) fn forget(&self, name: &str) {
        self.queues().forget(name);
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        // Nothing that can panic happens while it is held.
        self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn push(&mut self, name: &str, published: Published) {
        let queue = match self.by_name.get_mut(name) {
            Some(queue) => queue,
            None => self.by_name.entry(name.to_owned()).or_default(),
        };
        queue.last_number += 1;
        queue.bytes += published.json.len();
        self.bytes += published.json.len();
        queue.values.push_back((queue.last_number, published));
        while queue.values.len() > VALUES || queue.bytes > BYTES || self.bytes > ALL_BYTES {
            let Some((_, oldest)) = queue.values.pop_front() else { break };
            queue.bytes -= oldest.json.len();
            self.bytes -= oldest.json.len();
            queue.missed += 1;
        }
        if queue.place == Place::Idle {
            queue.place = Place::Ready;
            self.ready.push_back(name.to_owned());
        }
    }

    /// The next event's values: about `bytes` of them, and at least one.
    fn take(&mut self, bytes: usize) -> Option<Batch> {
        let name = self.ready.pop_front()?;
        let queue = self.by_name.get_mut(&name)?;
        let mut batch = Batch { name, missed: std::mem::take(&mut queue.missed), values: vec![] };
        let mut taken = 0;
        while let Some((_, next)) = queue.values.front()
            && (batch.values.is_empty() || taken + next.json.len() <= bytes)
        {
            taken += next.json.len();
            batch.values.extend(queue.values.pop_front());
        }
        queue.bytes -= taken;
        self.bytes -= taken;
        queue.place = Place::Sending;
        Some(batch)
    }

    /// An event is done, and so many values of it were lost.
    fn sent(&mut self, name: String, lost: u64) {
        let Some(queue) = self.by_name.get_mut(&name) else { return };
        let is_idle = queue.values.is_empty() && queue.missed == 0;
        queue.place = if is_idle { Place::Idle } else { Place::Ready };
        // Told with what comes next: an event of its own would be lost as well.
        queue.missed += lost;
        if !is_idle {
            self.ready.push_back(name);
        }
    }

    fn forget(&mut self, name: &str) {
        let Some(queue) = self.by_name.get(name) else { return };
        if queue.place == Place::Idle {
            self.by_name.remove(name);
        }
    }
}

/// Sends what services publish until it is dropped.
pub(crate) async fn publish(node: Node, link: Link) {
    let feeds = node.services().feeds().clone();
    let max_bytes = node.max_message_bytes() / PART_OF_A_MESSAGE;
    let mut sending: JoinSet<(String, u64)> = JoinSet::new();
    loop {
        while sending.len() < EVENTS {
            let Some(batch) = feeds.queues().take(max_bytes) else { break };
            sending.spawn(send(node.clone(), link.clone(), batch));
        }
        tokio::select! {
            () = feeds.shared.is_ready.notified(), if sending.len() < EVENTS => {}
            Some(sent) = sending.join_next() => match sent {
                Ok((name, lost)) => feeds.queues().sent(name, lost),
                Err(error) => tracing::error!(%error, "publishing what a service told panicked"),
            },
        }
    }
}

/// Sends one event until the router has it. Gives back how many values were lost.
async fn send(node: Node, link: Link, batch: Batch) -> (String, u64) {
    let Batch { name, missed, values } = batch;
    let count = values.len() as u64 + missed;
    let topic = procedures::feed(node.id(), &name);
    let values = values.into_iter().filter_map(|(number, Published { time, json })| {
        Some(FeedValue { number, time, value: serde_json::from_str(&json).ok()? })
    });
    let event = FeedEvent { missed, values: values.collect() };
    let Ok(payload) = Payload::one(&event) else {
        tracing::error!(service = name, "cannot encode what a service published");
        return (name, count);
    };
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let Ok(session) = link.connected().await else { return (name, count) };
        let options = PublishOptions { acknowledge: true, ..PublishOptions::default() };
        match session.publish(&topic, payload.clone(), options).await {
            Ok(()) => return (name, 0),
            Err(CallError::Application(refused)) => {
                if refused.uri == uri::error::NOT_AUTHORIZED {
                    tracing::warn!(
                        topic,
                        "what services publish is refused: the agent's role needs `publish` for \
                         the prefix `{}`",
                        node.prefix()
                    );
                } else {
                    tracing::warn!(topic, uri = refused.uri, "what a service published is refused");
                }
                // It would be refused again; what is lost is told when something is not.
                sleep(backoff.wait()).await;
                return (name, count);
            }
            Err(error) => tracing::debug!(topic, %error, "what a service published waits"),
        }
        sleep(backoff.wait()).await;
    }
}

#[cfg(test)]
mod tests {
    use drover_api::Timestamp;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn value(bytes: usize) -> Published {
        Published { time: Timestamp(0), json: "1".repeat(bytes) }
    }

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.values.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn what_came_first_goes_first_and_one_event_at_a_time() {
        let mut queues = Queues::default();
        for name in ["a", "b", "a"] {
            queues.push(name, value(1));
        }
        let first = queues.take(100).unwrap();
        assert_eq!((first.name.as_str(), numbers(&first)), ("a", vec![1, 2]));
        queues.push("a", value(1));
        assert_eq!(queues.take(100).unwrap().name, "b");
        assert!(queues.take(100).is_none(), "one of `a` is on its way");
        queues.sent("a".to_owned(), 0);
        assert_eq!(numbers(&queues.take(100).unwrap()), [3]);
    }

    #[test]
    fn an_event_has_a_length_and_one_value_at_least() {
        let mut queues = Queues::default();
        for bytes in [50, 40, 40] {
            queues.push("a", value(bytes));
        }
        assert_eq!(numbers(&queues.take(100).unwrap()), [1, 2]);
        queues.sent("a".to_owned(), 0);
        assert_eq!(numbers(&queues.take(10).unwrap()), [3]);
    }

    #[test]
    fn what_finds_no_room_pushes_out_the_oldest_and_is_counted() {
        let mut queues = Queues::default();
        for _ in 0..VALUES + 3 {
            queues.push("a", value(1));
        }
        let batch = queues.take(VALUES).unwrap();
        assert_eq!((batch.missed, batch.values[0].0, batch.values.len()), (3, 4, VALUES));
        queues.sent("a".to_owned(), 5);
        assert!(queues.take(1).is_none(), "a loss is told with the next value");
        queues.push("a", value(1));
        assert_eq!(queues.take(1).unwrap().missed, 5);
    }

    proptest! {
        #[test]
        fn every_value_is_sent_in_order_or_counted_as_missed(
            steps in vec((0..3usize, 1..200_000usize, any::<bool>()), 1..300),
        ) {
            const NAMES: [&str; 3] = ["a", "b", "c"];
            let mut queues = Queues::default();
            let mut pushed = [0_u64; 3];
            let mut seen = [0_u64; 3];
            let mut take = |queues: &mut Queues| {
                while let Some(batch) = queues.take(100_000) {
                    let index = NAMES.iter().position(|name| *name == batch.name).unwrap();
                    seen[index] += batch.missed;
                    for (number, _) in &batch.values {
                        seen[index] += 1;
                        assert_eq!(*number, seen[index]);
                    }
                    queues.sent(batch.name, 0);
                }
                seen
            };
            for (index, bytes, is_taken) in steps {
                queues.push(NAMES[index], value(bytes));
                pushed[index] += 1;
                prop_assert!(queues.bytes <= ALL_BYTES);
                if is_taken {
                    take(&mut queues);
                }
            }
            prop_assert_eq!(take(&mut queues), pushed);
            prop_assert_eq!(queues.bytes, 0);
        }
    }
}
