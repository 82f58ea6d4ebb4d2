//! Adds metrics up: per job, and per domain and name, from flush to flush.
//!
//! Metrics are added up for each job as they come. What they come to for a
//! domain and name is put together from its jobs when it is asked for, so that
//! a line costs one look-up only.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::time::Duration;

use memchr::memchr;

use super::metric::{Metric, MetricKind};
use super::series::{Flush, Numbers, SeriesId, SeriesScope};
use crate::source::Source;

/// How much an [`Aggregator`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AggregatorLimits {
    /// Series of all jobs together. Lines of further ones are refused and
    /// counted.
    pub max_series: usize,
    /// Different members of all sets together, until the next flush.
    pub max_set_members: usize,
}

impl Default for AggregatorLimits {
    fn default() -> Self {
        Self { max_series: 10_000, max_set_members: 100_000 }
    }
}

/// Adds up the metrics of jobs. Reads no clock: the caller says when to flush.
#[derive(Debug)]
pub struct Aggregator {
    limits: AggregatorLimits,
    scopes: BTreeMap<ScopeId, Scope>,
    next_scope: u64,
    series: usize,
    set_members: usize,
    refused: u64,
    malformed: u64,
    member_hasher: foldhash::fast::FixedState,
    /// Name, kind and tags of the line at hand.
    key: Vec<u8>,
}

/// A source of metrics that an [`Aggregator`] knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeId(u64);

/// A series that nobody wrote to for so many flushes is forgotten: a counter
/// begins anew then, and a gauge is no longer told.
const IDLE_FLUSHES: u32 = 30;

/// Other ways to write a series, with its tags in another order, that are
/// remembered for each one.
const KEYS_PER_SERIES: usize = 4;

#[derive(Debug)]
struct Scope {
    source: Source,
    /// Places in `series` by name, kind and tags as they were written, so that
    /// a line need not be taken apart.
    keys: HashMap<Box<[u8]>, usize, foldhash::fast::RandomState>,
    series: Vec<Tracked>,
    /// Whether the job has ended: the next flush is its last.
    has_ended: bool,
}

#[derive(Debug)]
struct Tracked {
    id: SeriesId,
    numbers: Numbers,
    /// Flushes since it was written to.
    idle: u32,
}

impl Default for Aggregator {
    fn default() -> Self {
        Self::new(AggregatorLimits::default())
    }
}

impl Aggregator {
    /// An aggregator that knows no job.
    #[must_use]
    pub fn new(limits: AggregatorLimits) -> Self {
        Self {
            limits,
            scopes: BTreeMap::new(),
            next_scope: 0,
            series: 0,
            set_members: 0,
            refused: 0,
            malformed: 0,
            member_hasher: foldhash::fast::FixedState::default(),
            key: Vec::new(),
        }
    }

    /// Makes a job known, whose metrics come under the id that is returned.
    pub fn begin(&mut self, source: Source) -> ScopeId {
        let id = ScopeId(self.next_scope);
        self.next_scope += 1;
        let (keys, series) = (HashMap::default(), Vec::new());
        self.scopes.insert(id, Scope { source, keys, series, has_ended: false });
        id
    }

    /// Says that a job has ended. The next flush tells its numbers once more.
    pub fn end(&mut self, id: ScopeId) {
        if let Some(scope) = self.scopes.get_mut(&id) {
            scope.has_ended = true;
        }
    }

