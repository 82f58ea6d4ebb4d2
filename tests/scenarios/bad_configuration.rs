//! What is wrong before anything starts is told with its cure.

use std::fs;
use std::net::TcpListener;

use drover_tests::run;
use tempfile::TempDir;

use crate::DROVER;

/// Writes a configuration and starts the program with it.
fn start(program: &str, config: &str) -> drover_tests::Ran {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("config.toml");
    fs::write(&file, config).unwrap();
    run(DROVER.as_ref(), &[program, "--config", file.to_str().unwrap()])
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    for program in ["agent", "controller"] {
        let errors = start(program, "realm = \"drover\"\nrealmm = 1\n").failed(2);
        assert!(errors.contains("line 2") && errors.contains("`realmm`"), "{errors}");
        assert!(errors.contains("config.toml"), "{errors}");
    }
}

#[test]
fn text_that_is_no_toml_is_shown_where_it_goes_wrong() {
    let errors = start("agent", "gid = 1\nnid = = 2\n").failed(2);
    assert!(errors.contains("line 2"), "{errors}");
}

#[test]
fn a_named_file_that_is_missing_is_an_error() {
    let errors = run(DROVER.as_ref(), &["agent", "--config", "/no/such/file.toml"]).failed(2);
    assert!(errors.contains("/no/such/file.toml"), "{errors}");
}

#[test]
fn a_value_out_of_range_is_told_with_its_rule() {
    let errors = start("agent", "heartbeat = \"1ms\"\n").failed(2);
    assert!(errors.contains("heartbeat") && errors.contains("at least"), "{errors}");
    let errors = start("controller", "listen = \"0.0.0.0:7117\"\n").failed(2);
    assert!(errors.contains("TLS") && errors.contains("loopback"), "{errors}");
}

#[test]
fn a_port_in_use_is_told_with_the_key_to_change() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();

    let errors = start("controller", &format!("listen = \"{address}\"\n")).failed(1);

    assert!(errors.contains(&address.to_string()) && errors.contains("`listen`"), "{errors}");
}

#[test]
fn a_directory_that_cannot_be_written_is_told_with_the_key_to_change() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("a-file");
    fs::write(&file, "").unwrap();
    // Not even root can make a directory below a file, or in /proc.
    for data_dir in [file.join("data").to_str().unwrap(), "/proc/drover"] {
        let errors = start("agent", &format!("data_dir = {data_dir:?}\n")).failed(1);
        assert!(errors.contains(data_dir) && errors.contains("`data_dir`"), "{errors}");
    }
}

#[test]
fn the_configuration_in_force_can_be_printed_and_used_again() {
    for program in ["agent", "controller"] {
        let printed = run(DROVER.as_ref(), &[program, "--print-config"]).ok();
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("config.toml");
        fs::write(&file, &printed).unwrap();
        let again = [program, "--print-config", "--config", file.to_str().unwrap()];
        assert_eq!(run(DROVER.as_ref(), &again).ok(), printed);
    }
}

#[test]
fn no_controller_is_a_status_of_its_own() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("ws://{free}/ws");
    let errors = run(DROVER.as_ref(), &["nodes", "--controller", &url]).failed(3);
    assert!(errors.contains(&url) && errors.contains("drover controller"), "{errors}");
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(DROVER.as_ref(), &["completions", shell]).ok();
        assert!(script.contains("completions"), "{shell}");
    }
}
