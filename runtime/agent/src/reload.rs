//! The configuration file, read again whenever it changes: limits of plugins, their
//! pins and trusted keys count from then on, and all else from the next start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use drover_api::Level;
use tokio_util::sync::CancellationToken;

use crate::node::{Node, Part};
use crate::{Config, plugins};

/// How often the file is read, which takes microseconds and misses nothing on any
/// file system.
const INTERVAL: Duration = Duration::from_secs(1);

/// Applies what changes in `file` until `stop` is cancelled; `config` is what the
/// agent started with. A file that cannot be used changes nothing.
pub(crate) async fn watch(
    file: PathBuf,
    config: Config,
    node: Node,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut last = Ok(config.clone());
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let path = file.clone();
        let Ok(now) = tokio::task::spawn_blocking(move || read(&path)).await else { continue };
        if now == last {
            continue;
        }
        last = now;
        node.set_unusable(Part::Configuration, last.as_ref().err().cloned());
        let (level, text) = match &last {
            Ok(new) => {
                node.host().set_limits(new.host_limits());
                node.host().set_pins(new.pins());
                match new.trusted_keys() {
                    Ok(keys) => node.updates().trust(keys).await,
                    // The file was checked.
                    Err(error) => tracing::error!(%error, "the trusted keys cannot be used"),
                }
                let text = taken(&file, &config.needs_a_start(new));
                tracing::info!("{text}");
                (Level::OPERATOR, text)
            }
            Err(error) => {
                let text = "the configuration cannot be used, the former one stays in force";
                tracing::error!(error, "{text}");
                (Level::ERROR, format!("{text}: {error}"))
            }
        };
        plugins::record(&node, level, text).await;
        node.changed();
    }
}

/// What is in the file, with an error for people, and for comparing.
fn read(file: &Path) -> Result<Config, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    // The parser's own words show the line, over several lines.
    let wrong = |error| format!("{} is wrong: {error}", file.display()).trim_end().to_owned();
    Config::parse(&text).map_err(wrong)
}

fn taken(file: &Path, later: &[String]) -> String {
    let file = file.display();
    match later {
        [] => format!("limits and pins of plugins and trusted keys are as {file} says now"),
        later => format!(
            "limits and pins of plugins and trusted keys are as {file} says now; what it says of \
             `{}` counts from the next start of the agent",
            later.join("`, `")
        ),
    }
}
