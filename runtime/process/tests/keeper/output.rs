//! Not a byte of output is lost or changed.

use drover_process::Exit;
use sha2::{Digest, Sha256};

use super::kit::{Agent, dir, id, launch, read, shell};

#[tokio::test]
async fn a_gigabyte_arrives_whole_over_two_agents() {
    use std::io::Read;
    const BYTES: usize = 1 << 30;
    let dir = dir();
    let agent = Agent::connect(dir.path()).await;
    let writer = "import sys\n\
        block = bytes(i * 7 % 251 for i in range(65521))\n\
        left = 1 << 30\n\
        while left: left -= sys.stdout.buffer.write(block[:left])\n";
    let spawned = agent.spawn(launch("a", "python3", &["-c", writer])).await;

    // The first agent takes a part, and is killed.
    let mut hash = Sha256::new();
    let mut total = 0;
    let mut block = vec![0; 1 << 20];
    let mut pipe = std::fs::File::from(spawned.stdout);
    while total < BYTES / 3 {
        let count = pipe.read(&mut block).unwrap();
        assert_ne!(count, 0);
        hash.update(&block[..count]);
        total += count;
    }
    drop((pipe, spawned.stderr));
    agent.vanish().await;

    let mut agent = Agent::connect(dir.path()).await;
    let kept = agent.connection.kept.pop().unwrap();
    assert_eq!(kept.run.exit, None);
    let mut pipe = std::fs::File::from(kept.pipes.unwrap().stdout);
    loop {
        let count = pipe.read(&mut block).unwrap();
        if count == 0 {
            break;
        }
        hash.update(&block[..count]);
        total += count;
    }
    assert_eq!(total, BYTES);
    let pattern: Vec<u8> = (0..65521u32).map(|i| (i * 7 % 251) as u8).collect();
    let mut expected = Sha256::new();
    let mut left = BYTES;
    while left > 0 {
        let count = left.min(pattern.len());
        expected.update(&pattern[..count]);
        left -= count;
    }
    assert_eq!(hash.finalize(), expected.finalize());
    assert_eq!(agent.exited().await, (id("a"), Exit::Code(0), false));
}

#[tokio::test]
async fn every_byte_value_passes() {
    let dir = dir();
    let agent = Agent::connect(dir.path()).await;
    let script = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 300)";
    let spawned = agent.spawn(launch("a", "python3", &["-c", script])).await;
    let expected: Vec<u8> = (0..300).flat_map(|_| 0..=255).collect();
    assert!(read(spawned.stdout).await == expected);
}

#[tokio::test]
async fn a_child_may_close_its_output_and_live_on() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let what = shell("a", "exec >&- 2>&-; sleep 0.2; exit 4");
    let spawned = agent.spawn(what).await;
    assert_eq!(read(spawned.stdout).await, b"");
    assert_eq!(read(spawned.stderr).await, b"");
    assert_eq!(agent.exited().await, (id("a"), Exit::Code(4), false));
}

#[tokio::test]
async fn output_is_still_there_after_the_exit() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let spawned = agent.spawn(shell("a", "echo last words")).await;
    agent.exited().await;
    assert_eq!(read(spawned.stdout).await, b"last words\n");
}
