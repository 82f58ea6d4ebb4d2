//! Which web pages may reach this router.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::ORIGIN;

/// The pages that may open sessions and use the bridge.
///
/// Any page in the world can tell the browser of somebody at this machine to
/// send requests to it, and must not thereby get at the nodes. Browsers name
/// the page's origin with every WebSocket and every POST, so a foreign one is
/// refused by name. Comparing the origin with the Host header would not do: a
/// name that a stranger owns may point here. Programs name no origin, and are
/// none of this module's business.
#[derive(Debug, Default)]
pub(super) struct Origins {
    allowed: Vec<String>,
}

/// Who asks, as far as the browser says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asker<'a> {
    /// No browser.
    Program,
    /// A page that may.
    Page(&'a str),
    /// A page that may not.
    Stranger(&'a str),
}

impl Origins {
    /// Pages of this machine are always allowed, and those of these origins,
    /// such as `https://console.example:8443`.
    pub(super) fn new(allowed: Vec<String>) -> Self {
        Self { allowed }
    }

    pub(super) fn asker<'a>(&self, headers: &'a HeaderMap) -> Asker<'a> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Asker::Program };
        let Ok(origin) = origin.to_str() else { return Asker::Stranger("an unreadable origin") };
        let is_allowed = is_local(origin)
            || self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin));
        if is_allowed && origins.next().is_none() {
            Asker::Page(origin)
        } else {
            // The start is enough to recognise it.
            let end = origin.len().min(100);
            Asker::Stranger(&origin[..end])
        }
    }
}

/// Whether a page comes from this machine.
fn is_local(origin: &str) -> bool {
    let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origins: &[&str]) -> HeaderMap {
        origins.iter().map(|origin| (ORIGIN, origin.parse().unwrap())).collect()
    }

    #[test]
    fn only_pages_of_this_machine_and_those_allowed_may() {
        let origins = Origins::new(vec!["https://console.example:8443".into()]);
        for origin in [
            "http://localhost:8080",
            "http://127.0.0.1",
            "https://[::1]:80",
            "http://127.1.2.3:1",
            "https://console.example:8443",
            "https://Console.example:8443",
        ] {
            assert_eq!(origins.asker(&headers(&[origin])), Asker::Page(origin));
        }
        for origin in [
            "null",
            "",
            "http://a.example",
            "http://localhost.a.example",
            "http://127.0.0.1.a.example:80",
            "http://10.0.0.1",
            "http://console.example:8443",
            "https://console.example",
            "https://console.example:8443.a.example",
        ] {
            assert_eq!(origins.asker(&headers(&[origin])), Asker::Stranger(origin));
        }
    }

    #[test]
    fn a_program_names_no_origin_and_nobody_names_two() {
        let origins = Origins::default();
        assert_eq!(origins.asker(&headers(&[])), Asker::Program);
        let two = headers(&["http://localhost", "http://a.example"]);
        assert_eq!(origins.asker(&two), Asker::Stranger("http://localhost"));
    }
}
