//! Who the node is to its controller, once it was let in: its key, and what it was
//! told then.
//!
//! ```text
//!   no identity ── join: a token, or a code that somebody approves ──> identity
//!                                                    rotate: another key ──^
//! ```
//!
//! Both are files in `identity` in `data_dir`, which only the agent's user may
//! read. What they say of controller, number and labels goes before the
//! configuration. Joining again does nothing while they are there.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use drover_api::{ClaimCode, Enrol, Enrolled, JoinText, NEWCOMER, RotateKey, procedures};
use drover_snapshot::{Format, Found};
use drover_wamp::{
    Authentication, Backoff, CallError, CallOptions, Client, ClientConfig, ConnectError, Payload,
    SigningKey,
};
use serde::{Deserialize, Serialize};

use crate::{Config, link};

/// The directory in `data_dir`.
const DIRECTORY: &str = "identity";

/// The file that says what the node was told.
const FORMAT: Format = Format { name: "who the node is", steps: &[] };

/// How long the controller may take to let the node in by a token.
const ENROL_TIMEOUT: Duration = Duration::from_secs(30);

/// What a controller answers who is busy, or who has seen too many fail.
const BUSY: &str = "drover.error.busy";

/// How an agent becomes a node.
#[derive(Debug, Clone)]
pub enum Join {
    /// By a token that somebody made for it.
    Token(JoinText),
    /// By a code that it shows and somebody approves.
    Claim,
}

/// What the node was told when it was let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    controller: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    gid: u32,
    nid: u32,
    labels: Vec<String>,
}

/// A refusal that comes again however often one asks.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Final(String);

impl Identity {
    /// What a node was told, if it was let in.
    ///
    /// # Errors
    ///
    /// If the file is there and cannot be read: to go on as another node would
    /// only hide that.
    pub(crate) fn read(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = file(data_dir);
        let found = FORMAT
            .read(&path)
            .with_context(|| format!("cannot read the node's identity {}", path.display()))?;
        match found {
            Found::Whole(identity) => Ok(Some(identity)),
            Found::Nothing => Ok(None),
            Found::PutAside(aside) => anyhow::bail!(
                "the node's identity {} is damaged ({}): put a copy of it in its place, or remove \
                 the directory and join with a new token",
                aside.path.display(),
                aside.reason
            ),
        }
    }

    /// The configuration of this node.
    pub(crate) fn apply(self, config: &Config) -> Config {
        let ignored: Vec<_> =
            config.labels.iter().filter(|label| !self.labels.contains(label)).collect();
        if !ignored.is_empty() {
            tracing::warn!(
                ?ignored,
                labels = ?self.labels,
                "labels of the configuration do not count: the node has those that it was let in \
                 with"
            );
        }
        let mut config = config.clone();
        config.key_file = key_file(&config.data_dir);
        if let Some(fingerprint) = self.fingerprint {
            config.fingerprint = fingerprint;
        }
        (config.gid, config.nid) = (self.gid, self.nid);
        (config.controller, config.labels) = (self.controller, self.labels);
        config
    }
}

/// The configuration of the node that the agent is: as it is written, and over that
/// what the node was told when it was let in.
///
/// # Errors
///
/// If that cannot be read.
pub(crate) fn over(written: &Config) -> anyhow::Result<Config> {
    Ok(match Identity::read(&written.data_dir)? {
        Some(identity) => identity.apply(written),
        None => written.clone(),
    })
}

/// Whether the agent was let in as a node.
///
/// # Errors
///
/// If what it was told then cannot be read.
pub fn has_joined(config: &Config) -> anyhow::Result<bool> {
    Ok(Identity::read(&config.data_dir)?.is_some())
}

/// Has the agent let in as a node: asks until it is answered.
/// `show` is told a code that somebody has to approve.
///
/// # Errors
///
/// If the controller refuses for good, or the identity cannot be written.
pub async fn join(config: &Config, join: &Join, show: impl Fn(&str)) -> anyhow::Result<()> {
    let mut dialled = config.clone();
    if let Join::Token(token) = join {
        dialled.controller.clone_from(&token.controller);
        dialled.fingerprint = token.fingerprint.clone().unwrap_or(dialled.fingerprint);
    }
    let key = key(&config.data_dir)?;
    let mut client = link::client_config(&dialled);
    client.authentication = Authentication::Cryptosign { authid: None, key };
    client.role = Some(NEWCOMER.to_owned());
    let mut backoff = Backoff::new(config.reconnect_first, config.reconnect_longest);
    let enrolled = loop {
        match ask(&client, config, join, &show).await {
            Ok(enrolled) => break enrolled,
            Err(error) if error.is::<Final>() => return Err(error),
            Err(error) => {
                let wait = backoff.wait();
                let controller = dialled.controller.as_str();
                let error = format!("{error:#}");
                tracing::warn!(controller, error, wait_ms = wait.as_millis(), "cannot join yet");
                tokio::time::sleep(wait).await;
            }
        }
    };
    let identity = Identity {
        controller: dialled.controller,
        fingerprint: Some(dialled.fingerprint).filter(|text| !text.is_empty()),
        gid: enrolled.node.gid.0,
        nid: enrolled.node.nid.0,
        labels: enrolled.labels,
    };
    let path = file(&config.data_dir);
    FORMAT
        .replace(&path, &identity)
        .with_context(|| format!("cannot write the node's identity to {}", path.display()))?;
    tracing::info!(node = %enrolled.node, "the agent is a node now");
    Ok(())
}

