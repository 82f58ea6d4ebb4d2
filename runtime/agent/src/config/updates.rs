//! The part of the configuration that is about plugins that the controller pushes.

use bytesize::ByteSize;
use drover_signing::{TrustError, TrustedKeys};
use serde::{Deserialize, Serialize};

use super::Config;

/// How pushed plugins are fetched: `[updates]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateSettings {
    /// The most that is fetched in a second.
    pub rate: ByteSize,
}

impl Default for UpdateSettings {
    fn default() -> Self {
        Self { rate: ByteSize::mib(8) }
    }
}

impl Config {
    /// The keys whose signatures count.
    pub(crate) fn trusted_keys(&self) -> Result<TrustedKeys, TrustError> {
        TrustedKeys::new(&self.trusted_keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trusted_key_that_is_none_is_refused_by_name() {
        for (text, words) in [
            ("[trusted_keys.ada]\npublic_key = \"key\"", "trusted_keys.ada"),
            ("[trusted_keys.ada]", "public_key"),
            ("[updates]\nrate = \"10 B\"", "updates.rate"),
            ("[updates]\nkeys = []", "keys"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
