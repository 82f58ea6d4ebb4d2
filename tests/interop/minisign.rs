//! Signatures and keys are minisign's, in both directions.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use drover_tests::{Ran, installed, run};
use tempfile::TempDir;

use crate::DROVER;

/// Runs minisign in `dir`, and types `typed`.
fn minisign(dir: &Path, arguments: &[&str], typed: &str) -> Ran {
    let libraries = fs::read_dir(installed("minisign/usr/lib")).unwrap();
    let libraries: Vec<_> = libraries.map(|entry| entry.unwrap().path()).collect();
    let mut command = Command::new(installed("minisign/usr/bin/minisign"));
    command.current_dir(dir).args(arguments);
    command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Ran {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn drover(dir: &Path, arguments: &[&str]) -> Ran {
    let line: Vec<_> = arguments
        .iter()
        .map(|one| match one.strip_prefix("./") {
            Some(name) => dir.join(name).to_str().unwrap().to_owned(),
            None => (*one).to_owned(),
        })
        .collect();
    run(DROVER.as_ref(), &line.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A directory with a file to be signed, and with a password.
fn desk() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("content"), vec![7; 300_000]).unwrap();
    fs::write(dir.path().join("password"), "correct horse\n").unwrap();
    dir
}

#[test]
fn minisign_checks_what_we_sign_with_keys_that_we_make() {
    let desk = desk();
    let dir = desk.path();
    let _ = drover(dir, &["key", "new", "./ours.key", "--no-password"]).ok();
    let signed = ["sign", "./content", "--key", "./ours.key", "--name", "hello"];
    let comment = drover(dir, &[&signed[..], &["--version", "1.2.0"]].concat()).ok();
    let checked = minisign(dir, &["-V", "-p", "ours.pub", "-m", "content", "-Q"], "");
    assert_eq!(checked.ok(), comment);

    fs::write(dir.join("content"), "something else").unwrap();
    let _ = minisign(dir, &["-V", "-p", "ours.pub", "-m", "content"], "").failed(1);
}

#[test]
fn we_check_what_minisign_signs_with_keys_that_it_makes() {
    let desk = desk();
    let dir = desk.path();
    let _ = minisign(dir, &["-G", "-W", "-p", "theirs.pub", "-s", "theirs.key"], "").ok();
    let signed = ["-S", "-s", "theirs.key", "-m", "content", "-t", "by hand"];
    let _ = minisign(dir, &signed, "").ok();
    assert_eq!(drover(dir, &["verify", "./content", "--key", "./theirs.pub"]).ok(), "by hand\n");
    let legacy = ["-S", "-l", "-s", "theirs.key", "-m", "content", "-x", "legacy"];
    let _ = minisign(dir, &legacy, "").ok();
    let line = ["verify", "./content", "--key", "./theirs.pub", "--signature", "./legacy"];
    let refused = drover(dir, &line).failed(1);
    assert!(refused.contains("the form of old minisigns: sign again"), "{refused}");
}

#[test]
fn secret_keys_are_shared_with_their_passwords() {
    let desk = desk();
    let dir = desk.path();
    let made = ["key", "new", "./ours.key", "--password-file", "./password"];
    let _ = drover(dir, &made).ok();
    let signed = ["-S", "-s", "ours.key", "-m", "content", "-t", "with our key"];
    let _ = minisign(dir, &signed, "correct horse\n").ok();
    let checked = drover(dir, &["verify", "./content", "--key", "./ours.pub"]).ok();
    assert_eq!(checked, "with our key\n");

    let made = ["-G", "-p", "theirs.pub", "-s", "theirs.key"];
    let _ = minisign(dir, &made, "correct horse\ncorrect horse\n").ok();
    let signed = ["sign", "./content", "--key", "./theirs.key", "--password-file", "./password"];
    let _ = drover(dir, &signed).ok();
    let _ = minisign(dir, &["-V", "-p", "theirs.pub", "-m", "content"], "").ok();
}

/// Runs rsign, by the author of minisign, in `dir`.
fn rsign(dir: &Path, arguments: &[&str]) -> Ran {
    Ran::of(Command::new(installed("rsign/bin/rsign")).current_dir(dir).args(arguments))
}

#[test]
fn rsign_and_we_check_what_the_other_signs_with_either_ones_keys() {
    let desk = desk();
    let dir = desk.path();
    let _ = drover(dir, &["key", "new", "./ours.key", "--no-password"]).ok();
    let _ = rsign(dir, &["generate", "--unencrypted", "-p", "theirs.pub", "-s", "theirs.key"]).ok();
    for (key, public) in [("ours.key", "ours.pub"), ("theirs.key", "theirs.pub")] {
        let (our_key, our_public) = (format!("./{key}"), format!("./{public}"));
        let comment = drover(dir, &["sign", "./content", "--key", &our_key]).ok();
        let checked = rsign(dir, &["verify", "-p", public, "-x", "content.minisig", "content"]);
        assert_eq!(checked.status, Some(0), "{checked:?}");
        assert!(checked.stderr.contains(comment.trim()), "{checked:?}");

        let made = ["sign", "-W", "-s", key, "-x", "content.minisig", "content"];
        let _ = rsign(dir, &made).ok();
        let _ = drover(dir, &["verify", "./content", "--key", &our_public]).ok();
        fs::write(dir.join("other"), "something else").unwrap();
        let other = ["verify", "-p", public, "-x", "content.minisig", "other"];
        let _ = rsign(dir, &other).failed(1);
    }
}
