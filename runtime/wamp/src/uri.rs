//! URIs: which texts are names of procedures and topics, and which are patterns.

use serde::{Deserialize, Serialize};

/// The URIs of errors that routers and clients answer with.
pub mod error {
    /// Nobody registered the procedure.
    pub const NO_SUCH_PROCEDURE: &str = "wamp.error.no_such_procedure";
    /// Somebody else registered the procedure.
    pub const PROCEDURE_ALREADY_EXISTS: &str = "wamp.error.procedure_already_exists";
    /// Others share the procedure, by another policy than the one that was asked for.
    pub const INVOCATION_POLICY_CONFLICT: &str =
        "wamp.error.procedure_exists_with_different_invocation_policy";
    /// The registration was taken away.
    pub const UNREGISTERED: &str = "wamp.error.unregistered";
    /// No such session is in the realm.
    pub const NO_SUCH_SESSION: &str = "wamp.error.no_such_session";
    /// The session holds no such registration.
    pub const NO_SUCH_REGISTRATION: &str = "wamp.error.no_such_registration";
    /// The session holds no such subscription.
    pub const NO_SUCH_SUBSCRIPTION: &str = "wamp.error.no_such_subscription";
    /// The text is no URI, or begins with `wamp.`.
    pub const INVALID_URI: &str = "wamp.error.invalid_uri";
    /// An option or an argument makes no sense.
    pub const INVALID_ARGUMENT: &str = "wamp.error.invalid_argument";
    /// The call was cancelled, or its callee went away.
    pub const CANCELED: &str = "wamp.error.canceled";
    /// The call took longer than its caller wanted to wait.
    pub const TIMEOUT: &str = "wamp.error.timeout";
    /// The callee failed.
    pub const RUNTIME_ERROR: &str = "wamp.error.runtime_error";
    /// The callee has no room for another call at the moment.
    pub const UNAVAILABLE: &str = "wamp.error.unavailable";
    /// The message is too long for its receiver, or cannot be written in its serializer.
    pub const PAYLOAD_SIZE_EXCEEDED: &str = "wamp.error.payload_size_exceeded";
    /// The session has as many registrations, subscriptions or calls as it may.
    pub const LIMIT_REACHED: &str = "wamp.error.limit_reached";
    /// The router has no such realm.
    pub const NO_SUCH_REALM: &str = "wamp.error.no_such_realm";
    /// The session's role may not do what was asked.
    pub const NOT_AUTHORIZED: &str = "wamp.error.not_authorized";
    /// The realm accepts none of the authentication methods that a client offers.
    pub const NO_AUTH_METHOD: &str = "wamp.error.no_auth_method";
    /// The client says not who it is, and its method needs to know.
    pub const NO_SUCH_PRINCIPAL: &str = "wamp.error.no_such_principal";
    /// The client asks for a role that it does not have.
    pub const NO_SUCH_ROLE: &str = "wamp.error.no_such_role";
    /// The client's proof is wrong, or nobody is known by its name.
    pub const AUTHENTICATION_DENIED: &str = "wamp.error.authentication_denied";
    /// The client's request for authentication cannot be understood or met.
    pub const AUTHENTICATION_FAILED: &str = "wamp.error.authentication_failed";
    /// The peer broke the protocol.
    pub const PROTOCOL_VIOLATION: &str = "wamp.error.protocol_violation";
}

/// The reasons with which sessions end.
pub mod close {
    /// The peer wishes to leave.
    pub const NORMAL: &str = "wamp.close.normal";
    /// The answer to a GOODBYE.
    pub const GOODBYE_AND_OUT: &str = "wamp.close.goodbye_and_out";
    /// Somebody who may ended the session.
    pub const KILLED: &str = "wamp.close.killed";
    /// The router stops.
    pub const SYSTEM_SHUTDOWN: &str = "wamp.close.system_shutdown";
}

/// The topic on which a router tells which session left: `[session, authid, authrole]`.
pub const ON_LEAVE: &str = "wamp.session.on_leave";

/// The topic on which a router tells which session joined: one map with
/// `session`, `authid`, `authrole`, `authmethod` and `authprovider`.
pub const ON_JOIN: &str = "wamp.session.on_join";