    /// Adds the metrics in `text`, one in each line. Blank lines say nothing;
    /// a job that is not known, or has been flushed after its end, neither.
    pub fn add(&mut self, id: ScopeId, text: &[u8]) {
        let mut rest = text;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            if !line.is_empty() {
                self.add_line(id, line);
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }

    fn add_line(&mut self, id: ScopeId, line: &[u8]) {
        let Some(metric) = Metric::parse(line) else {
            self.malformed += 1;
            return;
        };
        let Some(scope) = self.scopes.get_mut(&id) else { return };
        write_key(&mut self.key, metric.name, metric.kind, metric.tags);
        let known = scope.keys.get(&self.key[..]).copied();
        let has_room = self.series < self.limits.max_series;
        let before = scope.series.len();
        let Some(place) = known.or_else(|| scope.find_or_make(&self.key, &metric, has_room)) else {
            self.refused += 1;
            return;
        };
        self.series += scope.series.len() - before;
        let tracked = &mut scope.series[place];
        tracked.idle = 0;
        if let Numbers::Members(members) = &mut tracked.numbers {
            let has_room = self.set_members < self.limits.max_set_members;
            let hash = self.member_hasher.hash_one(metric.values);
            self.set_members += usize::from(members.insert(hash, has_room));
        } else {
            self.malformed += tracked.numbers.take(&metric);
        }
    }

    /// Tells what the metrics come to since the last flush, `interval` ago, and
    /// begins the next interval. Jobs that have ended are forgotten then.
    ///
    /// A series is told once for its job and once for the job's domain and
    /// name, where counters, samples and sets of all jobs are put together and
    /// gauges are added up.
    pub fn flush(&mut self, interval: Duration) -> Flush {
        let mut flush = Flush {
            series: Vec::new(),
            refused: std::mem::take(&mut self.refused),
            malformed: std::mem::take(&mut self.malformed),
        };
        let mut programs: BTreeMap<_, BTreeMap<SeriesId, Numbers>> = BTreeMap::new();
        for scope in self.scopes.values_mut() {
            let Source { job, domain, name } = &scope.source;
            let of_job =
                SeriesScope { job: Some(job.clone()), domain: domain.clone(), name: name.clone() };
            let of_program = programs.entry((domain.clone(), name.clone())).or_default();
            for tracked in scope.series.iter_mut().filter(|tracked| tracked.is_to_be_told()) {
                flush.series.extend(tracked.numbers.tell(&of_job, &tracked.id, interval));
                match of_program.get_mut(&tracked.id) {
                    Some(numbers) => numbers.merge(&tracked.numbers),
                    None => {
                        of_program.insert(tracked.id.clone(), tracked.numbers.clone());
                    }
                }
                tracked.numbers.begin_interval();
            }
            scope.forget_idle();
        }
        for ((domain, name), series) in programs {
            let scope = SeriesScope { job: None, domain, name };
            let told = series.iter().filter_map(|(id, numbers)| numbers.tell(&scope, id, interval));
            flush.series.extend(told);
        }
        self.scopes.retain(|_, scope| !scope.has_ended);
        self.series = self.scopes.values().map(|scope| scope.series.len()).sum();
        self.set_members = 0;
        flush
    }
}

/// Writes what tells series apart. Tags hold no `|`, so two different series
/// never have the same key.
fn write_key(key: &mut Vec<u8>, name: &[u8], kind: MetricKind, tags: &[u8]) {
    key.clear();
    key.extend_from_slice(name);
    key.extend_from_slice(&[b'|', kind as u8]);
    key.extend_from_slice(tags);
}

impl Scope {
    /// Finds the series whose tags may have been written in another order, or
    /// makes it if there is room. Remembers this way to write it.
    fn find_or_make(
        &mut self,
        written: &[u8],
        metric: &Metric<'_>,
        has_room: bool,
    ) -> Option<usize> {
        let mut tags: Vec<&[u8]> =
            metric.tags.split(|&byte| byte == b',').filter(|tag| !tag.is_empty()).collect();
        tags.sort_unstable();
        tags.dedup();
        let mut ordered = Vec::new();
        write_key(&mut ordered, metric.name, metric.kind, &tags.join(&b','));
        let place = match self.keys.get(&ordered[..]) {
            Some(place) => *place,
            None if !has_room => return None,
            None => {
                self.keys.insert(ordered.into(), self.series.len());
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let id = SeriesId {
                    name: text(metric.name),
                    kind: metric.kind,
                    tags: tags.into_iter().map(text).collect(),
                };
                let numbers = Numbers::none(metric.kind);
                self.series.push(Tracked { id, numbers, idle: 0 });
                self.series.len() - 1
            }
        };
        if self.keys.len() < KEYS_PER_SERIES * self.series.len() {
            self.keys.insert(written.into(), place);
        }
        Some(place)
    }

