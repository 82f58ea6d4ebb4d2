//! `drover user`: the operators whom the controller knows.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use drover_api::{AccessName, PutUser, User, procedures};

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{access, output, render, secrets};

/// Adds, changes and removes operators. The roles viewer (looks), operator (runs
/// and changes) and admin (says who may what, too) are always there; the
/// controller's configuration may have others.
#[derive(Debug, Args)]
pub(crate) struct Users {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add an operator, or change one
    Add(Add),
    /// List the operators
    List(List),
    /// Set your own password
    Password(OwnPassword),
    /// Remove an operator, whose sessions end at once
    Remove(Remove),
}

/// Adds an operator, or changes what is named of one.
#[derive(Debug, Args)]
struct Add {
    /// The name
    name: String,
    #[command(flatten)]
    address: Address,
    /// viewer, operator, admin, or a role of the controller's configuration
    #[arg(long)]
    role: Option<String>,
    /// File whose first line is the password; without it the one in
    /// DROVER_PASSWORD, else you are asked
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Do not set a password
    #[arg(long, conflicts_with = "password_file")]
    no_password: bool,
    /// A public key of 64 hexadecimal digits, in the place of all there were; can
    /// be given more than once
    #[arg(long = "public-key", value_name = "KEY")]
    public_keys: Vec<String>,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    address: Address,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct OwnPassword {
    #[command(flatten)]
    address: Address,
    /// File whose first line is the new password; without it the one in
    /// DROVER_PASSWORD, else you are asked
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Remove {
    /// The name
    name: String,
    #[command(flatten)]
    address: Address,
}

pub(crate) fn run(command: &Users) -> Result<Exit, Failure> {
    match &command.command {
        UserCommand::Add(command) => add(command),
        UserCommand::List(command) => list(command),
        UserCommand::Password(command) => password(command),
        UserCommand::Remove(command) => {
            let name = AccessName { name: command.name.clone() };
            access::ask::<()>(&command.address, procedures::ACCESS_REMOVE_USER, &name)?;
            Ok(Exit::Done)
        }
    }
}

fn add(command: &Add) -> Result<Exit, Failure> {
    let password = match command.no_password {
        true => None,
        false => Some(secrets::new_password(command.password_file.as_deref())?),
    };
    let keys = Some(command.public_keys.clone()).filter(|keys| !keys.is_empty());
    let user = PutUser {
        name: command.name.clone(),
        role: command.role.clone(),
        password: password.map(|password| password.reveal().to_owned()),
        keys,
    };
    access::ask::<()>(&command.address, procedures::ACCESS_PUT_USER, &user)?;
    Ok(Exit::Done)
}

fn list(command: &List) -> Result<Exit, Failure> {
    let users: Vec<User> = access::ask(&command.address, procedures::ACCESS_USERS, &())?;
    if command.json {
        output::json(&users)?;
        return Ok(Exit::Done);
    }
    let row = |user: &User| {
        [
            user.name.clone(),
            user.role.clone(),
            if user.has_password { "yes" } else { "no" }.to_owned(),
            user.keys.len().to_string(),
            render::ago(user.since),
        ]
    };
    let header = ["name", "role", "password", "keys", "since"];
    output::answer(&render::table(&header, users.iter().map(row)))?;
    Ok(Exit::Done)
}

fn password(command: &OwnPassword) -> Result<Exit, Failure> {
    let password = secrets::new_password(command.password_file.as_deref())?;
    access::ask::<()>(&command.address, procedures::ACCESS_PASSWORD, &password.reveal())?;
    Ok(Exit::Done)
}
