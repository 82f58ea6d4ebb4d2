//! Starting programs, and refusing to.

use drover_process::{Exit, KeeperError, LaunchErrorKind, Limits, Stdin};

use super::kit::{Agent, dir, id, launch, read, shell};

#[tokio::test]
async fn a_program_has_its_arguments_environment_directory_and_data() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let mut what =
        shell("a", "pwd; echo \"$0 $COLOUR $DROVER_PROCESS $HOME\"; cat; echo bad >&2; exit 3");
    what.args.push("zero".to_owned());
    what.env.push(("COLOUR".to_owned(), "green".to_owned()));
    what.working_dir = "/usr".into();
    what.stdin = Stdin::Data(b"given\0\xff".to_vec());
    let spawned = agent.spawn(what).await;
    assert_eq!(read(spawned.stdout).await, b"/usr\nzero green a \ngiven\0\xff");
    assert_eq!(read(spawned.stderr).await, b"bad\n");
    assert_eq!(agent.exited().await, (id("a"), Exit::Code(3), false));
}

#[tokio::test]
async fn a_pipe_to_the_child_ends_when_it_is_closed() {
    use std::io::Write;
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let mut what = launch("a", "cat", &[]);
    what.stdin = Stdin::Pipe;
    let spawned = agent.spawn(what).await;
    let mut stdin = std::fs::File::from(spawned.stdin.unwrap());
    stdin.write_all(b"to and fro").unwrap();
    drop(stdin);
    agent.connection.keeper.close_stdin(&id("a")).await.unwrap();
    assert_eq!(read(spawned.stdout).await, b"to and fro");
    assert_eq!(agent.exited().await.1, Exit::Code(0));
}

#[tokio::test]
async fn what_cannot_start_says_what_it_is_and_what_to_do() {
    let dir = dir();
    let agent = Agent::connect(dir.path()).await;
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/no/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let with = |change: &dyn Fn(&mut drover_process::Launch)| {
        let mut what = launch("a", "true", &[]);
        change(&mut what);
        what
    };
    let cases = [
        (with(&|l| l.program = "/no/program".into()), LaunchErrorKind::NoProgram, "/no/program"),
        (with(&|l| l.program = "no-program".into()), LaunchErrorKind::NoProgram, "PATH"),
        (
            with(&|l| l.program = script.to_str().unwrap().to_owned()),
            LaunchErrorKind::NoProgram,
            "interpreter",
        ),
        (with(&|l| l.program = "/etc/passwd".into()), LaunchErrorKind::NotAllowed, "rights"),
        (with(&|l| l.working_dir = "/no/dir".into()), LaunchErrorKind::WorkingDir, "/no/dir"),
        (with(&|l| l.user = Some("nosuchuser".into())), LaunchErrorKind::User, "nosuchuser"),
        (with(&|l| l.group = Some("nosuchgroup".into())), LaunchErrorKind::User, "nosuchgroup"),
        (with(&|l| l.args = vec!["a\0b".into()]), LaunchErrorKind::Other, "NUL"),
        (with(&|l| l.args = vec!["x".repeat(3 << 20)]), LaunchErrorKind::Other, "too long"),
        (
            with(&|l| l.limits.open_files = Some(u64::from(u32::MAX))),
            LaunchErrorKind::Limit,
            "open files",
        ),
    ];
    for (what, kind, part) in cases {
        match agent.connection.keeper.spawn(what).await {
            Err(KeeperError::Launch(error)) => {
                assert_eq!(error.kind, kind, "{error}");
                assert!(error.message.contains(part), "{error} does not say {part}");
                assert!(error.message.starts_with("cannot start "), "{error}");
            }
            other => panic!("{part}: {other:?}"),
        }
    }
    assert!(agent.connection.keeper.spawn(launch("a", "true", &[])).await.is_ok());
}

#[tokio::test]
async fn an_id_is_taken_until_its_end_is_acknowledged() {
    let dir = dir();
    let agent = Agent::connect(dir.path()).await;
    agent.spawn(shell("a", "sleep 100")).await;
    let again = agent.connection.keeper.spawn(launch("a", "true", &[])).await;
    assert!(
        matches!(&again, Err(KeeperError::Launch(error)) if error.kind == LaunchErrorKind::Duplicate),
        "{again:?}"
    );
    agent.connection.keeper.acknowledge(&id("a")).await.unwrap();
    agent.spawn(launch("a", "true", &[])).await;
}

