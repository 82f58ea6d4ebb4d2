//! What there is to do in an update, each until it is done or cannot be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drover_api::{ErrorCode, JobState};
use drover_plugin_host::{Host, Job, LoadError, Staged};
use drover_update::{Event, Files, Tally, Version, judge, short};
use drover_wamp::Backoff;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::delivery::{Delivery, Undelivered};
use super::trust::Trust;

/// The operation by which a version tests itself before it serves.
const SELF_TEST: &str = "self_test";

/// How often a version that is watched is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Wait before something is tried again that may pass, such as a full disk; it
/// doubles …
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// … up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What all work is done with.
pub(super) struct Means {
    pub(super) host: Host,
    pub(super) delivery: Delivery,
    pub(super) trust: Mutex<Trust>,
}

/// What work is about.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) means: Arc<Means>,
    pub(super) name: String,
    pub(super) files: Files,
    pub(super) version: Version,
}

/// What work came to.
pub(super) struct Done {
    pub(super) event: Event,
    /// A version that is loaded, for what comes next.
    pub(super) staged: Option<Staged>,
}

impl From<Event> for Done {
    fn from(event: Event) -> Self {
        Self { event, staged: None }
    }
}

/// Gets the content of a version that a fresh statement has: what none has is not
/// worth a byte.
pub(super) async fn fetch(
    subject: Subject,
    newest: Option<semver::Version>,
    told: impl FnMut(u64) + Send,
) -> Done {
    if let Err(refused) = subject.check_statement(newest).await {
        return refused.into();
    }
    let Subject { means, files, version, .. } = subject;
    let mut told = told;
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        match means.delivery.content(&version, &files, &mut told).await {
            Ok(()) => return Event::Fetched.into(),
            Err(Undelivered::Files(error)) if error.may_pass() => {
                tracing::warn!(error = in_words(&error), "an update waits for the disk");
                sleep(backoff.wait()).await;
            }
            Err(error) => return Event::Refused(in_words(&error)).into(),
        }
    }
}

/// Checks that the version is what was signed, and stated to be current.
pub(super) async fn verify(subject: Subject, newest: Option<semver::Version>) -> Done {
    if let Err(refused) = subject.check_statement(newest).await {
        return refused.into();
    }
    let Subject { means, name, files, version } = subject;
    let check = move || {
        files.finish(&version).map_err(|error| in_words(&error))?;
        let trust = means.trust.lock().unwrap_or_else(PoisonError::into_inner);
        let path = files.version(&version);
        trust.check_content(&path, &name, &version).map_err(|error| in_words(&error))
    };
    match spawn_blocking(check).await {
        Ok(Ok(())) => Event::Verified.into(),
        Ok(Err(reason)) => Event::Refused(reason).into(),
        Err(error) => Event::Refused(format!("verifying it failed: {error}")).into(),
    }
}

/// Compiles a version, has it describe itself, and holds it against the grants, the
/// pins and the plugin directory.
pub(super) async fn prepare(subject: Subject) -> Done {
    let mut revision = subject.means.host.revision();
    loop {
        revision.mark_unchanged();
        let held = match subject.prepare().await {
            Ok(staged) => return Done { event: Event::Prepared, staged: Some(staged) },
            Err(Unstaged::Refused(reason)) => return Event::Refused(reason).into(),
            Err(Unstaged::Held(reason)) => reason,
        };
        // What changed meanwhile may be what it waits for.
        if !revision.has_changed().unwrap_or(false) {
            return Event::Held(held).into();
        }
    }
}

/// Has a version that does not serve yet test itself, if it can.
pub(super) async fn test(subject: Subject, staged: Option<Staged>) -> Done {
    let staged = match staged {
        Some(staged) => staged,
        None => match subject.stage().await {
            Ok(staged) => staged,
            Err(error) => return Event::Refused(error.reason()).into(),
        },
    };
    let done = |event| Done { event, staged: Some(staged.clone()) };
    if !staged.operations().iter().any(|operation| operation.name == SELF_TEST) {
        return done(Event::Tested);
    }
    let job = Job {
        id: "drover.self_test".parse().expect("the letters are allowed in a job's id"),
        ..Job::new(&subject.name, SELF_TEST, serde_json::Map::new())
    };
    let outcome = subject.means.host.try_out(&staged, job).await;
    match (outcome.state, outcome.error) {
        (JobState::Ok, _) => done(Event::Tested),
        (_, Some(error)) if error.code == ErrorCode::ShuttingDown => std::future::pending().await,
        (_, error) => {
            let why = error.map(|error| error.message).unwrap_or_default();
            done(Event::Refused(format!("its own test failed: {why}")))
        }
    }
}