/// Asks the controller once.
async fn ask(
    client: &ClientConfig,
    config: &Config,
    join: &Join,
    show: &impl Fn(&str),
) -> anyhow::Result<Enrolled> {
    let session = Client::connect(client).await.map_err(|error| match &error {
        ConnectError::Aborted { uri, .. } if uri != BUSY => Final(error.to_string()).into(),
        ConnectError::Url { .. } => Final(error.to_string()).into(),
        _ => anyhow::Error::new(error),
    })?;
    let (token, timeout) = match join {
        Join::Token(text) => (Some(text.token.clone()), Some(ENROL_TIMEOUT)),
        Join::Claim => (None, None),
    };
    let asked = Enrol {
        token,
        node: config.node(),
        name: config.name.clone(),
        labels: config.labels.clone(),
    };
    let options = CallOptions { timeout, ..CallOptions::default() };
    let mut call = session.start(procedures::ACCESS_ENROL, Payload::one(&asked)?, options).await?;
    while let Some(progress) = call.next().await {
        if let Ok(ClaimCode { code, .. }) = progress.first() {
            show(&code);
        }
    }
    let answer = call.answer().await.map_err(refused)?;
    session.close().await;
    Ok(answer.first()?)
}

fn refused(error: CallError) -> anyhow::Error {
    match &error {
        // In vain now, but not later: too many attempts, or a code that nobody approved.
        CallError::Application(refused)
            if refused.uri == "drover.error.denied"
                || refused.uri == "drover.error.invalid_arguments" =>
        {
            let text = refused.message().unwrap_or_else(|| refused.uri.clone());
            Final(format!("the controller does not let this agent in: {text}")).into()
        }
        _ => error.into(),
    }
}

/// Makes another key, by which the controller knows the node from then on; the
/// public half.
///
/// At no point is there a key in the file that the controller does not know.
///
/// # Errors
///
/// If the controller does not take it, or it cannot be written.
pub(crate) async fn rotate(
    data_dir: &Path,
    current: &SigningKey,
    session: &Client,
) -> anyhow::Result<String> {
    let seed = rand::random();
    let new = SigningKey::from_seed(&seed)?;
    let public = new.public_key().to_string();
    let tell = async || {
        let options = CallOptions { timeout: Some(ENROL_TIMEOUT), disclose_me: true };
        let asked = Payload::one(&RotateKey { key: public.clone() })?;
        session.call(procedures::ACCESS_ROTATE, asked, options).await?;
        anyhow::Ok(())
    };
    tell().await.context("the controller does not take the new key")?;
    let path = key_file(data_dir);
    let dir = data_dir.to_owned();
    tokio::task::spawn_blocking(move || write_key(&dir, &seed))
        .await?
        .with_context(|| format!("cannot write the new key to {}", path.display()))?;
    current.replace(new);
    // The former one counts no more; if this is lost, it does so at the next connect.
    tell().await.context("the new key counts, and the former one until the next connect")?;
    Ok(public)
}

/// The key of an agent that wants to become a node: made if there is none.
fn key(data_dir: &Path) -> anyhow::Result<Arc<SigningKey>> {
    let path = key_file(data_dir);
    if !path.exists() {
        let dir = data_dir.join(DIRECTORY);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("cannot make the directory {}", dir.display()))?;
        write_key(data_dir, &rand::random())
            .with_context(|| format!("cannot write the node's key to {}", path.display()))?;
    }
    match Authentication::from_key_file(&path)? {
        Authentication::Cryptosign { key, .. } => Ok(key),
        _ => anyhow::bail!("{} holds no key", path.display()),
    }
}

/// Puts a key in place, whole or not at all, for nobody else to read.
fn write_key(data_dir: &Path, seed: &[u8; 32]) -> io::Result<()> {
    let path = key_file(data_dir);
    let fresh = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&fresh)?;
    file.write_all(data_encoding::HEXLOWER.encode(seed).as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    fs::File::open(data_dir.join(DIRECTORY))?.sync_all()
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join(DIRECTORY).join("node.json")
}

fn key_file(data_dir: &Path) -> PathBuf {
    data_dir.join(DIRECTORY).join("node.key")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use drover_api::NodeId;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = key(dir.path()).unwrap();
        assert_eq!(key(dir.path()).unwrap().public_key(), first.public_key());
        let metadata = fs::metadata(key_file(dir.path())).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        write_key(dir.path(), &rand::random()).unwrap();
        assert_ne!(key(dir.path()).unwrap().public_key(), first.public_key());
    }

    #[test]
    fn what_a_node_was_told_goes_before_its_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: dir.path().to_owned(),
            labels: vec!["mine".into()],
            ..Config::default()
        };
        assert_eq!(Identity::read(dir.path()).unwrap(), None);
        key(dir.path()).unwrap();
        let identity = Identity {
            controller: "wss://there/ws".into(),
            fingerprint: Some("ab".repeat(32)),
            gid: 3,
            nid: 7,
            labels: vec!["web".into()],
        };
        FORMAT.replace(&file(dir.path()), &identity).unwrap();
        let read = Identity::read(dir.path()).unwrap().unwrap();
        assert_eq!(read, identity);
        let applied = read.apply(&config);
        assert_eq!(applied.node(), NodeId::new(3, 7));
        assert_eq!(applied.labels, ["web"]);
        assert_eq!(applied.key_file, key_file(dir.path()));

        fs::write(file(dir.path()), "{").unwrap();
        assert!(Identity::read(dir.path()).unwrap_err().to_string().contains("damaged"));
    }
}
