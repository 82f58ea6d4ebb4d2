//! `drover plugin grant`: grants a plugin what it asks for, after a look at it.

use std::fs::{self, File};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use drover_agent::Config;
use drover_grants::{
    AbsolutePath, Decision, Grants, Lines, Manifest, PluginName, add_lines, decide, read_manifest,
};

use super::write_whole;
use crate::exit::{Exit, Failure};
use crate::{config_file, output};

/// Shows what a plugin of this host asks for and is not granted, and writes it
/// into the agent's grants if you agree: into the file that names the plugin, or
/// else into `grants`. A running agent applies it within
/// seconds.
#[derive(Debug, Args)]
pub(crate) struct Grant {
    /// The plugin
    name: PluginName,
    /// The agent's configuration, which says where plugins and grants are
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The plugin's file; by default the one in the plugin directory
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The value of a setting
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// The file that a secret is in
    #[arg(long, value_name = "NAME=FILE", value_parser = pair)]
    secret_file: Vec<(String, String)>,
    /// The directory of this host that a plugin's directory stands for; by
    /// default the one of the same path
    #[arg(long, value_name = "SEEN=PATH", value_parser = pair)]
    directory: Vec<(String, String)>,
    /// The unix socket of this host that the plugin reaches under a name; by
    /// default the one that it asks for
    #[arg(long, value_name = "NAME=PATH", value_parser = pair)]
    socket: Vec<(String, String)>,
    /// Write without asking
    #[arg(short, long)]
    yes: bool,
}

pub(crate) fn run(command: &Grant) -> Result<Exit, Failure> {
    let config = config_file::load(command.config.as_deref(), "agent", Config::parse)?;
    let name = command.name.as_str();
    let usual = || match config.plugin_dir.join(name) {
        folder if folder.is_dir() => folder.join("active"),
        _ => config.plugin_dir.join(format!("{name}.wasm")),
    };
    let file = command.file.clone().unwrap_or_else(usual);
    let asks = manifest(&file)?.asks;
    let grants = Grants::load(&config.grants, &config.grants_dir())?;
    let missing = match decide(name, &asks, &grants) {
        Decision::Allowed { unasked, .. } => {
            output::note(&format!("`{name}` is granted all that it asks for"));
            if !unasked.is_empty() {
                let unasked = unasked.join(", ");
                output::note(&format!("and it is granted what it does not ask for: {unasked}"));
            }
            return Ok(Exit::Done);
        }
        Decision::Missing(missing) => missing,
    };
    if missing.lines().is_empty() {
        return Err(Failure::text(Exit::Failed, format!("`{name}` cannot run: {missing}")));
    }
    let mut lines = missing.lines().clone();
    choose(command, &mut lines)?;
    let unknown = lines.unknown();
    let path = Grants::file_of(&command.name, &config.grants, &config.grants_dir())?;
    let text = read(&path)?;
    output::answer(&format!("[{name}]\n{lines}"))?;
    if !unknown.is_empty() {
        let message =
            format!("`{name}` needs values that only you know: add {}", unknown.join(" "));
        return Err(Failure::text(Exit::Usage, message));
    }
    let edited = add_lines(&text, &command.name, &lines)
        .with_context(|| format!("cannot add to {}", path.display()))?;
    if !command.yes && !is_agreed(&path)? {
        output::note("nothing is granted");
        return Ok(Exit::Failed);
    }
    write_whole(&path, edited.as_bytes())?;
    output::note(&format!("granted in {}", path.display()));
    let grants = Grants::load(&config.grants, &config.grants_dir())?;
    match decide(name, &asks, &grants) {
        Decision::Allowed { .. } => Ok(Exit::Done),
        Decision::Missing(rest) => {
            Err(Failure::text(Exit::Failed, format!("`{name}` still cannot run: {rest}")))
        }
    }
}

fn manifest(file: &Path) -> anyhow::Result<Manifest> {
    let open = File::open(file)
        .with_context(|| format!("cannot read {} (--file names another file)", file.display()))?;
    let manifest = read_manifest(open)
        .with_context(|| format!("cannot read what {} asks for", file.display()))?;
    Ok(manifest.unwrap_or_default())
}

/// Puts the values of the command line into the lines.
fn choose(command: &Grant, lines: &mut Lines) -> Result<(), Failure> {
    let choices = command.set.iter().map(|(name, value)| (name, lines.set(name, value)));
    let mut unused: Vec<_> =
        choices.filter(|(_, is_used)| !is_used).map(|(name, _)| name).collect();
    for (name, file) in &command.secret_file {
        if !lines.set_secret_file(name, Path::new(file)) {
            unused.push(name);
        }
    }
    for (seen_as, path) in &command.directory {
        if !lines.set_directory(seen_as, Path::new(path)) {
            unused.push(seen_as);
        }
    }
    for (name, path) in &command.socket {
        let path = AbsolutePath::try_from(PathBuf::from(path))
            .map_err(|error| Failure::text(Exit::Usage, format!("--socket {name}: {error}")))?;
        if !lines.set_socket(name, &path) {
            unused.push(name);
        }
    }
    match unused.first() {
        None => Ok(()),
        Some(name) => {
            let plugin = &command.name;
            let message = format!("`{plugin}` does not ask for `{name}`, or is granted it already");
            Err(Failure::text(Exit::Usage, message))
        }
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result.with_context(|| format!("cannot read the grants {}", path.display())),
    }
}

fn is_agreed(path: &Path) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let message = "nobody is there to agree: look at the lines above and add --yes";
        return Err(Failure::text(Exit::Usage, message));
    }
    let mut terminal = io::stderr().lock();
    write!(terminal, "write this into {}? [y/N] ", path.display())?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}
