//! The link: WAMP sessions to the controller, one after the other, for ever.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use drover_api::{Heartbeat, procedures};
use drover_wamp::{
    Authentication, AwayError, Backoff, CallError, Client, ClientCertificate, ClientConfig,
    ConnectError, EndReason, Fingerprint, Link, LinkConfig, LinkState, MatchPolicy, Payload,
    PublishOptions, RegisterOptions, Registration, Roots, SessionId, Status, TlsOptions, uri,
};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::is_unset;
use crate::node::Node;
use crate::{Config, dispatch, forward, identity, inbox, services};

/// How long joining waits for the plugins. Compiled ones load within
/// milliseconds; a node whose plugins must be compiled first joins without
/// them and tells of them when they are ready.
const LOAD_BEFORE_JOINING: Duration = Duration::from_secs(2);

/// How long jobs that have ended wait for a log that takes nothing.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Of how many signs of life one is acknowledged, so that the way there and back is
/// measured.
const MEASURED: u64 = 12;

/// Keeps the link to the controller and serves, until `stop` is cancelled.
/// Each of `loaded` is cancelled when some of the plugins are there.
pub(crate) async fn keep(
    config: Config,
    node: Node,
    loaded: [CancellationToken; 2],
    stop: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        _ = timeout(LOAD_BEFORE_JOINING, all(&loaded)) => {}
    }
    let link_config = link_config(&config)?;
    let authentication = link_config.client.authentication.clone();
    let link = Link::open(link_config)?;
    node.updates().linked(link.clone());
    if let Authentication::Cryptosign { key, .. } = &authentication {
        node.linked(link.clone(), Arc::clone(key));
    }
    let mut watching = JoinSet::new();
    watching.spawn(tell(config.controller.clone(), authentication, link.clone()));
    watching.spawn(services::publish(node.clone(), link.clone()));
    watching.spawn(forward::run(node.clone(), link.clone(), config.logs.clone()));
    watching.spawn(inbox::report(node.clone(), link.clone()));

    let mut jobs = JoinSet::new();
    let mut backoff = Backoff::new(config.reconnect_first, config.reconnect_longest);
    while !stop.is_cancelled() {
        let options = RegisterOptions { policy: MatchPolicy::Prefix, ..Default::default() };
        let calls = link.register(node.prefix(), options)?;
        let Some(reason) = serve(&config, &node, &link, calls, &mut jobs, &stop).await? else {
            break;
        };
        // Whatever it was, an operator can change it while the agent runs.
        let wait = backoff.wait();
        tracing::warn!(wait_ms = wait.as_millis(), "cannot join: {:#}", refused(reason, &node));
        let _ = timeout(wait, stop.cancelled()).await;
    }
    // They may tidy up, for which they need the host.
    let _ = timeout(LAST_WORDS, node.services().ended()).await;
    node.host().shutdown().await;
    let answering = async {
        while let Some(ended) = jobs.join_next().await {
            ended.context("answering a call panicked")?;
        }
        anyhow::Ok(())
    };
    match timeout(LAST_WORDS, answering).await {
        Ok(answered) => answered?,
        Err(_) => tracing::warn!("jobs end before the log has taken all that they said"),
    }
    link.close().await;
    Ok(())
}

/// Finds out whether this program could be the agent of this configuration: what can
/// be found out beside another one that is.
///
/// # Errors
///
/// If the controller does not let it in.
pub async fn try_out(config: &Config) -> anyhow::Result<()> {
    let session =
        Client::connect(&client(config)?).await.context("the controller cannot be joined")?;
    session.close().await;
    Ok(())
}

/// How the agent of this configuration reaches its controller, and who it is there.
///
/// # Errors
///
/// If its identity or its key cannot be read.
pub fn client(config: &Config) -> anyhow::Result<ClientConfig> {
    Ok(link_config(&identity::over(config)?)?.client)
}

async fn all(tokens: &[CancellationToken]) {
    for token in tokens {
        token.cancelled().await;
    }
}

/// How the controller is known, and what the agent proves itself with to its port.
pub(crate) fn tls(config: &Config) -> TlsOptions {
    let set = |path: &PathBuf| Some(path.clone()).filter(|path| !is_unset(path));
    let file = set(&config.ca_file).map(Roots::File);
    // The configuration was checked.
    let pin = config.fingerprint.parse::<Fingerprint>().ok().map(Roots::Fingerprint);
    let certificate = set(&config.certificate_file).zip(set(&config.certificate_key_file));
    TlsOptions {
        roots: pin.or(file).unwrap_or_default(),
        certificate: certificate.map(|(certificates, key)| ClientCertificate { certificates, key }),
    }
}

