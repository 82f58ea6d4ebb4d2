//! The state that the stand-in keeps: a map, without the size of a grant.

use crate::bindings::drover::plugin::state::Error;

use super::{HOST, ask};

const KEY: usize = 512;

pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    check(key)?;
    Ok(ask(|host| host.state.get(key).cloned()))
}

pub(crate) fn set(key: &str, value: &[u8]) -> Result<(), Error> {
    check(key)?;
    put(key, Some(value));
    Ok(())
}

pub(crate) fn delete(key: &str) -> Result<bool, Error> {
    let was_there = get(key)?.is_some();
    put(key, None);
    Ok(was_there)
}

pub(crate) fn replace(
    key: &str,
    expected: Option<&[u8]>,
    new: Option<&[u8]>,
) -> Result<bool, Error> {
    if get(key)?.as_deref() != expected {
        return Ok(false);
    }
    put(key, new);
    Ok(true)
}

pub(crate) fn keys(prefix: &str, after: Option<&str>) -> Result<Vec<String>, Error> {
    let is_asked =
        |key: &&String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
    Ok(ask(|host| host.state.keys().filter(is_asked).take(1_000).cloned().collect()))
}

/// Outside of `with_host` nothing is kept.
fn put(key: &str, value: Option<&[u8]>) {
    HOST.with_borrow_mut(|host| {
        let Some((host, _)) = host else { return };
        match value {
            Some(value) => host.state.insert(key.to_owned(), value.to_vec()),
            None => host.state.remove(key),
        };
    });
}

fn check(key: &str) -> Result<(), Error> {
    match (1..=KEY).contains(&key.len()) {
        true => Ok(()),
        false => Err(Error::InvalidKey),
    }
}
