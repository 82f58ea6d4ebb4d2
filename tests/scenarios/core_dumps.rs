//! A program that crashes leaves nothing of its memory, which has secrets, unless
//! somebody asks for that; what it runs is as it would be without it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use drover_tests::{Process, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::{DROVER, site};

/// Starts a program in `dir`, with a core dump as large as it likes.
fn start(dir: &Path, line: &[&str]) -> Process {
    let script = "cd \"$0\" && ulimit -c unlimited; exec \"$@\"";
    Process::start("/bin/sh".as_ref(), &[&["-c", script, dir.to_str().unwrap()], line].concat())
}

/// Has a program crash, and says whether it left a core dump.
fn crash(process: Process) -> bool {
    process.signal(Signal::SIGABRT);
    has_left_a_dump(process)
}

/// What [`crash`] says, of a program that crashes by itself.
fn has_left_a_dump(mut process: Process) -> bool {
    let status = process.wait();
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32));
    status.core_dumped()
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

/// The keeper of the agent whose data is there.
fn keeper_of(data: &Path) -> Pid {
    let data = data.to_str().unwrap();
    wait_for("the keeper", || {
        let numbers = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let mut keepers = numbers.filter(|number| {
            let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains("\0keeper\0") && line.contains(data)
        });
        keepers.next().map(Pid::from_raw).ok_or(())
    })
}

#[test]
fn a_crash_leaves_no_memory_behind_and_children_are_as_they_would_be() {
    let site = site();
    let cores = TempDir::new().unwrap();
    let dir = |name: &str| {
        let dir = cores.path().join(name);
        fs::create_dir(&dir).unwrap();
        dir
    };
    // Whether this system leaves any, and whether it does so where a program was.
    let plain = dir("plain");
    let crashes = "ulimit -S -c; kill -ABRT $$";
    let is_left = has_left_a_dump(start(&plain, &["/bin/sh", "-c", crashes]));
    let is_in_place = is_left && !is_empty(&plain);

    let (of_agent, data, config) = (dir("agent"), site.path("a"), site.path("a.toml"));
    let text = format!("controller = {:?}\nname = \"a\"\ndata_dir = {data:?}\n", site.url);
    fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let agent = start(&of_agent, &[DROVER, "agent", "--config", config]);
    site.wait_until_ready("a", 0);

    let of_child = dir("child");
    let exec = ["exec", "a", "--cwd", of_child.to_str().unwrap(), "--", "/bin/sh", "-c", crashes];
    let ran = site.drover(&exec);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(128 + 6), "unlimited\n"), "{ran:?}");
    assert_eq!(!is_empty(&of_child), is_in_place, "a child leaves what it would leave");

    let keeper = keeper_of(&data);
    kill(keeper, Signal::SIGABRT).unwrap();
    wait_for("the end of the keeper", || match kill(keeper, None) {
        Err(_) => Ok(()),
        Ok(()) => {
            // Until it is waited for it is there, and has ended.
            let stat = fs::read_to_string(format!("/proc/{keeper}/stat")).unwrap_or_default();
            if stat.contains(") Z ") || stat.is_empty() { Ok(()) } else { Err(stat) }
        }
    });
    assert!(!crash(agent));
    assert!(is_empty(&of_agent), "neither the agent nor its keeper left anything");

    let of_controller = dir("controller");
    let config = site.path("other.toml");
    let text = format!("listen = \"127.0.0.1:0\"\ndata_dir = {:?}\n", site.path("other"));
    fs::write(&config, text).unwrap();
    let line = [DROVER, "controller", "--config", config.to_str().unwrap()];
    for (more, is_asked_for) in [(&[][..], false), (&["--core-dumps"], true)] {
        let controller = start(&of_controller, &[&line, more].concat());
        let is_ready = |line: &str| line.strip_prefix("listening on ").map(drop);
        controller.wait_for_output("the controller's address", is_ready);
        assert_eq!(crash(controller), is_asked_for && is_left);
    }
    assert_eq!(!is_empty(&of_controller), is_in_place);
}
