//! What a client was asked, and whether its answer is right.

use serde::Serialize;

use super::{Claim, Fresh, PROVIDER, Refusal};
use crate::auth::{PublicKey, Secret, cra, cryptosign, method, to_hex};
use crate::id::SessionId;
use crate::message::{ChallengeDetails, Message};
use crate::router::config::CraSecret;
use crate::router::identity::Identity;
use crate::uri::error;

/// A client that was asked to prove who it is. It has one answer.
#[derive(Debug)]
pub(in crate::router) struct Pending {
    claim: Claim,
    /// The role that it wants, if it does not take any.
    wish: Option<String>,
    question: Question,
}

/// What was asked.
#[derive(Debug)]
pub(super) enum Question {
    Ticket { ticket: Secret },
    Cra { challenge: String, key: Secret, details: Box<ChallengeDetails> },
    Cryptosign { challenge: cryptosign::Challenge, key: PublicKey },
}

/// The text that a client signs for WAMP-CRA, with all that the specification
/// wants in it. To most clients it is any text. The role is told before
/// anything is proved; a name that is not known has one as well.
#[derive(Serialize)]
struct CraChallenge<'a> {
    authid: &'a str,
    authrole: &'a str,
    authmethod: &'a str,
    authprovider: &'a str,
    nonce: &'a str,
    session: SessionId,
    timestamp: String,
}

impl Question {
    pub(super) fn ticket(claim: &Claim) -> Option<Self> {
        Some(Self::Ticket { ticket: claim.principal.ticket.clone()? })
    }

    pub(super) fn cra(claim: &Claim, fresh: &Fresh) -> Option<Self> {
        let challenge = CraChallenge {
            authid: &claim.authid,
            authrole: &claim.principal.role,
            authmethod: method::WAMPCRA,
            authprovider: PROVIDER,
            nonce: &to_hex(&fresh.nonce),
            session: fresh.session,
            timestamp: humantime::format_rfc3339_millis(fresh.now).to_string(),
        };
        let challenge = serde_json::to_string(&challenge).ok()?;
        let mut details = Box::<ChallengeDetails>::default();
        let key = match claim.principal.cra.as_ref()? {
            CraSecret::Plain(key) => key,
            CraSecret::Salted { key, salt, iterations, key_length } => {
                details.salt = Some(salt.clone());
                details.iterations = Some(*iterations);
                details.keylen = Some(*key_length);
                key
            }
        };
        details.challenge = Some(challenge.clone());
        Some(Self::Cra { challenge, key: key.clone(), details })
    }

    pub(super) fn cryptosign(claim: &Claim, key: PublicKey, nonce: [u8; 32]) -> Option<Self> {
        let has_keys = !claim.principal.public_keys.is_empty();
        has_keys.then_some(Self::Cryptosign { challenge: nonce, key })
    }

    fn method(&self) -> &'static str {
        match self {
            Self::Ticket { .. } => method::TICKET,
            Self::Cra { .. } => method::WAMPCRA,
            Self::Cryptosign { .. } => method::CRYPTOSIGN,
        }
    }
}

impl Pending {
    pub(super) fn new(claim: Claim, wish: Option<String>, question: Question) -> Self {
        Self { claim, wish, question }
    }

    /// Who the client says it is, for the log.
    pub(in crate::router) fn authid(&self) -> String {
        self.claim.authid.chars().take(100).collect()
    }

    /// How the client was asked, for the log.
    pub(in crate::router) fn method(&self) -> &'static str {
        self.question.method()
    }

    /// The CHALLENGE to send.
    pub(in crate::router) fn challenge(&self) -> Message {
        let extra = match &self.question {
            Question::Ticket { .. } => Box::default(),
            Question::Cra { details, .. } => details.clone(),
            Question::Cryptosign { challenge, .. } => Box::new(ChallengeDetails {
                challenge: Some(cryptosign::challenge_text(challenge)),
                ..ChallengeDetails::default()
            }),
        };
        Message::Challenge { method: self.method().to_owned(), extra }
    }

    /// Checks the answer.
    pub(in crate::router) fn answer(self, signature: &str) -> Result<Identity, Refusal> {
        let is_right = match &self.question {
            Question::Ticket { ticket } => ticket.is(signature),
            Question::Cra { challenge, key, .. } => cra::is_signature(key, challenge, signature),
            // The claimed key has to be the principal's as well; both are
            // checked in any case, so that the time tells nothing.
            Question::Cryptosign { challenge, key } => {
                key.has_signed(challenge, signature)
                    & self.claim.principal.public_keys.contains(key)
            }
        };
        if !(is_right & self.claim.is_known) {
            let text = format!("{}: the name is unknown, or the proof is wrong", self.method());
            return Err(Refusal { uri: error::AUTHENTICATION_DENIED, text });
        }
        let identity = Identity {
            authid: self.claim.authid,
            authrole: self.claim.principal.role.clone(),
            authmethod: self.question.method().to_owned(),
            authprovider: PROVIDER.to_owned(),
        };
        identity.in_role(self.wish.as_deref())
    }
}
