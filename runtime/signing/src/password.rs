//! The stream that hides a secret key behind a password: scrypt, with limits
//! that libsodium and minisign write as operations and bytes.

use scrypt::Params;

/// What one password costs: work and memory, as they are in the key's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) operations: u64,
    pub(crate) bytes: u64,
}

/// What keys of ours cost: 128 MiB, and half a second.
pub(crate) const OURS: Cost = Cost { operations: 1 << 22, bytes: 128 << 20 };

/// The most that a key may cost; minisign's own ones do.
const MOST: Cost = Cost { operations: 1 << 25, bytes: 1 << 30 };

/// The block size that libsodium takes.
const R: u32 = 8;

/// Fills `stream`; none if that would cost too much.
pub(crate) fn derive(password: &str, salt: &[u8], cost: Cost, stream: &mut [u8]) -> Option<()> {
    let (log_n, p) = parameters(cost)?;
    let parameters = Params::new(log_n, R, p).ok()?;
    scrypt::scrypt(password.as_bytes(), salt, &parameters, stream).ok()
}

/// The parameters of scrypt that libsodium derives from a cost.
fn parameters(cost: Cost) -> Option<(u8, u32)> {
    if cost.operations > MOST.operations || cost.bytes > MOST.bytes {
        return None;
    }
    let operations = cost.operations.max(32768);
    let r = u64::from(R);
    if operations < cost.bytes / 32 {
        return Some((log_n(operations / (r * 4)), 1));
    }
    let log_n = log_n(cost.bytes / (r * 128));
    let p = (operations / 4) >> log_n;
    Some((log_n, u32::try_from(p / r).ok()?))
}

/// The first power of two, from the first on, that is more than half of `most`.
fn log_n(most: u64) -> u8 {
    (1..63).find(|n| 1 << n > most / 2).unwrap_or(63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_become_the_parameters_that_libsodium_takes() {
        let of = |operations, bytes| parameters(Cost { operations, bytes });
        // Its constants: interactive, moderate as rsign has it, sensitive.
        assert_eq!(of(524_288, 16_777_216), Some((14, 1)));
        assert_eq!(of(1_048_576, 33_554_432), Some((15, 1)));
        assert_eq!(of(33_554_432, 1_073_741_824), Some((20, 1)));
        assert_eq!(parameters(OURS), Some((17, 1)));
    }

    #[test]
    fn a_cost_beyond_minisigns_own_is_refused() {
        assert_eq!(parameters(Cost { operations: u64::MAX, bytes: 1 << 20 }), None);
        assert_eq!(parameters(Cost { operations: 1, bytes: u64::MAX }), None);
    }
}
