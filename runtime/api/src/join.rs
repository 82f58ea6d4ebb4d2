//! A join token as it is handed from people to agents.

use std::fmt;
use std::str::FromStr;

/// All that an agent needs to become a node: `TOKEN@FINGERPRINT@ADDRESS`, of which
/// the fingerprint is empty where the certificate is signed by somebody whom the
/// agent knows.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinText {
    /// What the controller knows it by. A secret.
    pub token: String,
    /// The SHA-256 of the controller's certificate, in hexadecimal.
    pub fingerprint: Option<String>,
    /// The controller's WebSocket address.
    pub controller: String,
}

/// A text is no join token; it may be a secret, and is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a join token looks like TOKEN@FINGERPRINT@ADDRESS, as `drover node token` prints it")]
pub struct JoinTextError;

impl fmt::Debug for JoinText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinText").field("controller", &self.controller).finish_non_exhaustive()
    }
}

impl JoinText {
    /// The whole text, which is a secret.
    #[must_use]
    pub fn reveal(&self) -> String {
        let fingerprint = self.fingerprint.as_deref().unwrap_or_default();
        format!("{}@{fingerprint}@{}", self.token, self.controller)
    }
}

impl FromStr for JoinText {
    type Err = JoinTextError;

    fn from_str(text: &str) -> Result<Self, JoinTextError> {
        let mut parts = text.trim().splitn(3, '@');
        let (token, fingerprint, controller) =
            (parts.next(), parts.next().ok_or(JoinTextError)?, parts.next().ok_or(JoinTextError)?);
        let token = token.filter(|token| !token.is_empty()).ok_or(JoinTextError)?;
        if !controller.starts_with("ws://") && !controller.starts_with("wss://") {
            return Err(JoinTextError);
        }
        Ok(Self {
            token: token.to_owned(),
            fingerprint: Some(fingerprint).filter(|text| !text.is_empty()).map(str::to_owned),
            controller: controller.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_token_is_read_as_it_is_written_and_never_shown() {
        for fingerprint in [None, Some("ab".repeat(32))] {
            let join = JoinText {
                token: "drt_0a_hunter2".into(),
                fingerprint,
                controller: "wss://user@there:7117/ws".into(),
            };
            assert_eq!(join.reveal().parse(), Ok(join.clone()));
            assert!(!format!("{join:?}").contains("hunter2"));
        }
        for wrong in ["", "drt_0a_hunter2", "@@wss://there", "a@b@http://there", "a@b"] {
            assert_eq!(wrong.parse::<JoinText>(), Err(JoinTextError), "{wrong}");
        }
    }
}
