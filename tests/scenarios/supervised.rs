//! The programs as a service manager runs them: units, notifications, logs.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use drover_tests::{Process, Ran};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{DROVER, site};

const ANALYZE: &str = "/usr/bin/systemd-analyze";

/// The units that are shipped.
const UNITS: [(&str, &str); 2] = [
    ("agent", include_str!("../../examples/systemd/drover-agent.service")),
    ("controller", include_str!("../../examples/systemd/drover-controller.service")),
];

/// The value of a setting that a unit has once.
fn setting<'a>(unit: &'a str, key: &str) -> &'a str {
    let found: Vec<_> =
        unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
    assert_eq!(found.len(), 1, "{key}: {found:?}");
    found[0]
}

fn seconds(unit: &str, key: &str) -> Duration {
    Duration::from_secs(setting(unit, key).parse().unwrap())
}

#[test]
fn the_units_leave_the_programs_the_time_they_need_and_the_children_alone() {
    let [(_, agent), (_, controller)] = UNITS;
    for unit in [agent, controller] {
        assert_eq!(setting(unit, "Type"), "notify");
        assert_eq!(setting(unit, "Restart"), "always");
        assert!(seconds(unit, "WatchdogSec") >= Duration::from_secs(30));
    }
    let rest = Duration::from_secs(30);
    let patience = drover_agent::Config::default().drain.patience;
    assert!(seconds(agent, "TimeoutStopSec") >= patience + rest);
    let patience = drover_controller::Config::default().drain.patience;
    assert!(seconds(controller, "TimeoutStopSec") >= patience + rest);
    assert_eq!(setting(agent, "KillMode"), "process");
    assert_eq!(setting(agent, "Delegate"), "yes");
}

/// What systemd itself says of the units, where it is installed.
#[test]
fn systemd_takes_the_units_and_finds_the_controller_well_guarded() {
    if !Path::new(ANALYZE).exists() {
        return;
    }
    let dir = TempDir::new().unwrap();
    for (name, unit) in UNITS {
        let path = dir.path().join(format!("drover-{name}.service"));
        std::fs::write(&path, unit.replace("/usr/local/bin/drover", DROVER)).unwrap();
        let verified = Ran::of(Command::new(ANALYZE).args(["verify", "--man=no"]).arg(&path));
        assert_eq!((verified.status, verified.stderr.as_str()), (Some(0), ""), "{name}");
    }
    let path = dir.path().join("drover-controller.service");
    // 0 is a unit that may do nothing, 100 one that may do everything.
    let judge = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    let _ = Ran::of(Command::new(ANALYZE).args(judge).arg(&path)).ok();
}

/// The next datagram that is not the last one again.
fn told(socket: &UnixDatagram, before: &str) -> String {
    loop {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if text != before {
            return text;
        }
    }
}

#[test]
fn systemd_is_told_that_a_program_is_ready_alive_and_stopping() {
    let site = site();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("notify");
    let name = format!("drover-test-{}", std::process::id());
    let data = dir.path().join("data");
    let config = dir.path().join("program.toml");
    for program in ["controller", "agent"] {
        // A path for one of them, a name in the abstract namespace for the other.
        let (socket, address) = match program {
            "controller" => (UnixDatagram::bind(&path), path.to_str().unwrap().to_owned()),
            _ => {
                let address = SocketAddr::from_abstract_name(&name).unwrap();
                (UnixDatagram::bind_addr(&address), format!("@{name}"))
            }
        };
        let socket = socket.unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let text = match program {
            "controller" => format!("listen = \"127.0.0.1:0\"\ndata_dir = {data:?}\n"),
            _ => format!("controller = {:?}\ndata_dir = {data:?}\n", site.url),
        };
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(DROVER);
        command.args([program, "--config", config.to_str().unwrap()]);
        command.env("NOTIFY_SOCKET", address).env("WATCHDOG_USEC", "300000");
        let mut process = Process::spawn(&mut command);
        assert_eq!(told(&socket, ""), "READY=1");
        assert_eq!(told(&socket, ""), "WATCHDOG=1");
        process.signal(Signal::SIGTERM);
        assert_eq!(told(&socket, "WATCHDOG=1"), "STOPPING=1");
        assert!(process.wait().success(), "{}", process.log());
    }
}

#[test]
fn each_line_of_a_log_for_programs_is_one_object_the_last_one_included() {
    let dir = TempDir::new().unwrap();
    let config = dir.path().join("controller.toml");
    let data = dir.path().join("data");
    let text = format!("log_format = \"json\"\nlisten = \"127.0.0.1:0\"\ndata_dir = {data:?}\n");
    std::fs::write(&config, text).unwrap();
    let arguments = ["controller", "--config", config.to_str().unwrap()];
    let mut controller = Process::start(DROVER.as_ref(), &arguments);
    controller.wait_for_log("router is listening");
    // Another one finds the address taken, or the files in use.
    let url = controller.wait_for_output("the address", |line| {
        Some(line.strip_prefix("listening on ws://")?.trim_end_matches("/ws").to_owned())
    });
    let other = format!("listen = {url:?}\ndata_dir = {:?}\n", dir.path().join("other"));
    std::fs::write(&config, other).unwrap();
    let failed = Ran::of(Command::new(DROVER).args(arguments).args(["--log-format", "json"]));
    controller.signal(Signal::SIGTERM);
    assert!(controller.wait().success());

    let lines: Vec<Value> =
        controller.log().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().any(|line| line["message"] == "draining"), "{lines:?}");
    for line in lines {
        assert_eq!(line["level"], "info", "{line}");
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    let last: Value = serde_json::from_str(&failed.failed(1)).unwrap();
    assert_eq!(last["level"], "error", "{last}");
    assert!(last["error"].as_str().unwrap().contains("cannot listen on"), "{last}");
}
