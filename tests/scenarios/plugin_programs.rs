//! Programs that plugins run on a real node, and what they measure there.

use std::fs;

use drover_api::{Command, JobResult, JobState};
use drover_tests::{Agent, Site, component, run as run_program, wait_for};
use drover_wamp::{CallOptions, Client, Payload};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::processes::{is_there, wait_until_gone};
use crate::wamp_callers::{A, bare, join, run};
use crate::{DROVER, site};

/// What the plugin of the tests asks for.
const MANIFEST: &str = r#"
name = "p"

[[asks.programs]]
program = "/bin/sh"
args = [["-c", "*"]]
env = ["WORD"]
reason = "does as the test says"

[[asks.programs]]
program = "/bin/cat"
args = [[], ["/etc/*"]]
reason = "says what it hears"
"#;

/// A shell whose child has a session of its own, so that only the tree or the
/// cgroup can tell whose it is; the child says its process id.
const FAMILY: &str = "setsid sh -c 'echo $$; exec sleep 1000' & wait";

/// A node with the plugin, which is granted what it asks for and no more.
fn site_with_plugin(config: &str) -> (Site, Agent) {
    let site = site();
    let text = |name: &str| site.path(name).to_str().unwrap().to_owned();
    fs::create_dir_all(site.path("a/plugins")).unwrap();
    fs::write(site.path("plugin.toml"), MANIFEST).unwrap();
    let (file, target, manifest) =
        (component("programs"), text("a/plugins/p.wasm"), text("plugin.toml"));
    let pack = ["plugin", "pack", file.to_str().unwrap(), "--manifest", &manifest, "-o", &target];
    let _ = run_program(DROVER.as_ref(), &pack).ok();
    let granted = "[p]\nprograms.\"/bin/sh\" = { args = [[\"-c\", \"*\"]], env = [\"WORD\"], \
                   max_time = \"25s\" }\nprograms.\"/bin/cat\" = { args = [[], [\"/etc/host*\"], \
                   [\"/etc/*\"]] }\n[df]\nprograms.\"/bin/df\" = { args = [[\"**\"]] }\n";
    fs::write(site.path("a/grants.toml"), granted).unwrap();
    site.add_plugin("a", "df.wasm", &fs::read(component("df")).unwrap());
    let agent = site.start_agent(1, "a", config);
    site.wait_until_ready("a", 2);
    (site, agent)
}

fn command(operation: &str, arguments: Value) -> Command {
    let Value::Object(args) = arguments else { panic!("arguments are an object") };
    Command { args, timeout_ms: Some(30_000), ..Command::new(format!("p.{operation}")) }
}

fn shell(line: &str) -> Value {
    json!({ "line": ["/bin/sh", "-c", line] })
}

