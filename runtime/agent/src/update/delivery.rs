//! How content and statements come from the controller.
//!
//! Statements come over the link. Content does as well, or by HTTP where the
//! configuration says so; what HTTP does not give comes over the link all the same.

mod http;

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use drover_api::{CatalogPiece, CatalogRead, CatalogStatement, MadeToken, procedures};
use drover_update::{Files, FilesError, Version};
use drover_wamp::{Backoff, CallError, CallOptions, Link, Payload, PayloadError, Secret, uri};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

pub(super) use http::HttpSource;

/// How much is asked for at once: little enough to leave the link to others.
const PIECE: u64 = 256 << 10;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Wait before the controller is asked again that did not answer; it doubles …
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// … up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The way to the controller, once there is one.
#[derive(Clone)]
pub(super) struct Delivery {
    link: watch::Receiver<Option<Link>>,
    /// Bytes a second.
    rate: u64,
    http: Option<HttpSource>,
}

/// How far a content is, and how fast more of it may come.
struct Intake<'a> {
    version: &'a Version,
    files: &'a Files,
    /// How many bytes are here.
    here: u64,
    began: Instant,
    fetched: u64,
    /// Bytes a second.
    rate: u64,
    told: &'a mut (dyn FnMut(u64) + Send),
}

impl Intake<'_> {
    fn is_whole(&self) -> bool {
        self.here >= self.version.length
    }

    /// Takes the next bytes, never more than were stated, and waits until more may
    /// come.
    async fn take(&mut self, bytes: Bytes) -> Result<(), Undelivered> {
        let (offset, count) = (self.here, bytes.len() as u64);
        let append = move |files: &Files, version: &Version| files.append(version, offset, &bytes);
        blocking(self.files, self.version, append).await?;
        self.here += count;
        self.fetched += count;
        (self.told)(self.here);
        let due = self.fetched as f64 / self.rate as f64;
        sleep_until(self.began + Duration::from_secs_f64(due)).await;
        Ok(())
    }
}

/// What was not delivered, and will not be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undelivered {
    #[error("the controller does not deliver it: {0}")]
    Refused(String),
    #[error("the controller's answer cannot be read")]
    Misread(#[from] PayloadError),
    #[error("the controller says that it has {found} bytes, and {stated} were stated")]
    OtherLength { found: u64, stated: u64 },
    #[error("the controller delivers nothing where there should be more")]
    Short,
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("the agent failed at it: {0}")]
    Internal(String),
}

impl Delivery {
    pub(super) fn new(
        link: watch::Receiver<Option<Link>>,
        rate: u64,
        http: Option<HttpSource>,
    ) -> Self {
        Self { link, rate, http }
    }

    /// The controller's statement of what is current.
    pub(super) async fn statement(&self) -> Result<CatalogStatement, Undelivered> {
        let stated: Option<_> = self.call(procedures::CATALOG_STATEMENT, Payload::empty()).await?;
        stated.ok_or_else(|| {
            Undelivered::Refused("it has no statement: run `drover catalog sign`".to_owned())
        })
    }

    /// Gets the rest of a content, however often the link is lost, and checks that
    /// it is the one. `told` is called with how many bytes are here.
    pub(super) async fn content(
        &self,
        version: &Version,
        files: &Files,
        mut told: impl FnMut(u64) + Send,
    ) -> Result<(), Undelivered> {
        let here = blocking(files, version, |files, version| Ok(files.fetched(version))).await?;
        let mut was_here = here > 0;
        let (began, rate, fetched) = (Instant::now(), self.rate, 0);
        let told = &mut told;
        let mut intake = Intake { version, files, here, began, fetched, rate, told };
        loop {
            if let Some(http) = &self.http {
                let ticket = if http.is_controllers { self.ticket().await } else { None };
                http.rest(&mut intake, ticket.as_ref()).await?;
            }
            self.rest(&mut intake).await?;
            match blocking(files, version, Files::finish).await {
                // What an earlier attempt has left may have been damaged since.
                Err(Undelivered::Files(FilesError::Other(_))) if was_here => {
                    (intake.here, was_here) = (0, false);
                }
                finished => return finished,
            }
        }
    }

    /// What the controller's port asks for; none where it knows of no tickets, as it
    /// may be open to all.
    async fn ticket(&self) -> Option<Secret> {
        let options = CallOptions::within(ANSWER);
        let link = self.linked().await;
        let answer = link.call(procedures::ACCESS_TICKET, Payload::empty(), options).await;
        match answer.and_then(|made| Ok(made.first::<MadeToken>()?)) {
            Ok(made) => Some(Secret::new(made.token)),
            Err(error) => {
                tracing::debug!(%error, "the controller gives no ticket for content");
                None
            }
        }
    }

    /// Gets over the link what is missing.
    async fn rest(&self, intake: &mut Intake<'_>) -> Result<(), Undelivered> {
        let whole = intake.version.length;
        while !intake.is_whole() {
            let (offset, length) = (intake.here, PIECE.min(whole - intake.here));
            let read = CatalogRead { hash: intake.version.hash.to_string(), offset, length };
            let read =
                Payload::one(&read).map_err(|error| Undelivered::Internal(error.to_string()))?;
            let piece: CatalogPiece = self.call(procedures::CATALOG_READ, read).await?;
            if piece.length != whole {
                return Err(Undelivered::OtherLength { found: piece.length, stated: whole });
            }
            let bytes = piece.bytes.0;
            if bytes.is_empty() {
                return Err(Undelivered::Short);
            }
            intake.take(bytes.into()).await?;
        }
        Ok(())
    }

    /// Calls the controller until it answers.
    async fn call<R: DeserializeOwned>(
        &self,
        procedure: &str,
        arguments: Payload,
    ) -> Result<R, Undelivered> {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let mut is_told = false;
        loop {
            let link = self.linked().await;
            let options = CallOptions::within(ANSWER);
            let error = match link.call(procedure, arguments.clone(), options).await {
                Ok(answer) => return Ok(answer.first()?),
                Err(CallError::Application(refused)) if is_final(&refused.uri) => {
                    return Err(Undelivered::Refused(refused.to_string()));
                }
                Err(error) => error,
            };
            if !is_told {
                is_told = true;
                tracing::warn!(procedure, %error, "an update waits for the controller");
            }
            sleep(backoff.wait()).await;
        }
    }

    /// The link, once there is one.
    pub(super) async fn linked(&self) -> Link {
        let mut link = self.link.clone();
        let linked = link.wait_for(Option::is_some).await;
        match linked.ok().and_then(|link| link.clone()) {
            Some(link) => link,
            // The agent ends.
            None => std::future::pending().await,
        }
    }
}

/// Whether asking again would be answered the same.
fn is_final(error: &str) -> bool {
    !matches!(
        error,
        uri::error::NO_SUCH_PROCEDURE
            | uri::error::CANCELED
            | uri::error::TIMEOUT
            | uri::error::UNAVAILABLE
            | uri::error::LIMIT_REACHED
            | uri::error::NOT_AUTHORIZED
    )
}

/// Does something with a version's files on a thread that may wait.
async fn blocking<T: Send + 'static>(
    files: &Files,
    version: &Version,
    work: impl FnOnce(&Files, &Version) -> Result<T, FilesError> + Send + 'static,
) -> Result<T, Undelivered> {
    let (files, version) = (files.clone(), version.clone());
    let done = spawn_blocking(move || work(&files, &version)).await;
    let done = done.context("a task panicked");
    Ok(done.map_err(|error| Undelivered::Internal(format!("{error:#}")))??)
}
