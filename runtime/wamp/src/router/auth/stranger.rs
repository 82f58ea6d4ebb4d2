//! A client whom the configuration does not know, and what its guard is asked.

use crate::auth::{PublicKey, Secret, cryptosign, method};
use crate::message::{ChallengeDetails, Message};
use crate::router::guard::Proof;
use crate::uri::error;

use super::Refusal;

/// A client that was asked to prove who it is, for a guard to judge. It has one answer.
#[derive(Debug)]
pub(in crate::router) struct Stranger {
    pub(super) authid: Option<String>,
    /// The role that it wants, if it does not take any.
    pub(super) wish: Option<String>,
    pub(super) question: Question,
}

/// What was asked.
#[derive(Debug)]
pub(super) enum Question {
    Ticket,
    Key { challenge: cryptosign::Challenge, key: PublicKey },
}

/// What a stranger says of itself, and has proved of it what can be proved here.
#[derive(Debug)]
pub(in crate::router) struct Introduction {
    pub(in crate::router) authid: Option<String>,
    pub(in crate::router) wish: Option<String>,
    pub(in crate::router) proof: Proof,
}

impl Stranger {
    /// Who the client says it is, for the log.
    pub(in crate::router) fn authid(&self) -> String {
        let name = match (&self.authid, &self.question) {
            (Some(authid), _) => authid.clone(),
            (None, Question::Key { key, .. }) => key.to_string(),
            (None, Question::Ticket) => String::new(),
        };
        name.chars().take(100).collect()
    }

    /// How the client was asked.
    pub(in crate::router) fn method(&self) -> &'static str {
        match self.question {
            Question::Ticket => method::TICKET,
            Question::Key { .. } => method::CRYPTOSIGN,
        }
    }

    /// The CHALLENGE to send.
    pub(in crate::router) fn challenge(&self) -> Message {
        let challenge = match &self.question {
            Question::Ticket => None,
            Question::Key { challenge, .. } => Some(cryptosign::challenge_text(challenge)),
        };
        let extra = Box::new(ChallengeDetails { challenge, ..ChallengeDetails::default() });
        Message::Challenge { method: self.method().to_owned(), extra }
    }

    /// Takes the answer: a key must have signed, a ticket is any text.
    pub(in crate::router) fn answer(self, signature: &str) -> Result<Introduction, Refusal> {
        let proof = match self.question {
            Question::Ticket => Proof::Ticket(Secret::new(signature)),
            Question::Key { challenge, key } if key.has_signed(&challenge, signature) => {
                Proof::Key(key)
            }
            Question::Key { .. } => {
                let text = "cryptosign: the name is unknown, or the proof is wrong".to_owned();
                return Err(Refusal { uri: error::AUTHENTICATION_DENIED, text });
            }
        };
        Ok(Introduction { authid: self.authid, wish: self.wish, proof })
    }
}
