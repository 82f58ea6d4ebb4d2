//! Who may join the controller, as its configuration says: `[access]`.

use serde::{Deserialize, Serialize};

/// Who may join.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessSettings {
    /// Whether everybody has to prove who they are. Without it, whoever reaches
    /// the port may do everything, unless the realm is among `realms`.
    pub required: bool,
    /// Whether agents without a join token may show a code for an admin to approve.
    pub claims: bool,
}
