//! The agent vanishes, or the keeper does.

use std::time::Duration;

use drover_process::{Exit, KeeperError, Stdin};
use rustix::process::{Pid, Signal, kill_process};

use super::kit::{
    Agent, dir, id, is_alive, launch, pids, read, read_lines, shell, start_time, until,
};

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn the_next_agent_gets_what_the_last_one_had() {
    let dir = dir();
    let agent = Agent::connect(dir.path()).await;
    let keeper = agent.connection.keeper.pid();
    let mut running = shell("running", "echo one; read line; echo two $line; sleep 1000");
    running.note = "adopt me".to_owned();
    running.stdin = Stdin::Pipe;
    let spawned = agent.spawn(running).await;
    assert_eq!(read_lines(&spawned.stdout, 1).await, "one\n");
    agent.spawn(shell("ended", "echo out; echo err >&2; exit 9")).await;
    drop(spawned);
    agent.vanish().await;

    let mut agent = Agent::connect(dir.path()).await;
    assert_eq!(agent.connection.keeper.pid(), keeper);
    let mut kept = std::mem::take(&mut agent.connection.kept);
    kept.sort_by_key(|kept| kept.run.tree.id.clone());
    let [ended, running] = kept.try_into().unwrap();
    assert_eq!(running.run.note, "adopt me");
    assert_eq!(running.run.exit, None);
    let pipes = running.pipes.unwrap();
    let mut stdin = std::fs::File::from(pipes.stdin.unwrap());
    std::io::Write::write_all(&mut stdin, b"more\n").unwrap();
    assert_eq!(read_lines(&pipes.stdout, 1).await, "two more\n");

    let exit = match ended.run.exit {
        Some(exit) => exit,
        None => agent.exited().await.1,
    };
    assert_eq!(exit, Exit::Code(9));
    let pipes = ended.pipes.unwrap();
    assert_eq!(read(pipes.stdout).await, b"out\n");
    assert_eq!(read(pipes.stderr).await, b"err\n");
    agent.connection.keeper.acknowledge(&id("ended")).await.unwrap();
    agent.connection.keeper.end_tree(&id("running"), Duration::ZERO).await.unwrap();
    agent.let_go().await;

    // One exit is acknowledged, the other is told again, to whomever comes.
    let agent = Agent::connect(dir.path()).await;
    let kept: Vec<_> = agent.connection.kept.iter().map(|kept| &kept.run).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!((&kept[0].tree.id, kept[0].exit), (&id("running"), Some(Exit::Signal(9))));
}

#[tokio::test]
async fn a_keeper_with_nothing_to_keep_ends() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let keeper = agent.connection.keeper.pid();
    agent.spawn(launch("a", "true", &[])).await;
    agent.exited().await;
    agent.connection.keeper.acknowledge(&id("a")).await.unwrap();
    // Also the last words are heard of an agent that just lets go.
    drop(agent.connection);
    until(|| format!("keeper {keeper}"), || !is_alive(keeper)).await;
    let again = Agent::connect(dir.path()).await;
    assert_ne!(again.connection.keeper.pid(), keeper);
}

#[tokio::test]
async fn a_killed_keepers_trees_are_ended_before_the_next_begins() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let script = "trap '' TERM; sleep 1000 & setsid sleep 1000 & echo $$ $!; exec >&-; wait; wait";
    let spawned = agent.spawn(shell("a", script)).await;
    let mut tree = pids(&read_lines(&spawned.stdout, 1).await);
    tree.push(spawned.tree.pid);
    agent.spawn(shell("done", "exit 5")).await;
    assert_eq!(agent.exited().await.1, Exit::Code(5));
    kill(agent.connection.keeper.pid(), Signal::KILL);
    agent.keeper_gone().await;
    let late = agent.connection.keeper.spawn(launch("b", "true", &[])).await;
    assert!(matches!(late, Err(KeeperError::Lost)), "{late:?}");

    let agent = Agent::connect(dir.path()).await;
    for pid in tree {
        assert!(!is_alive(pid), "process {pid} is still there");
    }
    let mut kept: Vec<_> = agent
        .connection
        .kept
        .iter()
        .map(|kept| (kept.run.tree.id.clone(), kept.run.exit))
        .collect();
    kept.sort_by_key(|(id, _)| id.clone());
    assert_eq!(kept, [(id("a"), Some(Exit::Lost)), (id("done"), Some(Exit::Code(5)))]);
    // The id is free again when the loss is acknowledged.
    agent.connection.keeper.acknowledge(&id("a")).await.unwrap();
    agent.spawn(launch("a", "true", &[])).await;
}

