//! The same requests by a native program.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, LogsOptionsBuilder, StatsOptionsBuilder,
};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt};

use crate::latency::{self, Sample};

/// How long an answer may take, in seconds.
const PATIENCE: u64 = 60;

/// A client in this process.
pub(super) struct Native {
    docker: Docker,
}

impl Native {
    /// Settles the version with the engine at a socket.
    ///
    /// # Errors
    ///
    /// If the engine does not answer.
    pub(super) async fn connect(socket: &Path) -> anyhow::Result<Self> {
        let place = socket.to_str().context("the engine's socket has no name in UTF-8")?;
        let docker = Docker::connect_with_unix(place, PATIENCE, bollard::API_DEFAULT_VERSION)?;
        let docker = docker.negotiate_version().await.context("the engine does not answer")?;
        Ok(Self { docker })
    }

    /// Lists all containers, again and again.
    ///
    /// # Errors
    ///
    /// If it fails once.
    pub(super) async fn list(&self, time: Duration) -> anyhow::Result<Sample> {
        let call = || async {
            let options = ListContainersOptionsBuilder::new().all(true).build();
            self.docker.list_containers(Some(options)).await?;
            Ok(())
        };
        latency::measure(1, time, call).await
    }

    /// Inspects one container, again and again.
    ///
    /// # Errors
    ///
    /// If it fails once.
    pub(super) async fn inspect(&self, name: &str, time: Duration) -> anyhow::Result<Sample> {
        let call = || async {
            self.docker.inspect_container(name, None).await?;
            Ok(())
        };
        latency::measure(1, time, call).await
    }

    /// Measures all of these containers, again and again.
    ///
    /// # Errors
    ///
    /// If it fails once.
    pub(super) async fn stats(&self, names: &[String], time: Duration) -> anyhow::Result<Sample> {
        let one = async |name: &String| {
            let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
            let mut stats = std::pin::pin!(self.docker.stats(name, Some(options)));
            stats.next().await.context("there are no statistics")??;
            anyhow::Ok(())
        };
        let call = || async { try_join_all(names.iter().map(one)).await.map(drop) };
        latency::measure(1, time, call).await
    }

    /// Has the output of a container streamed; MB a second.
    ///
    /// # Errors
    ///
    /// If it fails, or is not as long as it should be.
    pub(super) async fn logs(&self, name: &str, length: usize) -> anyhow::Result<f64> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(true).build();
        let started = Instant::now();
        let pieces = self.docker.logs(name, Some(options));
        let read = pieces.try_fold(0, async |read, piece| Ok(read + piece.as_ref().len())).await?;
        ensure!(read == length, "{read} bytes of output came instead of {length}");
        Ok(read as f64 / 1e6 / started.elapsed().as_secs_f64())
    }
}
