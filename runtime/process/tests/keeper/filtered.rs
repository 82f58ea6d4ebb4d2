//! Where a filter forbids the system call that makes a child in its cgroup, as those
//! of many containers do.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_process::{Exit, Limits};
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use super::ends::DAEMON;
use super::kit::{Agent, dir, id, is_alive, launch, pids, read, read_lines, shell};

/// Runs a test in a thread whose every descendant is told that there is no `clone3`.
fn without_clone3(test: impl AsyncFnOnce() + Send + 'static) {
    let filtered = move || {
        let filter = SeccompFilter::new(
            BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
            SeccompAction::Allow,
            SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
            std::env::consts::ARCH.try_into().unwrap(),
        );
        let program: BpfProgram = filter.unwrap().try_into().unwrap();
        seccompiler::apply_filter(&program).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    };
    std::thread::spawn(filtered).join().unwrap();
}

/// What holds with every keeper that has cgroups.
async fn a_tree_is_in_its_cgroup_and_ends_with_it() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let spawned = agent.spawn(launch("a", "python3", &["-c", DAEMON])).await;
    let daemon = pids(&read_lines(&spawned.stdout, 1).await)[0];
    let cgroup = spawned.tree.cgroup.expect("it has no cgroup");
    let members = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
    assert!(pids(&members).contains(&daemon), "{members:?} is without {daemon}");
    let end = agent.connection.keeper.end_tree(&id("a"), Duration::ZERO).await.unwrap();
    assert_eq!(end.left, []);
    assert!(!is_alive(daemon));
    agent.exited().await;

    // Limits and users are kept, and groups are used again, without end.
    for number in 0..100 {
        let mut what = shell(&format!("j{number}"), "id -un; ulimit -n");
        what.user = Some("nobody".to_owned());
        what.limits = Limits { open_files: Some(77), ..Limits::default() };
        let spawned = agent.spawn(what).await;
        assert!(spawned.tree.cgroup.is_some());
        assert_eq!(read(spawned.stdout).await, b"nobody\n77\n");
        let (id, exit, leftover) = agent.exited().await;
        assert_eq!((exit, leftover), (Exit::Code(0), false));
        agent.connection.keeper.acknowledge(&id).await.unwrap();
    }
}

#[tokio::test]
async fn a_tree_is_in_its_cgroup_where_nothing_is_forbidden() {
    a_tree_is_in_its_cgroup_and_ends_with_it().await;
}

#[test]
fn a_tree_is_in_its_cgroup_where_a_filter_hides_clone3() {
    without_clone3(a_tree_is_in_its_cgroup_and_ends_with_it);
}
