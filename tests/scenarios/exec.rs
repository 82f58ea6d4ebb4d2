//! `drover exec`: programs on a node as if they ran here.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use drover_api::{JobResult, JobState};
use drover_tests::{Process, Site, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::processes::{is_there, site_with_node, wait_until_gone};

/// Bytes of every kind, more than one message and one window carry.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn piped(command: &mut Command) -> Child {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn wait(child: &mut Child) -> ExitStatus {
    wait_for("the end of drover", || child.try_wait().unwrap().ok_or("still running"))
}

fn pid_of(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[test]
fn what_is_piped_in_comes_out_to_the_last_byte() {
    let (site, _a) = site_with_node("");
    let sent = noise(3_000_000);
    let line = "cat; echo done >&2; exit 7";
    let mut child = piped(&mut site.command(&["exec", "a", "--", "/bin/sh", "-c", line]));
    let (mut input, bytes) = (child.stdin.take().unwrap(), sent.clone());
    let writing = thread::spawn(move || input.write_all(&bytes).unwrap());

    let ended = child.wait_with_output().unwrap();

    writing.join().unwrap();
    assert!(ended.stdout == sent, "{} of {} bytes came", ended.stdout.len(), sent.len());
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "done\n");
    assert_eq!(ended.status.code(), Some(7));
}

#[test]
fn a_program_runs_as_it_is_told_and_its_status_is_ours() {
    let (site, _a) = site_with_node("");
    let dir = site.path("a");
    let told = [
        "exec",
        "a",
        "--cwd",
        dir.to_str().unwrap(),
        "--env",
        "GREETING=hello you",
        "--nice",
        "5",
        "--open-files",
        "40",
        "--",
        "/bin/sh",
        "-c",
        "pwd; echo $GREETING; nice; ulimit -n; echo 7::x",
    ];
    let printed = site.drover(&told).ok();
    assert_eq!(printed, format!("{}\nhello you\n5\n40\n7::x\n", dir.display()));

    let run = |arguments: &[&str]| site.drover(&[&["exec", "a"], arguments].concat());
    assert_eq!(run(&["--", "/bin/sh", "-c", "exit 3"]).failed(3), "");
    let errors = run(&["--", "/bin/sh", "-c", "kill -9 $$"]).failed(137);
    assert!(errors.contains("signal 9"), "{errors}");
    let errors = run(&["--timeout", "200ms", "--", "sleep", "1000"]).failed(124);
    assert!(errors.contains("had not ended after 200ms"), "{errors}");
    let errors = run(&["--", "/no/such/program"]).failed(1);
    assert!(errors.contains("/no/such/program"), "{errors}");
    let errors = run(&["--cwd", "here", "--", "pwd"]).failed(5);
    assert!(errors.contains("`working_dir`") && errors.contains("absolute"), "{errors}");
    let errors = site.drover(&["exec", "b", "--", "pwd"]).failed(4);
    assert!(errors.contains("there is no node `b`"), "{errors}");
    let errors = run(&["pwd"]).failed(2);
    assert!(errors.contains("--"), "{errors}");

    let result = run(&["--json", "--", "/bin/sh", "-c", "echo '20::[1]'; echo no >&2; exit 1"]);
    let json: JobResult = serde_json::from_str(&result.stdout).unwrap();
    assert_eq!((result.status, json.state, result.stderr.as_str()), (Some(1), JobState::Error, ""));
    assert_eq!((json.streams[1].as_str(), json.exit.unwrap().code), ("no\n", Some(1)));
}

#[test]
fn a_reader_that_is_slow_makes_the_program_wait_and_loses_nothing() {
    let (site, _a) = site_with_node("");
    let line = "head -c 40000000 /dev/zero; echo end";
    let mut child = piped(&mut site.command(&["exec", "a", "--", "/bin/sh", "-c", line]));
    let mut output = child.stdout.take().unwrap();
    let mut first = [1];
    output.read_exact(&mut first).unwrap();
    // Meanwhile the node and the controller answer others.
    for _ in 0..3 {
        let listed: Value = serde_json::from_str(&site.drover(&["ps", "--json"]).ok()).unwrap();
        assert_eq!(listed[0]["phase"], "running", "{listed}");
    }
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 40_000_003);
    assert!(rest.ends_with(b"\0end\n"));
    assert!(wait(&mut child).success());
}

#[test]
fn a_reader_that_goes_away_ends_the_program() {
    let (site, _a) = site_with_node("");
    let line = "echo $$; exec yes";
    let mut child = piped(&mut site.command(&["exec", "a", "--", "/bin/sh", "-c", line]));
    let mut output = child.stdout.take().unwrap();
    let mut first = [0; 1000];
    output.read_exact(&mut first).unwrap();
    drop(output);
    let first = String::from_utf8_lossy(&first);
    wait_until_gone(first.lines().next().and_then(pid_of).unwrap());
    assert_eq!(wait(&mut child).code(), Some(141));
}

