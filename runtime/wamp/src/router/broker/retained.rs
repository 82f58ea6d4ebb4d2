//! The last event of each topic that asked for that, kept for later subscribers.
//!
//! An event is kept until the next one of its topic. What a realm keeps is
//! bounded in events and in bytes; a publication beyond that is refused as a
//! whole, so that nobody believes it is kept, and what others have is not lost.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::event::Event;
use crate::uri::MatchPolicy;

/// Events by topic.
#[derive(Debug)]
pub(super) struct Retained {
    events: BTreeMap<String, Event>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

/// There is no room for another event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the realm keeps at most {max_events} events in {max_bytes} bytes, which this one would \
     exceed; publish it without `retain`"
)]
pub(super) struct Full {
    max_events: usize,
    max_bytes: usize,
}

impl Retained {
    pub(super) fn new(max_events: usize, max_bytes: usize) -> Self {
        Self { events: BTreeMap::new(), bytes: 0, max_events, max_bytes }
    }

    /// Whether there is room for an event.
    pub(super) fn check(&self, event: &Event) -> Result<(), Full> {
        let old = self.events.get(&event.topic);
        let events = self.events.len() + usize::from(old.is_none());
        let bytes = self.bytes - old.map_or(0, weight) + weight(event);
        if events > self.max_events || bytes > self.max_bytes {
            return Err(Full { max_events: self.max_events, max_bytes: self.max_bytes });
        }
        Ok(())
    }

    /// Keeps an event that there is room for, in place of the one before.
    pub(super) fn keep(&mut self, mut event: Event) {
        // The arguments may be a small part of a large frame, which they keep alive.
        event.payload = event.payload.detached();
        self.bytes += weight(&event);
        if let Some(old) = self.events.insert(event.topic.clone(), event) {
            self.bytes -= weight(&old);
        }
    }

    /// The events whose topics match, by topic.
    pub(super) fn matching<'a>(
        &'a self,
        pattern: &'a str,
        policy: MatchPolicy,
    ) -> impl Iterator<Item = &'a Event> {
        // Topics that match begin with what the pattern begins with.
        let head = match policy {
            MatchPolicy::Exact | MatchPolicy::Prefix => pattern,
            MatchPolicy::Wildcard => {
                let words = pattern.split('.').take_while(|word| !word.is_empty());
                &pattern[..words.map(|word| word.len() + 1).sum::<usize>().min(pattern.len())]
            }
        };
        let from = (Bound::Included(head), Bound::Unbounded);
        self.events
            .range::<str, _>(from)
            .take_while(move |(topic, _)| topic.starts_with(head))
            .take_while(move |(topic, _)| policy != MatchPolicy::Exact || *topic == pattern)
            .filter(move |(topic, _)| policy.matches(pattern, topic))
            .map(|(_, event)| event)
    }
}

/// About how many bytes an event takes.
fn weight(event: &Event) -> usize {
    let audience = event.audience.as_ref().map_or(0, |audience| audience.weight());
    size_of::<Event>() + 2 * event.topic.len() + event.payload.encoded_len() + audience
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    fn event(topic: &str, argument: &str) -> Event {
        Event {
            publication: 1,
            topic: topic.to_owned(),
            payload: Payload::one(argument).unwrap(),
            publisher: None,
            except: None,
            audience: None,
        }
    }

    #[test]
    fn a_pattern_finds_the_last_event_of_each_topic_that_it_matches() {
        let mut retained = Retained::new(10, 10_000);
        for topic in ["a.b", "a.b.c", "a.bc", "b", "a.x.c", "a.b"] {
            retained.keep(event(topic, "x"));
        }
        for (pattern, policy, expected) in [
            ("a.b", MatchPolicy::Exact, vec!["a.b"]),
            ("a.", MatchPolicy::Exact, vec![]),
            ("a.b", MatchPolicy::Prefix, vec!["a.b", "a.b.c", "a.bc"]),
            ("", MatchPolicy::Prefix, vec!["a.b", "a.b.c", "a.bc", "a.x.c", "b"]),
            ("a..c", MatchPolicy::Wildcard, vec!["a.b.c", "a.x.c"]),
            ("", MatchPolicy::Wildcard, vec!["b"]),
            (".b", MatchPolicy::Wildcard, vec!["a.b"]),
            ("a.", MatchPolicy::Wildcard, vec!["a.b", "a.bc"]),
        ] {
            let found: Vec<_> =
                retained.matching(pattern, policy).map(|event| event.topic.as_str()).collect();
            assert_eq!(found, expected, "{pattern} {policy:?}");
        }
    }

    #[test]
    fn there_is_room_for_so_many_and_always_for_the_next_of_a_topic() {
        let mut retained = Retained::new(2, 100_000);
        retained.keep(event("a", "1"));
        retained.keep(event("b", "2"));
        assert!(retained.check(&event("c", "3")).is_err());
        assert_eq!(retained.check(&event("b", "4")), Ok(()));
        let huge = "x".repeat(100_000);
        assert!(retained.check(&event("b", &huge)).is_err());
        let bytes = retained.bytes;
        retained.keep(event("b", "5"));
        assert_eq!(retained.bytes, bytes);
    }
}
