//! HTTP: where a plugin may send requests, and which.
//!
//! Plugin and admin write the same kind of rules: what is asked for in the
//! manifest and what is granted in the file. A request has to pass one rule of
//! each. [`HttpAllowance::check`] looks at method, path and query before
//! anything is sent; where a rule has conditions on the body, it gives a
//! [`BodyRule`] that the whole body has to pass as well.

mod authority;
mod body;
mod glob;
mod json;
mod path;
mod policy;
mod route;
mod rule;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::grant::{AbsolutePath, SecretSource};
use crate::secret::Secret;
use crate::text::HeaderName;

pub use authority::Authority;
pub use body::{BODY_LIMIT, BodyCondition};
pub use policy::{BodyRule, HttpAllowance, HttpDenial, HttpRequest};
pub use route::Route;
pub use rule::HttpRule;

/// Asks to send requests to one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpAsk {
    /// The place, as it is in the plugin's URLs.
    pub authority: Authority,
    /// The unix socket that it usually is; the admin may choose another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<AbsolutePath>,
    /// The scheme of the plugin's URLs, if it is not `https` or a socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// The requests that it wants to send.
    pub allow: Vec<HttpRule>,
    /// Why the plugin wants it.
    pub reason: String,
}

/// Lets a plugin send requests to one place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "HttpGrantTable")]
pub struct HttpGrant {
    pub(crate) place: HttpPlace,
    pub(crate) headers: BTreeMap<HeaderName, SecretSource>,
    pub(crate) allow: Vec<HttpRule>,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HttpPlace {
    /// To a unix socket, without TLS.
    Socket(PathBuf),
    /// To the host and port of the authority.
    Network {
        /// Whether with TLS.
        scheme: Scheme,
        /// Whether a name may stand for an address of the node's own or of a
        /// private network. An authority that is an address may in any case.
        is_private: bool,
        /// The certificates that are trusted; none: those of the system.
        ca_file: Option<PathBuf>,
    },
}

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// The word for it in URLs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of a URL that has none.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl HttpPlace {
    /// The scheme under which a plugin reaches it.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Socket(_) => Scheme::Http,
            Self::Network { scheme, .. } => *scheme,
        }
    }
}

/// A grant as the admin writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpGrantTable {
    socket: Option<AbsolutePath>,
    scheme: Option<Scheme>,
    private: Option<bool>,
    ca_file: Option<AbsolutePath>,
    #[serde(default)]
    headers: BTreeMap<HeaderName, SecretSource>,
    allow: Vec<HttpRule>,
}

impl TryFrom<HttpGrantTable> for HttpGrant {
    type Error = &'static str;

    fn try_from(table: HttpGrantTable) -> Result<Self, Self::Error> {
        let HttpGrantTable { socket, scheme, private, ca_file, headers, allow } = table;
        let place = match socket {
            Some(_) if scheme.is_some() || private.is_some() || ca_file.is_some() => {
                return Err("`socket` goes without `scheme`, `private` and `ca_file`");
            }
            Some(socket) => HttpPlace::Socket(socket.as_path().to_owned()),
            None if scheme == Some(Scheme::Http) && ca_file.is_some() => {
                return Err("`ca_file` is for `scheme = \"https\"`");
            }
            None => HttpPlace::Network {
                scheme: scheme.unwrap_or(Scheme::Https),
                is_private: private.unwrap_or(false),
                ca_file: ca_file.as_ref().map(AbsolutePath::as_path).map(Path::to_owned),
            },
        };
        Ok(Self { place, headers, allow })
    }
}

/// A place that is granted, with what the host adds to each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTarget {
    /// How the plugin's URLs name it.
    pub authority: Authority,
    /// Where it is.
    pub place: HttpPlace,
    /// Headers that the plugin does not get to see; names are in lower case.
    pub headers: BTreeMap<HeaderName, Secret>,
}
