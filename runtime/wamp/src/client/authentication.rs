//! Who a client is, and how it proves that to a router.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::auth::{KeyError, Secret, SigningKey, cra, method};
use crate::message::{ChallengeDetails, HelloDetails, HelloExtra};

/// Rounds and key length of a salted WAMP-CRA secret where the router does not say.
const USUAL_ITERATIONS: u32 = 1000;
const USUAL_KEY_LENGTH: u32 = 32;

/// As much as is read of a file with a key, which is 64 digits long.
const MAX_KEY_FILE_BYTES: u64 = 1024;

/// Who a client is, and how it proves that to a router.
///
/// Only the chosen method is offered and used, so that no router can talk a
/// client into a weaker one.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Authentication {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A secret that is sent as it is: over `wss://` only, or within one host.
    Ticket {
        /// Who the client is.
        authid: String,
        /// The secret.
        ticket: Secret,
    },
    /// A secret that both sides know and that is never sent.
    WampCra {
        /// Who the client is.
        authid: String,
        /// The secret.
        secret: Secret,
    },
    /// A key whose public half the router knows.
    Cryptosign {
        /// Who the client is; by default whoever the router knows by the key.
        authid: Option<String>,
        /// The key.
        key: Arc<SigningKey>,
    },
}

/// A file with a private key that cannot be used. Says nothing of what is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read as text.
    #[error("cannot read the private key in {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is in the file is no key.
    #[error("{} holds no key that can be used; `openssl rand -hex 32` makes one", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
}

impl Authentication {
    /// Cryptosign with the private key in a file, as whoever the router knows
    /// by it. The file holds 64 hexadecimal digits; it may be a pipe, and is
    /// read once.
    ///
    /// # Errors
    /// When the file cannot be read or holds no key.
    pub fn from_key_file(path: &Path) -> Result<Self, KeyFileError> {
        let mut text = String::new();
        let read = File::open(path)
            .and_then(|file| file.take(MAX_KEY_FILE_BYTES).read_to_string(&mut text));
        read.map_err(|source| KeyFileError::Read { path: path.to_owned(), source })?;
        let key: Result<SigningKey, _> = text.parse();
        let key = key.map_err(|source| KeyFileError::Key { path: path.to_owned(), source })?;
        Ok(Self::Cryptosign { authid: None, key: Arc::new(key) })
    }

    /// The name of the method on the wire.
    fn method(&self) -> &'static str {
        match self {
            Self::Anonymous => method::ANONYMOUS,
            Self::Ticket { .. } => method::TICKET,
            Self::WampCra { .. } => method::WAMPCRA,
            Self::Cryptosign { .. } => method::CRYPTOSIGN,
        }
    }

    /// Says in a HELLO who we are.
    pub(super) fn introduce(&self, hello: &mut HelloDetails) {
        hello.authid = match self {
            // Without a word on it, every router takes a client for anonymous.
            Self::Anonymous => return,
            Self::Ticket { authid, .. } | Self::WampCra { authid, .. } => Some(authid.clone()),
            Self::Cryptosign { authid, key } => {
                let pubkey = Some(key.public_key().to_string());
                hello.authextra = Some(HelloExtra { pubkey, ..HelloExtra::default() });
                authid.clone()
            }
        };
        hello.authmethods = Some(vec![self.method().to_owned()]);
    }

    /// The signature for a CHALLENGE, or in words why there is none. May
    /// compute for a second.
    pub(super) fn answer(
        &self,
        asked: &str,
        challenge: &ChallengeDetails,
    ) -> Result<String, String> {
        let ours = self.method();
        if asked != ours {
            let asked: String = asked.chars().take(100).collect();
            return Err(format!(
                "it asks for a proof by `{asked}`, and only {ours} is set up here"
            ));
        }
        let text = challenge.challenge.as_deref();
        let text = || text.ok_or_else(|| "it sends nothing to sign".to_owned());
        match self {
            Self::Anonymous => Err("it asks somebody anonymous for a proof".to_owned()),
            Self::Ticket { ticket, .. } => Ok(ticket.reveal().to_owned()),
            Self::WampCra { secret, .. } => match &challenge.salt {
                None => Ok(cra::sign(secret, text()?)),
                Some(salt) => {
                    let iterations = challenge.iterations.unwrap_or(USUAL_ITERATIONS);
                    let length = challenge.keylen.unwrap_or(USUAL_KEY_LENGTH);
                    let key = cra::derive_key(secret, salt, iterations, length);
                    Ok(cra::sign(&key.map_err(|error| error.to_string())?, text()?))
                }
            },
            Self::Cryptosign { key, .. } => key.sign(text()?).map_err(|error| error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cra() -> Authentication {
        Authentication::WampCra { authid: "a".into(), secret: Secret::new("hunter2") }
    }

    #[test]
    fn only_the_chosen_method_is_answered() {
        let challenge = ChallengeDetails { challenge: Some("x".into()), ..Default::default() };
        assert!(cra().answer("wampcra", &challenge).is_ok());
        for asked in ["ticket", "cryptosign", "scram", ""] {
            let refusal = cra().answer(asked, &challenge).unwrap_err();
            assert!(!refusal.contains("hunter2") && refusal.contains("wampcra"), "{refusal}");
        }
        assert!(Authentication::Anonymous.answer("anonymous", &challenge).is_err());
    }

    #[test]
    fn a_salted_secret_is_derived_with_what_the_router_says() {
        let salted = |iterations, keylen| ChallengeDetails {
            challenge: Some("x".into()),
            salt: Some("salt".into()),
            iterations,
            keylen,
            ..Default::default()
        };
        let usual = cra().answer("wampcra", &salted(None, None)).unwrap();
        assert_eq!(cra().answer("wampcra", &salted(Some(1000), Some(32))).unwrap(), usual);
        assert_ne!(cra().answer("wampcra", &salted(Some(10), Some(32))).unwrap(), usual);
        assert!(cra().answer("wampcra", &salted(Some(u32::MAX), None)).is_err());
    }

    #[test]
    fn a_challenge_without_a_text_is_not_answered() {
        let key = Arc::new(SigningKey::from_seed(&[1; 32]).unwrap());
        let cryptosign = Authentication::Cryptosign { authid: None, key };
        for (ours, asked) in [(cra(), "wampcra"), (cryptosign, "cryptosign")] {
            assert!(ours.answer(asked, &ChallengeDetails::default()).is_err());
        }
    }

    #[test]
    fn a_key_is_read_from_a_file_and_no_error_shows_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ada.key");
        std::fs::write(&path, format!("{}\n", "07".repeat(32))).unwrap();
        let Authentication::Cryptosign { key, .. } = Authentication::from_key_file(&path).unwrap()
        else {
            panic!()
        };
        assert_eq!(key.public_key(), SigningKey::from_seed(&[7; 32]).unwrap().public_key());

        let missing = dir.path().join("missing.key");
        let error = Authentication::from_key_file(&missing).unwrap_err().to_string();
        assert!(error.contains("missing.key"), "{error}");
        for wrong in [&b"hunter2"[..], &[0xff; 4096], b""] {
            std::fs::write(&path, wrong).unwrap();
            let error = Authentication::from_key_file(&path).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains("ada.key") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_secret_is_in_no_debug_output() {
        let ticket = Authentication::Ticket { authid: "a".into(), ticket: Secret::new("hunter2") };
        assert!(!format!("{:?} {ticket:?}", cra()).contains("hunter2"));
    }
}
