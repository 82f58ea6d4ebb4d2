//! `cargo xtask demo`: a site of one controller and two nodes on loopback,
//! and a tour of it.

mod site;
mod tour;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::build::{self, Profile};
use crate::command::announce;
use crate::setup;
use site::Site;

/// Starts the site and shows it; stays until Ctrl-C unless `ends`.
pub(crate) fn run(ends: bool) -> anyhow::Result<()> {
    setup::toolchain()?;
    let plugins = build::plugins()?;
    let drover = build::programs(&["drover"], Profile::Dev)?.join("drover");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        tokio::select! {
            ended = show(drover, plugins, ends) => ended,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    })
}

async fn show(
    drover: std::path::PathBuf,
    plugins: std::path::PathBuf,
    ends: bool,
) -> anyhow::Result<()> {
    announce("starting a controller and two nodes");
    let mut site = Site::start(drover, &plugins).await?;
    let wrong = tour::walk(&mut site).await?;
    if wrong > 0 {
        bail!("{wrong} of the demo's commands did not give the right answer");
    }
    println!("\nEvery answer was right.");
    if !ends {
        println!("\n{}", tour::what_next(&site));
        std::future::pending::<()>().await;
    }
    site.stop().await
}
