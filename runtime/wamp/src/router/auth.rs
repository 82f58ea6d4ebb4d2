//! Who may join a realm, and how they prove who they are.
//!
//! ```text
//!           HELLO, anonymous
//!   (asks) -----------------------------------------> identity
//!     |                                                  ^
//!     | HELLO, a method of the realm's     right answer  |
//!     +------------------------------------> asked ------+
//!     |                                        |
//!     | no method in common                    | any other answer
//!     +------------------> refusal <-----------+
//! ```
//!
//! A function of its inputs: what is random, and the time, are given to it.
//!
//! In a realm with a guard, whoever is not in the configuration is asked for a
//! ticket or a signature, and what they answer is the guard's to judge.
//!
//! Nobody learns from outside which principals there are. An unknown name is
//! asked as a known one would be, in the shape of a principal that the name
//! itself selects, is checked with the same work, and refused with the same words.

mod challenge;
mod stranger;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use ring::hmac;

use super::config::{CraSecret, PrincipalConfig, RealmConfig};
use super::identity::Identity;
use crate::auth::{PublicKey, Secret, method, to_hex};
use crate::id::SessionId;
use crate::message::HelloDetails;
use crate::uri::error;
pub(super) use challenge::Pending;
use challenge::Question;
pub(super) use stranger::{Introduction, Stranger};

/// What is written for a principal who is kept in the configuration.
const PROVIDER: &str = "static";

/// How many of the methods that a client offers are looked at; nobody knows as
/// many, and each may cost a signature.
const MAX_OFFERED: usize = 16;

/// The principals of a realm.
#[derive(Debug)]
pub(super) struct Authenticator {
    anonymous: Option<String>,
    /// Whether somebody else decides on those who are no principals.
    has_guard: bool,
    methods: Vec<&'static str>,
    principals: HashMap<String, Arc<PrincipalConfig>>,
    /// The principals again, by number.
    models: Vec<Arc<PrincipalConfig>>,
    by_key: HashMap<PublicKey, Arc<PrincipalConfig>>,
    /// Selects the shapes of principals that there are not. Made of the secrets
    /// of those that there are, so that it outlasts a restart and stays unknown.
    veil: hmac::Key,
}

/// What is new in each authentication.
#[derive(Debug, Clone)]
pub(super) struct Fresh {
    /// Random bytes that were never used before.
    pub(super) nonce: [u8; 32],
    /// The id of the session to be.
    pub(super) session: SessionId,
    /// When it began.
    pub(super) now: SystemTime,
}

/// What to answer a HELLO.
#[derive(Debug)]
pub(super) enum Greeting {
    /// Nothing has to be proved.
    Welcome(Identity),
    /// Something has.
    Challenge(Pending),
    /// The same, for the realm's guard.
    Ask(Stranger),
    /// The client cannot join.
    Abort(Refusal),
}

/// Why a client cannot join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct Refusal {
    pub(super) uri: &'static str,
    pub(super) text: String,
}

/// Somebody who wants to join: a principal, or the likeness of one.
#[derive(Debug, Clone)]
struct Claim {
    authid: String,
    principal: Arc<PrincipalConfig>,
    is_known: bool,
}

