//! From a spec to what the keeper is asked to start.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drover_api::{JobId, Timestamp};
use serde::{Deserialize, Serialize};

use super::ManagerConfig;
use crate::keeper::{Launch, Limits, Stdin};
use crate::spec::{
    Environment, Inherit, LevelTexts, MaxTime, OnAgentRestart, ParseSpec, ProcessLimits,
    ProcessSpec, RestartPolicy, Script, StdinPolicy,
};

/// Where programs are looked for when the command says nothing.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the keeper keeps beside a run for the agent that takes it over: what is
/// needed to see a run to its end. All else of a job that is to go on is on disk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Note<'a> {
    pub(super) run: u64,
    pub(super) started: Timestamp,
    pub(super) on_agent_restart: OnAgentRestart,
    cmd: Cow<'a, str>,
    domain: Cow<'a, str>,
    name: Cow<'a, str>,
    max_time: MaxTime,
    grace: Duration,
    stats_interval: Duration,
    levels: Cow<'a, LevelTexts>,
    parse: Option<Cow<'a, ParseSpec>>,
}

impl<'a> Note<'a> {
    fn of(spec: &'a ProcessSpec, run: u64, started: Timestamp) -> Self {
        Self {
            run,
            started,
            on_agent_restart: spec.on_agent_restart,
            cmd: Cow::Borrowed(&spec.cmd),
            domain: Cow::Borrowed(&spec.domain),
            name: Cow::Borrowed(&spec.name),
            max_time: spec.max_time,
            grace: spec.grace,
            stats_interval: spec.stats_interval,
            levels: Cow::Borrowed(&spec.levels),
            parse: spec.parse.as_ref().map(Cow::Borrowed),
        }
    }

    /// A spec of one run, for a job that is not on disk.
    pub(super) fn into_spec(self) -> ProcessSpec {
        ProcessSpec {
            cmd: self.cmd.into_owned(),
            args: Vec::new(),
            script: None,
            working_dir: PathBuf::from("/"),
            environment: Environment::default(),
            input: String::new(),
            stdin: StdinPolicy::Close,
            domain: self.domain.into_owned(),
            name: self.name.into_owned(),
            max_time: self.max_time,
            restart: RestartPolicy { max: Some(0), first: Duration::ZERO, longest: Duration::ZERO },
            recurrence: None,
            start_delay: Duration::ZERO,
            after: Vec::new(),
            ready: None,
            queue: None,
            grace: self.grace,
            on_agent_restart: self.on_agent_restart,
            stats_interval: self.stats_interval,
            levels: self.levels.into_owned(),
            parse: self.parse.map(Cow::into_owned),
            user: None,
            group: None,
            limits: ProcessLimits::default(),
        }
    }
}

/// One run of a job.
pub(super) struct RunOf<'a> {
    pub(super) id: &'a JobId,
    pub(super) spec: &'a ProcessSpec,
    pub(super) run: u64,
    pub(super) started: Timestamp,
}

/// What the keeper is asked for. The script, if there is one, is at `script`.
pub(super) fn launch(run: &RunOf<'_>, config: &ManagerConfig, script: Option<&Path>) -> Launch {
    let spec = run.spec;
    let mut args = spec.args.clone();
    if let (Some(Script { position, .. }), Some(path)) = (&spec.script, script) {
        args.insert((*position).min(args.len()), path.display().to_string());
    }
    let note = Note::of(spec, run.run, run.started);
    Launch {
        id: run.id.clone(),
        program: spec.cmd.clone(),
        args,
        env: environment(&spec.environment, config).into_iter().collect(),
        working_dir: spec.working_dir.clone(),
        stdin: match spec.stdin {
            StdinPolicy::Open => Stdin::Pipe,
            StdinPolicy::Close if spec.input.is_empty() => Stdin::Null,
            StdinPolicy::Close => Stdin::Data(spec.input.clone().into_bytes()),
        },
        user: spec.user.clone(),
        group: spec.group.clone(),
        limits: Limits {
            memory: spec.limits.memory,
            processes: spec.limits.processes,
            open_files: spec.limits.open_files,
            nice: spec.limits.nice,
        },
        // A note that cannot be written leaves a child that the next agent ends.
        note: serde_json::to_string(&note).unwrap_or_default(),
    }
}

fn environment(wanted: &Environment, config: &ManagerConfig) -> BTreeMap<String, String> {
    let inherited = config.agent_environment.iter().filter(|(name, _)| match &wanted.inherit {
        Inherit::Nothing => false,
        Inherit::Names(names) => names.contains(name),
        Inherit::Everything => true,
    });
    let layers = inherited.chain(&config.environment).chain(&wanted.set);
    let mut environment = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    environment.extend(layers.map(|(name, value)| (name.clone(), value.clone())));
    environment
}

/// Writes the script of a job, which only the user that runs it may read.
pub(super) async fn write_script(
    dir: &Path,
    id: &JobId,
    spec: &ProcessSpec,
) -> Result<Option<PathBuf>, String> {
    let Some(script) = &spec.script else { return Ok(None) };
    let path = script_path(dir, id);
    let (target, text, user) = (path.clone(), script.text.clone(), spec.user.clone());
    let written = tokio::task::spawn_blocking(move || write_for(&target, &text, user.as_deref()));
    match written.await.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        Ok(()) => Ok(Some(path)),
        Err(error) => Err(format!(
            "cannot write the script to {}: {error}: make room there, or give it to the user of \
             the agent",
            path.display()
        )),
    }
}

/// Where the script of a job is while it runs.
pub(super) fn script_path(dir: &Path, id: &JobId) -> PathBuf {
    dir.join(format!("script-{id}"))
}

fn write_for(path: &Path, text: &str, user: Option<&str>) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    // Made anew, so that a file or a link that somebody put there is not followed.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    // An unknown user is refused when the program is started, with the cure.
    if let Some(uid) = user.and_then(user_id) {
        nix::unistd::chown(path, Some(uid), None)?;
    }
    Ok(())
}

fn user_id(user: &str) -> Option<nix::unistd::Uid> {
    match user.parse::<u32>() {
        Ok(number) => Some(nix::unistd::Uid::from_raw(number)),
        Err(_) => nix::unistd::User::from_name(user).ok().flatten().map(|user| user.uid),
    }
}
