//! Ending whole trees, and knowing that they are gone.

use std::time::Duration;

use drover_process::{Exit, KeeperError, Limits};

use super::kit::{Agent, dir, id, is_alive, launch, pids, read, read_lines, shell, until};

/// A daemon as it is written in books, which has left everything behind but its
/// cgroup: session, parents and environment.
pub(super) const DAEMON: &str = "import os,sys,time\n\
    if os.fork(): os.wait(); time.sleep(1000)\n\
    os.setsid()\n\
    if os.fork(): os._exit(0)\n\
    print(os.getpid(), flush=True)\n\
    os.execve('/bin/sleep', ['sleep', '1000'], {})\n";

/// Each makes two that do the same, for ever: held by the limit alone.
pub(super) const BOMB: &str = "import os,time\n\
    print('go', flush=True)\n\
    while True:\n\
    \x20try: os.fork()\n\
    \x20except OSError: time.sleep(0.01)\n";

#[tokio::test]
async fn a_daemon_that_has_left_session_parents_and_environment_is_ended() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let spawned = agent.spawn(launch("a", "python3", &["-c", DAEMON])).await;
    let daemon = pids(&read_lines(&spawned.stdout, 1).await)[0];
    let end = agent.connection.keeper.end_tree(&id("a"), Duration::from_secs(20)).await.unwrap();
    assert!(end.found.iter().any(|found| found.pid == daemon), "{end:?}");
    assert!(end.found.iter().any(|found| found.pid == spawned.tree.pid), "{end:?}");
    assert_eq!(end.left, []);
    assert!(!end.killed, "{end:?}");
    assert!(!is_alive(daemon));
    assert_eq!(agent.exited().await.1, Exit::Signal(15));
}

#[tokio::test]
async fn who_ignores_term_is_killed() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & \
                  echo $$; while :; do sleep 1; done";
    let spawned = agent.spawn(shell("a", script)).await;
    let stubborn = pids(&read_lines(&spawned.stdout, 2).await);
    let end = agent.connection.keeper.end_tree(&id("a"), Duration::from_millis(50)).await.unwrap();
    assert!(end.killed);
    assert_eq!(end.left, []);
    for pid in stubborn {
        assert!(end.found.iter().any(|found| found.pid == pid), "{pid} is not in {end:?}");
        assert!(!is_alive(pid));
    }
    assert_eq!(agent.exited().await.1, Exit::Signal(9));
}

#[tokio::test]
async fn a_second_end_keeps_the_earlier_deadline() {
    let dir = dir();
    let agent = Agent::connect(dir.path()).await;
    let spawned = agent.spawn(shell("a", "trap '' TERM; echo; while :; do sleep 1; done")).await;
    read_lines(&spawned.stdout, 1).await;
    let keeper = &agent.connection.keeper;
    let id = id("a");
    let (first, second, third) = tokio::join!(
        keeper.end_tree(&id, Duration::from_secs(1000)),
        keeper.end_tree(&id, Duration::from_millis(20)),
        keeper.end_tree(&id, Duration::from_secs(1000)),
    );
    for end in [first, second, third] {
        assert!(end.unwrap().killed);
    }
}

#[tokio::test]
async fn a_stopped_tree_ends_by_term() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let spawned = agent.spawn(shell("a", "echo; kill -STOP $$; echo")).await;
    read_lines(&spawned.stdout, 1).await;
    let end = agent.connection.keeper.end_tree(&id("a"), Duration::from_secs(20)).await.unwrap();
    assert!(!end.killed);
    assert_eq!(agent.exited().await.1, Exit::Signal(15));
}

#[tokio::test]
async fn a_fork_bomb_within_its_limit_is_ended() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let mut what = launch("a", "python3", &["-c", BOMB]);
    what.limits = Limits { processes: Some(50), ..Limits::default() };
    let spawned = match agent.connection.keeper.spawn(what.clone()).await {
        Ok(spawned) => spawned,
        // No pids cgroup here: a user of its own is bounded otherwise.
        Err(_) => {
            what.user = Some("4242".to_owned());
            agent.spawn(what).await
        }
    };
    read_lines(&spawned.stdout, 1).await;
    let group = spawned.tree.cgroup.clone();
    let size = || {
        group.as_ref().map_or(usize::MAX, |group| {
            std::fs::read_to_string(group.join("cgroup.procs")).unwrap().lines().count()
        })
    };
    until(|| format!("{} processes", size()), || size() >= 40).await;
    assert!(size() <= 50 || group.is_none());
    let end = agent.connection.keeper.end_tree(&id("a"), Duration::ZERO).await.unwrap();
    assert_eq!(end.left, []);
    assert!(end.killed);
    assert_eq!(agent.exited().await.1, Exit::Signal(9));
    if let Some(group) = &group {
        assert_eq!(std::fs::read_to_string(group.join("cgroup.procs")).unwrap(), "");
    }
}

#[tokio::test]
async fn what_a_run_leaves_behind_is_told_and_killed_when_it_is_acknowledged() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let spawned = agent.spawn(shell("a", "sleep 1000 & echo $!")).await;
    let left = pids(&read_lines(&spawned.stdout, 1).await)[0];
    assert_eq!(agent.exited().await, (id("a"), Exit::Code(0), true));
    assert!(is_alive(left));
    agent.connection.keeper.acknowledge(&id("a")).await.unwrap();
    until(|| format!("process {left}"), || !is_alive(left)).await;
    assert_eq!(read(spawned.stdout).await, b"");
}

#[tokio::test]
async fn a_signal_goes_to_every_process() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    // No buffered output, which a handler may not enter again.
    let one = "import os,signal,time\n\
        signal.signal(signal.SIGUSR1, lambda *_: (os.write(1, b'got\\n'), os._exit(7)))\n\
        os.write(1, b'\\n')\n\
        while True: time.sleep(0.05)\n";
    let mut what = shell("a", "python3 -c \"$0\" & exec python3 -c \"$0\"");
    what.args.push(one.to_owned());
    let spawned = agent.spawn(what).await;
    read_lines(&spawned.stdout, 2).await;
    assert_eq!(agent.connection.keeper.signal(&id("a"), 10).await.unwrap(), 2);
    assert_eq!(read(spawned.stdout).await, b"got\ngot\n");
    assert_eq!(agent.exited().await.1, Exit::Code(7));
}

#[tokio::test]
async fn an_unknown_run_is_an_answer() {
    let dir = dir();
    let agent = Agent::connect(dir.path()).await;
    let keeper = &agent.connection.keeper;
    let nobody = id("nobody");
    let ended = keeper.end_tree(&nobody, Duration::ZERO).await;
    assert!(matches!(ended, Err(KeeperError::Unknown { .. })), "{ended:?}");
    let told = keeper.signal(&nobody, 15).await;
    assert!(matches!(told, Err(KeeperError::Unknown { .. })), "{told:?}");
}
