//! One event of an object at a time, on the whole node.
//!
//! Jobs run side by side in instances of their own, so what orders them is in
//! the plugin's state: an entry for each object that is being handled, with the
//! time at which it may be taken over should its owner have been killed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use drover_sdk::{Failure, job, state};

use crate::engine::failure;

/// How long a job may be silent before its lock is taken over: longer than any
/// single request but a pull, whose job has a deadline of its own.
const LEASE: Duration = Duration::from_secs(10 * 60);
/// How often one that waits looks again.
const PACE: Duration = Duration::from_millis(100);

/// That nobody else handles an event of the object, until it is dropped.
pub(crate) struct Lock {
    key: String,
    value: Vec<u8>,
}

impl Lock {
    /// Waits until no other job handles an event of the object.
    pub(crate) fn acquire(object: &str) -> Result<Self, Failure> {
        let mut key = format!("lock/{object}");
        key.truncate(key.floor_char_boundary(512));
        loop {
            let held = state::get(&key)?;
            if held.as_deref().is_none_or(is_over) {
                let value = format!("{} {}", expiry(), job::id()).into_bytes();
                if state::replace(&key, held.as_deref(), Some(&value))? {
                    return Ok(Self { key, value });
                }
            }
            let is_late = job::remaining().is_some_and(|left| left < PACE * 10);
            if is_late || job::wait(PACE) {
                let message = format!(
                    "another event of {object} was still being handled when this one had no time left: \
                     send it again"
                );
                return Err(Failure::new(failure::CONFLICT, message));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If it was taken over it is somebody else's, and if the state is gone so is the lock.
        let _ = state::replace(&self.key, Some(&self.value), None);
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The second at which the host has surely ended the job, or it is too silent.
fn expiry() -> u64 {
    (now() + job::remaining().unwrap_or(LEASE) + Duration::from_secs(5)).as_secs()
}

fn is_over(value: &[u8]) -> bool {
    let text = str::from_utf8(value).unwrap_or_default();
    let second = text.split(' ').next().and_then(|second| second.parse::<u64>().ok());
    second.is_none_or(|second| second < now().as_secs())
}

#[cfg(test)]
mod tests {
    use drover_sdk::testing::{Host, with_host};

    use super::*;

    fn host(value: &str) -> Host {
        let state = [("lock/instance-1".to_owned(), value.as_bytes().to_vec())].into();
        Host { state, remaining: Some(Duration::from_millis(500)), ..Host::default() }
    }

    #[test]
    fn an_object_is_locked_until_the_lock_is_dropped() {
        let ((), heard) = with_host(Host::default(), || {
            let lock = Lock::acquire("instance-1").unwrap();
            assert!(state::get("lock/instance-1").unwrap().is_some());
            drop(lock);
        });
        assert!(heard.state.is_empty());
    }

    #[test]
    fn a_lock_of_a_job_that_is_gone_is_taken_over_and_another_is_not() {
        let (taken, _) = with_host(host("1 gone"), || Lock::acquire("instance-1").map(drop));
        assert!(taken.is_ok());
        let (refused, heard) =
            with_host(host("99999999999 busy"), || Lock::acquire("instance-1").map(drop));
        assert_eq!(refused.unwrap_err().code, failure::CONFLICT);
        assert_eq!(heard.state["lock/instance-1"], b"99999999999 busy");
    }
}
