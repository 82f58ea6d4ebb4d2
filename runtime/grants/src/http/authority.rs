//! The part of a URL that says where: a host and perhaps a port.

use std::borrow::Borrow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::Scheme;
use crate::text::TextError;

/// A host, and a port if it is not the usual one: `api.example.com`,
/// `10.0.0.7:8443`, `[::1]:8080`, or the name of a unix socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Authority(String);

impl Authority {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, without the brackets of an address of version 6.
    #[must_use]
    pub fn host(&self) -> &str {
        split(&self.0).0
    }

    /// The port, if it is there.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        split(&self.0).1.and_then(|port| port.parse().ok())
    }

    /// The address, if the host is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }

    /// Whether this is the place that a URL of this scheme names as `text`.
    #[must_use]
    pub fn is_named(&self, text: &str, scheme: Scheme) -> bool {
        let (host, port) = split(text);
        let port = match port.map(str::parse) {
            None => scheme.default_port(),
            Some(Ok(port)) => port,
            Some(Err(_)) => return false,
        };
        self.host().eq_ignore_ascii_case(host)
            && self.port().unwrap_or(scheme.default_port()) == port
            && text.starts_with('[') == self.0.starts_with('[')
    }
}

/// Host and port as text.
fn split(text: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

fn is_right(text: &str) -> bool {
    let (host, port) = split(text);
    let is_port = |port: &str| {
        !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    let is_host = match text.strip_prefix('[') {
        Some(_) => {
            let end = host.len() + 2;
            host.parse::<Ipv6Addr>().is_ok_and(|address| address.to_string() == host)
                && text.get(end..).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        }
        None => {
            let is_letter = |letter: u8| {
                letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"-_".contains(&letter)
            };
            let is_word = |word: &str| !word.is_empty() && word.bytes().all(is_letter);
            host.len() <= 253 && host.split('.').all(is_word)
        }
    };
    is_host && port.is_none_or(is_port)
}

impl TryFrom<String> for Authority {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        if is_right(&text) {
            return Ok(Self(text));
        }
        let text = text.chars().take(128).collect();
        let rule = "write a host in lower case, and its port if it is not the usual one, such as \
                    `api.example.com`, `10.0.0.7:8443` or `[::1]:8080`";
        Err(TextError { text, what: "place on the network", rule })
    }
}

impl std::str::FromStr for Authority {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        text.to_owned().try_into()
    }
}

impl From<Authority> for String {
    fn from(authority: Authority) -> Self {
        authority.0
    }
}

impl Borrow<str> for Authority {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_addresses_and_ports_are_authorities() {
        for (text, host, port) in [
            ("docker", "docker", None),
            ("api.example.com", "api.example.com", None),
            ("10.0.0.7:8443", "10.0.0.7", Some(8443)),
            ("[::1]", "::1", None),
            ("[2001:db8::7]:80", "2001:db8::7", Some(80)),
        ] {
            let authority: Authority = text.parse().unwrap();
            assert_eq!((authority.host(), authority.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_none() {
        for text in [
            "", "A.com", "a..b", ".a", "a.", "a:", "a:0", "a:080", "a:+8", "a:65536", "a:1:2",
            "u@a", "a/b", "a b", "ä.com", "::1", "[::1", "[::1]x", "[0::1]", "[a]", "a\0", "*.a",
        ] {
            assert!(text.parse::<Authority>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_may_have_the_usual_port_and_any_case() {
        let granted: Authority = "api.example.com".parse().unwrap();
        for (text, scheme, is_named) in [
            ("api.example.com", Scheme::Https, true),
            ("API.example.com:443", Scheme::Https, true),
            ("api.example.com:443", Scheme::Http, false),
            ("api.example.com:8443", Scheme::Https, false),
            ("api.example.com.", Scheme::Https, false),
            ("user@api.example.com", Scheme::Https, false),
            ("api.example.com:x", Scheme::Https, false),
            ("xapi.example.com", Scheme::Https, false),
        ] {
            assert_eq!(granted.is_named(text, scheme), is_named, "{text}");
        }
        let six: Authority = "[::1]:80".parse().unwrap();
        assert!(six.is_named("[::1]", Scheme::Http) && !six.is_named("::1", Scheme::Http));
    }
}