#[test]
fn ctrl_c_ends_the_whole_tree_and_the_second_one_leaves_at_once() {
    let (site, _a) = site_with_node("[processes]\ngrace = \"3s\"\n");
    let line = "setsid sleep 1000 & echo $!; wait";
    let mut exec = site.start_drover(&["exec", "a", "--", "/bin/sh", "-c", line]);
    let escaped = exec.wait_for_output("a pid", pid_of);
    exec.signal(Signal::SIGINT);
    assert_eq!(exec.wait().code(), Some(130));
    assert!(!is_there(escaped), "{escaped} is still there");
    exec.wait_for_log("Ctrl-C again");

    let line = "trap '' TERM; echo $$; while :; do sleep 1; done";
    let mut exec = site.start_drover(&["exec", "a", "--", "/bin/sh", "-c", line]);
    let stubborn = exec.wait_for_output("a pid", pid_of);
    exec.signal(Signal::SIGINT);
    exec.wait_for_log("Ctrl-C again");
    exec.signal(Signal::SIGINT);
    assert_eq!(exec.wait().code(), Some(130));
    wait_until_gone(stubborn);
}

#[test]
fn a_program_ends_with_whoever_ran_it() {
    let (site, _a) = site_with_node("");
    let mut exec = site.start_drover(&["exec", "a", "--", "/bin/sh", "-c", "echo $$; sleep 1000"]);
    let pid = exec.wait_for_output("a pid", pid_of);
    exec.signal(Signal::SIGKILL);
    exec.wait();
    wait_until_gone(pid);
}

#[test]
fn a_lost_node_or_controller_is_told_with_what_becomes_of_the_program() {
    let (mut site, mut a) = site_with_node("");
    let start = |site: &Site| -> (Process, u64) {
        let line = ["exec", "a", "--", "/bin/sh", "-c", "echo $$; sleep 1000"];
        let exec = site.start_drover(&line);
        let pid = exec.wait_for_output("a pid", pid_of);
        (exec, pid)
    };
    let (mut exec, pid) = start(&site);
    a.process.signal(Signal::SIGKILL);
    assert_eq!(exec.wait().code(), Some(4));
    exec.wait_for_log("node a is gone while");
    exec.wait_for_log("at the latest when it starts again");
    a.process.wait();
    let _a = site.start_agent(1, "a", "");
    wait_until_gone(pid);
    site.wait_until_ready("a", 0);

    let (mut exec, pid) = start(&site);
    let mut controller = site.controller.take().unwrap();
    controller.signal(Signal::SIGKILL);
    assert_eq!(exec.wait().code(), Some(3));
    exec.wait_for_log("the connection to the controller is gone");
    controller.wait();
    wait_until_gone(pid);
}

#[test]
fn standard_input_that_ends_late_or_is_not_read_holds_nothing_up() {
    let (site, _a) = site_with_node("");
    // The program ends although there could be more to read.
    let mut child = piped(&mut site.command(&["exec", "a", "--", "head", "-n", "1"]));
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    let mut line = String::new();
    child.stdout.take().unwrap().read_to_string(&mut line).unwrap();
    assert_eq!((line.as_str(), wait(&mut child).code()), ("one\n", Some(0)));
    drop(input);

    // A program that reads nothing is not fed more than its pipe takes, and can be ended.
    let sleeping = ["exec", "a", "--", "/bin/sh", "-c", "echo $$; exec sleep 1000"];
    let mut child = piped(&mut site.command(&sleeping));
    let mut input = child.stdin.take().unwrap();
    let writing = thread::spawn(move || input.write_all(&noise(3_000_000)));
    let mut first = [0; 16];
    let count = child.stdout.as_mut().unwrap().read(&mut first).unwrap();
    let pid = pid_of(std::str::from_utf8(&first[..count]).unwrap()).unwrap();
    assert!(!writing.is_finished());
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(wait(&mut child).code(), Some(130));
    assert!(!is_there(pid));
    assert!(writing.join().unwrap().is_err());
}

#[test]
fn jobs_are_listed_and_killed_by_what_is_listed() {
    let (site, _a) = site_with_node("");
    assert!(site.drover(&["ps"]).ok().is_empty());
    let line = "trap '' TERM; setsid sleep 1000 & echo $!; while :; do sleep 0.1; done";
    let exec = ["exec", "a", "--name", "stubborn", "--domain", "web", "--", "/bin/sh", "-c", line];
    let mut exec = site.start_drover(&exec);
    let escaped = exec.wait_for_output("a pid", pid_of);

    let shown = site.drover(&["ps", "a"]).ok();
    assert!(shown.contains("web.stubborn") && shown.contains("running"), "{shown}");
    let listed: Value = serde_json::from_str(&site.drover(&["ps", "--json"]).ok()).unwrap();
    assert_eq!((&listed[0]["node"], &listed[0]["name"]), (&"a".into(), &"stubborn".into()));
    let id = listed[0]["id"].as_str().unwrap();
    assert!(shown.contains(id));

    let killed = site.drover(&["kill", "a", id]).ok();
    assert!(killed.contains("sleep (") && killed.contains("nothing is left"), "{killed}");
    assert!(!is_there(escaped));
    assert_eq!(exec.wait().code(), Some(137));
    assert!(site.drover(&["kill", "a", id]).failed(4).contains("no job with the id"));
    assert_eq!(site.drover(&["kill", "a", "--all"]).ok(), "there was nothing to end\n");
}
