//! Parsers of log lines: instances that are kept, one for each source.
//!
//! A [`Parser`] is between two calls whenever nobody waits for one, and costs
//! its memory only. A call goes to the host's threads and back with the
//! instance in it; whoever drops a call, or has one fail, has no instance any
//! more, and opens another parser.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use drover_api::{ErrorCode, JobError};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use wasmtime::Store;

use crate::bindings::packing::exports::drover::plugin::packed_lines::Packed;
use crate::bindings::parsing::exports::drover::plugin::line_parsing::OpenError;
use crate::call::{Call, Cancellation, Log};
use crate::failure::{self, plain};
use crate::formats::Exports;
use crate::host::Host;
use crate::instance::{self, Base, State, Streams};
use crate::job::Outcome;
use crate::names::unknown;
use crate::pace::Pace;
use crate::packing;
use crate::parsed::Parsed;
use crate::plugin::Loaded;
use crate::records::cut;
use crate::share;
use crate::terms::Terms;
use crate::watch::Watch;

/// The longest batch, and the most that an answer may leave of one, in bytes;
/// see `wit/line-parsing.wit`.
pub(crate) const BATCH: usize = 64 << 10;

/// Time that a plugin has for one batch, unless its jobs have less: some thousand
/// times what one takes.
const BATCH_DEADLINE: Duration = Duration::from_secs(5);

/// Which parser is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct ParserSpec {
    /// The plugin's name.
    pub plugin: String,
    /// The name of one of its formats.
    pub format: String,
    /// The format's options, an object; not yet checked.
    pub options: Value,
}

/// A parser for the lines of one source.
pub struct Parser {
    host: Host,
    plugin: Arc<Loaded>,
    /// What it was opened on.
    terms: Arc<Terms>,
    /// Who is called, for messages.
    subject: String,
    /// None after a failure.
    instance: Option<Box<Instance>>,
    /// What the answers so far left, to come again before the next batch.
    held: Bytes,
    pace: Pace,
    _place: OwnedSemaphorePermit,
}

/// What goes to the host's threads and comes back.
struct Instance {
    store: Store<State>,
    exports: Exports,
    streams: Streams,
    log: Log,
    cancellation: Cancellation,
}

