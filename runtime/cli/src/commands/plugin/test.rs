//! `drover plugin test`: a project's unit tests, and its cases in the real host.

mod cases;
mod diff;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use drover_api::{Command, JobResult, NodeId};
use drover_grants::{Grants, GrantsFile, PluginName};
use drover_plugin_host::{Host, Job};

use self::cases::{Case, Cases};
use super::build::{check, near};
use super::project::{Built, Project, ProjectFlags};
use super::surroundings::explain;
use crate::exit::{Exit, Failure};
use crate::{output, render};

/// Runs the unit tests of a project natively, builds its plugin, and runs the
/// cases in `tests/*.toml` and `tests/*.json` in the host that an agent has.
#[derive(Debug, Args)]
pub(super) struct Test {
    #[command(flatten)]
    project: ProjectFlags,
    /// Run the cases only, and no unit tests
    #[arg(long)]
    cases_only: bool,
}

/// How a case ended.
struct Ended {
    /// The file and the case.
    place: String,
    operation: String,
    time_ms: f64,
    /// What is wrong; none if it is as it has to be.
    trouble: Option<String>,
}

pub(super) async fn run(command: &Test) -> Result<Exit, Failure> {
    let project = Project::open(&command.project)?;
    let files = read_all(&project.dir.join("tests"), &project.dir)?;
    let are_units_right = command.cases_only || project.unit_tests().await?.success();
    let built = project.build().await?;
    check(&built, &project.dir)?;
    let operations = built.inspection.operations.len();
    output::note(&format!("`{}` describes itself well, {operations} operations", built.name));
    let mut ended = Vec::new();
    for (path, cases) in files {
        ended.extend(run_file(&command.project, &built, &path, cases).await?);
    }
    show(&ended)?;
    let wrong = ended.iter().filter(|case| case.trouble.is_some()).count();
    if !are_units_right {
        output::note("unit tests failed; see above");
    }
    if wrong > 0 {
        output::note(&format!("{wrong} of {} cases failed", ended.len()));
    }
    Ok(if are_units_right && wrong == 0 { Exit::Done } else { Exit::Failed })
}

/// The files of cases, by their names.
fn read_all(folder: &Path, dir: &Path) -> Result<Vec<(PathBuf, Cases)>, Failure> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", folder.display()))?;
        }
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let is_json = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => false,
            Some("json") => true,
            _ => continue,
        };
        let name = near(&path);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", name.display()))?;
        let cases = Cases::parse(&text, is_json, dir).map_err(|error| {
            Failure::text(Exit::Usage, format!("{} is wrong: {error}", name.display()))
        })?;
        files.push((name, cases));
    }
    files.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(files)
}

/// Runs the cases of a file in a host with their grants and a state of their own.
async fn run_file(
    flags: &ProjectFlags,
    built: &Built,
    path: &Path,
    cases: Cases,
) -> Result<Vec<Ended>, Failure> {
    let state = tempfile::tempdir().context("cannot make a temporary folder")?;
    let name: PluginName = built.name.parse()?;
    let grants = GrantsFile { plugins: [(name, cases.grants)].into() };
    let host = flags.cache.host(Grants::of_file(grants), state.path().to_owned(), None)?;
    if let Err(error) = host.load_file(&built.file).await {
        let failure = explain(error);
        let message = format!(
            "{} cannot run: {:#}\nhave what it needs under [grants] in it",
            path.display(),
            failure.error
        );
        return Err(Failure::text(Exit::Failed, message));
    }
    let mut ended = Vec::new();
    for case in &cases.cases {
        let result = run_case(&host, &built.name, case).await;
        ended.push(Ended {
            place: format!("{}: {}", path.display(), case.name),
            operation: case.operation.clone(),
            time_ms: result.time,
            trouble: case.judge(&result),
        });
    }
    host.shutdown().await;
    Ok(ended)
}

async fn run_case(host: &Host, plugin: &str, case: &Case) -> JobResult {
    let mut command = Command::new(format!("{plugin}.{}", case.operation));
    command.args = case.args.clone();
    let job = Job {
        id: command.id.clone(),
        data: case.data.clone().into_bytes(),
        ..Job::new(plugin, &case.operation, command.args.clone())
    };
    host.run(job).await.into_result(NodeId::new(0, 0), command)
}

fn show(ended: &[Ended]) -> Result<(), Failure> {
    if ended.is_empty() {
        output::note("no cases: tests/*.toml would say what operations answer in the real host");
        return Ok(());
    }
    let row = |case: &Ended| {
        let state = if case.trouble.is_some() { "FAILED" } else { "ok" };
        let time = format!("{:.1} ms", case.time_ms);
        [state.to_owned(), case.operation.clone(), time, case.place.clone()]
    };
    output::answer(&render::table(&["", "operation", "time", "case"], ended.iter().map(row)))?;
    for case in ended {
        if let Some(trouble) = &case.trouble {
            let trouble = trouble.replace('\n', "\n    ");
            output::note(&format!("\n{}\n    {trouble}", case.place));
        }
    }
    Ok(())
}
