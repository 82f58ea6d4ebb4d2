//! What a tree uses is counted over the whole of it.

use std::time::Duration;

use drover_process::UsageSampler;

use super::kit::{Agent, dir, id, launch, read_lines, shell};

#[tokio::test]
async fn a_trees_use_is_that_of_all_its_processes() {
    let dir = dir();
    let agent = Agent::connect(dir.path()).await;
    // Two processes with 30 MB each, one with four threads and seven files more.
    let script = "import os,sys,threading,time\n\
        memory = bytearray(os.urandom(1)) * (30 << 20)\n\
        if os.fork() == 0:\n\
        \x20memory[:] = bytes(30 << 20)\n\
        \x20files = [open('/dev/null') for _ in range(7)]\n\
        \x20[threading.Thread(target=time.sleep, args=(1000,), daemon=True).start() for _ in range(4)]\n\
        \x20print(flush=True)\n\
        \x20time.sleep(1000)\n\
        start = time.process_time()\n\
        while time.process_time() - start < 0.3: pass\n\
        print(flush=True)\n\
        time.sleep(1000)\n";
    let spawned = agent.spawn(launch("a", "python3", &["-c", script])).await;
    read_lines(&spawned.stdout, 2).await;
    let idle = agent.spawn(shell("b", "echo; exec sleep 1000")).await;
    read_lines(&idle.stdout, 1).await;

    let mut groupless = spawned.tree.clone();
    groupless.cgroup = None;
    for tree in [spawned.tree, groupless] {
        let mut sampler = UsageSampler::default();
        let usages = sampler.sample(&[idle.tree.clone(), tree.clone()]);
        let [idle, usage] = usages.try_into().unwrap();
        assert_eq!((idle.processes, idle.threads), (1, 1));
        assert_eq!((usage.processes, usage.threads), (2, 6), "{usage:?}");
        assert!(usage.rss > 60 << 20 && usage.rss < 200 << 20, "{usage:?}");
        assert!(usage.vms > usage.rss, "{usage:?}");
        assert!((6 + 7..=12 + 7).contains(&usage.open_files), "{usage:?}");
        assert!((300..30_000).contains(&usage.cpu_ms), "{usage:?}");
        assert!(usage.cpu_percent > 0.0, "{usage:?}");
        let again = sampler.sample(&[tree])[0];
        assert!(again.cpu_ms >= usage.cpu_ms, "{again:?}");
    }
    agent.connection.keeper.end_tree(&id("a"), Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_tree_that_is_gone_uses_nothing() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let spawned = agent.spawn(launch("a", "true", &[])).await;
    agent.exited().await;
    let usage = UsageSampler::default().sample(&[spawned.tree])[0];
    assert_eq!((usage.processes, usage.rss, usage.open_files), (0, 0, 0));
}
