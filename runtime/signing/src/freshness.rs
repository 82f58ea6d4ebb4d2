//! Whether a statement is the newest that its reader may go by.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hash::ContentHash;
use crate::key::KeyId;
use crate::statement::SignedStatement;
use crate::trust::TrustedKeys;

/// What a reader remembers of the last statement that it accepted. Whoever
/// loses it can be shown any statement that has not expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its serial.
    pub serial: u64,
    /// The hash of its bytes.
    pub digest: ContentHash,
    /// The key that signed it.
    pub key: KeyId,
    /// When it was made, in seconds since 1970.
    pub issued: i64,
}

/// Why a statement is not accepted though it is signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StaleError {
    /// A newer one was seen.
    #[error("the statement {serial} is older than {seen}, which was seen before")]
    RolledBack {
        /// Its serial.
        serial: u64,
        /// The one that was seen.
        seen: u64,
    },
    /// A different one of the same serial was seen.
    #[error("there are two different statements {serial}: sign the catalog once more")]
    Twice {
        /// Their serial.
        serial: u64,
    },
    /// It is over.
    #[error("the statement {serial} expired at {expires}: run `drover catalog sign`")]
    Expired {
        /// Its serial.
        serial: u64,
        /// When.
        expires: Timestamp,
    },
}

/// Decides whether `statement` may take the place of the `previous` one, or is
/// the same, and says what is to be remembered.
///
/// A clock that is set back gains nothing on the moment when the previous
/// statement was made. What a key has stated that is no longer trusted counts
/// as not seen, so that a stolen key cannot lock nodes out for ever with the
/// highest serial there is.
///
/// # Errors
///
/// If it is older, expired, or contradicts the previous one.
pub fn accept(
    previous: Option<&Seen>,
    statement: &SignedStatement,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<Seen, StaleError> {
    let SignedStatement { statement, digest, signed } = statement;
    let serial = statement.serial;
    let previous = previous.filter(|seen| keys.includes(seen.key));
    if let Some(seen) = previous {
        if serial < seen.serial {
            return Err(StaleError::RolledBack { serial, seen: seen.serial });
        }
        if serial == seen.serial && *digest != seen.digest {
            return Err(StaleError::Twice { serial });
        }
    }
    let now = previous.map_or(now.as_second(), |seen| now.as_second().max(seen.issued));
    if statement.expires.as_second() <= now {
        return Err(StaleError::Expired { serial, expires: statement.expires });
    }
    Ok(Seen { serial, digest: *digest, key: signed.key_id, issued: statement.issued.as_second() })
}
