//! What the lines of a source come to, as metrics.

use std::collections::HashMap;
use std::fmt::Write as _;

use drover_api::Level;
use drover_logs::statsd::ScopeId;
use drover_logs::{FieldRef, Source};

use crate::metrics::Metrics;

/// Counts what is read of a source, and tells the metrics of it batch by batch:
///
/// | metric | what it counts |
/// |---|---|
/// | `lines`, `unparsed` | lines, and those that did not parse |
/// | `events` with the tags `level`, `status`, `host` | events; a tag is there if the field is |
/// | `lag` | bytes that are still to be read, as a gauge |
pub(super) struct Counters {
    metrics: Metrics,
    scope: ScopeId,
    lines: u64,
    unparsed: u64,
    events: HashMap<String, u64>,
    /// Hosts that have a series; lines say what they like.
    hosts: Vec<String>,
    /// The tags of the event at hand.
    tags: String,
}

/// The most hosts that have a series of their own; those beyond are `other`.
const HOSTS: usize = 100;

/// The longest value of a tag.
const TAG_BYTES: usize = 64;

impl Counters {
    pub(super) fn new(metrics: Metrics, source: &Source) -> Self {
        let scope = metrics.begin(source);
        let (events, hosts, tags) = Default::default();
        Self { metrics, scope, lines: 0, unparsed: 0, events, hosts, tags }
    }

    /// Counts an event that has so many lines.
    pub(super) fn event<'a>(
        &mut self,
        level: Level,
        lines: u64,
        is_parsed: bool,
        fields: impl Iterator<Item = (&'a str, FieldRef<'a>)>,
    ) {
        self.lines += lines;
        self.unparsed += if is_parsed { 0 } else { lines };
        let (mut status, mut host) = (None, None);
        for (name, value) in fields {
            match name {
                "status" => status = Some(value),
                "host" => host = Some(value),
                _ => {}
            }
        }
        self.tags.clear();
        let _ = write!(self.tags, "level:{}", level.name());
        if let Some(status) = status {
            let _ = write!(self.tags, ",status:{}", plain(status));
        }
        if let Some(host) = host {
            let host = plain(host);
            let is_known = self.hosts.contains(&host);
            let has_series = is_known || self.hosts.len() < HOSTS;
            let _ = write!(self.tags, ",host:{}", if has_series { &host } else { "other" });
            if has_series && !is_known {
                self.hosts.push(host);
            }
        }
        match self.events.get_mut(&self.tags) {
            Some(count) => *count += 1,
            None => drop(self.events.insert(self.tags.clone(), 1)),
        }
    }

    /// Hands over what was counted.
    pub(super) fn tell(&mut self) {
        if self.lines == 0 {
            return;
        }
        let mut text = format!("lines:{}|c\nunparsed:{}|c\n", self.lines, self.unparsed);
        for (tags, count) in self.events.drain() {
            let _ = writeln!(text, "events:{count}|c|#{tags}");
        }
        self.metrics.add(self.scope, text.as_bytes());
        (self.lines, self.unparsed) = (0, 0);
    }

    /// Tells how many bytes are still to be read.
    pub(super) fn lag(&self, bytes: u64) {
        self.metrics.add(self.scope, format!("lag:{bytes}|g").as_bytes());
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        self.metrics.end(self.scope);
    }
}

/// A value as a tag: what means something there is an underscore.
fn plain(value: FieldRef<'_>) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ".-_/[]".contains(letter);
    let text = value.to_string();
    text.chars().take(TAG_BYTES).map(|letter| if is_plain(letter) { letter } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_lines_make_up_do_not_become_series_without_end() {
        let source =
            Source { job: "source.a".parse().unwrap(), domain: String::new(), name: "a".into() };
        let mut counters = Counters::new(Metrics::default(), &source);
        for number in 0..1000 {
            let host = format!("host|c#{number}");
            let fields = [("host", FieldRef::Text(&host)), ("status", FieldRef::Integer(200))];
            counters.event(Level::TEXT, 1, true, fields.into_iter());
        }
        assert_eq!(counters.events.len(), HOSTS + 1);
        assert_eq!(counters.events["level:text,status:200,host:other"], 900);
        assert_eq!(counters.events["level:text,status:200,host:host_c_7"], 1);
    }
}
