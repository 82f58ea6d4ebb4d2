//! Where a configuration comes from: the file that was named, the usual place
//! if there is one, or the defaults.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::exit::{Exit, Failure};

/// Reads and parses the configuration of `program`.
///
/// # Errors
///
/// If a named file cannot be read, or the text is no valid configuration.
pub(crate) fn load<C, E>(
    named: Option<&Path>,
    program: &str,
    parse: impl Fn(&str) -> Result<C, E>,
) -> Result<C, Failure>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let usage = |error| Failure { exit: Exit::Usage, error };
    let Some(path) = find(named, program) else {
        return parse("").context("the defaults do not work on this host").map_err(usage);
    };
    let read = || -> anyhow::Result<C> {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        parse(&text).with_context(|| format!("the configuration {} is wrong", path.display()))
    };
    read().map_err(usage)
}

/// The file that [`load`] reads; none if the defaults are what counts.
pub(crate) fn find(named: Option<&Path>, program: &str) -> Option<PathBuf> {
    named.map(Path::to_path_buf).or_else(|| usual_place(program))
}

/// `/etc/drover/<program>.toml`, if it is there.
fn usual_place(program: &str) -> Option<PathBuf> {
    let path = PathBuf::from(format!("/etc/drover/{program}.toml"));
    path.exists().then_some(path)
}
