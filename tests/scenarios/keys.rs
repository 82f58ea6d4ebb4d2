//! Keys are made, kept and used to sign.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use drover_tests::{Ran, component, run};

use crate::DROVER;

/// Makes a key without a password; the file of its secret half, and the public one.
pub(crate) fn new_key(dir: &Path, name: &str) -> (String, String) {
    let file = dir.join(format!("{name}.key")).to_str().unwrap().to_owned();
    let public = drover(&["key", "new", &file, "--no-password"]).ok();
    (file, public.trim().to_owned())
}

fn drover(arguments: &[&str]) -> Ran {
    run(DROVER.as_ref(), arguments)
}

/// Paths in a directory, as text.
fn text(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_key_behind_a_password_signs_for_whoever_knows_it() {
    let dir = tempfile::tempdir().unwrap();
    let [key, public, password, wrong] =
        ["release.key", "release.pub", "password", "wrong"].map(|name| text(dir.path(), name));
    fs::write(&password, "correct horse\n").unwrap();
    fs::write(&wrong, "battery\n").unwrap();
    let made = drover(&["key", "new", &key, "--password-file", &password]);
    assert!(made.stderr.contains("[trusted_keys.release]\n    public_key = \"RW"), "{made:?}");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let line = made.ok();
    assert_eq!(drover(&["key", "show", &public]).ok(), line);
    assert_eq!(drover(&["key", "show", &key, "--password-file", &password]).ok(), line);
    let again = drover(&["key", "new", &key, "--no-password"]).failed(2);
    assert!(again.contains("is there already"), "{again}");

    let file = text(dir.path(), "notes");
    fs::write(&file, "what is signed").unwrap();
    let refused = drover(&["sign", &file, "--key", &key, "--password-file", &wrong]).failed(1);
    assert!(refused.contains("the password is not that of this key"), "{refused}");
    let refused = drover(&["sign", &file, "--key", &key]).failed(2);
    assert!(refused.contains("use --password-file or DROVER_KEY_PASSWORD"), "{refused}");
    let comment = drover(&["sign", &file, "--key", &key, "--password-file", &password]).ok();
    assert!(comment.contains("\tfile:notes\thashed"), "{comment}");

    assert_eq!(drover(&["verify", &file, "--key", &public]).ok(), comment);
    assert_eq!(drover(&["verify", &file, "--key", line.trim()]).ok(), comment);
    fs::write(&file, "what is signeD").unwrap();
    let refused = drover(&["verify", &file, "--key", &public]).failed(1);
    assert!(refused.contains("the content is not what was signed"), "{refused}");
}

#[test]
fn the_signature_of_a_plugin_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (key, public) = new_key(dir.path(), "release");
    let plugin = text(dir.path(), "hello.wasm");
    fs::copy(component("hello"), &plugin).unwrap();
    let comment = drover(&["sign", &plugin, "--key", &key]).ok();
    assert!(comment.starts_with("drover-plugin name=hello version=0.1.0 sha256="), "{comment}");
    assert_eq!(drover(&["verify", &plugin, "--key", &public]).ok(), comment);

    let refused = drover(&["sign", &plugin, "--key", &key, "--version", "2.0.0"]).failed(2);
    assert!(refused.contains("says that its version is 0.1.0, not 2.0.0"), "{refused}");
    let swapped = drover(&["verify", &plugin, "--key", &key]).failed(1);
    assert!(swapped.contains("it is a secret key: keep it to yourself"), "{swapped}");
}
