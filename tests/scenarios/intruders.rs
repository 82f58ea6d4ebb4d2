//! What somebody tries who wants to get in, or to hide what was done.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use drover_tests::wait_for;

use crate::network::kit::Network;

#[test]
fn a_join_token_lets_nobody_in_when_its_life_is_over() {
    let site = Network::start();
    let token = site.drover(&["node", "token", "--life", "1ms", "--uses", "5"]).ok();
    let file = site.secret("late.token", token.trim());
    let agent = site.agent("late", "", &["--join", &format!("@{file}")]);
    agent.wait_for_log("the join token has expired: `drover node token` makes another one");
    assert!(!agent.log().contains(token.trim()), "{}", agent.log());

    // Nobody else on the host reads the key of one that was let in.
    let _agent = site.join("a", &[]);
    let key = fs::metadata(site.path("a/identity/node.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
fn whoever_guesses_join_tokens_is_told_when_to_come_back() {
    let site = Network::start();
    let token = site.drover(&["node", "token"]).ok();
    // One that the controller did not make, with the way to it.
    let (_, way) = token.trim().split_once('@').unwrap();
    let guess = format!("drt_00_guessed@{way}");
    let file = site.secret("guess.token", &guess);
    let join = ["--join", &format!("@{file}")];
    wait_for("to be held up", || {
        let mut agent = site.agent("guesser", "", &join);
        let ended = agent.wait();
        let log = agent.log();
        if !ended.success() && log.contains("come back in") { Ok(()) } else { Err(log) }
    });
    // The admin comes from the same address, and is held up as well.
    let audit = fs::read_to_string(site.path("controller/audit/audit.log")).unwrap();
    assert!(audit.contains("denied") && !audit.contains("guessed"), "{audit}");
}

#[test]
fn what_is_changed_in_the_audit_log_is_found() {
    let site = Network::start();
    for role in ["viewer", "operator"] {
        let password = site.secret("password", "correct horse battery");
        let add = ["user", "add", role, "--role", role, "--password-file", &password];
        let _ = site.drover(&add).ok();
    }
    let log = site.path("controller/audit/audit.log");
    let whole = fs::read_to_string(&log).unwrap();
    assert!(site.drover(&["audit", "verify"]).ok().contains("lines, hash"));
    let lines: Vec<&str> = whole.lines().collect();
    let place = lines.iter().position(|line| line.contains("operator")).unwrap();

    let changed = whole.replacen("operator", "nobody", 1);
    let mut taken_out = lines.clone();
    taken_out.remove(place);
    let mut moved = lines.clone();
    moved.swap(place, place + 1);
    let cut_off = &lines[..place];
    for (text, fault) in [
        (changed, "line "),
        (taken_out.join("\n") + "\n", "line "),
        (moved.join("\n") + "\n", "line "),
        (cut_off.join("\n") + "\n", "lines are missing at the end"),
    ] {
        fs::write(&log, text).unwrap();
        let told = site.drover(&["audit", "verify"]).failed(1);
        assert!(told.contains(fault), "{told}");
    }
}
