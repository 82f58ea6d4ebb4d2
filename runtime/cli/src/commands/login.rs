//! `drover login`, `logout` and `whoami`: who you are to a controller.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use drover_api::{AccessName, MadeToken, NewApiToken, WhoAmI, procedures};
use drover_wamp::Secret;

use crate::address::Address;
use crate::credentials::{Credential, Credentials};
use crate::exit::{Exit, Failure};
use crate::{access, controller, output, secrets};

/// Logs in to a controller: by password, or with --key-file by key. What is
/// remembered is a token, in a file that only you may read; commands that name no
/// controller ask this one from then on.
#[derive(Debug, Args)]
pub(crate) struct Login {
    #[command(flatten)]
    address: Address,
    /// Your name, unless you have a key
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// File whose first line is the password; without it the one in
    /// DROVER_PASSWORD, else you are asked
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How long you stay logged in
    #[arg(long, value_name = "TIME", default_value = "7days", value_parser = humantime::parse_duration)]
    life: Duration,
}

/// Logs out: the token counts no more and is forgotten.
#[derive(Debug, Args)]
pub(crate) struct Logout {
    #[command(flatten)]
    address: Address,
}

/// Tells who you are to the controller.
#[derive(Debug, Args)]
pub(crate) struct WhoAmIs {
    #[command(flatten)]
    address: Address,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn login(command: &Login) -> Result<Exit, Failure> {
    let Login { address, user, password_file, life } = command;
    let mut credentials = Credentials::read()?;
    let password = match (user, address.has_key()) {
        (Some(user), false) => {
            let password = secrets::password(password_file.as_deref(), "Password: ")?;
            Some((user.as_str(), password))
        }
        (None, true) => None,
        (Some(_), true) => {
            return Err(Failure::text(Exit::Usage, "name --user or --key-file, not both"));
        }
        (None, false) => {
            let text = "say who you are: --user NAME, or --key-file FILE";
            return Err(Failure::text(Exit::Usage, text));
        }
    };
    let (who, made) = controller::runtime()?.block_on(async {
        let session = address.connect_with(password.as_ref()).await?;
        let who: WhoAmI = access::call(&session, procedures::ACCESS_WHO_AM_I, &()).await?;
        let asked = NewApiToken {
            note: "drover login".to_owned(),
            life_ms: Some(u64::try_from(life.as_millis()).unwrap_or(u64::MAX)),
            ..NewApiToken::default()
        };
        let made: MadeToken = access::call(&session, procedures::ACCESS_NEW_TOKEN, &asked).await?;
        session.close().await;
        Ok::<_, Failure>((who, made))
    })?;
    let token = Secret::new(made.token);
    let mut credential = Credential::new(&who.user, &token, address.fingerprint()?);
    credential.expires = made.expires;
    credential.ca_file = address.ca_file();
    let controller = address.controller()?;
    credentials.remember(&controller, credential);
    let file = credentials.write()?;
    output::note(&format!(
        "you are {} ({}) at {controller}; {} remembers it",
        who.user,
        who.role,
        file.display()
    ));
    Ok(Exit::Done)
}

pub(crate) fn logout(command: &Logout) -> Result<Exit, Failure> {
    let mut credentials = Credentials::read()?;
    let controller = command.address.controller()?;
    let Some(known) = credentials.forget(&controller) else {
        output::note(&format!("you are not logged in at {controller}"));
        return Ok(Exit::Done);
    };
    // The second word of a token is its id, and no secret.
    let id = known.token().reveal().split('_').nth(1).unwrap_or_default().to_owned();
    let withdrawn: Result<(), _> =
        access::ask(&command.address, procedures::ACCESS_REMOVE_TOKEN, &AccessName { name: id });
    credentials.write()?;
    if let Err(failure) = withdrawn {
        output::note(&format!(
            "the token is forgotten here, but the controller was not told: {:#}",
            failure.error
        ));
    }
    Ok(Exit::Done)
}

pub(crate) fn who_am_i(command: &WhoAmIs) -> Result<Exit, Failure> {
    let who: WhoAmI = access::ask(&command.address, procedures::ACCESS_WHO_AM_I, &())?;
    if command.json {
        output::json(&who)?;
    } else {
        output::answer(&format!("{} {}", who.user, who.role))?;
    }
    Ok(Exit::Done)
}
