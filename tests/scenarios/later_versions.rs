//! A program that went back to an earlier version of itself loses nothing of what the
//! later one has written: it says so, and does not start.

use std::fs;

use drover_tests::run;
use tempfile::TempDir;

use crate::DROVER;

/// What such a file says; the rest may be anything.
const LATER: &str = r#"{"version":99,"what":["nobody","knows"]}"#;

/// Starts a program with this file of a later version in its data directory; gives back
/// what it says.
fn refused(program: &str, file: &str) -> String {
    let dir = TempDir::new().unwrap();
    let (data, config) = (dir.path().join("data"), dir.path().join("config.toml"));
    let path = data.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, LATER).unwrap();
    fs::write(&config, format!("data_dir = {data:?}\n{}", addresses(program))).unwrap();
    let said = run(DROVER.as_ref(), &[program, "--config", config.to_str().unwrap()]).failed(1);
    assert_eq!(fs::read_to_string(&path).unwrap(), LATER, "{file} is as it was");
    assert!(!path.with_extension("damaged").exists());
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    said
}

fn addresses(program: &str) -> &'static str {
    match program {
        "agent" => "controller = \"ws://127.0.0.1:1/ws\"\n",
        _ => "listen = \"127.0.0.1:0\"\n",
    }
}

#[test]
fn a_file_of_a_later_version_is_refused_by_name_and_stays_where_it_is() {
    for (program, file, what) in [
        ("agent", "jobs.json", "the programs that the agent runs"),
        ("agent", "services.json", "the services that were started"),
        ("agent", "begun.json", "the output that had begun"),
        ("agent", "quarantine.json", "the quarantines of plugins"),
        ("agent", "identity/node.json", "who the node is"),
        ("agent", "pushed/seen.json", "the newest statement that was seen"),
        ("agent", "pushed/hello/record.json", "the versions that were pushed"),
        ("agent", "pushed/agent/record.json", "the versions that were pushed"),
        ("controller", "audit/audit.head", "the head of the audit log"),
    ] {
        let said = refused(program, file);
        let begins = format!("a later version of drover has written {what} (version 99");
        assert!(said.contains(&begins), "{said}");
        assert!(said.contains("run that version, or put"), "{said}");
    }
}
