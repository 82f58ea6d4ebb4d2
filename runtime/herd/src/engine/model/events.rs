//! What the engine tells those who listen, and the last of it for those who come
//! later.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Filters;

/// How many events a real engine remembers.
const REMEMBERED: usize = 256;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
        }
    }
}

/// One event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) action: String,
    /// The id of what it happened to.
    pub(crate) subject: String,
    pub(crate) attributes: Map<String, Value>,
    pub(crate) time: Timestamp,
}

impl Event {
    /// The event as the API tells it. The two kinds that are older than the form
    /// with `Type` and `Action` still have the old fields too.
    pub(crate) fn to_json(&self) -> Value {
        let nanoseconds = i64::try_from(self.time.as_nanosecond()).unwrap_or(i64::MAX);
        let mut event = json!({
            "Type": self.kind.name(),
            "Action": self.action,
            "Actor": {"ID": self.subject, "Attributes": self.attributes},
            "scope": "local",
            "time": self.time.as_second(),
            "timeNano": nanoseconds,
        });
        if matches!(self.kind, Kind::Container | Kind::Image) {
            event["status"] = json!(self.action);
            event["id"] = json!(self.subject);
        }
        if self.kind == Kind::Container {
            event["from"] = self.attributes.get("image").cloned().unwrap_or_default();
        }
        event
    }

    /// Whether a listener with these filters hears of it.
    pub(crate) fn passes(&self, filters: &Filters) -> bool {
        let attribute = |name: &str| self.attributes.get(name).and_then(Value::as_str);
        let name = attribute("name").unwrap_or_default();
        let plain_action = self.action.split(':').next().unwrap_or_default();
        let is_subject = |kind: Kind, wanted: &str| {
            self.kind == kind && (self.subject.starts_with(wanted) || name == wanted)
        };
        filters.any("type", |wanted| wanted == self.kind.name())
            && filters.any("event", |wanted| wanted == self.action || wanted == plain_action)
            && filters.any("container", |wanted| is_subject(Kind::Container, wanted))
            && filters.any("network", |wanted| is_subject(Kind::Network, wanted))
            && filters.any("volume", |wanted| is_subject(Kind::Volume, wanted))
            && filters.any("image", |wanted| {
                let image = if self.kind == Kind::Image { Some(name) } else { attribute("image") };
                is_subject(Kind::Image, wanted) || image == Some(wanted)
            })
            && filters.any("scope", |wanted| wanted == "local")
            && filters.all("label", |wanted| match wanted.split_once('=') {
                Some((key, value)) => attribute(key) == Some(value),
                None => self.attributes.contains_key(wanted),
            })
    }
}

/// The events of an engine's life, of which it remembers the last ones.
#[derive(Default)]
pub(crate) struct EventLog {
    remembered: VecDeque<Event>,
    /// How many there were before the first one remembered.
    forgotten: u64,
}

impl EventLog {
    pub(crate) fn push(&mut self, event: Event) {
        self.remembered.push_back(event);
        if self.remembered.len() > REMEMBERED {
            self.remembered.pop_front();
            self.forgotten += 1;
        }
    }

    /// The number that the next event will have.
    pub(crate) fn next(&self) -> u64 {
        self.forgotten + self.remembered.len() as u64
    }

    /// The events from number `position` on, as far as they are remembered.
    pub(crate) fn from(&self, position: u64) -> impl Iterator<Item = &Event> {
        let skipped = usize::try_from(position.saturating_sub(self.forgotten));
        self.remembered.iter().skip(skipped.unwrap_or(usize::MAX))
    }
}
