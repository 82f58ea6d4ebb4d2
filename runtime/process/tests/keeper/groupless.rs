//! Where no cgroup can be had, trees are found by mark, session and parents.

use std::time::Duration;

use drover_process::{Exit, KeeperError, LaunchErrorKind, Limits};

use super::ends::{BOMB, DAEMON};
use super::kit::{Agent, dir, id, is_alive, launch, pids, read_lines, shell, until};

#[tokio::test]
async fn a_daemon_is_found_by_its_mark_beside_other_runs() {
    let dir = dir();
    let agent = Agent::connect_groupless(dir.path()).await;
    let daemon = DAEMON.replace(", {})", ", dict(os.environ))");
    let one = agent.spawn(launch("a", "python3", &["-c", &daemon])).await;
    let other = agent.spawn(launch("b", "python3", &["-c", &daemon])).await;
    let one = pids(&read_lines(&one.stdout, 1).await)[0];
    let other = pids(&read_lines(&other.stdout, 1).await)[0];
    let end = agent.connection.keeper.end_tree(&id("a"), Duration::from_secs(20)).await.unwrap();
    assert!(end.found.iter().any(|found| found.pid == one), "{end:?}");
    assert_eq!(end.left, []);
    assert!(!is_alive(one));
    assert!(is_alive(other), "another run's process was ended");
    agent.connection.keeper.end_tree(&id("b"), Duration::ZERO).await.unwrap();
    assert!(!is_alive(other));
}

#[tokio::test]
async fn a_daemon_without_any_mark_is_that_of_the_only_run() {
    let dir = dir();
    let agent = Agent::connect_groupless(dir.path()).await;
    let spawned = agent.spawn(launch("a", "python3", &["-c", DAEMON])).await;
    let daemon = pids(&read_lines(&spawned.stdout, 1).await)[0];
    // Until then it has its mark.
    let name = || std::fs::read_to_string(format!("/proc/{daemon}/comm")).unwrap();
    until(name, || name() == "sleep\n").await;
    let end = agent.connection.keeper.end_tree(&id("a"), Duration::ZERO).await.unwrap();
    assert!(end.found.iter().any(|found| found.pid == daemon), "{end:?}");
    assert!(!is_alive(daemon));
}

#[tokio::test]
async fn a_fork_bomb_of_a_user_is_ended() {
    let dir = dir();
    let mut agent = Agent::connect_groupless(dir.path()).await;
    let mut what = launch("a", "python3", &["-c", BOMB]);
    what.limits = Limits { processes: Some(50), ..Limits::default() };
    // Nothing would bind root, and a limit that binds nobody is refused.
    match agent.connection.keeper.spawn(what.clone()).await {
        Err(KeeperError::Launch(error)) => assert_eq!(error.kind, LaunchErrorKind::Limit),
        other => panic!("a bomb without a bound: {other:?}"),
    }
    what.user = Some("54321".to_owned());
    let spawned = agent.spawn(what).await;
    read_lines(&spawned.stdout, 1).await;
    // CONT changes nothing, and its answer counts.
    let mut count = 0;
    while count < 40 {
        count = agent.connection.keeper.signal(&id("a"), 18).await.unwrap();
    }
    assert!(count <= 50, "{count} processes");
    let end = agent.connection.keeper.end_tree(&id("a"), Duration::ZERO).await.unwrap();
    assert_eq!(end.left, []);
    assert!(end.killed);
    assert_eq!(agent.exited().await.1, Exit::Signal(9));
}

#[tokio::test]
async fn what_a_run_leaves_behind_is_killed_when_it_is_acknowledged() {
    let dir = dir();
    let mut agent = Agent::connect_groupless(dir.path()).await;
    let spawned = agent.spawn(shell("a", "setsid sleep 1000 & echo $!")).await;
    let left = pids(&read_lines(&spawned.stdout, 1).await)[0];
    assert_eq!(agent.exited().await, (id("a"), Exit::Code(0), true));
    agent.connection.keeper.acknowledge(&id("a")).await.unwrap();
    until(|| format!("process {left}"), || !is_alive(left)).await;
}