impl Authenticator {
    pub(super) fn new(realm: &RealmConfig, has_guard: bool) -> Self {
        let models: Vec<_> = realm.principals.iter().cloned().map(Arc::new).collect();
        let mut by_key = HashMap::new();
        let mut veil = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, b"veil"));
        for principal in &models {
            let keys = principal.public_keys.iter();
            by_key.extend(keys.map(|key| (*key, Arc::clone(principal))));
            let cra = principal.cra.as_ref().map(CraSecret::key);
            for secret in [principal.ticket.as_ref(), cra].into_iter().flatten() {
                veil.update(secret.reveal().as_bytes());
                veil.update(b"\0");
            }
        }
        let veil = hmac::Key::new(hmac::HMAC_SHA256, veil.sign().as_ref());
        let names = models.iter().map(|principal| principal.authid.clone());
        let principals = names.zip(models.iter().map(Arc::clone)).collect();
        let anonymous = realm.anonymous.clone();
        let methods = methods(&anonymous, &models, has_guard);
        Self { anonymous, has_guard, methods, principals, models, by_key, veil }
    }

    /// Decides on a HELLO.
    pub(super) fn greet(&self, details: &HelloDetails, fresh: &Fresh) -> Greeting {
        let offered = details.authmethods.as_deref().filter(|methods| !methods.is_empty());
        let anonymous = [method::ANONYMOUS.to_owned()];
        let offered = offered.unwrap_or(&anonymous);
        let offered = &offered[..offered.len().min(MAX_OFFERED)];
        for name in offered {
            let greeting = match name.as_str() {
                method::ANONYMOUS => self.admit_anonymous(),
                method::TICKET | method::WAMPCRA => self.ask_by_name(name, details, fresh),
                method::CRYPTOSIGN => self.ask_by_key(details, fresh.nonce),
                _ => None,
            };
            match greeting {
                Some(Greeting::Welcome(identity)) => return check_role(identity, details),
                Some(greeting) => return greeting,
                None => {}
            }
        }
        refuse(error::NO_AUTH_METHOD, self.in_words(offered))
    }

    fn admit_anonymous(&self) -> Option<Greeting> {
        let authrole = self.anonymous.clone()?;
        Some(Greeting::Welcome(Identity { authrole, ..Identity::anonymous() }))
    }

    /// Asks somebody who says who they are.
    fn ask_by_name(&self, method: &str, details: &HelloDetails, fresh: &Fresh) -> Option<Greeting> {
        if !self.methods.contains(&method) {
            return None;
        }
        let Some(authid) = details.authid.as_deref() else {
            let text = format!("{method} needs to know who you are: the HELLO has no authid");
            return Some(refuse(error::NO_SUCH_PRINCIPAL, text));
        };
        let known = self.principals.get(authid);
        if method == method::TICKET
            && self.has_guard
            && known.is_none_or(|principal| principal.ticket.is_none())
        {
            return Some(Greeting::Ask(Stranger {
                authid: Some(authid.to_owned()),
                wish: details.authrole.clone(),
                question: stranger::Question::Ticket,
            }));
        }
        let claim = self.claim(authid)?;
        let question = if method == method::TICKET {
            Question::ticket(&claim)
        } else {
            Question::cra(&claim, fresh)
        };
        Some(Greeting::Challenge(Pending::new(claim, details.authrole.clone(), question?)))
    }

    /// Asks somebody who has a key, and perhaps says who they are.
    fn ask_by_key(&self, details: &HelloDetails, nonce: [u8; 32]) -> Option<Greeting> {
        if self.by_key.is_empty() && !self.has_guard {
            return None;
        }
        let extra = details.authextra.clone().unwrap_or_default();
        if let Some(binding) = extra.channel_binding {
            let binding: String = binding.chars().take(100).collect();
            let text = format!(
                "this router has no channel binding `{binding}`: leave it out of authextra"
            );
            return Some(refuse(error::AUTHENTICATION_FAILED, text));
        }
        let Some(key) = extra.pubkey.and_then(|key| key.parse::<PublicKey>().ok()) else {
            let text = "cryptosign needs the public key as 64 hexadecimal digits in \
                        authextra.pubkey";
            return Some(refuse(error::AUTHENTICATION_FAILED, text.to_owned()));
        };
        let names_principal =
            details.authid.as_ref().is_some_and(|authid| self.principals.contains_key(authid));
        if self.has_guard && !self.by_key.contains_key(&key) && !names_principal {
            return Some(Greeting::Ask(Stranger {
                authid: details.authid.clone(),
                wish: details.authrole.clone(),
                question: stranger::Question::Key { challenge: nonce, key },
            }));
        }
        let claim = match (&details.authid, self.by_key.get(&key)) {
            (None, Some(principal)) => Claim {
                authid: principal.authid.clone(),
                principal: Arc::clone(principal),
                is_known: true,
            },
            (None, None) => self.likeness(key.to_string())?,
            (Some(authid), _) => self.claim(authid)?,
        };
        let question = Question::cryptosign(&claim, key, nonce)?;
        Some(Greeting::Challenge(Pending::new(claim, details.authrole.clone(), question)))
    }

    fn claim(&self, authid: &str) -> Option<Claim> {
        // Made in any case, so that the time does not tell whether it was needed.
        let likeness = self.likeness(authid.to_owned())?;
        Some(match self.principals.get(authid) {
            Some(principal) => Claim {
                authid: authid.to_owned(),
                principal: Arc::clone(principal),
                is_known: true,
            },
            None => likeness,
        })
    }

    /// The likeness of a principal for a name that is not known: always the
    /// same, and nobody can prove to be it.
    fn likeness(&self, authid: String) -> Option<Claim> {
        let tag = hmac::sign(&self.veil, authid.as_bytes());
        let (first, _) = tag.as_ref().split_first_chunk::<8>()?;
        let count = u64::try_from(self.models.len()).ok()?;
        let index = usize::try_from(u64::from_be_bytes(*first).checked_rem(count)?).ok()?;
        let model = self.models.get(index)?;
        let secret = || Secret::new(to_hex(tag.as_ref()));
        let cra = model.cra.as_ref().map(|cra| match cra {
            CraSecret::Plain(_) => CraSecret::Plain(secret()),
            CraSecret::Salted { salt, iterations, key_length, .. } => CraSecret::Salted {
                key: secret(),
                salt: resembling(salt, tag.as_ref()),
                iterations: *iterations,
                key_length: *key_length,
            },
        });
        let principal = PrincipalConfig {
            authid: authid.clone(),
            role: model.role.clone(),
            ticket: model.ticket.as_ref().map(|_| secret()),
            cra,
            public_keys: model.public_keys.clone(),
        };
        Some(Claim { authid, principal: Arc::new(principal), is_known: false })
    }

    fn in_words(&self, offered: &[String]) -> String {
        let offered: String = offered.join(", ").chars().take(100).collect();
        if self.methods.is_empty() {
            return "this realm has nobody who may join it".to_owned();
        }
        let accepted = self.methods.join(", ");
        format!("you offer to authenticate by {offered}, and this realm wants {accepted}")
    }
}