#[tokio::test]
async fn a_child_runs_as_its_user_with_its_limits() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let mut what = shell("a", "id -un; id -gn; ulimit -n; nice");
    what.user = Some("nobody".to_owned());
    what.limits = Limits { open_files: Some(77), nice: Some(5), ..Limits::default() };
    let spawned = agent.spawn(what).await;
    assert_eq!(read(spawned.stdout).await, b"nobody\nnogroup\n77\n5\n");
    assert_eq!(agent.exited().await.1, Exit::Code(0));

    // The keeper's own, raised limit of open files is not handed on.
    let spawned = agent.spawn(shell("b", "ulimit -n")).await;
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
    assert_eq!(read(spawned.stdout).await, format!("{own}\n").into_bytes());
}

#[tokio::test]
async fn a_small_limit_of_files_does_not_count_what_the_keeper_has_open() {
    let dir = dir();
    let agent = Agent::connect(dir.path()).await;
    for number in 0..40 {
        agent.spawn(shell(&format!("j{number}"), "sleep 1000")).await;
    }
    let mut what = shell("a", "ulimit -n; ls -U /proc/self/fd | wc -l");
    what.limits.open_files = Some(10);
    let spawned = agent.spawn(what).await;
    // Its own three, and the one that lists them.
    assert_eq!(read(spawned.stdout).await, b"10\n4\n");
    for number in 0..40 {
        agent.connection.keeper.acknowledge(&id(&format!("j{number}"))).await.unwrap();
    }
    agent.let_go().await;
}

#[tokio::test]
async fn memory_is_bounded_by_what_is_in_force() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    // Touches 200 MB.
    let mut what = shell("a", "head -c 200000000 /dev/zero | tail -c 200000000 | wc -c");
    what.limits.memory = Some(50 << 20);
    let spawned = agent.spawn(what).await;
    assert_ne!(read(spawned.stdout).await, b"200000000\n");
    agent.exited().await;
}

#[tokio::test]
async fn a_kill_for_want_of_memory_is_told_as_one() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    if !agent.connection.keeper.force().memory_cgroup {
        // Its own allocation fails instead, which is its own to tell.
        return;
    }
    let eater = "python3 -c 'bytearray(200_000_000)'";
    for (name, script, expected) in [
        ("itself", format!("exec {eater}"), Exit::OutOfMemory { code: None }),
        ("its child", format!("{eater}; exit 5"), Exit::OutOfMemory { code: Some(5) }),
        ("recovered", format!("{eater}; exit 0"), Exit::Code(0)),
        ("another cause", "kill -9 $$".to_owned(), Exit::Signal(9)),
    ] {
        let mut what = shell("a", &script);
        what.limits.memory = Some(50 << 20);
        agent.spawn(what).await;
        assert_eq!(agent.exited().await.1, expected, "{name}");
        agent.connection.keeper.acknowledge(&id("a")).await.unwrap();
    }
}

#[tokio::test]
async fn a_thousand_short_ones_in_flight_end_once_each() {
    let dir = dir();
    let mut agent = Agent::connect(dir.path()).await;
    let keeper = agent.connection.keeper.clone();
    let mut spawning = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let keeper = keeper.clone();
        spawning.spawn(async move {
            let what = shell(&format!("j{number}"), &format!("echo {number}; exit {}", number % 7));
            (number, keeper.spawn(what).await.unwrap())
        });
    }
    let mut exits = std::collections::BTreeMap::new();
    while exits.len() < 1000 {
        let (id, exit, leftover) = agent.exited().await;
        assert!(!leftover, "{id}");
        assert_eq!(exits.insert(id.clone(), exit), None, "{id} ended twice");
        keeper.close_stdin(&id).await.unwrap();
    }
    while let Some(spawned) = spawning.join_next().await {
        let (number, spawned) = spawned.unwrap();
        assert_eq!(read(spawned.stdout).await, format!("{number}\n").into_bytes());
        assert_eq!(exits[&id(&format!("j{number}"))], Exit::Code(number % 7));
        keeper.acknowledge(&id(&format!("j{number}"))).await.unwrap();
    }
    drop(keeper);
    agent.let_go().await;
    assert_eq!(Agent::connect(dir.path()).await.connection.kept.len(), 0);
}
