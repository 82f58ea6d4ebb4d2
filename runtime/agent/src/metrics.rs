//! Metrics: what jobs and the programs of the host measure, added up and written
//! down as records.
//!
//! Every interval, each series becomes one record of level 10 in JSON, as
//! [`Series`](drover_logs::statsd::Series) has it: so it is queried, followed,
//! dropped with age and forwarded like all that is logged. Series of one job
//! belong to that job; those over all jobs of a domain and name to the job
//! `drover.statsd`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_api::{JobId, Level, Timestamp};
use drover_logs::statsd::{
    Aggregator, Flush, MetricReceiver, ReceiverAddress, ReceiverError, ScopeId, Series,
};
use drover_logs::store::{Batch, LogStore, Origin};
use drover_logs::{LevelSet, Message, Part, Source};
use drover_plugin_host::{Meter, Meters};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::config::StatsdSettings;

/// The job of what is no single job's.
const OWN_JOB: &str = "drover.statsd";

/// A cheap handle on the metrics of the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    // Held for one look-up or one addition, never across anything that waits.
    aggregator: Arc<Mutex<Aggregator>>,
}

impl Metrics {
    /// Makes a job known that has something to measure.
    pub(crate) fn begin(&self, source: &Source) -> ScopeId {
        self.lock().begin(source.clone())
    }

    /// Adds lines of metrics.
    pub(crate) fn add(&self, scope: ScopeId, lines: &[u8]) {
        self.lock().add(scope, lines);
    }

    /// Says that a job has ended.
    pub(crate) fn end(&self, scope: ScopeId) {
        self.lock().end(scope);
    }

    fn lock(&self) -> MutexGuard<'_, Aggregator> {
        self.aggregator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What plugins measure belongs to their job, under plugin and operation.
impl Meters for Metrics {
    fn meter(&self, job: &JobId, plugin: &str, operation: &str) -> Box<dyn Meter> {
        let (domain, name) = (plugin.to_owned(), operation.to_owned());
        let scope = self.begin(&Source { job: job.clone(), domain, name });
        Box::new(JobMeter { metrics: self.clone(), scope })
    }
}

/// Takes what the job of a plugin measures, until it is dropped.
struct JobMeter {
    metrics: Metrics,
    scope: ScopeId,
}

impl Meter for JobMeter {
    fn add(&self, lines: &str) {
        self.metrics.add(self.scope, lines.as_bytes());
    }
}

impl Drop for JobMeter {
    fn drop(&mut self) {
        self.metrics.end(self.scope);
    }
}

/// The sockets on which the host's own programs measure.
pub(crate) struct Sockets {
    receivers: Vec<MetricReceiver>,
    /// Datagrams lost so far, as was told last.
    lost: u64,
}

impl Sockets {
    /// Opens what the configuration asks for.
    ///
    /// # Errors
    ///
    /// If a socket is in use or not allowed.
    pub(crate) fn open(
        settings: &StatsdSettings,
        metrics: &Metrics,
    ) -> Result<Self, ReceiverError> {
        let addresses = [
            settings.udp.map(ReceiverAddress::Udp),
            settings.unix.clone().map(ReceiverAddress::Unix),
        ];
        let open = |address| {
            let metrics = metrics.clone();
            let scope = metrics.begin(&own_source());
            let receiver = MetricReceiver::start(address, move |lines| metrics.add(scope, lines))?;
            tracing::info!(address = ?receiver.address(), "receiving metrics");
            Ok(receiver)
        };
        let receivers = addresses.into_iter().flatten().map(open).collect::<Result<_, _>>()?;
        Ok(Self { receivers, lost: 0 })
    }

    /// Datagrams that were lost since this was asked last.
    fn newly_lost(&mut self) -> u64 {
        let lost: u64 = self.receivers.iter().map(MetricReceiver::lost).sum();
        lost.saturating_sub(std::mem::replace(&mut self.lost, lost))
    }
}

/// Writes down what the metrics come to, until `stop` is cancelled and once
/// more then.
pub(crate) async fn run(
    metrics: Metrics,
    mut sockets: Sockets,
    settings: StatsdSettings,
    store: LogStore,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut tick = interval_at(Instant::now() + settings.interval, settings.interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut flushed_at = Instant::now();
    loop {
        let is_last = tokio::select! {
            _ = tick.tick() => false,
            () = stop.cancelled() => true,
        };
        if is_last {
            // What was sent until now counts.
            let receivers = std::mem::take(&mut sockets.receivers);
            tokio::task::spawn_blocking(move || drop(receivers)).await?;
        }
        let since = flushed_at.elapsed().max(Duration::from_millis(1));
        flushed_at = Instant::now();
        let flush = metrics.lock().flush(since);
        let lost = sockets.newly_lost();
        for batch in batches(&flush, lost, settings.forward, Timestamp::now()) {
            // A log that takes nothing must not hold up the end.
            let given_up = async {
                stop.cancelled().await;
                tokio::time::sleep(LAST_WORDS).await;
            };
            tokio::select! {
                added = store.append(batch) => added?,
                () = given_up => return Ok(()),
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

/// How long the last series wait for a log that takes nothing.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a flush comes to, as records.
fn batches(flush: &Flush, lost: u64, forward: bool, time: Timestamp) -> Vec<Batch> {
    let mut batches: Vec<(Source, Batch)> = Vec::new();
    for series in &flush.series {
        let source = source_of(series);
        if batches.last().is_none_or(|(of, _)| *of != source) {
            batches.push((source.clone(), Batch::new(origin(source, forward))));
        }
        let Some((_, batch)) = batches.last_mut() else { continue };
        match serde_json::to_vec(series) {
            Ok(data) => batch.push(time, whole(Level::STATSD, &data)),
            Err(error) => tracing::error!(%error, "a series cannot be written"),
        }
    }
    let mut own = Batch::new(origin(own_source(), forward));
    for (count, what) in [
        (flush.refused, "lines of metrics were refused: there are as many series as are kept"),
        (flush.malformed, "lines or values are no metrics"),
        (lost, "datagrams with metrics were lost: they came faster than they were taken"),
    ] {
        if count > 0 {
            own.push(time, whole(Level::WARNING, format!("{count} {what}").as_bytes()));
        }
    }
    batches.into_iter().map(|(_, batch)| batch).chain((!own.is_empty()).then_some(own)).collect()
}

fn whole(level: Level, data: &[u8]) -> Message<'_> {
    Message { level, data, part: Part::Whole }
}

fn origin(source: Source, forward: bool) -> Arc<Origin> {
    let forward = if forward { LevelSet::only(Level::STATSD) } else { LevelSet::NONE };
    Arc::new(Origin { forward, ..Origin::new(source) })
}

fn source_of(series: &Series) -> Source {
    let scope = &series.scope;
    let job = scope.job.clone().unwrap_or_else(own_job);
    Source { job, domain: scope.domain.clone(), name: scope.name.clone() }
}

fn own_source() -> Source {
    Source { job: own_job(), domain: "drover".to_owned(), name: "statsd".to_owned() }
}

fn own_job() -> JobId {
    OWN_JOB.parse().expect("the letters are allowed in a job's id")
}