/// Where the controller is, and how it is known; who the agent is there is left open.
pub(crate) fn client_config(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new(&config.controller, &config.realm);
    client.max_message_bytes = config.max_message_bytes();
    client.tls = tls(config);
    client
}

fn link_config(config: &Config) -> anyhow::Result<LinkConfig> {
    let mut client = client_config(config);
    if !is_unset(&config.key_file) {
        client.authentication = Authentication::from_key_file(&config.key_file)
            .context("the agent's `key_file` cannot be used")?;
    }
    let mut link = LinkConfig::new(client);
    link.first_wait = config.reconnect_first;
    link.longest_wait = config.reconnect_longest;
    Ok(link)
}

/// Serves calls and sends heartbeats until the agent is to end, or the
/// controller takes the node's procedures away for good; then returns why.
///
/// Jobs whose session ends are cancelled with their calls: nobody waits for
/// them any more. The heart beats only while the node has its procedures, so a
/// node whose number another agent has stays silent.
async fn serve(
    config: &Config,
    node: &Node,
    link: &Link,
    mut calls: Registration,
    jobs: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<EndReason>> {
    let mut status = calls.watch();
    let mut joined = None;
    let mut beats = 0;
    let mut revision = node.revision();
    let mut beat = interval(config.heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);

    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(None),
            Ok(()) = status.changed() => {
                let now = status.borrow_and_update().clone();
                node.set_joined(matches!(now, Status::Active(_)));
                match now {
                    Status::Active(session) => {
                        tracing::info!(node = %node.id(), controller = config.controller, "joined");
                        node.vitals().link().joins.one();
                        joined = Some(session);
                        beat.reset();
                        beats = 0;
                        if let Some(client) = session_of(link, joined) {
                            jobs.spawn(measured_heartbeat(node.clone(), client));
                        }
                    }
                    Status::Ended(reason) => return Ok(Some(reason)),
                    Status::Waiting { refusal } => {
                        joined = None;
                        if let Some(refusal) = refusal {
                            let error = refused(EndReason::Refused(refusal), node);
                            tracing::warn!(controller = config.controller, "cannot join: {error:#}");
                        }
                    }
                    _ => joined = None,
                }
            }
            _ = beat.tick() => {
                beats += 1;
                match session_of(link, joined).filter(|_| beats % MEASURED == 0) {
                    Some(client) => drop(jobs.spawn(measured_heartbeat(node.clone(), client))),
                    None => heartbeat(node, link, joined).await,
                }
            }
            Ok(()) = revision.changed() => heartbeat(node, link, joined).await,
            Some(ended) = jobs.join_next() => ended.context("answering a call panicked")?,
            Some(call) = calls.next() => {
                jobs.spawn(dispatch::answer(node.clone(), call));
            }
        }
    }
}

/// Logs what becomes of the sessions.
async fn tell(controller: String, authentication: Authentication, link: Link) {
    let mut state = link.watch();
    state.mark_changed();
    drop(link);
    while state.changed().await.is_ok() {
        let away = match &*state.borrow_and_update() {
            LinkState::Away(away) => away.clone(),
            _ => continue,
        };
        let Some(error) = away.error else { continue };
        match &*error {
            AwayError::Lost(reason) => tracing::warn!(%reason, "lost the controller"),
            AwayError::Connect(ConnectError::Aborted { uri, .. }) => {
                let cure = cure(uri, &authentication).unwrap_or_default();
                tracing::warn!(controller, "cannot join: {error}{cure}");
            }
            _ => tracing::warn!(controller, "cannot join: {:#}", anyhow::Error::new(error)),
        }
        tracing::info!(wait_ms = away.retry_in.as_millis(), "dialling again");
    }
}

/// What to do where the controller does not let the node in.
fn cure(uri: &str, authentication: &Authentication) -> Option<String> {
    match (uri, authentication) {
        (uri::error::NO_AUTH_METHOD, Authentication::Anonymous) => Some(
            "; join with a token of `drover node token` (`drover agent --join @FILE`), or set \
             `key_file` in the agent's configuration to a file with the node's private key"
                .to_owned(),
        ),
        (uri::error::AUTHENTICATION_DENIED, Authentication::Cryptosign { key, .. }) => {
            Some(format!(
                "; the controller does not know the node's key: join with a new token of `drover \
                 node token`, or add {} to `public_keys` of a principal in its configuration",
                key.public_key()
            ))
        }
        _ => None,
    }
}

