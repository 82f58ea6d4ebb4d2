//! Who a session is, as the router has found out.

/// Who a session is; the fields are those of WELCOME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) authid: String,
    pub(crate) authrole: String,
    pub(crate) authmethod: String,
    pub(crate) authprovider: String,
}

impl Identity {
    /// Somebody who proves nothing, under a name that nobody else has.
    pub(crate) fn anonymous() -> Self {
        Self {
            authid: format!("{:016x}", rand::random::<u64>()),
            authrole: "anonymous".to_owned(),
            authmethod: "anonymous".to_owned(),
            authprovider: "static".to_owned(),
        }
    }

    /// A session of the router's own process.
    pub(crate) fn trusted() -> Self {
        Self {
            authrole: "trusted".to_owned(),
            authmethod: "trusted".to_owned(),
            ..Self::anonymous()
        }
    }
}
