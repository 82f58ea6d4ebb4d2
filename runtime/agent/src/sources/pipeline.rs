//! One source, from its files to the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use drover_api::{ErrorCode, JobError, Level, SourceFile, SourceState, Timestamp};
use drover_logs::store::{Batch, Origin};
use drover_logs::{LevelSet, Message, Part};
use drover_plugin_host::ParserSpec;
use drover_sources::{Event, FileId, Follower, FollowerConfig, Position, What};
use drover_watch::{Wakes, Watched, Watcher};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::counters::Counters;
use super::{Parsing, Taken, mark_of};
use crate::config::SourceSettings;
use crate::logs::JobLevels;
use crate::node::Node;

/// How often the files are looked at where no change is heard of.
const LOOK: Duration = Duration::from_secs(2);

/// How long others may follow the first change, to be read with it.
const GATHER: Duration = Duration::from_millis(50);

/// How long lines are held back that later ones may belong to.
const HELD: Duration = Duration::from_secs(2);

/// How long a parser is kept that has nothing to do.
const IDLE: Duration = Duration::from_secs(60);

/// How often a parser is asked for that is not there.
const ASK: Duration = Duration::from_secs(1);

/// The agent ends: nothing more is taken.
#[derive(Debug)]
struct Stopped;

/// Follows a source until `stop` is cancelled, or the log is closed.
pub(super) async fn follow(
    node: Node,
    name: String,
    settings: SourceSettings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let source = settings.source(&name).context("the name of a source is checked")?;
    let levels =
        JobLevels { heard: LevelSet::ALL, store: LevelSet::ALL, forward: settings.forward };
    let counters = settings.counters.then(|| Counters::new(node.logs().metrics().clone(), &source));
    let origin = Arc::new(node.logs().origin(source, levels));
    let watcher = Watcher::new(Wakes::OnWrites)
        .inspect_err(|error| {
            tracing::warn!(%error, source = name, "cannot watch log files, looking at them every two seconds; raise fs.inotify.max_user_instances");
        })
        .ok();
    let positions = positions(&node, &name);
    let config =
        FollowerConfig { beginning: settings.from, ..FollowerConfig::new(settings.files.clone()) };
    let mut pipeline = Pipeline {
        spec: settings.parser(),
        follower: Some(Follower::new(config, positions)),
        node,
        name,
        origin,
        counters,
        files: HashMap::new(),
        stop,
    };
    pipeline.run(watcher.as_ref()).await
}

/// Where the files of a source were left; none if it is new.
fn positions(node: &Node, name: &str) -> Option<Vec<Position>> {
    let marks: BTreeMap<String, String> = node.logs().store().marks();
    let own = mark_of(name);
    marks.contains_key(&own).then(|| {
        let of_files = marks
            .iter()
            .filter(|(mark, _)| mark.strip_prefix(&own).is_some_and(|rest| rest.starts_with('/')));
        of_files.filter_map(|(_, value)| serde_json::from_str(value).ok()).collect()
    })
}

struct Pipeline {
    node: Node,
    name: String,
    origin: Arc<Origin>,
    spec: Option<ParserSpec>,
    counters: Option<Counters>,
    /// Absent while it is with a thread that reads.
    follower: Option<Follower>,
    files: HashMap<FileId, OneFile>,
    stop: CancellationToken,
}

/// What is on its way of one file.
struct OneFile {
    parsing: Parsing,
    /// The place behind all that was taken.
    position: Position,
    taken_at: Instant,
}

