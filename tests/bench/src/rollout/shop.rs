//! A controller with a catalog, and what is asked of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use drover_api::{
    Command, JobResult, NodeId, NodeStatus, Presence, RolloutDetail, RolloutId, RolloutPhase,
    RolloutPlan, RolloutStart, UpdateStep, procedures,
};
use drover_grants::{Manifest, embed};
use drover_wamp::{CallOptions, Client, ClientConfig, Payload};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};

use super::{expect, text};
use crate::Inputs;
use crate::program::Program;

/// What `drover controller` prints before the address it listens on.
const LISTENING: &str = "listening on ";

/// How long anything may take before it counts as broken.
const BOUND: Duration = Duration::from_secs(300);

/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(10);

/// A controller, and the key that it trusts.
pub(super) struct Shop {
    controller: Program,
    url: String,
    pub(super) drover: PathBuf,
    plugins: PathBuf,
    pub(super) dir: PathBuf,
    /// What a configuration says to trust the key.
    pub(super) trust: String,
}

/// A version in the catalog.
pub(super) struct Pushed {
    name: String,
    version: String,
}

impl Shop {
    pub(super) async fn open(inputs: &Inputs, dir: &Path) -> anyhow::Result<Self> {
        let drover = inputs.drover.clone();
        let key = dir.join("release.key");
        let public = ran(&drover, &["key", "new", text(&key)?, "--no-password"]).await?;
        let trust = format!("[trusted_keys.release]\npublic_key = \"{}\"\n", public.trim());
        let config = dir.join("controller.toml");
        let data = dir.join("controller");
        let settings = format!("listen = \"127.0.0.1:0\"\ndata_dir = {:?}\n{trust}", text(&data)?);
        std::fs::write(&config, settings).context("cannot write the configuration")?;
        let mut command = tokio::process::Command::new(&drover);
        command.args(["controller", "--config"]).arg(config);
        let mut controller = Program::start("drover controller", &mut command)?;
        let line = controller.line("its address", |line| line.starts_with(LISTENING)).await?;
        let url = line.text[LISTENING.len()..].to_owned();
        let plugins = inputs.plugins.clone();
        Ok(Self { controller, url, drover, plugins, dir: dir.to_owned(), trust })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn group(&self) -> i32 {
        self.controller.group()
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.controller.stop().await
    }

    pub(super) async fn session(&self) -> anyhow::Result<Client> {
        let config = ClientConfig::new(&self.url, procedures::REALM);
        Client::connect(&config).await.context("cannot join the controller")
    }

    /// Puts a plugin or guest into the catalog as `version`, of `bytes` at least, and
    /// says that it is current.
    pub(super) async fn push(
        &self,
        name: &str,
        version: &str,
        bytes: usize,
    ) -> anyhow::Result<Pushed> {
        let file = format!("{name}.wasm");
        let places = [self.plugins.join(&file), self.plugins.join("examples").join(&file)];
        let place = places.iter().find(|place| place.exists());
        let place =
            place.with_context(|| format!("there is no {file}: `cargo xtask bench` builds it"))?;
        let plain = std::fs::read(place).with_context(|| format!("cannot read {file}"))?;
        let asks = match name {
            "pushed" => "[asks]\nstate = { size = \"1 MiB\", reason = \"counts\" }\n",
            _ => "",
        };
        let manifest =
            Manifest::from_toml(&format!("name = \"{name}\"\nversion = \"{version}\"\n{asks}"))?;
        let mut content = embed(&plain, &manifest)?;
        pad(&mut content, bytes);
        let path = self.dir.join(format!("{name}-{version}.wasm"));
        std::fs::write(&path, content).context("cannot write the plugin")?;
        let (key, cache) = (self.dir.join("release.key"), self.dir.join("cache"));
        let line =
            ["catalog", "push", text(&path)?, "--key", text(&key)?, "--cache", text(&cache)?];
        ran(&self.drover, &[&line[..], &["--controller", &self.url]].concat()).await?;
        Ok(Pushed { name: name.to_owned(), version: version.to_owned() })
    }

    /// Waits until so many nodes are there.
    pub(super) async fn wait_for_nodes(
        &self,
        session: &Client,
        count: usize,
    ) -> anyhow::Result<()> {
        until("the nodes", async || {
            let nodes: Vec<NodeStatus> = ask(session, procedures::NODES, &()).await?;
            let here = nodes.iter().filter(|node| node.presence == Presence::Present).count();
            Ok((here == count).then_some(()))
        })
        .await
    }

    pub(super) async fn start(
        &self,
        session: &Client,
        pushed: &Pushed,
        plan: RolloutPlan,
    ) -> anyhow::Result<RolloutId> {
        let (plugin, version) = (pushed.name.clone(), Some(pushed.version.clone()));
        let start = RolloutStart { plugin, version, plan, dry_run: false };
        let detail: RolloutDetail = ask(session, procedures::ROLLOUT_START, &start).await?;
        Ok(detail.rollout.id)
    }

    /// Waits until a rollout is over.
    pub(super) async fn ended(
        &self,
        session: &Client,
        id: RolloutId,
    ) -> anyhow::Result<RolloutDetail> {
        until("the end of the rollout", async || {
            let detail = show(session, id).await?;
            let is_over = matches!(detail.rollout.phase, RolloutPhase::Ended { .. });
            Ok(is_over.then_some(detail))
        })
        .await
    }

    /// Waits until so many nodes watch the version.
    pub(super) async fn until_watching(
        &self,
        session: &Client,
        id: RolloutId,
        count: usize,
    ) -> anyhow::Result<()> {
        until("the canaries", async || {
            let nodes = show(session, id).await?.nodes;
            let watching = nodes.iter().filter(|node| node.step == Some(UpdateStep::Watching));
            Ok((watching.count() == count).then_some(()))
        })
        .await
    }

    /// Brings a version to all nodes.
    pub(super) async fn roll_out(
        &self,
        session: &Client,
        pushed: &Pushed,
        plan: RolloutPlan,
    ) -> anyhow::Result<()> {
        let id = self.start(session, pushed, plan).await?;
        expect(&self.ended(session, id).await?, drover_api::RolloutOutcome::Done)
    }
}

/// Makes a component longer with a section that nobody reads.
fn pad(content: &mut Vec<u8>, bytes: usize) {
    let name = b"padding";
    let missing = bytes.saturating_sub(content.len() + name.len() + 12);
    if missing == 0 {
        return;
    }
    let mut section = vec![u8::try_from(name.len()).unwrap_or_default()];
    section.extend(name);
    // Nothing that a compressor on the way would make short work of.
    let noise =
        (0..missing as u64).map(|index| (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8);
    section.extend(noise);
    content.push(0);
    let mut length = section.len();
    while length >= 0x80 {
        content.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    content.push(length as u8);
    content.extend(section);
}

/// Calls the plugin `pushed` of a node.
pub(super) async fn greet(session: &Client, nid: u32) -> anyhow::Result<String> {
    let args = Map::from_iter([("name".to_owned(), json!("Ada"))]);
    let command = Command { args, ..Command::new("pushed.greet") };
    let procedure = procedures::run(NodeId::new(1, nid));
    let result: JobResult = ask(session, &procedure, &command).await?;
    match (result.error, result.data.into_value()) {
        (None, Value::String(said)) => Ok(said),
        (error, _) => bail!("no greeting: {error:?}"),
    }
}

async fn show(session: &Client, id: RolloutId) -> anyhow::Result<RolloutDetail> {
    let detail: Option<RolloutDetail> = ask(session, procedures::ROLLOUT_SHOW, &id).await?;
    detail.context("the rollout is unknown")
}

async fn ask<T: DeserializeOwned>(
    session: &Client,
    procedure: &str,
    argument: &impl Serialize,
) -> anyhow::Result<T> {
    let options = CallOptions::within(BOUND);
    let answer = session.call(procedure, Payload::one(argument)?, options).await;
    let answer = answer.with_context(|| format!("{procedure} failed"))?;
    Ok(answer.first_or_null()?)
}

async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            sleep(LOOK).await;
        }
    };
    timeout(BOUND, looking).await.with_context(|| format!("waited in vain for {what}"))?
}

/// Runs the program to its end; what it printed.
async fn ran(drover: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = tokio::process::Command::new(drover).args(arguments).output().await;
    let output = output.with_context(|| format!("cannot start {}", drover.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`drover {}` failed: {said}", arguments.join(" "));
    String::from_utf8(output.stdout).context("drover printed no text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_component_is_a_component_of_the_length() {
        let manifest = Manifest::from_toml("name = \"a\"\nversion = \"1.0.0\"").unwrap();
        let mut content = embed(b"\0asm\x0d\0\x01\0", &manifest).unwrap();
        pad(&mut content, 100_000);
        assert!((99_900..=100_000).contains(&content.len()), "{}", content.len());
        let read = drover_grants::read_manifest(std::io::Cursor::new(&content)).unwrap();
        assert_eq!(read.and_then(|read| read.name), manifest.name);
    }
}