/// The longest URI, in bytes. The specification has no limit; a router needs one.
pub const MAX_URI_BYTES: usize = 1024;

/// The most components of a wildcard pattern: each takes hundreds of bytes in a
/// router, where the text itself takes two.
pub const MAX_WILDCARD_COMPONENTS: usize = 32;

/// How a registration or subscription matches names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatchPolicy {
    /// The name itself.
    #[default]
    Exact,
    /// Every name that begins with the text.
    Prefix,
    /// Every name with as many components, where an empty component stands for any.
    Wildcard,
}

impl MatchPolicy {
    /// Whether a pattern of this policy matches a name.
    pub(crate) fn matches(self, pattern: &str, name: &str) -> bool {
        match self {
            Self::Exact => pattern == name,
            Self::Prefix => name.starts_with(pattern),
            Self::Wildcard => {
                let (pattern, name) = (pattern.split('.'), name.split('.'));
                pattern.clone().count() == name.clone().count()
                    && pattern.zip(name).all(|(p, n)| p.is_empty() || p == n)
            }
        }
    }
}

/// A text is no URI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no URI: write words between single dots, without spaces and `#`, at most \
     {MAX_URI_BYTES} bytes, and in a wildcard pattern at most {MAX_WILDCARD_COMPONENTS} words"
)]
pub struct UriError(String);

/// Checks the name of a procedure, topic or error.
pub(crate) fn check(uri: &str) -> Result<(), UriError> {
    check_pattern(uri, MatchPolicy::Exact)
}

/// Checks what is registered or subscribed; patterns may have empty components.
pub(crate) fn check_pattern(uri: &str, policy: MatchPolicy) -> Result<(), UriError> {
    let may_be_empty = policy != MatchPolicy::Exact;
    let is_word = |word: &str| {
        (may_be_empty || !word.is_empty())
            && !word.contains(|c: char| c == '#' || c.is_whitespace())
    };
    let is_too_deep =
        policy == MatchPolicy::Wildcard && uri.split('.').nth(MAX_WILDCARD_COMPONENTS).is_some();
    if uri.len() <= MAX_URI_BYTES && !is_too_deep && uri.split('.').all(is_word) {
        Ok(())
    } else {
        // The start is enough to recognise it, whatever was sent.
        Err(UriError(uri.chars().take(100).collect()))
    }
}

/// Whether only the router itself may register or publish the name.
pub(crate) fn is_reserved(uri: &str) -> bool {
    uri == "wamp" || uri.starts_with("wamp.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_words_between_single_dots() {
        for uri in ["a", "a.b", "observatory.fake1.ops", "a-b.c_d.é", "com.my/app"] {
            assert_eq!(check(uri), Ok(()), "{uri}");
        }
        for uri in ["", ".", "a.", ".a", "a..b", "a b", "a#b", "a.\tb", &"x".repeat(1025)] {
            assert!(check(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_pattern_may_have_empty_components() {
        for uri in ["", "a.", "observatory..feeds.", "drover.node.1.7."] {
            assert_eq!(check_pattern(uri, MatchPolicy::Wildcard), Ok(()), "{uri}");
            assert_eq!(check_pattern(uri, MatchPolicy::Prefix), Ok(()), "{uri}");
        }
        assert!(check_pattern("a b.", MatchPolicy::Prefix).is_err());
    }

    #[test]
    fn a_wildcard_pattern_has_so_many_components_and_no_more() {
        let pattern = |count: usize| vec!["a"; count].join(".");
        let (longest, too_long) = (pattern(32), pattern(33));
        assert_eq!(check_pattern(&longest, MatchPolicy::Wildcard), Ok(()));
        assert!(check_pattern(&too_long, MatchPolicy::Wildcard).is_err());
        for policy in [MatchPolicy::Exact, MatchPolicy::Prefix] {
            assert_eq!(check_pattern(&too_long, policy), Ok(()));
        }
    }

    #[test]
    fn only_the_routers_own_names_are_reserved() {
        assert!(is_reserved("wamp.session.list"));
        assert!(!is_reserved("wampum.shop"));
    }
}