    fn forget_idle(&mut self) {
        let mut new_places = Vec::with_capacity(self.series.len());
        let mut kept = 0;
        for tracked in &mut self.series {
            tracked.idle += 1;
            let is_kept = tracked.idle <= IDLE_FLUSHES;
            new_places.push(is_kept.then_some(kept));
            kept += usize::from(is_kept);
        }
        if kept < self.series.len() {
            self.series.retain(|tracked| tracked.idle <= IDLE_FLUSHES);
            self.keys.retain(|_, place| match new_places[*place] {
                Some(new) => {
                    *place = new;
                    true
                }
                None => false,
            });
        }
    }
}

impl Tracked {
    fn is_to_be_told(&self) -> bool {
        self.idle == 0 || matches!(self.numbers, Numbers::Level(_))
    }
}

#[cfg(test)]
mod tests {
    use drover_api::JobId;
    use serde_json::{Value, json};

    use super::super::series::Series;
    use super::*;

    fn source(job: &str) -> Source {
        Source { job: job.parse().unwrap(), domain: "web".into(), name: "shop".into() }
    }

    fn aggregator_with(job: &str) -> (Aggregator, ScopeId) {
        let mut aggregator = Aggregator::default();
        let id = aggregator.begin(source(job));
        (aggregator, id)
    }

    /// The series of one job, or of the program, as JSON without their scope.
    fn told(flush: &Flush, job: Option<&str>) -> Vec<Value> {
        let is_asked_for = |series: &&Series| series.scope.job.as_ref().map(JobId::as_str) == job;
        let tell = |series: &Series| {
            let mut json = serde_json::to_value(series).unwrap();
            json.as_object_mut().unwrap().remove("scope");
            json
        };
        flush.series.iter().filter(is_asked_for).map(tell).collect()
    }

    const SECONDS: Duration = Duration::from_secs(10);

    #[test]
    fn each_kind_adds_up_in_its_way() {
        let (mut aggregator, id) = aggregator_with("a");
        aggregator.add(id, b"hits:1|c\nhits:2|c|@0.5\r\nload:3|g\nload:-1|g\n\nusers:x|s\n");
        aggregator.add(id, b"users:y|s\nusers:x|s\ntemp:-4|kv\ntook:1:3|ms");
        let flush = aggregator.flush(SECONDS);
        assert_eq!((flush.refused, flush.malformed), (0, 0));
        assert_eq!(
            told(&flush, Some("a")),
            [
                json!({"metric": "hits", "kind": "counter", "total": 5.0, "per_second": 0.5}),
                json!({"metric": "load", "kind": "gauge", "value": 2.0}),
                json!({"metric": "users", "kind": "set", "unique": 2, "has_more": false}),
                json!({"metric": "temp", "kind": "gauge", "value": -4.0}),
                json!({
                    "metric": "took", "kind": "timer", "count": 2.0, "sum": 4.0, "mean": 2.0,
                    "min": 1.0, "max": 3.0, "p50": 1.0078125, "p90": 3.0, "p95": 3.0, "p99": 3.0,
                }),
            ]
        );
    }

    #[test]
    fn the_order_of_tags_does_not_matter() {
        let (mut aggregator, id) = aggregator_with("a");
        aggregator.add(id, b"a:1|c|#x:1,y\na:1|c|#y,x:1\na:1|c|#y,x:1,y\na:1|c\na:1|c|#y");
        let told = told(&aggregator.flush(SECONDS), Some("a"));
        let totals: Vec<_> = told.iter().map(|s| (&s["tags"], &s["total"])).collect();
        let (both, one) = (json!(["x:1", "y"]), json!(["y"]));
        let null = Value::Null;
        assert_eq!(totals, [(&both, &json!(3.0)), (&null, &json!(1.0)), (&one, &json!(1.0))]);
    }

