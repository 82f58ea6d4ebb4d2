//! What is said while a session opens and ends: details of HELLO, CHALLENGE,
//! AUTHENTICATE, WELCOME, ABORT and GOODBYE.

use serde::{Deserialize, Serialize};

use super::{ClientRoles, RouterRoles};

/// What a client says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HelloDetails {
    pub(crate) roles: ClientRoles,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<String>,
    /// Who it wants to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authid: Option<String>,
    /// The role it wants, if it does not take any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authrole: Option<String>,
    /// How it can prove that, the preferred method first; none is anonymous.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authmethods: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authextra: Option<HelloExtra>,
}

/// What an authentication method has a client say beforehand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HelloExtra {
    /// Cryptosign: the public key, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pubkey: Option<String>,
    /// Cryptosign: what of the connection is to be signed as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channel_binding: Option<String>,
}

/// What a router asks a client to prove, the fields of all methods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ChallengeDetails {
    /// WAMP-CRA: the text to sign. Cryptosign: 32 bytes to sign, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) challenge: Option<String>,
    /// Cryptosign: what of the connection is to be signed as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channel_binding: Option<String>,
    /// WAMP-CRA: set if the key is derived from the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) salt: Option<String>,
    /// WAMP-CRA: rounds of the derivation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iterations: Option<u32>,
    /// WAMP-CRA: bytes of the derived key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keylen: Option<u32>,
}

/// Beside the signature of an AUTHENTICATE; no method of ours needs more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AuthenticateDetails {}

/// What the router says of itself and of the session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WelcomeDetails {
    pub(crate) realm: String,
    pub(crate) authid: String,
    pub(crate) authrole: String,
    pub(crate) authmethod: String,
    pub(crate) authprovider: String,
    pub(crate) agent: String,
    pub(crate) roles: RouterRoles,
}

/// Beside the reason of an ABORT or GOODBYE.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ReasonDetails {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}