/// What a job said on its log at the level 5: the process ids of its family.
fn family(result: &JobResult) -> Vec<u64> {
    let said: Vec<_> = result.records.iter().map(|record| record.data.as_str()).collect();
    said.join("\n").lines().map(|pid| pid.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_granted_program_runs_with_what_it_is_given() {
    let (site, _a) = site_with_plugin("");
    let client = join(&site).await;
    let mut arguments =
        shell("read word; echo \"$word $WORD $AGENT_NID\"; echo oh >&2; pwd; exit 3");
    arguments["env"] = json!([["WORD", "two words"]]);
    arguments["input"] = json!("hello\n");
    let done = run(&client, &command("complete", arguments)).await;
    assert_eq!(done.state, JobState::Ok, "{done:?}");
    assert_eq!(done.data["stdout"], "hello two words 1\n/\n");
    assert_eq!(done.data["stderr"], "oh\n");
    assert_eq!(done.data["ending"], json!({ "Code": 3 }));

    let answers = json!({ "line": ["/bin/cat"], "texts": ["one\n", "two\n"] });
    let done = run(&client, &command("converse", answers)).await;
    assert_eq!(done.data, json!([["one\n", "two\n"], { "Code": 0 }]), "{done:?}");

    let flood = json!({ "line": ["/bin/sh", "-c", "head -c 20000000 /dev/zero"], "most": 1000 });
    let done = run(&client, &command("complete", flood)).await;
    assert_eq!(done.data["left_out"], json!([19_999_000, 0]), "{:?}", done.error);

    let mut slow = shell("sleep 1000");
    slow["max_time_ms"] = json!(300);
    let done = run(&client, &command("complete", slow)).await;
    assert_eq!(done.data["ending"], "Timeout", "{done:?}");
}

#[tokio::test]
async fn forged_arguments_are_denied_and_recorded() {
    let (site, _a) = site_with_plugin("");
    let client = join(&site).await;
    for line in [
        json!(["/bin/sh", "-c", "id", "x"]),
        json!(["/bin/sh", "-c"]),
        json!(["/bin/sh", "-ic", "id"]),
        json!(["/bin/cat", "/etc/../etc/passwd"]),
        json!(["/bin/cat", "-A"]),
        json!(["/usr/bin/env", "sh"]),
        json!(["sh", "-c", "id"]),
    ] {
        let done = run(&client, &command("complete", json!({ "line": line }))).await;
        let error = done.error.unwrap();
        assert!(error.message.contains("not granted"), "{line}: {error}");
    }
    let said = wait_for("the denied calls in the node's log", || {
        let said = site.drover(&["logs", "a", "--level", "7"]).stdout;
        if said.contains("/usr/bin/env sh") { Ok(said) } else { Err(said) }
    });
    assert!(said.contains("denied to `p`: process.run"), "{said}");
    assert!(said.contains("/bin/cat /etc/../etc/passwd"), "{said}");
}

#[tokio::test]
async fn however_a_job_ends_nothing_of_its_programs_is_left() {
    let (site, _a) = site_with_plugin("");
    let client = join(&site).await;
    for (how, state) in [("answer", JobState::Ok), ("trap", JobState::Error)] {
        let mut arguments = shell(FAMILY);
        arguments["how"] = json!(how);
        let done = run(&client, &command("leave", arguments)).await;
        assert_eq!(done.state, state, "{done:?}");
        let family = family(&done);
        assert!(!family.is_empty());
        for pid in family {
            assert!(!is_there(pid), "{how}: {pid} is still there");
        }
        assert_eq!(bare(&client, "process.list", json!({})).await, json!([]));
    }
    // One that does not listen to TERM.
    let done = run(&client, &command("kill", shell("trap '' TERM; echo $$; sleep 1000"))).await;
    assert_eq!(done.data[1], "Killed", "{done:?}");
    let pid = done.data[0].as_str().unwrap().trim().parse().unwrap();
    assert!(!is_there(pid));
}

// The call goes on while the test waits for the machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_listed_under_its_plugin_and_ends_with_its_cancelled_job() {
    let (site, _a) = site_with_plugin("");
    let client = join(&site).await;
    let (running, pid) = start(&client, &site).await;
    let listed = bare(&client, "process.list", json!({})).await;
    assert_eq!((&listed[0]["domain"], &listed[0]["name"]), (&json!("p"), &json!("sh")));
    running.cancel();
    wait_until_gone(pid);
    wait_for_no_jobs(&site);
}

// The call goes on while the test waits for the machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_leaves_no_program_behind_for_the_next_one() {
    let (site, mut agent) = site_with_plugin("");
    let client = join(&site).await;
    let (_running, pid) = start(&client, &site).await;
    agent.process.signal(Signal::SIGKILL);
    agent.process.wait();
    let _again = site.start_agent(1, "a", "");
    wait_until_gone(pid);
    wait_for_no_jobs(&site);
}

#[tokio::test]
async fn what_a_plugin_measures_is_in_the_log_under_its_name() {
    let (site, _a) = site_with_plugin("[statsd]\ninterval = \"100ms\"\n");
    let client = join(&site).await;
    let found = bare(&client, "df.usage", json!({ "path": "/" })).await;
    assert!(found[0]["size_kb"].as_u64().is_some(), "{found}");
    let query = json!({ "domain": "df", "name": "usage", "levels": "10" });
    let page = loop_until(&client, query).await;
    let series: Value = serde_json::from_str(page["records"][0]["data"].as_str().unwrap()).unwrap();
    assert_eq!((&series["metric"], &series["kind"]), (&json!("used_kb"), &json!("gauge")));
    assert_eq!(series["scope"]["domain"], "df");
}

/// Queries until something is found.
async fn loop_until(client: &Client, query: Value) -> Value {
    let found = async {
        loop {
            let page = bare(client, "log.query", query.clone()).await;
            if page["records"].as_array().is_some_and(|records| !records.is_empty()) {
                return page;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), found).await.expect("a record comes")
}

/// Starts a job that waits for its program, and waits until that runs.
async fn start(client: &Client, site: &Site) -> (drover_wamp::RunningCall, u64) {
    let mut arguments = shell("echo $$; exec sleep 1000");
    arguments["how"] = json!("wait");
    let payload = Payload::one(&command("leave", arguments)).unwrap();
    let procedure = drover_api::procedures::run(A);
    let running = client.start(&procedure, payload, CallOptions::default()).await.unwrap();
    let pid = wait_for("the program", || {
        let listed = site.drover(&["ps", "a", "--json"]).stdout;
        let jobs: Value = serde_json::from_str(&listed).unwrap_or_default();
        let text = jobs.to_string();
        let pid = text.split("\"pid\":").nth(1).and_then(|rest| {
            rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
        });
        pid.ok_or(listed)
    });
    (running, pid)
}

fn wait_for_no_jobs(site: &Site) {
    wait_for("the end of the programs", || {
        let listed = site.drover(&["ps", "a", "--json"]).stdout;
        if listed.contains("\"pid\"") { Err(listed) } else { Ok(()) }
    });
}
