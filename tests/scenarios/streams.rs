//! Operations that get input and give output while they run.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::thread;

use drover_api::{Command, JobResult, JobState, Progress, StreamPart, Streaming, procedures};
use drover_tests::{Agent, Process, Site, compiled, component, run, wait_for};
use drover_wamp::{CallOptions, Payload};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::wamp_callers::{A, bare, join};
use crate::{DROVER, site};

/// More than all that is allowed to wait on the way.
const MUCH: usize = 8 << 20;

fn site_with_digest() -> (Site, Agent) {
    let site = site();
    site.add_plugin("a", "digest.wasm", &fs::read(component("digest")).unwrap());
    let a = site.start_agent(1, "a", "");
    site.wait_until_ready("a", 1);
    (site, a)
}

/// Bytes of every kind, without an end that would fit anywhere.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// The most memory that a program has had until now, in MiB.
fn most_memory(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

fn jobs(site: &Site) -> Value {
    let listed = site.drover(&["call", "a", "job.list", "--json"]).ok();
    serde_json::from_str::<JobResult>(&listed).unwrap().data.into_value()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn two_hundred_megabytes_go_through_a_node_that_stays_small() {
    let (site, a) = site_with_digest();
    let (input, output) = (site.path("in"), site.path("out"));
    fs::write(&input, "warm").unwrap();
    let call = ["call", "a", "digest.copy", "--input", text(&input), "--output", text(&output)];
    let call = [&call[..], &["--timeout", "10m", "--json"]].concat();
    assert!(site.drover(&call).ok().contains("OK"));
    let controller = site.controller.as_ref().unwrap();
    let before = [&a.process, controller].map(most_memory);

    // Texts and other bytes take different ways.
    let mut piece = "The quick brown fox jumps over the lazy dog.\n".repeat(20_000).into_bytes();
    piece.extend(noise(100_000));
    let mut file = fs::File::create(&input).unwrap();
    for _ in 0..200 {
        file.write_all(&piece).unwrap();
    }
    let result: JobResult = serde_json::from_str(&site.drover(&call).ok()).unwrap();

    assert_eq!(result.data["bytes"], piece.len() * 200);
    let mut arrived = fs::File::open(&output).unwrap();
    let mut copy = vec![0; piece.len()];
    for _ in 0..200 {
        arrived.read_exact(&mut copy).unwrap();
        assert!(copy == piece);
    }
    assert_eq!(arrived.read(&mut copy).unwrap(), 0);
    for (process, before) in [&a.process, controller].into_iter().zip(before) {
        let after = most_memory(process);
        assert!(after < before + 48, "{before} MiB became {after} MiB");
    }
}

#[test]
fn a_reader_that_is_slow_makes_the_plugin_and_the_writer_wait() {
    let (site, _a) = site_with_digest();
    let sent = noise(MUCH);
    let call = ["call", "a", "digest.copy", "--input", "-", "--output", "-"];
    let mut command = site.command(&call);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let bytes = sent.clone();
    let writing = thread::spawn(move || input.write_all(&bytes).unwrap());
    let mut arrived = vec![0; 1];
    output.read_exact(&mut arrived).unwrap();
    // Meanwhile the node answers others.
    for _ in 0..3 {
        assert_eq!(jobs(&site)[0]["cmd"], "digest.copy");
        assert!(!writing.is_finished());
    }
    output.read_to_end(&mut arrived).unwrap();
    writing.join().unwrap();
    assert!(arrived == sent, "{} of {} bytes came", arrived.len(), sent.len());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert!(errors.contains("sha256") && errors.contains(&MUCH.to_string()), "{errors}");
}

#[test]
fn a_plugin_that_has_enough_closes_both_streams_and_answers() {
    let (site, _a) = site_with_digest();
    let (input, output) = (site.path("in"), site.path("out"));
    fs::write(&input, noise(MUCH)).unwrap();
    let call = ["call", "a", "digest.copy", "most=1000", "--input", text(&input)];
    let shown = site.drover(&[&call[..], &["--output", text(&output)]].concat()).ok();
    assert!(shown.contains("1000"), "{shown}");
    assert!(fs::read(&output).unwrap() == noise(1000));

    let errors = site.drover(&call).failed(1);
    assert!(
        errors.contains("the caller takes no output") && errors.contains("--output"),
        "{errors}"
    );
    let shown = site.drover(&["call", "a", "digest.sum", "--data", "abc"]).ok();
    assert!(shown.contains("ba7816bf8f01cfea"), "{shown}");
}

#[test]
fn an_asynchronous_operation_has_the_same_streams() {
    let (site, _a) = site_with_digest();
    let capitals = component("capitals");
    site.add_plugin("a", "capitals.wasm", &fs::read(&capitals).unwrap());
    let (input, output) = (site.path("in"), site.path("out"));
    let small = "the quick brown fox\n".repeat(MUCH / 20);
    fs::write(&input, &small).unwrap();
    let streams = ["--input", text(&input), "--output", text(&output)];
    let call = [&["call", "a", "capitals.convert"][..], &streams].concat();
    wait_for("the plugin", || {
        let ran = site.drover(&call);
        if ran.status == Some(0) { Ok(()) } else { Err(ran.stderr) }
    });
    assert!(fs::read_to_string(&output).unwrap() == small.to_uppercase());

    // Nor is it another one for its author.
    fs::remove_file(&output).unwrap();
    let cache = compiled();
    let tried = ["plugin", "run", text(&capitals), "convert", "--cache", text(&cache)];
    let shown = run(DROVER.as_ref(), &[&tried[..], &streams].concat()).ok();
    assert!(shown.contains(&small.len().to_string()), "{shown}");
    assert!(fs::read_to_string(&output).unwrap() == small.to_uppercase());
}

#[test]
fn a_transfer_that_is_interrupted_leaves_no_file() {
    let (site, a) = site_with_digest();
    let output = site.path("out");
    let call = ["call", "a", "digest.copy", "--input", "-", "--output", text(&output)];
    let start = || {
        let (call, mut input) = Process::spawn_listening(&mut site.command(&call));
        input.write_all(b"half").unwrap();
        wait_for("the job", || match jobs(&site).as_array().unwrap().len() {
            0 => Err("no job runs"),
            _ => Ok(()),
        });
        (call, input)
    };
    let (mut call, _input) = start();
    call.signal(Signal::SIGINT);
    assert_eq!(call.wait().code(), Some(130));
    call.wait_for_log("is not written");

    let (mut call, _input) = start();
    a.process.signal(Signal::SIGKILL);
    assert_ne!(call.wait().code(), Some(0));
    call.wait_for_log("is not written");
    let left = fs::read_dir(output.parent().unwrap()).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = left.filter(|name| name == "out" || name.starts_with(".tmp")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn any_wamp_client_can_stream() {
    let (site, _a) = site_with_digest();
    let client = join(&site).await;
    let command = Command {
        streaming: Some(Streaming { input: true, window: Some(10) }),
        ..Command::new("digest.copy")
    };
    let id = command.id.clone();
    let start = async |command: &Command| {
        let payload = Payload::one(command).unwrap();
        client.start(&procedures::run(A), payload, CallOptions::default()).await.unwrap()
    };
    let mut running = start(&command).await;
    let mut next = async || {
        let report: Progress = running.next().await.expect("it runs").first().unwrap();
        report.stream.unwrap()
    };
    assert_eq!(next().await, StreamPart::Accepted);
    bare(&client, "job.input", json!({ "id": id, "text": "first, twice" })).await;
    assert_eq!(next().await, StreamPart::Output("first, twice".to_owned()));
    // The window is full now.
    bare(&client, "job.input", json!({ "id": id, "base64": "/w==" })).await;
    bare(&client, "job.taken", json!({ "id": id, "bytes": 12 })).await;
    assert_eq!(next().await, StreamPart::OutputBase64("/w==".to_owned()));
    bare(&client, "job.input", json!({ "id": id, "eof": true })).await;
    assert_eq!(next().await, StreamPart::Ended);
    let result: JobResult = running.answer().await.unwrap().first().unwrap();
    assert_eq!(result.data["bytes"], 13);

    // One who has enough closes the plugin's output.
    let command = Command { id: drover_api::JobId::generate(), ..command };
    let mut running = start(&command).await;
    assert!(running.next().await.is_some(), "it has ended");
    bare(&client, "job.taken", json!({ "id": command.id, "enough": true })).await;
    bare(&client, "job.input", json!({ "id": command.id, "text": "x" })).await;
    let result: JobResult = running.answer().await.unwrap().first().unwrap();
    assert_eq!(result.state, JobState::Error, "{result:?}");
    assert!(result.error.unwrap().message.contains("broken pipe"));
}

#[test]
fn a_plugin_file_is_tried_with_files_as_its_streams() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    fs::write(&input, noise(MUCH)).unwrap();
    let (file, cache) = (component("digest"), compiled());
    let call = ["plugin", "run", text(&file), "copy", "--cache", text(&cache)];
    let files = ["--input", text(&input), "--output", text(&output)];
    let shown = run(DROVER.as_ref(), &[&call[..], &files].concat()).ok();
    assert!(shown.contains(&MUCH.to_string()), "{shown}");
    assert!(fs::read(&output).unwrap() == noise(MUCH));
}
