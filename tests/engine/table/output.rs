//! What containers write.

use serde_json::json;

use crate::tell;

const SCRIPT: &str = "echo one; echo bad >&2; sleep 0.2; echo two; printf three";

#[test]
fn a_log_has_each_stream_in_frames() {
    tell(|it| {
        it.container("frames", SCRIPT);
        it.start("frames");
        it.post("/containers/frames/wait");
        for query in [
            "stdout=1&stderr=1",
            "stdout=1",
            "stderr=1",
            "stdout=1&tail=1",
            "stdout=1&tail=0",
            "stdout=1&stderr=1&tail=all",
            "stdout=1&timestamps=1",
            "stdout=1&since=1",
            "stdout=1&since=9999999999",
            "stdout=1&until=1",
            "stdout=1&follow=1",
        ] {
            let log = it.open("GET", &format!("/containers/frames/logs?{query}"), "", b"");
            it.note(&format!("{:?}", log.framing));
            it.note_output(log);
        }
        it.get("/containers/frames/logs");
        it.get("/containers/frames/logs?stdout=1&since=x");
        it.remove("frames");
    });
}

#[test]
fn a_log_is_followed_until_the_program_ends() {
    tell(|it| {
        // A last line without an end may be lost by who follows.
        it.container("follow", &format!("{SCRIPT}; echo"));
        it.start("follow");
        let log = it.open("GET", "/containers/follow/logs?stdout=1&stderr=1&follow=1", "", b"");
        it.note_output(log);
        it.remove("follow");
    });
}

#[test]
fn a_terminal_has_one_stream_without_frames() {
    tell(|it| {
        it.container_with("terminal", SCRIPT, &json!({"Tty": true}));
        it.start("terminal");
        it.post("/containers/terminal/wait");
        let log = it.open("GET", "/containers/terminal/logs?stdout=1&stderr=1", "", b"");
        it.note_output(log);
        it.remove("terminal");
    });
}

#[test]
fn what_is_sent_to_an_attached_container_is_its_input() {
    tell(|it| {
        let open = json!({
            "Cmd": ["cat"],
            "OpenStdin": true,
            "StdinOnce": true,
            "AttachStdin": true,
            "AttachStdout": true,
            "AttachStderr": true,
        });
        it.container_with("attached", "", &open);
        let path = "/containers/attached/attach?stream=1&stdin=1&stdout=1&stderr=1";
        let mut attached = it.upgrade(path, None);
        it.start("attached");
        attached.send(b"hello\n");
        attached.finish_sending();
        it.note_output(attached);
        it.post("/containers/attached/wait");
        it.remove("attached");
    });
}

#[test]
fn attaching_can_begin_with_the_log() {
    tell(|it| {
        it.container("late", "echo early; sleep 0.5; echo late");
        it.start("late");
        let path = "/containers/late/attach?logs=1&stream=1&stdout=1";
        it.wait_until("/containers/late/json", |found| found["State"]["Running"] == true);
        let attached = it.upgrade(path, None);
        it.note_output(attached);
        it.remove("late");
    });
}
