//! Which controller an operator's command asks, and as whom.

use std::path::PathBuf;

use clap::Args;
use drover_api::procedures;
use drover_wamp::{Authentication, Client, ClientConfig, ConnectError, Roots, uri};

use crate::exit::{Exit, Failure};

/// Which controller to ask, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Address {
    /// WebSocket address of the controller
    #[arg(
        long,
        value_name = "URL",
        env = "DROVER_CONTROLLER",
        default_value = "ws://127.0.0.1:7117/ws"
    )]
    controller: String,
    /// File with your private key: 64 hexadecimal digits of Ed25519. Without
    /// one you are nobody in particular
    #[arg(long, value_name = "FILE", env = "DROVER_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// PEM file of the certificates that may sign the controller's, for
    /// wss://; those of the platform by default
    #[arg(long, value_name = "FILE", env = "DROVER_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// The realm to join there
    #[arg(long, value_name = "NAME", default_value = procedures::REALM, hide = true)]
    realm: String,
}

impl Address {
    /// Joins the controller.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let config = self.config()?;
        Client::connect(&config).await.map_err(|error| {
            let exit = match &error {
                ConnectError::Url { .. } => Exit::Usage,
                _ => Exit::Unreachable,
            };
            let message = self.in_words(&error, &config.authentication);
            Failure::new(exit, anyhow::Error::new(error).context(message))
        })
    }

    fn config(&self) -> Result<ClientConfig, Failure> {
        let mut config = ClientConfig::new(&self.controller, &self.realm);
        if let Some(file) = &self.ca_file {
            config.tls.roots = Roots::File(file.clone());
        }
        if let Some(file) = &self.key_file {
            config.authentication = Authentication::from_key_file(file).map_err(|error| {
                let message = "cannot prove who you are with --key-file (or DROVER_KEY_FILE)";
                Failure::new(Exit::Usage, anyhow::Error::new(error).context(message))
            })?;
        }
        Ok(config)
    }

    /// What a failed connect means here, and what to do.
    fn in_words(&self, error: &ConnectError, proof: &Authentication) -> String {
        let controller = &self.controller;
        match error {
            ConnectError::Url { .. } => {
                "--controller (or DROVER_CONTROLLER) is no address of a controller".to_owned()
            }
            ConnectError::Tls { .. } => format!(
                "no trusted connection to the controller at {controller} (--ca-file or \
                 DROVER_CA_FILE names the certificates to trust)"
            ),
            ConnectError::Aborted { uri, .. } => self.refused(uri, proof),
            ConnectError::Authentication { .. } => {
                format!("the controller at {controller} does not take your key")
            }
            _ => format!(
                "cannot reach the controller at {controller}: is `drover controller` running \
                 there? (--controller or DROVER_CONTROLLER names another address)"
            ),
        }
    }

    fn refused(&self, uri: &str, proof: &Authentication) -> String {
        let Self { controller, realm, .. } = self;
        match (uri, proof) {
            (uri::error::NO_AUTH_METHOD, Authentication::Anonymous) => format!(
                "the controller at {controller} wants to know who you are: name your private \
                 key with --key-file or DROVER_KEY_FILE"
            ),
            (uri::error::AUTHENTICATION_DENIED, Authentication::Cryptosign { key, .. }) => format!(
                "the controller at {controller} does not know your key: its admin adds {} to \
                 `public_keys` of a principal in `[realms.{realm}.principals]`",
                key.public_key()
            ),
            (uri::error::NO_AUTH_METHOD, _) => format!(
                "the controller at {controller} takes no keys: `[realms.{realm}.principals]` in \
                 its configuration has nobody with `public_keys`"
            ),
            _ => format!("the controller at {controller} refuses the session"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(uri: &str) -> ConnectError {
        ConnectError::Aborted { uri: uri.to_owned(), message: String::new() }
    }

    fn address() -> Address {
        Address {
            controller: "ws://here/ws".to_owned(),
            key_file: None,
            ca_file: None,
            realm: "drover".to_owned(),
        }
    }

    #[test]
    fn whoever_is_refused_learns_what_to_do() {
        let dir = std::env::temp_dir().join("no-such-directory");
        let address = Address { key_file: Some(dir.join("ada.key")), ..address() };
        let failure = address.config().unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        let text = format!("{:#}", failure.error);
        assert!(text.contains("--key-file") && text.contains("ada.key"), "{text}");

        let anonymous = Authentication::Anonymous;
        let text = address.in_words(&aborted(uri::error::NO_AUTH_METHOD), &anonymous);
        assert!(text.contains("--key-file"), "{text}");
        let text = address.in_words(&aborted(uri::error::NO_SUCH_REALM), &anonymous);
        assert!(!text.contains("key"), "{text}");
        let reason = String::new();
        let tls = ConnectError::Tls { url: String::new(), reason };
        assert!(address.in_words(&tls, &anonymous).contains("--ca-file"));
    }
}