/// The methods by which somebody can join.
fn methods(
    anonymous: &Option<String>,
    principals: &[Arc<PrincipalConfig>],
    has_guard: bool,
) -> Vec<&'static str> {
    let any = |has: fn(&PrincipalConfig) -> bool| principals.iter().any(|one| has(one));
    let known = [
        (method::ANONYMOUS, anonymous.is_some()),
        (method::TICKET, has_guard || any(|one| one.ticket.is_some())),
        (method::WAMPCRA, any(|one| one.cra.is_some())),
        (method::CRYPTOSIGN, has_guard || any(|one| !one.public_keys.is_empty())),
    ];
    known.into_iter().filter(|(_, is_used)| *is_used).map(|(name, _)| name).collect()
}

impl CraSecret {
    fn key(&self) -> &Secret {
        match self {
            Self::Plain(key) | Self::Salted { key, .. } => key,
        }
    }
}

/// Lets somebody in, unless they insist on another role than they have.
fn check_role(identity: Identity, details: &HelloDetails) -> Greeting {
    match identity.in_role(details.authrole.as_deref()) {
        Ok(identity) => Greeting::Welcome(identity),
        Err(refusal) => Greeting::Abort(refusal),
    }
}

impl Identity {
    /// The identity, if the role is one that was wished for.
    fn in_role(self, wish: Option<&str>) -> Result<Self, Refusal> {
        match wish {
            Some(role) if role != self.authrole => {
                let role: String = role.chars().take(100).collect();
                let text = format!("the role `{role}` is not yours, but `{}`", self.authrole);
                Err(Refusal { uri: error::NO_SUCH_ROLE, text })
            }
            _ => Ok(self),
        }
    }
}

fn refuse(uri: &'static str, text: String) -> Greeting {
    Greeting::Abort(Refusal { uri, text })
}

/// A text like `model`, letter for letter, that only `seed` decides.
fn resembling(model: &str, seed: &[u8]) -> String {
    let pick = |index: usize, from: u8, count: u8| {
        let byte = seed.get(index % seed.len().max(1)).copied().unwrap_or_default();
        char::from(from + byte % count)
    };
    let letters = model.chars().enumerate().map(|(index, letter)| match letter {
        '0'..='9' => pick(index, b'0', 10),
        'a'..='f' => pick(index, b'a', 6),
        'g'..='z' => pick(index, b'a', 26),
        'A'..='F' => pick(index, b'A', 6),
        'G'..='Z' => pick(index, b'A', 26),
        other => other,
    });
    letters.collect()
}

#[cfg(test)]
mod tests;