/// Has a version serve from now on, between two calls.
pub(super) async fn serve(subject: Subject, mut staged: Option<Staged>) -> Done {
    let host = &subject.means.host;
    let mut revision = host.revision();
    while !host.knows_directory() {
        if revision.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
    let hash = subject.version.hash;
    loop {
        revision.mark_unchanged();
        let held = match subject.serve(staged.take()).await {
            Ok(before) => return Event::Served(hash, before).into(),
            Err(Unstaged::Refused(reason)) => return Event::Unservable(hash, reason).into(),
            Err(Unstaged::Held(reason)) => reason,
        };
        if !revision.has_changed().unwrap_or(false) {
            return Event::Held(held).into();
        }
    }
}

/// Compares a version that serves with the one before, for so long.
pub(super) async fn watch(subject: Subject, before: Option<Tally>, time: Duration) -> Done {
    let until = Instant::now() + time;
    let hash = subject.version.hash.to_string();
    loop {
        let pushed = subject.means.host.pushed(&subject.name);
        if let Some((_, now)) = pushed.filter(|(serving, _)| *serving == hash) {
            if let Some(reason) = judge(before, tally(now)) {
                return Event::Bad(reason).into();
            }
            if Instant::now() >= until {
                return Event::Passed.into();
            }
        }
        sleep(LOOK).await;
    }
}

/// Why a version cannot be loaded or serve.
enum Unstaged {
    /// Something has to change that is not the version's fault.
    Held(String),
    Refused(String),
}

impl Unstaged {
    fn reason(self) -> String {
        match self {
            Self::Held(reason) | Self::Refused(reason) => reason,
        }
    }
}

impl Subject {
    /// Waits for a fresh statement that has the version, unless one does not.
    async fn check_statement(&self, newest: Option<semver::Version>) -> Result<(), Event> {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let statement = self.means.delivery.statement().await;
            let statement = statement.map_err(|error| Event::Refused(in_words(&error)))?;
            let Self { means, name, version, .. } = self.clone();
            let newest = newest.clone();
            let check = move || {
                let mut trust = means.trust.lock().unwrap_or_else(PoisonError::into_inner);
                trust.check_statement(&statement, &name, &version, newest.as_ref())
            };
            match spawn_blocking(check).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if error.may_pass() => {
                    tracing::warn!(error = in_words(&error), "an update waits for the disk");
                }
                Ok(Err(error)) => return Err(Event::Refused(in_words(&error))),
                Err(error) => {
                    return Err(Event::Refused(format!("verifying it failed: {error}")));
                }
            }
            sleep(backoff.wait()).await;
        }
    }

    async fn prepare(&self) -> Result<Staged, Unstaged> {
        let Self { means, name, version, .. } = self;
        if let Some(pin) =
            means.host.pins().get(name).filter(|pin| **pin != version.version.to_string())
        {
            let reason = format!("the agent's configuration pins `{name}` to version {pin}");
            return Err(Unstaged::Held(reason));
        }
        if means.host.is_in_directory(name) {
            return Err(Unstaged::Held(taken(name)));
        }
        self.stage().await
    }

    /// Has the version serve unless it does, and gives back how the one before did.
    async fn serve(&self, staged: Option<Staged>) -> Result<Option<Tally>, Unstaged> {
        let (host, hash) = (&self.means.host, self.version.hash.to_string());
        if host.pushed(&self.name).is_some_and(|(serving, _)| serving == hash) {
            return Ok(None);
        }
        if host.is_in_directory(&self.name) {
            return Err(Unstaged::Held(taken(&self.name)));
        }
        let staged = match staged.filter(|staged| staged.hash() == hash) {
            Some(staged) => staged,
            None => self.stage().await?,
        };
        match host.swap(staged) {
            Ok(before) => Ok(before.map(tally)),
            Err(taken) => Err(Unstaged::Held(taken.to_string())),
        }
    }

    /// Loads the version without having it serve, again and again where what stops
    /// it may pass.
    async fn stage(&self) -> Result<Staged, Unstaged> {
        let Self { means, name, files, version } = self;
        let path = files.version(version);
        let number = version.version.to_string();
        let file = format!("pushed/{name}/{number}-{}.wasm", short(version.hash));
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let error = match means.host.stage(&path, name, &file, &number).await {
                Ok(staged) => return self.check(staged),
                Err(LoadError::ShuttingDown { .. }) => std::future::pending().await,
                Err(LoadError::Refused { source, .. }) if source.is_not_granted() => {
                    return Err(Unstaged::Held(in_words(&source)));
                }
                // A kept file that is gone does not come back.
                Err(LoadError::Refused { source, .. }) if source.may_pass() && path.exists() => {
                    source
                }
                Err(LoadError::Refused { source, .. }) => {
                    return Err(Unstaged::Refused(in_words(&source)));
                }
                Err(error) => return Err(Unstaged::Refused(in_words(&error))),
            };
            tracing::warn!(plugin = name, error = in_words(&error), "an update waits");
            sleep(backoff.wait()).await;
        }
    }

    fn check(&self, staged: Staged) -> Result<Staged, Unstaged> {
        let Version { version, hash, .. } = &self.version;
        if staged.hash() != hash.to_string() {
            return Err(Unstaged::Refused("its file was damaged or changed".to_owned()));
        }
        match staged.version() {
            Some(own) if own != version.to_string() => Err(Unstaged::Refused(format!(
                "its manifest calls it version {own}, and it was pushed as version {version}"
            ))),
            _ => Ok(staged),
        }
    }
}

fn taken(name: &str) -> String {
    format!(
        "the plugin directory of the node has the name `{name}`: remove the file or folder there \
         to have pushed versions serve"
    )
}

fn tally(tally: drover_plugin_host::Tally) -> Tally {
    let drover_plugin_host::Tally { jobs, crashes, failures } = tally;
    Tally { jobs, crashes, failures }
}

/// An error and its sources in one line.
pub(super) fn in_words(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
