//! Roles of peers, and what of the advanced profile each announces.

use serde::{Deserialize, Serialize};

/// What a client wants to do; absent is not at all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ClientRoles {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) caller: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) callee: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publisher: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subscriber: Option<Role>,
}

impl ClientRoles {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What the router does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RouterRoles {
    pub(crate) broker: Role,
    pub(crate) dealer: Role,
}

/// One role and what of the advanced profile it knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Role {
    pub(crate) features: Features,
}

/// The features of the advanced profile that are announced; the names are the specification's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Features {
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) call_canceling: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) call_timeout: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) caller_identification: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) event_retention: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) pattern_based_registration: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) pattern_based_subscription: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) progressive_call_results: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) publisher_exclusion: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) publisher_identification: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) registration_meta_api: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) registration_revocation: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) session_meta_api: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) shared_registration: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) subscriber_blackwhite_listing: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) subscription_meta_api: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) testament_meta_api: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}