impl Host {
    /// Opens a parser: an instance of its own, with the limits of the plugin on
    /// memory and on its share of the processors, that lives until the parser
    /// is dropped.
    ///
    /// # Errors
    ///
    /// If there is no such plugin or format, it is in quarantine or not granted
    /// what it asks for, the options are wrong, it fails, or there are too many
    /// parsers.
    pub async fn open_parser(&self, spec: &ParserSpec) -> Result<Parser, JobError> {
        let plugin = self.plugin(&spec.plugin)?;
        let subject = format!("{}'s format {}", plugin.name, cut(&plain(&spec.format), 64));
        let Some((parsing, schema)) = plugin.format(&spec.format) else {
            let what = match plugin.description.formats.is_empty() {
                true => format!("plugin `{}` parses no log lines", plugin.name),
                false => format!("plugin `{}` has no format `{}`", plugin.name, spec.format),
            };
            let names = plugin.description.formats.iter().map(|format| format.name.as_str());
            return Err(unknown(&what, &spec.format, names.collect()));
        };
        schema.check(&subject, &spec.options)?;
        plugin.account.admit()?;
        let allowance = self.allowance(&plugin)?;
        let shared = self.shared();
        let Ok(place) = shared.parsing.clone().try_acquire_owned() else {
            let message = "the node has as many log parsers as it takes; follow fewer sources";
            return Err(JobError::new(ErrorCode::Busy, message));
        };
        let streams = Streams::default();
        let terms = plugin.account.terms();
        let deadline = Instant::now() + time_for_a_batch(&terms);
        let log = Log::default();
        let call = Call {
            allowance,
            denials: Arc::clone(plugin.account.denials()),
            log: Some(log.clone()),
            ..Call::describe(plugin.name.clone(), deadline)
        };
        let cancellation = call.cancellation.clone();
        let base = Base { shared, engine: parsing.engine(), limits: &terms.limits };
        let mut store = instance::store(base, &streams, call).map_err(|error| {
            JobError::new(ErrorCode::Denied, format!("`{subject}` cannot run: {error}"))
        })?;
        let parsing = parsing.clone();
        let (format, options) = (spec.format.clone(), spec.options.to_string());
        let opening = async move {
            let opened = async {
                let exports = parsing.instantiate(&mut store).await?;
                let parsing = exports.lines.drover_plugin_line_parsing();
                let answer = parsing.call_open(&mut store, &format, &options).await?;
                wasmtime::error::Ok((exports, answer))
            };
            let opened = opened.await;
            (opened, Box::new((store, streams)))
        };
        let opened = self.call(&plugin, &subject, &cancellation, deadline, opening, None).await;
        let (opened, rest) = opened?;
        let (store, streams) = *rest;
        let (exports, answer) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err(self.crash(&plugin, &subject, &error, &store, &streams)),
        };
        match answer {
            Ok(()) => {}
            Err(OpenError::UnknownFormat) => {
                let message =
                    format!("`{subject}` is described by its plugin, which does not know it");
                return Err(JobError::new(ErrorCode::UnknownCommand, message));
            }
            Err(OpenError::InvalidOptions(reason)) => {
                let message = format!("`{subject}` has wrong options: {}", plain(&reason));
                return Err(JobError::new(ErrorCode::InvalidArguments, message));
            }
        }
        let instance = Box::new(Instance { store, exports, streams, log, cancellation });
        Ok(Parser {
            host: self.clone(),
            plugin,
            terms,
            subject,
            instance: Some(instance),
            held: Bytes::new(),
            pace: Pace::default(),
            _place: place,
        })
    }

    /// Runs a call of a parser on the host's threads, within the plugin's share
    /// and until `deadline`.
    async fn call<T: Send + 'static>(
        &self,
        plugin: &Arc<Loaded>,
        subject: &str,
        cancellation: &Cancellation,
        deadline: Instant,
        call: impl Future<Output = T> + Send + 'static,
        pace: Option<&Pace>,
    ) -> Result<T, JobError> {
        let (shared, cancellation) = (self.shared().clone(), cancellation.clone());
        let share = plugin.account.terms().share.clone();
        let work = async move {
            let watch = Watch {
                cancellation: &cancellation,
                deadline: Some(deadline),
                stopping: &shared.stopping,
            };
            let call = shared.ticker.while_polled(call);
            let result = match share {
                Some(share) => watch.until_interrupted(share::within(share, call)).await,
                None => watch.until_interrupted(call).await,
            };
            (result, ())
        };
        let begin = Instant::now();
        let result = self.on_own_threads(work, pace).await?;
        if let Some(pace) = pace {
            pace.record(begin.elapsed());
        }
        result.map_err(|interruption| {
            let (_, error) =
                interruption.explain(subject, Some(time_for_a_batch(&plugin.account.terms())));
            self.blame(plugin, error)
        })
    }

    fn crash(
        &self,
        plugin: &Loaded,
        subject: &str,
        error: &wasmtime::Error,
        store: &Store<State>,
        streams: &Streams,
    ) -> JobError {
        let has_refused = store.data().memory.has_refused();
        let terms = plugin.account.terms();
        let words = streams.stderr.text();
        self.blame(plugin, failure::explain(subject, error, &words, has_refused, &terms.limits))
    }

    /// Notes a failure in the plugin's account, which may end in quarantine.
    fn blame(&self, plugin: &Loaded, error: JobError) -> JobError {
        let outcome = Outcome::refused(error.clone());
        let timeout = Some(plugin.account.terms().limits.deadline);
        if let Some(notice) = plugin.ended(&outcome, timeout) {
            tracing::error!(plugin = &*plugin.name, "{}", notice.text);
            self.shared().news.tell(notice);
            self.shared().news.changed();
        }
        error
    }
}

