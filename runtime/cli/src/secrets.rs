//! Passwords and tokens of people: from files, the environment or the terminal,
//! and never an argument, which everybody on the host could read.

use std::io::{self, IsTerminal};
use std::path::Path;

use anyhow::Context;
use drover_wamp::Secret;

use crate::exit::{Exit, Failure};

/// The environment variable with the password of a user.
const PASSWORD: &str = "DROVER_PASSWORD";

/// The first line of a file.
pub(crate) fn in_file(path: &Path) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the secret in {}", path.display()))?;
    Ok(Secret::new(text.lines().next().unwrap_or_default().trim()))
}

/// What an environment variable has, if it has something.
pub(crate) fn in_variable(name: &str) -> Option<Secret> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map(Secret::new)
}

/// The password of a user: from the file, else DROVER_PASSWORD, else asked for.
pub(crate) fn password(file: Option<&Path>, prompt: &str) -> Result<Secret, Failure> {
    if let Some(file) = file {
        return in_file(file);
    }
    if let Some(password) = in_variable(PASSWORD) {
        return Ok(password);
    }
    if !io::stdin().is_terminal() {
        let message = format!(
            "there is no password, and nobody is there to type it: use --password-file or {PASSWORD}"
        );
        return Err(Failure::text(Exit::Usage, message));
    }
    Ok(Secret::new(rpassword::prompt_password(prompt).context("cannot ask for the password")?))
}

/// The same for a new one, which is asked for twice.
pub(crate) fn new_password(file: Option<&Path>) -> Result<Secret, Failure> {
    let password = password(file, "New password: ")?;
    let is_typed = file.is_none() && in_variable(PASSWORD).is_none();
    if is_typed {
        let again = rpassword::prompt_password("The same once more: ")
            .context("cannot ask for the password")?;
        if !password.is(&again) {
            return Err(Failure::text(Exit::Usage, "these are two passwords: try again"));
        }
    }
    Ok(password)
}
