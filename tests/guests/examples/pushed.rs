//! A plugin whose versions are not always better than the ones before: what comes
//! after the dash of its version says what is wrong with it. The tests pack it with
//! manifests.

use std::hint::spin_loop;

use drover_sdk::{Failure, OrFail, job, plugin, state, task};

plugin!(greet, self_test);

/// Greets; a version that `crashes` does so from its third call on, and one that
/// `fails` always.
#[task]
fn greet(name: String) -> Result<String, Failure> {
    let version = job::plugin().version.unwrap_or_default();
    let calls = count(&version)?;
    if version.ends_with("-crashes") && calls > 2 {
        panic!("call number {calls} is too much");
    }
    if version.ends_with("-fails") {
        return Err(Failure::new("no-luck", "it never works"));
    }
    Ok(format!("{name} is greeted by {version}"))
}

/// Tests the plugin; a version that is `untrue` fails, and one that is `slow` takes
/// for ever.
#[task]
fn self_test() -> Result<(), Failure> {
    let version = job::plugin().version.unwrap_or_default();
    while version.ends_with("-slow") {
        spin_loop();
    }
    match version.ends_with("-untrue") {
        true => Err(Failure::new("untrue", "this version does not keep what it promises")),
        false => Ok(()),
    }
}

/// How often this version was called.
fn count(version: &str) -> Result<u64, Failure> {
    let old = state::get(version).or_fail("state", "counting")?;
    let text = old.map(|old| String::from_utf8_lossy(&old).into_owned());
    let calls = text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) + 1;
    state::set(version, calls.to_string().as_bytes()).or_fail("state", "counting")?;
    Ok(calls)
}
