//! Programs run in containers that run.

use std::collections::BTreeMap;

use drover_sdk::{Failure, data, task};
use serde::Deserialize;
use serde_json::json;

use super::container_path;
use super::output::{Collector, Output};
use crate::engine::{Engine, path};
use crate::models::Created;

/// Runs a program in a container that runs.
///
/// Not idempotent. What it writes is reported as progress as it comes, see
/// `logs`, and is in the answer, up to `keep` bytes. A program that the
/// container does not have ends with status 126 or 127, as the engine likes. The end
/// of the job does not end the program: the engine has no way to do that.
#[task]
#[expect(clippy::too_many_arguments, reason = "each is an argument of the operation")]
pub(crate) fn exec(
    /// The container's name or id.
    container: String,
    /// The program and its arguments.
    #[schemars(length(min = 1))]
    command: Vec<String>,
    /// Environment variables, beside those of the container.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Who runs it; as in the container if it is left out.
    user: Option<String>,
    /// Where it runs; as in the container if it is left out.
    working_dir: Option<String>,
    /// Whether it has a terminal; then its output is one stream.
    #[default(false)]
    tty: bool,
    /// Whether it may do everything that the host may.
    #[default(false)]
    privileged: bool,
    /// Whether to answer as soon as it runs.
    #[default(false)]
    detach: bool,
    /// How many bytes of output the answer may have, at most 8 MiB.
    #[default(1 << 20)]
    #[schemars(range(max = 8_388_608))]
    keep: u32,
) -> Result<Executed, Failure> {
    let program =
        Program { command, environment, user, working_dir, tty, privileged, detach, keep };
    execute(&Engine::connect()?, &container, &program)
}

/// A program to run in a container.
pub(crate) struct Program {
    pub(crate) command: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) user: Option<String>,
    pub(crate) working_dir: Option<String>,
    pub(crate) tty: bool,
    pub(crate) privileged: bool,
    pub(crate) detach: bool,
    /// How many bytes of output are kept.
    pub(crate) keep: u32,
}

/// Runs a program in a container.
pub(crate) fn execute(
    engine: &Engine,
    container: &str,
    program: &Program,
) -> Result<Executed, Failure> {
    let Program { command, tty, detach, .. } = program;
    let name = command.first().map_or("nothing", String::as_str);
    let what = format!("run {name} in container {container}");
    let environment: Vec<_> =
        program.environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let body = json!({
        "Cmd": command,
        "Env": environment,
        "User": program.user.as_deref().unwrap_or_default(),
        "WorkingDir": program.working_dir.as_deref().unwrap_or_default(),
        "Tty": tty,
        "Privileged": program.privileged,
        "AttachStdin": false,
        "AttachStdout": !detach,
        "AttachStderr": !detach,
    });
    let call = engine.post(container_path(container, "/exec")?, &what);
    let created: Created = call.json(&body)?.send()?.read()?;

    let below = format!("/exec/{}", path::segment("program", &created.id)?);
    let start = json!({ "Detach": detach, "Tty": tty });
    let reply = engine.post(format!("{below}/start"), &what).json(&start)?.send()?;
    let mut collector = Collector::new(program.keep, true);
    collector.take_all(reply.into_body(), *tty, &what)?;

    let ended: EngineExec = engine.get(format!("{below}/json"), &what).send()?.read()?;
    let status = if ended.running { None } else { ended.exit_code };
    Ok(Executed { status, output: collector.finish() })
}

/// How a program in a container ended.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Executed {
    /// Its status; none if it still runs.
    pub(crate) status: Option<i64>,
    /// What it wrote.
    pub(crate) output: Output,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EngineExec {
    running: bool,
    exit_code: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::failure;
    use crate::engine::frames::Stream;
    use crate::engine::frames::tests::framed;
    use crate::testing::{on, run};

    #[test]
    fn a_program_tells_what_it_wrote_and_how_it_ended() {
        let output = framed(&[(Stream::Stderr, b"no such file\n")]);
        let exchanges = vec![
            on("POST /containers/web/exec", 201, r#"{"Id":"0e"}"#),
            on("POST /exec/0e/start", 200, output),
            on("GET /exec/0e/json", 200, r#"{"Running":false,"ExitCode":2}"#),
        ];
        let outcome =
            run("exec", &json!({ "container": "web", "command": ["ls", "/x"] }), exchanges);
        assert_eq!(outcome.body(0)["Cmd"], json!(["ls", "/x"]));
        assert_eq!(outcome.body(1), json!({ "Detach": false, "Tty": false }));
        let text = json!({ "stream": "stderr", "text": "no such file\n" });
        assert_eq!(outcome.heard.progress, [text]);
        let output = json!({ "stdout": "", "stderr": "no such file\n", "omitted": 0 });
        assert_eq!(outcome.answer.unwrap(), json!({ "status": 2, "output": output }));
    }

    #[test]
    fn a_container_that_does_not_run_is_a_conflict() {
        let exchanges = vec![on("POST /containers/web/exec", 409, r#"{"message":"not running"}"#)];
        let outcome = run("exec", &json!({ "container": "web", "command": ["a"] }), exchanges);
        assert_eq!(outcome.code(), failure::CONFLICT);
    }
}
