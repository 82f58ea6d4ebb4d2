//! Which controller an operator's command asks, and as whom.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use drover_api::procedures;
use drover_wamp::{
    Authentication, Client, ClientCertificate, ClientConfig, ConnectError, Fingerprint, Roots,
    Secret, uri,
};

use crate::credentials::{Credential, Credentials};
use crate::exit::{Exit, Failure};
use crate::secrets;

/// Which controller to ask, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Address {
    /// WebSocket address of the controller; by default the one where you are logged
    /// in, else ws://127.0.0.1:7117/ws
    #[arg(long, value_name = "URL", env = "DROVER_CONTROLLER")]
    controller: Option<String>,
    /// File with your private key: 64 hexadecimal digits of Ed25519. Without
    /// one, a token or a login you are nobody in particular
    #[arg(long, value_name = "FILE", env = "DROVER_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// File with your token; without it the one in DROVER_TOKEN, or of your login
    #[arg(long, value_name = "FILE", env = "DROVER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of the certificates that may sign the controller's, for
    /// wss://; those of the platform by default
    #[arg(long, value_name = "FILE", env = "DROVER_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// SHA-256 of the controller's certificate, where nobody has signed it whom you
    /// trust
    #[arg(long, value_name = "SHA256", env = "DROVER_FINGERPRINT")]
    fingerprint: Option<Fingerprint>,
    /// PEM file of your own certificate, for a controller that wants one
    #[arg(
        long,
        value_name = "FILE",
        env = "DROVER_CERTIFICATE_FILE",
        requires = "certificate_key_file"
    )]
    certificate_file: Option<PathBuf>,
    /// PEM file of your certificate's private key
    #[arg(
        long,
        value_name = "FILE",
        env = "DROVER_CERTIFICATE_KEY_FILE",
        requires = "certificate_file"
    )]
    certificate_key_file: Option<PathBuf>,
    /// The realm to join there
    #[arg(long, value_name = "NAME", default_value = procedures::REALM, hide = true)]
    realm: String,
}

/// Where a controller is if nobody says so.
const USUAL: &str = "ws://127.0.0.1:7117/ws";

/// The environment variable with a token.
const TOKEN: &str = "DROVER_TOKEN";