/// Why the node's procedures are not its own, for people.
fn refused(reason: EndReason, node: &Node) -> anyhow::Error {
    let refusal = match &reason {
        EndReason::Refused(CallError::Application(refused)) => refused.uri.as_str(),
        _ => "",
    };
    let id = node.id();
    let context = match refusal {
        uri::error::PROCEDURE_ALREADY_EXISTS => {
            format!("another agent is node {id} already: give one of the two another `nid`")
        }
        uri::error::NOT_AUTHORIZED => not_a_node(node),
        _ => format!("the controller refused the procedures of node {id}"),
    };
    anyhow::Error::new(reason).context(context)
}

/// What to do where the agent's role does not let it be its node.
fn not_a_node(node: &Node) -> String {
    format!(
        "the controller's configuration does not let this agent be node {}: its role needs \
         `register` for the prefix `{}` and `publish` for `{}`",
        node.id(),
        node.prefix(),
        procedures::HEARTBEAT
    )
}

/// Sends a sign of life in the session in which the node has its procedures.
async fn heartbeat(node: &Node, link: &Link, joined: Option<SessionId>) {
    let Some(session) = session_of(link, joined) else { return };
    // A session that has just ended is noticed by whoever watches it.
    if let Err(error) = beat(node, &session, PublishOptions::default()).await {
        tracing::debug!(%error, "heartbeat not sent");
    }
}

/// The session in which the node has its procedures, if it is still there.
fn session_of(link: &Link, joined: Option<SessionId>) -> Option<Client> {
    link.session().filter(|session| Some(session.session()) == joined)
}

/// Sends a sign of life, the first in a session for one, that the controller
/// acknowledges: how long that took is counted. Tells if the controller refuses it: it
/// would refuse all that follow, and never see the node.
async fn measured_heartbeat(node: Node, session: Client) {
    let options = PublishOptions { acknowledge: true, ..Default::default() };
    let sent = Instant::now();
    match beat(&node, &session, options).await {
        Err(CallError::Application(refused)) if refused.uri == uri::error::NOT_AUTHORIZED => {
            tracing::warn!(node = %node.id(), "heartbeats are refused: {}", not_a_node(&node));
        }
        Err(error) => tracing::debug!(%error, "heartbeat not sent"),
        Ok(()) => node.vitals().link().round_trip.observe(sent.elapsed()),
    }
}

async fn beat(node: &Node, session: &Client, options: PublishOptions) -> Result<(), CallError> {
    let beat = Heartbeat {
        node: node.id(),
        session: session.session().0,
        revision: *node.revision().borrow(),
    };
    let options = PublishOptions { is_urgent: true, ..options };
    session.publish(procedures::HEARTBEAT, Payload::one(&beat)?, options).await?;
    node.vitals().link().heartbeats.one();
    Ok(())
}

#[cfg(test)]
mod tests {
    use drover_wamp::SigningKey;

    use super::*;

    #[test]
    fn a_node_with_a_key_proves_who_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let key_file = dir.path().join("node.key");
        std::fs::write(&key_file, format!("{}\n", "07".repeat(32))).unwrap();
        let config = Config { key_file, ca_file: "/etc/ca.pem".into(), ..Config::default() };
        let client = link_config(&config).unwrap().client;
        let Authentication::Cryptosign { key, .. } = client.authentication else { panic!() };
        let expected = SigningKey::from_seed(&[7; 32]).unwrap().public_key();
        assert_eq!(key.public_key(), expected);
        assert_eq!(client.tls.roots, Roots::File("/etc/ca.pem".into()));
    }

    #[test]
    fn a_key_that_cannot_be_used_is_told_by_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let key_file = dir.path().join("node.key");
        for text in [None, Some("not a key")] {
            if let Some(text) = text {
                std::fs::write(&key_file, text).unwrap();
            }
            let config = Config { key_file: key_file.clone(), ..Config::default() };
            let error = format!("{:#}", link_config(&config).unwrap_err());
            assert!(error.contains("key_file") && error.contains("node.key"), "{error}");
            assert!(!error.contains("not a key"), "{error}");
        }
    }
}
