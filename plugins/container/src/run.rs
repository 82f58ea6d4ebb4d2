//! A container for one program, from creation to removal.

use drover_sdk::{Failure, data, task};
use serde_json::{Value, json};

use crate::container::life_cycle::{connect, create_with, remove_forcibly, start_one};
use crate::container::output::{Collector, Output};
use crate::container::{container_path, details};
use crate::description::{self, Description};
use crate::engine::Engine;
use crate::ensure::Pull;
use crate::image::{image_id, transfer};

/// Runs a program in a container of its own: creates it, shows what it writes,
/// waits for its end and removes it.
///
/// Not idempotent. What it writes is reported as progress as it comes, see
/// `logs`, and is in the answer, up to `keep` bytes. The container goes when
/// the program ends or something fails; if the job is cancelled or its deadline
/// passes, it stays, with the label `io.drover.job`, and so does its program.
#[task]
pub(crate) fn run(
    /// The container's name; the engine makes one up if it is left out.
    name: Option<String>,
    /// What it should be like.
    container: Description,
    /// When its image is pulled.
    #[serde(default)]
    pull: Pull,
    /// Whether it stays when its program has ended.
    #[default(false)]
    stay: bool,
    /// How many bytes of output the answer may have, at most 8 MiB.
    #[default(1 << 20)]
    #[schemars(range(max = 8_388_608))]
    keep: u32,
) -> Result<Ran, Failure> {
    let engine = Engine::connect()?;
    // The engine must not remove it before its status was read.
    let container = Description { auto_remove: false, ..container };
    let is_there = pull == Pull::Never || image_id(&engine, &container.image)?.is_some();
    if !is_there || pull == Pull::Always {
        transfer::pull(&engine, &container.image, None, None)?;
    }
    let mut body = description::body(&container);
    let labels = body.entry("Labels").or_insert_with(|| json!({}));
    if let Value::Object(labels) = labels {
        labels.insert("io.drover.job".to_owned(), json!(drover_sdk::job::id()));
    }
    let id = create_with(&engine, name.as_deref(), &body)?.id;
    let ran = to_the_end(&engine, &id, &container, keep);
    if !stay {
        // One that was removed by the engine, or by somebody, is gone as it should be.
        let removed = crate::ensure::gone_is_fine(remove_forcibly(&engine, &id));
        return ran.and_then(|ran| removed.map(|()| ran));
    }
    ran
}

/// How a program in a container of its own ended.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Ran {
    /// The container's id; it is gone unless it was to stay.
    id: String,
    /// The program's status.
    status: i64,
    /// Whether it was killed because it wanted too much memory.
    oom_killed: bool,
    /// What it wrote.
    output: Output,
}

fn to_the_end(
    engine: &Engine,
    id: &str,
    container: &Description,
    keep: u32,
) -> Result<Ran, Failure> {
    for network in description::connections(container) {
        connect(engine, id, network)?;
    }
    start_one(engine, id)?;
    let what = format!("read the output of container {id}");
    let call = engine.get(container_path(id, "/logs")?, &what);
    let call = call.query("stdout", true).query("stderr", true).query("follow", true);
    let mut collector = Collector::new(keep, true);
    collector.take_all(call.send()?.into_body(), container.tty, &what)?;
    // The output ends a moment before the container does.
    let what = format!("wait for container {id}");
    engine.post(container_path(id, "/wait")?, what).send()?.bytes(64 << 10)?;
    let state = details(engine, id)?.state;
    let (status, oom_killed) = (state.exit_code, state.oom_killed);
    Ok(Ran { id: id.to_owned(), status, oom_killed, output: collector.finish() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::failure;
    use crate::engine::frames::Stream;
    use crate::engine::frames::tests::framed;
    use crate::testing::{on, run};

    #[test]
    fn a_program_runs_in_a_container_that_is_gone_afterwards() {
        let state = r#"{"State":{"ExitCode":137,"OOMKilled":true}}"#;
        let exchanges = vec![
            on("GET /images/app/json", 200, "{}"),
            on("POST /containers/create", 201, r#"{"Id":"0a"}"#),
            on("POST /containers/0a/start", 204, ""),
            on(
                "GET /containers/0a/logs?stdout=true&stderr=true&follow=true",
                200,
                framed(&[(Stream::Stdout, b"hi\n")]),
            ),
            on("POST /containers/0a/wait", 200, r#"{"StatusCode":137}"#),
            on("GET /containers/0a/json", 200, state),
            on("DELETE /containers/0a?force=true", 204, ""),
        ];
        let outcome = run("run", &json!({ "container": { "image": "app" } }), exchanges);
        assert_eq!(outcome.body(1)["Labels"], json!({ "io.drover.job": "test" }));
        let output = json!({ "stdout": "hi\n", "stderr": "", "omitted": 0 });
        let expected = json!({ "id": "0a", "status": 137, "oom_killed": true, "output": output });
        assert_eq!(outcome.answer.unwrap(), expected);
    }

    #[test]
    fn a_program_that_cannot_be_started_leaves_no_container_behind() {
        let exchanges = vec![
            on("POST /containers/create", 201, r#"{"Id":"0a"}"#),
            on("POST /containers/0a/start", 400, r#"{"message":"no such file"}"#),
            on("DELETE /containers/0a?force=true", 204, ""),
        ];
        let arguments = json!({ "container": { "image": "app" }, "pull": "never" });
        assert_eq!(run("run", &arguments, exchanges).code(), failure::INVALID);
    }
}