impl Address {
    /// Joins the controller.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        self.connect_with(None).await
    }

    /// Joins the controller, as a user with a password if there is one.
    pub(crate) async fn connect_with(
        &self,
        password: Option<&(&str, Secret)>,
    ) -> Result<Client, Failure> {
        let mut config = self.config()?;
        if let Some((user, password)) = password {
            let (authid, ticket) = ((*user).to_owned(), password.clone());
            config.authentication = Authentication::Ticket { authid, ticket };
        }
        let is_bare = matches!(config.authentication, Authentication::Ticket { .. })
            && !config.url.starts_with("wss://")
            && !is_loopback(&config.url);
        if is_bare {
            let text = format!(
                "{} is not encrypted, so everybody on the way could read your password or token: \
                 use an address that begins with wss://",
                config.url
            );
            return Err(Failure::text(Exit::Usage, text));
        }
        Client::connect(&config).await.map_err(|error| {
            let exit = match &error {
                ConnectError::Url { .. } => Exit::Usage,
                _ => Exit::Unreachable,
            };
            let message = self.in_words(&config.url, &error, &config.authentication);
            Failure::new(exit, anyhow::Error::new(error).context(message))
        })
    }

    /// The controller's address.
    pub(crate) fn controller(&self) -> Result<String, Failure> {
        match &self.controller {
            Some(controller) => Ok(controller.clone()),
            None => Ok(Credentials::read()?.current.unwrap_or_else(|| USUAL.to_owned())),
        }
    }

    /// What the controller's certificate is known by, if by that.
    pub(crate) fn fingerprint(&self) -> Result<Option<Fingerprint>, Failure> {
        if self.ca_file.is_some() || self.fingerprint.is_some() {
            return Ok(self.fingerprint);
        }
        let credentials = Credentials::read()?;
        let known = credentials.of(&self.controller()?);
        Ok(known.and_then(Credential::fingerprint))
    }

    /// The file of the certificates that may sign the controller's, if one is named.
    pub(crate) fn ca_file(&self) -> Option<PathBuf> {
        self.ca_file.clone()
    }

    /// Whether a private key is named.
    pub(crate) fn has_key(&self) -> bool {
        self.key_file.is_some()
    }

    fn config(&self) -> Result<ClientConfig, Failure> {
        let credentials = Credentials::read()?;
        let controller = self.controller()?;
        let known = credentials.of(&controller);
        let mut config = ClientConfig::new(&controller, &self.realm);
        let ca_file = self.ca_file.clone().or_else(|| {
            known.filter(|_| self.fingerprint.is_none()).and_then(|known| known.ca_file.clone())
        });
        if let Some(fingerprint) = self.fingerprint()? {
            config.tls.roots = Roots::Fingerprint(fingerprint);
        } else if let Some(file) = ca_file {
            config.tls.roots = Roots::File(file);
        }
        if let (Some(certificates), Some(key)) =
            (&self.certificate_file, &self.certificate_key_file)
        {
            let (certificates, key) = (certificates.clone(), key.clone());
            config.tls.certificate = Some(ClientCertificate { certificates, key });
        }
        if let Some(file) = &self.key_file {
            config.authentication = Authentication::from_key_file(file).map_err(|error| {
                let message = "cannot prove who you are with --key-file (or DROVER_KEY_FILE)";
                Failure::new(Exit::Usage, anyhow::Error::new(error).context(message))
            })?;
            return Ok(config);
        }
        let named = self.token_file.as_deref().map(secrets::in_file).transpose()?;
        let token = named.or_else(|| secrets::in_variable(TOKEN));
        if let Some(ticket) = token.or_else(|| known.map(Credential::token)) {
            let authid = known.map_or_else(|| "token".to_owned(), |known| known.user.clone());
            config.authentication = Authentication::Ticket { authid, ticket };
        }
        Ok(config)
    }

    /// What a failed connect means here, and what to do.
    fn in_words(&self, controller: &str, error: &ConnectError, proof: &Authentication) -> String {
        match error {
            ConnectError::Url { .. } => {
                "--controller (or DROVER_CONTROLLER) is no address of a controller".to_owned()
            }
            ConnectError::Tls { .. } => format!(
                "no trusted connection to the controller at {controller} (--ca-file or \
                 DROVER_CA_FILE names the certificates to trust, --fingerprint or \
                 DROVER_FINGERPRINT the controller's own)"
            ),
            ConnectError::Aborted { uri, .. } => self.refused(controller, uri, proof),
            ConnectError::Authentication { .. } => {
                format!("the controller at {controller} does not take your key")
            }
            _ => format!(
                "cannot reach the controller at {controller}: is `drover controller` running \
                 there? (--controller or DROVER_CONTROLLER names another address)"
            ),
        }
    }

    fn refused(&self, controller: &str, uri: &str, proof: &Authentication) -> String {
        let realm = &self.realm;
        match (uri, proof) {
            (uri::error::NO_AUTH_METHOD, Authentication::Anonymous) => format!(
                "the controller at {controller} wants to know who you are: `drover login`, or \
                 name your private key with --key-file or DROVER_KEY_FILE, or your token with \
                 --token-file or in DROVER_TOKEN"
            ),
            (uri::error::AUTHENTICATION_DENIED, Authentication::Cryptosign { key, .. }) => format!(
                "the controller at {controller} does not know your key: its admin adds {} to \
                 `public_keys` of a principal in `[realms.{realm}.principals]`",
                key.public_key()
            ),
            (uri::error::AUTHENTICATION_DENIED, Authentication::Ticket { .. }) => {
                format!("the controller at {controller} does not take your password or token")
            }
            (uri::error::NO_AUTH_METHOD, _) => format!(
                "the controller at {controller} takes no keys: `[realms.{realm}.principals]` in \
                 its configuration has nobody with `public_keys`"
            ),
            _ => format!("the controller at {controller} refuses the session"),
        }
    }
}

/// Whether an address leads to this host alone.
fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(host, _)| host),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(uri: &str) -> ConnectError {
        ConnectError::Aborted { uri: uri.to_owned(), message: String::new() }
    }

    fn address() -> Address {
        Address {
            controller: Some("ws://here/ws".to_owned()),
            key_file: None,
            token_file: None,
            ca_file: None,
            fingerprint: None,
            certificate_file: None,
            certificate_key_file: None,
            realm: "drover".to_owned(),
        }
    }

    #[test]
    fn what_leads_to_this_host_alone_is_told_from_the_rest() {
        for url in ["ws://127.0.0.1:7117/ws", "ws://localhost/ws", "ws://[::1]:7117/ws"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["ws://192.0.2.7/ws", "ws://localhost.example/ws", "ws://[2001:db8::1]:1/", ""] {
            assert!(!is_loopback(url), "{url}");
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
        let text =
            address.in_words("ws://here/ws", &aborted(uri::error::NO_AUTH_METHOD), &anonymous);
        assert!(text.contains("--key-file"), "{text}");
        let text =
            address.in_words("ws://here/ws", &aborted(uri::error::NO_SUCH_REALM), &anonymous);
        assert!(!text.contains("key"), "{text}");
        let reason = String::new();
        let tls = ConnectError::Tls { url: String::new(), reason };
        assert!(address.in_words("ws://here/ws", &tls, &anonymous).contains("--ca-file"));
    }
}