    #[test]
    fn jobs_of_one_program_are_put_together() {
        let (mut aggregator, a) = aggregator_with("a");
        let b = aggregator.begin(source("b"));
        aggregator.add(a, b"hits:1|c\nload:3|g\nusers:x|s\ntook:1|ms");
        aggregator.add(b, b"hits:2|c\nload:4|g\nusers:x|s\ntook:5|ms");
        let flush = aggregator.flush(SECONDS);
        let program = told(&flush, None);
        assert_eq!(program[0]["total"], 3.0);
        assert_eq!(program[1]["value"], 7.0);
        assert_eq!(program[2]["sum"], 6.0);
        assert_eq!(program[3]["unique"], 1);
        assert_eq!(flush.series.len(), 12);
    }

    #[test]
    fn a_flush_begins_the_next_interval_and_gauges_stay() {
        let (mut aggregator, id) = aggregator_with("a");
        aggregator.add(id, b"hits:1|c\nload:3|g");
        aggregator.flush(SECONDS);
        aggregator.add(id, b"load:+1|g");
        let flush = aggregator.flush(SECONDS);
        assert_eq!(
            told(&flush, Some("a")),
            [json!({"metric": "load", "kind": "gauge", "value": 4.0})]
        );
    }

    #[test]
    fn a_job_that_ended_is_told_once_more_and_forgotten() {
        let (mut aggregator, id) = aggregator_with("a");
        aggregator.add(id, b"load:3|g");
        aggregator.end(id);
        assert_eq!(aggregator.flush(SECONDS).series.len(), 2);
        aggregator.add(id, b"load:3|g");
        assert_eq!(aggregator.flush(SECONDS), Flush::default());
        assert_eq!(aggregator.series, 0);
    }

    #[test]
    fn lines_that_are_no_metric_are_counted() {
        let (mut aggregator, id) = aggregator_with("a");
        aggregator.add(id, b"nonsense\na:x|c\na:1:x|c\na:1|c");
        let flush = aggregator.flush(SECONDS);
        assert_eq!(flush.malformed, 3);
        assert_eq!(told(&flush, Some("a"))[0]["total"], 2.0);
    }

    #[test]
    fn series_past_the_limit_are_refused_and_counted() {
        let limits = AggregatorLimits { max_series: 2, max_set_members: 3 };
        let mut aggregator = Aggregator::new(limits);
        let id = aggregator.begin(source("a"));
        for i in 0..10 {
            aggregator.add(id, format!("n{i}:1|c\nn{i}:1|c").as_bytes());
        }
        let flush = aggregator.flush(SECONDS);
        assert_eq!((flush.refused, flush.series.len()), (16, 4));

        let mut aggregator = Aggregator::new(limits);
        let id = aggregator.begin(source("a"));
        (0..10).for_each(|i| aggregator.add(id, format!("users:{i}|s").as_bytes()));
        let told = told(&aggregator.flush(SECONDS), Some("a"));
        assert_eq!((&told[0]["unique"], &told[0]["has_more"]), (&json!(3), &json!(true)));
    }

    #[test]
    fn idle_series_make_room_for_others() {
        let mut aggregator =
            Aggregator::new(AggregatorLimits { max_series: 2, ..AggregatorLimits::default() });
        let id = aggregator.begin(source("a"));
        aggregator.add(id, b"old:1|g\nused:1|g");
        for _ in 0..=IDLE_FLUSHES {
            aggregator.add(id, b"used:2|g");
            aggregator.flush(SECONDS);
        }
        aggregator.add(id, b"new:5|g\nused:+1|g");
        let told = told(&aggregator.flush(SECONDS), Some("a"));
        let levels: Vec<_> = told.iter().map(|s| (&s["metric"], &s["value"])).collect();
        let (used, new) = (json!("used"), json!("new"));
        assert_eq!(levels, [(&used, &json!(3.0)), (&new, &json!(5.0))]);
    }
}
