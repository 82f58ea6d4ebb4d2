//! Plugins that do their worst to a node where another one works.
//!
//! One node, its limits as they come but for those on time and answers. All the time
//! somebody calls `hello`, which behaves; meanwhile each of the others has its
//! turn, several jobs at once. After each, the agent is there, every
//! call of `hello` was answered, and the agent's memory is back.
//!
//! What each does and how it is refused is in the tests of the plugin host; how
//! long others wait meanwhile is in `cargo xtask bench plugins`.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use drover_tests::{Agent, Site, component, wait_for};

use crate::site;

/// What the agent may keep of a plugin that did its worst, beyond what it had
/// before: free slots of the pool and the allocator's leftovers.
const SLACK_KB: u64 = 64 << 10;

/// Jobs at once.
const AT_ONCE: usize = 4;

/// Operations of `guests`, their arguments, and what the caller reads.
const JOBS: &[(&str, &str, &str)] = &[
    ("spin", "", "not done after"),
    ("sleep", "ms=3600000", "not done after"),
    ("ignore_cancel", "", "not done after"),
    ("print_forever", "", "not done after"),
    ("allocate", "", "of memory and crashed"),
    ("recurse", "", "stack is exhausted"),
    ("panic", "message=on purpose", "on purpose"),
    ("exit", "status=3", "exit("),
    ("big_answer", "bytes=1073741824", "memory"),
    ("big_answer", "bytes=2000000", "bytes in one call"),
    ("read_file", "path=/etc/passwd", ""),
    ("list_directory", "path=/", ""),
];

/// Files for the plugin directory that are refused, and why.
const FILES: &[(&str, &str)] = &[
    ("describe_spin", "took longer"),
    ("describe_allocate", "memory"),
    ("describe_trap", "crashed"),
    ("describe_garbage", "describe itself"),
    ("wants_sockets", "no sockets"),
    ("exports_nothing", "no plugin"),
];

/// Memory that the agent has in the machine, in kB.
fn resident_kb(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn wait_until_memory_is_back(agent: &Agent, before: u64, after_what: &str) {
    wait_for(&format!("the memory after {after_what}"), || {
        let now = resident_kb(agent);
        if now <= before + SLACK_KB { Ok(()) } else { Err(format!("{before} kB, now {now} kB")) }
    });
}

fn greet(site: &Site) {
    let said = site.drover(&["call", "a", "hello.greet", "name=Ada"]).ok();
    assert!(said.contains("Hello, Ada!"), "{said}");
}

#[test]
fn whatever_a_plugin_does_the_node_and_the_others_go_on() {
    let site = site();
    for name in ["guests", "hello"] {
        site.add_plugin("a", &format!("{name}.wasm"), &fs::read(component(name)).unwrap());
    }
    let limits =
        "[limits]\nquarantine_after = 0\n[plugins.guests]\ndeadline = \"1s\"\nanswer = \"1 MiB\"\n";
    let agent = site.start_agent(1, "a", limits);
    site.wait_until_ready("a", 2);
    let attack = |operation: &str, argument: &str, words: &str| {
        let command = format!("guests.{operation}");
        let line = ["call", "a", command.as_str(), argument];
        let line = &line[..if argument.is_empty() { 3 } else { 4 }];
        let ran = site.drover(line);
        assert!(ran.status != Some(0) && ran.stderr.contains(words), "{operation}: {ran:?}");
    };
    greet(&site);
    attack("panic", "message=once", "once");
    let before = resident_kb(&agent);

    let (is_over, answers) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        let others = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                greet(&site);
                answers.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Whatever fails here must not leave the other thread waiting.
        let story = scope.spawn(|| {
            for (operation, argument, words) in JOBS {
                let seen = answers.load(Ordering::Relaxed);
                thread::scope(|scope| {
                    for _ in 0..AT_ONCE {
                        scope.spawn(|| attack(operation, argument, words));
                    }
                });
                wait_until_memory_is_back(&agent, before, operation);
                wait_for("answers meanwhile", || {
                    if answers.load(Ordering::Relaxed) > seen { Ok(()) } else { Err(seen) }
                });
            }
            for (name, words) in FILES {
                site.add_plugin("a", "worse.wasm", &fs::read(component(name)).unwrap());
                site.wait_for_node("a", |node| {
                    node.description.refused.iter().any(|refused| refused.reason.contains(words))
                });
                wait_until_memory_is_back(&agent, before, name);
            }
        });
        let ended = story.join();
        is_over.store(true, Ordering::Relaxed);
        others.join().expect("every call of another plugin is answered");
        ended.expect("every attack ends as it should");
    });
    greet(&site);
}
