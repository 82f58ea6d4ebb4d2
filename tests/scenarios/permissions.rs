//! Who may do what on a controller whose configuration says so.

use drover_tests::Site;

use crate::DROVER;

/// Somebody who proves nothing may be a node and look who is there.
const CONFIG: &str = r#"
[realms.drover]
anonymous = "guest"

[realms.drover.roles]
guest = [
    { uri = "drover.node.", match = "prefix", allow = { register = true, publish = true } },
    { uri = "drover.controller.nodes", allow = { call = true } },
]
"#;

#[test]
fn a_guest_sees_the_nodes_and_runs_nothing_on_them() {
    let site = Site::start_with(DROVER, CONFIG);
    let _a = site.agent(1, "a");

    assert!(site.drover(&["nodes"]).ok().contains("1.1"));
    let errors = site.drover(&["call", "a", "hello.greet", "name=Ada"]).failed(1);
    assert!(errors.contains("the role `guest` may not call `drover.node.1.1."), "{errors}");
}

#[test]
fn a_realm_without_guests_says_how_to_join() {
    let site = Site::start_with(
        DROVER,
        "[realms.drover.roles]\nnode = []\n\
         [realms.drover.principals.ada]\nrole = \"node\"\nticket = \"hunter2\"\n",
    );
    let errors = site.drover(&["nodes"]).failed(3);
    assert!(errors.contains("wamp.error.no_auth_method") && errors.contains("ticket"), "{errors}");
}
