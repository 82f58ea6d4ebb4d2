//! Programs run in containers that run, and those that run already.

use std::collections::BTreeMap;

use drover_sdk::{Failure, data, job, task};
use serde::Deserialize;
use serde_json::json;

use super::output::{Collector, Output, has_terminal};
use super::{container_path, details};
use crate::engine::dialog::Dialog;
use crate::engine::{Engine, path};
use crate::models::Created;

/// Runs a program in a container that runs.
///
/// Not idempotent. What it writes is reported as progress as it comes, see
/// `logs`, and is in the answer, up to `keep` bytes. A program that the
/// container does not have ends with status 126 or 127, as the engine likes. The end
/// of the job does not end the program: the engine has no way to do that. With
/// `input` it reads the command's `data` from its standard input, and then the
/// end of it.
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
    /// Whether it gets the command's `data` on its standard input.
    #[default(false)]
    input: bool,
    /// Whether to answer as soon as it runs.
    #[default(false)]
    detach: bool,
    /// How many bytes of output the answer may have, at most 8 MiB.
    #[default(1 << 20)]
    #[schemars(range(max = 8_388_608))]
    keep: u32,
) -> Result<Executed, Failure> {
    let input = input.then(job::data);
    let program = Program {
        command,
        environment,
        user,
        working_dir,
        tty,
        privileged,
        input,
        detach,
        keep,
        is_live: true,
    };
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
    /// What it reads from its standard input; none if it has none.
    pub(crate) input: Option<Vec<u8>>,
    pub(crate) detach: bool,
    /// How many bytes of output are kept.
    pub(crate) keep: u32,
    /// Whether its output is reported as it comes.
    pub(crate) is_live: bool,
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
        "AttachStdin": !detach && program.input.is_some(),
        "AttachStdout": !detach,
        "AttachStderr": !detach,
    });
    let call = engine.post(container_path(container, "/exec")?, &what);
    let created: Created = call.json(&body)?.send()?.read()?;

    let below = format!("/exec/{}", path::segment("program", &created.id)?);
    let start = json!({ "Detach": detach, "Tty": tty });
    let call = engine.post(format!("{below}/start"), &what).json(&start)?;
    let mut collector = Collector::new(program.keep, program.is_live);
    match &program.input {
        Some(input) if !detach => {
            collector.take_all(Dialog::new(call.open()?, input), *tty, &what)?;
        }
        _ => collector.take_all(call.send()?.into_body(), *tty, &what)?,
    }

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

/// Goes into a container that runs: shows what its program writes from now on,
/// and hands it input.
///
/// What it writes is reported as progress as it comes, see `logs`, and is in
/// the answer, up to `keep` bytes. It ends with the container or the job, which
/// does nothing to the container. With `input` the program reads the command's
/// `data`; it needs to be created with `stdin_open`, and sees the end of the
/// input only if the engine was told so (`StdinOnce`).
#[task]
pub(crate) fn attach(
    /// The container's name or id.
    container: String,
    /// Whether its program gets the command's `data` on its standard input.
    #[default(false)]
    input: bool,
    /// Whether to begin with what it has written before.
    #[default(false)]
    logs: bool,
    /// How many bytes of output the answer may have, at most 8 MiB.
    #[default(1 << 20)]
    #[schemars(range(max = 8_388_608))]
    keep: u32,
) -> Result<Attached, Failure> {
    let engine = Engine::connect()?;
    let has_terminal = has_terminal(&engine, &container)?;
    let what = format!("attach to container {container}");
    let call = engine.post(container_path(&container, "/attach")?, &what).query("stream", true);
    let call = call.query("stdout", true).query("stderr", true);
    let call = call.query_if("stdin", input.then_some(true));
    let channel = call.query_if("logs", logs.then_some(true)).open()?;
    let given = if input { job::data() } else { Vec::new() };
    let mut collector = Collector::new(keep, true);
    collector.take_all(Dialog::new(channel, &given), has_terminal, &what)?;
    let state = details(&engine, &container)?.state;
    let status = if state.running { None } else { Some(state.exit_code) };
    Ok(Attached { status, output: collector.finish() })
}

/// How being attached to a container ended.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Attached {
    /// The status of its program; none if it still runs.
    status: Option<i64>,
    /// What it wrote meanwhile.
    output: Output,
}

#[cfg(test)]
mod tests {
    use drover_sdk::testing::{ChannelAnswers, Host};

    use super::*;
    use crate::engine::failure;
    use crate::engine::frames::Stream;
    use crate::engine::frames::tests::framed;
    use crate::testing::{host, on, run, run_in};

    fn opening(expected: &'static str, output: Vec<u8>) -> ChannelAnswers {
        ChannelAnswers::new(move |request, protocol| {
            let asked = format!("{} {} {protocol}", request.method, request.url);
            assert_eq!(asked, expected);
            Ok(output.clone())
        })
    }

    #[test]
    fn a_program_gets_input_and_its_end() {
        let output = framed(&[(Stream::Stdout, b"hay")]);
        let channels = opening("POST http://docker/v1.41/exec/0e/start tcp", output);
        let exchanges = vec![
            on("POST /containers/web/exec", 201, r#"{"Id":"0e"}"#),
            on("GET /exec/0e/json", 200, r#"{"Running":false,"ExitCode":0}"#),
        ];
        let asked = json!({ "container": "web", "command": ["cat"], "input": true });
        let host = Host { channels, ..host(b"hay".to_vec()) };
        let outcome = run_in(host, "exec", &asked, exchanges);
        assert_eq!(outcome.body(0)["AttachStdin"], true);
        assert_eq!(outcome.heard.sent, [b"hay"]);
        assert_eq!(outcome.answer.unwrap()["output"]["stdout"], "hay");
    }

    #[test]
    fn a_container_is_attached_to_until_it_ends() {
        let request = "POST http://docker/v1.41/containers/web/attach?stream=true&stdout=true\
                       &stderr=true&logs=true tcp";
        let channels = opening(request, framed(&[(Stream::Stderr, b"bye")]));
        let exchanges = vec![
            on("GET /containers/web/json", 200, "{}"),
            on("GET /containers/web/json", 200, r#"{"State":{"ExitCode":3}}"#),
        ];
        let host = Host { channels, ..host(Vec::new()) };
        let asked = json!({ "container": "web", "logs": true });
        let answer = run_in(host, "attach", &asked, exchanges).answer.unwrap();
        let output = json!({ "stdout": "", "stderr": "bye", "omitted": 0 });
        assert_eq!(answer, json!({ "status": 3, "output": output }));
    }

    #[test]
    fn a_stream_that_the_engine_does_not_open_is_its_refusal() {
        let channels = ChannelAnswers::new(|_, _| {
            let body = r#"{"message":"container web is not running"}"#.to_owned();
            Err(drover_sdk::http::Error::Status { status: 409, body })
        });
        let exchanges = vec![on("GET /containers/web/json", 200, "{}")];
        let host = Host { channels, ..host(Vec::new()) };
        let outcome = run_in(host, "attach", &json!({ "container": "web" }), exchanges);
        let failure = outcome.answer.unwrap_err();
        assert_eq!(failure.code, failure::CONFLICT);
        assert!(failure.message.contains("container web is not running"), "{failure:?}");
    }

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
