//! How often somebody may fail to prove who they are: a pure table, with the time
//! as an argument.
//!
//! Only failures count, so that a site of thousands behind one address joins at
//! once, and whoever guesses waits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Failures in a row that cost no waiting.
const ALLOWED: u32 = 10;

/// The time after which one failure is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(6);

/// How many addresses are remembered. When there are more, those that have
/// waited longest are forgotten: somebody with as many addresses is not held
/// up by this anyway, and the price of a password is.
const MAX_PEERS: usize = 10_000;

/// The failures of each address that are not forgiven yet.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// When the last failure of each will be forgiven.
    clean_at: HashMap<IpAddr, Duration>,
}

impl Attempts {
    /// How long whoever comes from there has to wait, if at all.
    pub(super) fn wait(&self, peer: IpAddr, now: Duration) -> Option<Duration> {
        let clean_at = *self.clean_at.get(&network(peer))?;
        let debt = clean_at.saturating_sub(now);
        let free = FORGIVEN_AFTER * (ALLOWED - 1);
        debt.checked_sub(free).filter(|wait| !wait.is_zero())
    }

    /// Counts a failure.
    pub(super) fn failed(&mut self, peer: IpAddr, now: Duration) {
        if self.clean_at.len() >= MAX_PEERS {
            self.clean_at.retain(|_, clean_at| *clean_at > now);
            let oldest = self.clean_at.iter().min_by_key(|(_, clean_at)| **clean_at);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer)
                && self.clean_at.len() >= MAX_PEERS
            {
                self.clean_at.remove(&oldest);
            }
        }
        let clean_at = self.clean_at.entry(network(peer)).or_default();
        *clean_at = (*clean_at).max(now) + FORGIVEN_AFTER;
    }
}

/// Who has one IPv6 address has its whole network.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_eleventh_attempt_waits_until_a_failure_is_forgiven() {
        let mut attempts = Attempts::default();
        let (one, other) = ("192.0.2.7".parse().unwrap(), "192.0.2.8".parse().unwrap());
        for _ in 0..ALLOWED {
            assert_eq!(attempts.wait(one, at(100)), None);
            attempts.failed(one, at(100));
        }
        assert_eq!(attempts.wait(one, at(100)), Some(FORGIVEN_AFTER));
        assert_eq!(attempts.wait(one, at(103)), Some(Duration::from_secs(3)));
        assert_eq!(attempts.wait(one, at(106)), None);
        assert_eq!(attempts.wait(other, at(100)), None);
        // All is forgiven a minute later.
        attempts.failed(one, at(200));
        assert_eq!(attempts.wait(one, at(200)), None);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_and_mapped_ones_are_ipv4() {
        let mut attempts = Attempts::default();
        for nth in 0..ALLOWED {
            attempts.failed(format!("2001:db8::{nth}").parse().unwrap(), at(0));
            attempts.failed("::ffff:192.0.2.7".parse().unwrap(), at(0));
        }
        assert!(attempts.wait("2001:db8::ffff:1".parse().unwrap(), at(0)).is_some());
        assert!(attempts.wait("2001:db8:0:1::1".parse().unwrap(), at(0)).is_none());
        assert!(attempts.wait("192.0.2.7".parse().unwrap(), at(0)).is_some());
    }

    #[test]
    fn the_table_stays_small() {
        let mut attempts = Attempts::default();
        for number in 0..20_000_u32 {
            attempts.failed(IpAddr::V4(number.into()), at(0));
        }
        assert!(attempts.clean_at.len() <= MAX_PEERS);
    }
}
