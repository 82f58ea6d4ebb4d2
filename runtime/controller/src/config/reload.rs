//! What of the configuration counts without a restart: `[roles.NAME]`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use drover_wamp::{CallOptions, Payload, Router};
use tokio_util::sync::CancellationToken;

use super::Config;
use crate::access::Access;

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long ending sessions may take.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Has the roles be as the file says until `stop` is cancelled. A file that cannot be
/// used changes nothing.
pub(crate) async fn follow(
    path: PathBuf,
    config: Config,
    router: Router,
    access: Access,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut now = config;
    let mut last = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let path = path.clone();
        let seen = tokio::task::spawn_blocking(move || {
            let metadata = std::fs::metadata(&path).ok()?;
            let look: (Option<SystemTime>, u64) = (metadata.modified().ok(), metadata.len());
            let read = (Some(look) != last).then(|| read(&path));
            Some((look, read))
        });
        let Some((look, read)) = seen.await.context("reading the configuration panicked")? else {
            continue;
        };
        last = Some(look);
        match read {
            None => {}
            Some(Ok(new)) => now = take(now, new, &router, &access).await,
            Some(Err(error)) => tracing::error!(
                error = format!("{error:#}"),
                "the configuration has changed and cannot be used, the former roles stay"
            ),
        }
    }
}

fn read(path: &std::path::Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    Config::parse(&text).with_context(|| format!("the configuration {} is wrong", path.display()))
}

/// Goes by another configuration as far as that goes; answers with what counts then.
async fn take(now: Config, new: Config, router: &Router, access: &Access) -> Config {
    if new == now {
        return now;
    }
    let roles = new.roles;
    let others = Config { roles: now.roles.clone(), ..new };
    if others != now {
        tracing::warn!(
            "of the changes in the configuration only those of [roles] count now, the others from \
             the next start of the controller"
        );
    }
    if roles != now.roles {
        let changed = access.set_roles(roles.clone());
        tracing::info!(roles = roles.len(), "the roles are as the configuration says now");
        for role in changed {
            throw_out(router, &now.realm, &role).await;
        }
    }
    // What was warned of is not warned of again with the next change.
    Config { roles, ..others }
}

/// Ends the sessions of a role, which had other permissions when they began.
async fn throw_out(router: &Router, realm: &str, role: &str) {
    let ended = async {
        let session = router.attach(realm)?;
        let message = serde_json::json!({ "message": "the role was changed: join again" });
        let payload = Payload::positional(&(role,))?.with_keywords_of(Payload::keyword(&message)?);
        let options = CallOptions::within(KILL_TIMEOUT);
        session.call("wamp.session.kill_by_authrole", payload, options).await?;
        session.close().await;
        anyhow::Ok(())
    };
    if let Err(error) = ended.await {
        tracing::error!(role, "cannot end the sessions of a role that was changed: {error:#}");
    }
}
