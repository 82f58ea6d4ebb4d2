//! Nodes come, go and come back.

use drover_api::Presence;
use drover_tests::Site;
use nix::sys::signal::Signal;

use crate::{DROVER, site};

#[test]
fn the_controller_knows_who_is_there_and_with_what_plugins() {
    let site = site();
    let _a = site.agent(1, "a");
    let _b = site.agent(2, "b");

    let nodes = site.nodes();
    let names: Vec<_> = nodes.iter().map(|node| node.description.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    for node in &nodes {
        assert_eq!(node.presence, Presence::Present);
        let plugins: Vec<_> = node.description.plugins.iter().map(|plugin| &plugin.name).collect();
        assert_eq!(plugins, ["hello", "sysinfo"]);
    }
    let table = site.drover(&["nodes"]).ok();
    assert!(table.contains("1.1") && table.contains("hello sysinfo"), "{table}");
}

#[test]
fn a_killed_agent_is_lost_and_present_again_when_it_restarts() {
    let site = site();
    let a = site.agent(1, "a");
    let before = site.nodes().remove(0);

    a.process.signal(Signal::SIGKILL);
    let lost = site.wait_until("a", Presence::Lost);
    assert!(lost.since >= before.since);

    let _a = site.start_agent(1, "a", "");
    let back = site.wait_until_ready("a", 2);
    assert!(back.since >= lost.since);
    assert!(back.description.started > before.description.started);
}

#[test]
fn a_silent_agent_is_lost_after_the_stated_time_and_back_when_it_speaks() {
    let site = Site::start_with(DROVER, "lost_after = \"1s\"\n");
    let a = site.agent(1, "a");

    a.process.signal(Signal::SIGSTOP);
    site.wait_until("a", Presence::Lost);

    a.process.signal(Signal::SIGCONT);
    site.wait_until("a", Presence::Present);
}

#[test]
fn agents_find_a_killed_controller_again() {
    let mut site = site();
    let a = site.agent(1, "a");
    let b = site.agent(2, "b");

    site.controller.take().unwrap().signal(Signal::SIGKILL);
    a.process.wait_for_log("lost the controller");
    a.process.wait_for_log("cannot join");
    b.process.wait_for_log("cannot join");
    site.start_controller();

    site.wait_until_ready("a", 2);
    site.wait_until_ready("b", 2);
    assert!(site.drover(&["call", "a", "hello.greet", "name=Ada"]).ok().contains("Ada"));
}

#[test]
fn an_agent_waits_for_a_controller_that_starts_later() {
    let mut site = site();
    site.controller.take().unwrap().signal(Signal::SIGKILL);
    let a = site.start_agent(1, "a", "");
    a.process.wait_for_log("cannot join");

    site.start_controller();

    site.wait_until("a", Presence::Present);
}

#[test]
fn a_second_agent_of_the_same_number_is_told_so_and_the_first_keeps_working() {
    let site = site();
    let _a = site.agent(1, "a");

    let twin = site.start_agent(1, "twin", "");

    twin.process.wait_for_log("another agent is node 1.1");
    twin.process.wait_for_log("give one of the two another `nid`");
    assert_eq!(site.nodes().len(), 1);
    assert!(site.drover(&["call", "a", "hello.greet", "name=Ada"]).ok().contains("Ada"));
}

#[test]
fn a_terminated_agent_and_controller_end_in_good_order() {
    let mut site = site();
    let mut a = site.agent(1, "a");

    a.process.signal(Signal::SIGTERM);
    assert!(a.process.wait().success(), "{}", a.process.log());
    site.wait_until("a", Presence::Lost);

    let mut controller = site.controller.take().unwrap();
    controller.signal(Signal::SIGINT);
    assert!(controller.wait().success(), "{}", controller.log());
}
