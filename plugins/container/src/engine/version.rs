//! Which version of its API an engine is spoken to in.
//!
//! It is the newest that both sides know. Once settled it is kept in the
//! plugin's state, so that an operation is not two requests; an engine that
//! was replaced refuses the old version, and then it is settled anew.

use std::fmt;
use std::str::FromStr;

use drover_sdk::{Failure, log, state};

use super::failure;
use super::transport::{self, Request};

/// The oldest version whose answers this plugin understands.
const OLDEST: Version = Version { major: 1, minor: 41 };
/// The newest version that it was written for.
const NEWEST: Version = Version { major: 1, minor: 51 };
/// Where the version is kept.
const KEY: &str = "api-version";

/// A version of the API, such as 1.41.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u16,
    minor: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.trim().split_once('.').ok_or(())?;
        let number = |part: &str| part.parse().map_err(|_| ());
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// The version that was settled by an earlier job.
pub(super) fn remembered() -> Option<Version> {
    let bytes = state::get(KEY).ok()??;
    let version = str::from_utf8(&bytes).ok()?.parse().ok()?;
    (OLDEST..=NEWEST).contains(&version).then_some(version)
}

/// Asks the engine for the newest version that it knows, settles on one, and
/// remembers it.
pub(super) fn settle() -> Result<Version, Failure> {
    let what = "ask the engine for its version";
    let reply = transport::send(&Request::plain("GET", "/_ping"), what)?;
    let offered = reply.header("api-version").unwrap_or_default();
    if reply.status != 200 {
        let message = format!("cannot {what}: it answered with status {}", reply.status);
        return Err(Failure::new(failure::ENGINE_FAILED, message));
    }
    let version = choose(offered)?;
    // Without a place to remember it, it is asked for each time.
    if let Err(error) = state::set(KEY, version.to_string().as_bytes()) {
        log::debug(format_args!("cannot remember the version of the engine's API: {error}"));
    }
    Ok(version)
}

/// The newest version that both sides know.
fn choose(offered: &str) -> Result<Version, Failure> {
    let Ok(newest) = offered.parse::<Version>() else {
        let message = format!(
            "what answers in the engine's place says no version of its API (`{offered}`): see which \
             socket is granted as `docker`"
        );
        return Err(Failure::new(failure::ENGINE_BROKEN, message));
    };
    if newest < OLDEST {
        let message = format!(
            "the engine knows its API up to version {newest} and {OLDEST} is needed: update it to \
             Docker Engine 20.10 or newer"
        );
        return Err(Failure::new(failure::ENGINE_TOO_OLD, message));
    }
    Ok(newest.min(NEWEST))
}

/// Whether a refusal is one of the version: `client version 1.52 is too new.
/// Maximum supported API version is 1.41`, or too old.
pub(super) fn is_refusal(status: u16, message: &str) -> bool {
    status == 400 && message.starts_with("client version ") && message.contains(" is too ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(offered: &str) -> Result<String, String> {
        choose(offered).map(|version| version.to_string()).map_err(|failure| failure.code)
    }

    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        assert_eq!(chosen("1.41"), Ok("1.41".to_owned()));
        assert_eq!(chosen("1.47"), Ok("1.47".to_owned()));
        assert_eq!(chosen("1.99"), Ok(NEWEST.to_string()));
        assert_eq!(chosen("2.0"), Ok(NEWEST.to_string()));
    }

    #[test]
    fn what_is_too_old_or_no_engine_is_refused() {
        assert_eq!(chosen("1.40"), Err("engine-too-old".to_owned()));
        assert_eq!(chosen(""), Err("engine-broken".to_owned()));
        assert_eq!(chosen("podman"), Err("engine-broken".to_owned()));
    }

    #[test]
    fn a_refused_version_is_told_from_other_refusals() {
        let too_new = "client version 1.52 is too new. Maximum supported API version is 1.41";
        assert!(is_refusal(400, too_new));
        assert!(!is_refusal(400, "invalid reference format"));
        assert!(!is_refusal(500, too_new));
    }
}