impl Parser {
    /// Parses a batch of whole lines, at most 64 KiB. The last lines may be
    /// held back, where later ones may belong to them: they come first in the
    /// next answer.
    ///
    /// # Errors
    ///
    /// If the batch is too long, which leaves the parser as it was. If the
    /// plugin fails, takes too long or answers wrongly, or the host shuts down:
    /// then the parser is of no use any more, and [`Parser::into_held`] has the
    /// lines that no answer had, but for this batch's.
    pub async fn parse(&mut self, batch: Bytes) -> Result<Parsed, JobError> {
        if batch.len() > BATCH {
            let length = batch.len();
            let message = format!("a batch of lines has {length} bytes, and {BATCH} are allowed");
            return Err(JobError::new(ErrorCode::InvalidArguments, message));
        }
        self.advance(batch, false).await
    }

    /// Parses what is held back.
    ///
    /// # Errors
    ///
    /// Like those of [`Parser::parse`].
    pub async fn flush(&mut self) -> Result<Parsed, JobError> {
        match self.held.is_empty() {
            true => Ok(Parsed::default()),
            false => self.advance(Bytes::new(), true).await,
        }
    }

    /// Whether the plugin has been replaced or removed, or has other limits, since
    /// the parser was opened. The parser works on; a new one would be of today.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        !self.host.serves(&self.plugin) || !Arc::ptr_eq(&self.terms, &self.plugin.account.terms())
    }

    /// Whether lines are held back, to be flushed when no others come.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// The lines that are held back, for who has no more use for the parser.
    #[must_use]
    pub fn into_held(self) -> Bytes {
        self.held
    }

    async fn advance(&mut self, batch: Bytes, is_last: bool) -> Result<Parsed, JobError> {
        let lines = join(&self.held, batch);
        let Some(mut instance) = self.instance.take() else {
            let message = format!("`{}` has failed before; open it again", self.subject);
            return Err(JobError::new(ErrorCode::Failed, message));
        };
        let deadline = Instant::now() + time_for_a_batch(&self.terms);
        let cancellation = instance.cancellation.clone();
        let input = lines.clone();
        let call = async move {
            instance.store.data_mut().call.deadline = Some(deadline);
            // The epoch went on while nobody called.
            instance.store.set_epoch_deadline(1);
            let Instance { store, exports, .. } = &mut *instance;
            let answer = match &exports.packed {
                Some(packed) => {
                    let packed = packed.drover_plugin_packed_lines();
                    packed.call_parse(store, &input, is_last).await
                }
                None => {
                    let parsing = exports.lines.drover_plugin_line_parsing();
                    parsing.call_parse(store, &input, is_last).await.map(packing::packed)
                }
            };
            (answer, instance)
        };
        let (host, plugin) = (&self.host, &self.plugin);
        let called =
            host.call(plugin, &self.subject, &cancellation, deadline, call, Some(&self.pace));
        let (answer, instance) = called.await?;
        let (store, streams) = (&instance.store, &instance.streams);
        let answer =
            answer.map_err(|error| host.crash(plugin, &self.subject, &error, store, streams))?;
        let parsed = self.check(&lines, answer, is_last, &instance.log)?;
        self.held = lines.slice(parsed.text().len()..);
        self.instance = Some(instance);
        Ok(parsed)
    }

    fn check(
        &self,
        lines: &Bytes,
        answer: Packed,
        is_last: bool,
        log: &Log,
    ) -> Result<Parsed, JobError> {
        let checked = Parsed::check(lines, answer, log.take()).and_then(|parsed| {
            match lines.len() - parsed.text().len() {
                left if is_last && left > 0 => {
                    Err(format!("it left {left} bytes of the last batch"))
                }
                left if left > BATCH => {
                    Err(format!("it left {left} bytes, and {BATCH} are allowed"))
                }
                _ => Ok(parsed),
            }
        });
        checked.map_err(|reason| {
            let message = format!("`{}` answered wrongly: {reason}", self.subject);
            JobError::new(ErrorCode::InvalidAnswer, message)
        })
    }
}

fn time_for_a_batch(terms: &Terms) -> Duration {
    terms.limits.deadline.min(BATCH_DEADLINE)
}

fn join(held: &Bytes, batch: Bytes) -> Bytes {
    if held.is_empty() {
        return batch;
    }
    let mut lines = BytesMut::with_capacity(held.len() + batch.len());
    lines.extend_from_slice(held);
    lines.extend_from_slice(&batch);
    lines.freeze()
}