#[tokio::test]
async fn a_killed_keepers_children_are_found_without_its_journal() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let spawned = agent.spawn(shell("a", "sleep 1000")).await;
    kill(agent.connection.keeper.pid(), Signal::KILL);
    agent.keeper_gone().await;
    std::fs::remove_file(dir.path().join("keeper.runs")).unwrap();
    let agent = Agent::connect(dir.path()).await;
    assert!(!is_alive(spawned.tree.pid));
    assert_eq!(agent.connection.kept[0].run.tree.id, id("a"));
    assert_eq!(agent.connection.kept[0].run.exit, Some(Exit::Lost));
}

#[tokio::test]
async fn a_number_that_another_process_has_got_is_left_alone() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let spawned = agent.spawn(shell("a", "sleep 1000")).await;
    kill(agent.connection.keeper.pid(), Signal::KILL);
    agent.keeper_gone().await;
    kill(spawned.tree.pid, Signal::KILL);

    // The journal names a process of somebody else by number, with another start.
    let other = || std::process::Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap();
    let mut other = loop {
        let mut other = other();
        if start_time(other.id()) != spawned.tree.start_time {
            break other;
        }
        other.kill().unwrap();
        other.wait().unwrap();
    };
    let journal = dir.path().join("keeper.runs");
    let text = std::fs::read_to_string(&journal).unwrap();
    let pid = |pid: u32| format!("\"pid\":{pid},");
    assert!(text.contains(&pid(spawned.tree.pid)), "{text}");
    std::fs::write(&journal, text.replace(&pid(spawned.tree.pid), &pid(other.id()))).unwrap();

    let agent = Agent::connect(dir.path()).await;
    assert_eq!(agent.connection.kept[0].run.exit, Some(Exit::Lost));
    assert!(other.try_wait().unwrap().is_none(), "somebody else's process was ended");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn term_ends_the_keeper_and_every_tree() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let spawned = agent.spawn(shell("a", "sleep 1000 & echo $!; wait")).await;
    let child = pids(&read_lines(&spawned.stdout, 1).await)[0];
    kill(agent.connection.keeper.pid(), Signal::TERM);
    assert_eq!(agent.exited().await.1, Exit::Signal(15));
    agent.keeper_gone().await;
    assert!(!is_alive(child));

    let agent = Agent::connect(dir.path()).await;
    assert_eq!(agent.connection.kept[0].run.exit, Some(Exit::Signal(15)));
}

#[tokio::test]
async fn a_second_agent_waits_for_the_first_to_go() {
    let dir = dir();
    let first = Agent::connect(dir.path()).await;
    first.spawn(shell("a", "sleep 1000")).await;
    let path = dir.path().to_owned();
    let mut second = tokio::task::JoinSet::new();
    second.spawn(async move { Agent::connect(&path).await });
    // It is refused at least once before the first goes.
    for _ in 0..3 {
        first.connection.keeper.signal(&id("a"), 18).await.unwrap();
    }
    assert!(second.try_join_next().is_none());
    first.vanish().await;
    let second = second.join_next().await.unwrap().unwrap();
    assert_eq!(second.connection.kept.len(), 1);
}
