//! Commands beside a container's program.

use drover_engine_tests::Story;
use serde_json::{Value, json};

use crate::tell;

fn made(it: &mut Story, container: &str, wanted: &Value) -> String {
    let answer = it.post_json(&format!("/containers/{container}/exec"), wanted);
    answer.json()["Id"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_command_gives_its_output_and_its_code() {
    tell(|it| {
        it.container("exec", "sleep 1000");
        it.start("exec");
        let both = json!({
            "Cmd": ["sh", "-c", "echo out; echo err >&2; exit 4"],
            "AttachStdout": true,
            "AttachStderr": true,
        });
        let id = made(it, "exec", &both);
        it.get(&format!("/exec/{id}/json"));
        let output = it.upgrade(&format!("/exec/{id}/start"), Some(&json!({"Detach": false})));
        it.note_output(output);
        it.wait_until(&format!("/exec/{id}/json"), |found| found["Running"] == false);
        it.get(&format!("/exec/{id}/json"));
        let output = it.upgrade(&format!("/exec/{id}/start"), Some(&json!({"Detach": false})));
        it.note_output(output);
        it.remove("exec");
    });
}

#[test]
fn a_command_gets_what_is_sent() {
    tell(|it| {
        it.container("feed", "sleep 1000");
        it.start("feed");
        let wanted = json!({"Cmd": ["cat"], "AttachStdin": true, "AttachStdout": true});
        let id = made(it, "feed", &wanted);
        let mut output = it.upgrade(&format!("/exec/{id}/start"), Some(&json!({"Detach": false})));
        output.send(b"hello ");
        output.send(b"there\n");
        output.finish_sending();
        it.note_output(output);
        it.remove("feed");
    });
}

#[test]
fn a_command_that_is_not_there_says_so() {
    tell(|it| {
        it.container("lost", "sleep 1000");
        it.start("lost");
        let id = made(it, "lost", &json!({"Cmd": ["nosuch"], "AttachStdout": true}));
        let output = it.upgrade(&format!("/exec/{id}/start"), Some(&json!({"Detach": false})));
        it.note_output(output);
        it.wait_until(&format!("/exec/{id}/json"), |found| found["Running"] == false);
        it.get(&format!("/exec/{id}/json"));
        made(it, "lost", &json!({"Cmd": []}));
        it.remove("lost");
    });
}

#[test]
fn a_command_can_be_left_alone() {
    tell(|it| {
        it.container("alone", "sleep 1000");
        it.start("alone");
        let wanted = json!({"Cmd": ["touch", "/tmp/done"], "Env": ["X=y"]});
        let id = made(it, "alone", &wanted);
        it.post_json(&format!("/exec/{id}/start"), &json!({"Detach": true}));
        it.wait_until(&format!("/exec/{id}/json"), |found| found["ExitCode"] == 0);
        it.get("/containers/alone/changes");
        it.remove("alone");
    });
}