impl Pipeline {
    async fn run(&mut self, watcher: Option<&Watcher>) -> anyhow::Result<()> {
        let mut batch = self.batch();
        batch.mark(mark_of(&self.name), Some(String::new()));
        if self.store(batch).await.is_err() {
            return Ok(());
        }
        let mut watched = Watched::default();
        loop {
            self.on_thread(|follower| follower.look(Instant::now())).await?;
            loop {
                let event = self.on_thread(|follower| follower.next(Instant::now())).await?;
                let Some(event) = event else { break };
                if let Err(Stopped) = self.handle(event).await {
                    return Ok(());
                }
            }
            if let Err(Stopped) = self.flush_held().await {
                return Ok(());
            }
            watched = self.tell(watcher, watched);
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = change(watcher) => {}
            }
        }
    }

    /// Reads files on a thread that may wait for the disk.
    async fn on_thread<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Follower) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let mut follower = self.follower.take().context("reading a source panicked")?;
        let worked = spawn_blocking(move || {
            let result = work(&mut follower);
            (follower, result)
        });
        let (follower, result) = worked.await.context("reading a source panicked")?;
        self.follower = Some(follower);
        Ok(result)
    }

    async fn handle(&mut self, event: Event) -> Result<(), Stopped> {
        let Event { file, path, what } = event;
        match what {
            What::Begun { position } => self.begin(file, position, None).await,
            What::Lines { lines, is_cut, position } => {
                self.take(file, lines, is_cut, position).await
            }
            What::Gap { at, lost, position } => {
                let lost = match lost {
                    Some(bytes) => format!("at least {bytes} bytes that came"),
                    None => "what came".to_owned(),
                };
                let text = format!(
                    "{} was cut or replaced: {lost} after its first {at} bytes could not be read \
                     any more; it is read from its start",
                    path.display()
                );
                self.begin(file, position, Some(text)).await
            }
            What::Ended { lost_after } => {
                let text = lost_after.map(|at| {
                    format!(
                        "{} went while nobody followed it: what came after its first {at} bytes, \
                         if something did, could not be read",
                        path.display()
                    )
                });
                self.flush(file).await?;
                self.files.remove(&file);
                let mut batch = self.batch();
                self.gap(&mut batch, text);
                batch.mark(self.mark(file), None);
                self.store(batch).await
            }
        }
    }

    /// Goes on with a file at `position`, perhaps after a gap.
    async fn begin(
        &mut self,
        file: FileId,
        position: Position,
        gap: Option<String>,
    ) -> Result<(), Stopped> {
        self.flush(file).await?;
        let mut batch = self.batch();
        self.gap(&mut batch, gap);
        batch.mark(self.mark(file), Some(in_json(&position)));
        self.one(file, &position).position = position.clone();
        self.store(batch).await
    }

    fn gap(&self, batch: &mut Batch, text: Option<String>) {
        if let Some(text) = text {
            batch.push_gap(Timestamp::now(), &text);
            self.node.sources().update(&self.name, |status| status.gaps += 1);
        }
    }

    fn one(&mut self, file: FileId, position: &Position) -> &mut OneFile {
        self.files.entry(file).or_insert_with(|| OneFile {
            parsing: Parsing::new(self.spec.clone()),
            position: position.clone(),
            taken_at: Instant::now(),
        })
    }

    /// Takes lines of a file, and stores what the parser makes of them.
    async fn take(
        &mut self,
        file: FileId,
        lines: Vec<u8>,
        is_cut: bool,
        position: Position,
    ) -> Result<(), Stopped> {
        let length = lines.len() as u64;
        let lines = Bytes::from(lines);
        let host = self.node.host().clone();
        let before = position.before(length);
        let one = self.one(file, &before);
        // Something was left out, so that what is held back cannot be counted.
        let is_apart = one.position.offset + length != position.offset;
        let taken = loop {
            match self.one(file, &before).parsing.take(&host, lines.clone()).await {
                Ok(taken) => break taken,
                Err(error) => self.wait_for_parser(&error).await?,
            }
        };
        if is_cut {
            self.node.sources().update(&self.name, |status| status.cut += 1);
        }
        let one = self.one(file, &position);
        (one.position, one.taken_at) = (position, Instant::now());
        if is_apart && one.parsing.held() > 0 {
            let mut batch = self.records(&taken);
            if let Some(rest) = self.take_held(file).await? {
                self.add(&mut batch, &rest);
            }
            return self.store_at(file, batch).await;
        }
        let batch = self.records(&taken);
        self.store_at(file, batch).await
    }

    /// Waits a moment for a parser that is not there, and says why.
    async fn wait_for_parser(&mut self, error: &JobError) -> Result<(), Stopped> {
        if error.code == ErrorCode::ShuttingDown {
            return Err(Stopped);
        }
        let mut is_news = false;
        self.node.sources().update(&self.name, |status| {
            is_news = status.waits_for.as_ref() != Some(&error.message);
            status.state = SourceState::Waiting;
            status.waits_for = Some(error.message.clone());
        });
        if is_news {
            tracing::warn!(source = self.name, error = %error.message, "a source waits for its parser");
            self.node.changed();
        }
        let mut revision = self.node.host().revision();
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopped),
            _ = timeout(ASK, revision.changed()) => Ok(()),
        }
    }

    /// Has parsers give what they held back for long enough, and closes those
    /// that have nothing to do.
    async fn flush_held(&mut self) -> Result<(), Stopped> {
        let quiet = |one: &OneFile| one.taken_at.elapsed();
        let due = |(file, one): (&FileId, &OneFile)| {
            (one.parsing.held() > 0 && quiet(one) >= HELD).then_some(*file)
        };
        let due: Vec<FileId> = self.files.iter().filter_map(due).collect();
        for file in due {
            self.flush(file).await?;
        }
        for one in self.files.values_mut().filter(|one| quiet(one) >= IDLE) {
            one.parsing.close();
        }
        Ok(())
    }

    async fn flush(&mut self, file: FileId) -> Result<(), Stopped> {
        let Some(rest) = self.take_held(file).await? else { return Ok(()) };
        let batch = self.records(&rest);
        self.store_at(file, batch).await
    }

    async fn take_held(&mut self, file: FileId) -> Result<Option<Taken>, Stopped> {
        let Some(one) = self.files.get_mut(&file) else { return Ok(None) };
        one.parsing.flush().await.map_err(|_| Stopped)
    }

    /// Stores records with the place behind the last line that is in them.
    async fn store_at(&mut self, file: FileId, mut batch: Batch) -> Result<(), Stopped> {
        if let Some(one) = self.files.get(&file) {
            let position = one.position.before(one.parsing.held());
            batch.mark(self.mark(file), Some(in_json(&position)));
        }
        self.store(batch).await?;
        if let Some(counters) = &mut self.counters {
            counters.tell();
        }
        Ok(())
    }

    async fn store(&mut self, batch: Batch) -> Result<(), Stopped> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopped),
            stored = self.node.logs().store().append(batch) => stored.map_err(|_| Stopped),
        }
    }

    fn records(&mut self, taken: &Taken) -> Batch {
        let mut batch = self.batch();
        self.add(&mut batch, taken);
        batch
    }

    /// Adds what became of lines to a batch, and counts it.
    fn add(&mut self, batch: &mut Batch, taken: &Taken) {
        let now = Timestamp::now();
        let longest = self.node.logs().longest();
        let (mut lines, mut unparsed) = (0, 0);
        for line in taken.lines() {
            line.add_to(batch, longest, now);
            lines += line.lines;
            let is_parsed = line.is_parsed || self.spec.is_none();
            unparsed += if is_parsed { 0 } else { line.lines };
            if let Some(counters) = &mut self.counters {
                counters.event(line.level, line.lines, is_parsed, line.fields());
            }
        }
        for record in taken.records() {
            note(batch, record.time, record.level, &record.data);
        }
        let failure = taken.failure();
        if let Some(failure) = failure {
            let text = format!(
                "a parser failed, and lines are kept as they are until it is tried again: {}",
                failure.error.message
            );
            note(batch, now, Level::WARNING, &text);
            if failure.is_critical {
                let text = format!(
                    "the parser of source `{}` fails again and again, and its lines are kept as \
                     they are: {}",
                    self.name, failure.error.message
                );
                note(batch, now, Level::CRITICAL, &text);
            }
        }
        self.node.sources().update(&self.name, |status| {
            status.lines += lines;
            status.unparsed += unparsed;
            if let Some(failure) = failure {
                status.last_error = Some(failure.error.message.clone());
            }
        });
        self.is_following();
    }

    /// Notes that lines are read.
    fn is_following(&self) {
        let mut was_waiting = false;
        self.node.sources().update(&self.name, |status| {
            was_waiting = status.state == SourceState::Waiting;
            (status.state, status.waits_for) = (SourceState::Following, None);
        });
        if was_waiting {
            tracing::info!(source = self.name, "a source is followed again");
            self.node.changed();
        }
    }

    /// Notes how far the files are read, and watches their directories.
    fn tell(&self, watcher: Option<&Watcher>, before: Watched) -> Watched {
        let Some(follower) = &self.follower else { return before };
        let files = follower.files();
        let lag = files.iter().map(|file| file.size.saturating_sub(file.offset)).sum();
        let parser = self.spec.as_ref().map(|spec| format!("{} {}", spec.plugin, spec.format));
        let files = files.into_iter().map(|file| SourceFile {
            path: file.path.display().to_string(),
            offset: file.offset,
            size: file.size,
            has_name: file.has_name,
        });
        let files = files.collect();
        self.node.sources().update(&self.name, |status| {
            (status.state, status.waits_for) = (SourceState::Following, None);
            (status.files, status.lag, status.parser) = (files, lag, parser);
            status.troubles = follower.troubles().to_vec();
        });
        if let Some(counters) = &self.counters {
            counters.lag(lag);
        }
        let Some(watcher) = watcher else { return before };
        let mut watched = Watched::default();
        for directory in follower.directories() {
            watcher.watch(directory, &mut watched);
        }
        watcher.watch_only(&watched, &before);
        watched
    }

    fn batch(&self) -> Batch {
        Batch::new(Arc::clone(&self.origin))
    }

    fn mark(&self, file: FileId) -> String {
        format!("{}/{file}", mark_of(&self.name))
    }
}

fn note(batch: &mut Batch, time: Timestamp, level: Level, text: &str) {
    batch.push(time, Message { level, data: text.as_bytes(), part: Part::Whole });
}

fn in_json(position: &Position) -> String {
    serde_json::to_string(position).unwrap_or_default()
}

/// Waits until there may be something to read.
async fn change(watcher: Option<&Watcher>) {
    let heard = async {
        match watcher {
            Some(watcher) if watcher.changed().await.is_ok() => sleep(GATHER).await,
            _ => std::future::pending().await,
        }
    };
    // Those who wait longer have not missed anything.
    let _ = timeout(LOOK, heard).await;
}
