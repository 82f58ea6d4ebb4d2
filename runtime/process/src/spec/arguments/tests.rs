use serde_json::json;

use super::*;

fn context() -> SpecContext {
    SpecContext {
        places: Places { agent_root: "/agent".into(), root: "/site".into(), tmp: "/tmp".into() },
        interpreters: BTreeMap::from([
            ("python".to_owned(), vec!["/usr/bin/python3".to_owned(), "-u".to_owned()]),
            ("sh".to_owned(), vec!["/bin/sh".to_owned()]),
        ]),
        grace: Duration::from_secs(10),
        stats_interval: Duration::from_secs(30),
    }
}

fn execute(args: &Value) -> Result<ProcessSpec, SpecError> {
    ProcessSpec::execute(&context(), args.as_object().unwrap(), "some data")
}

fn spec(args: &Value) -> ProcessSpec {
    execute(args).unwrap()
}

fn error(args: &Value) -> String {
    execute(args).unwrap_err().to_string()
}

#[test]
fn a_program_alone_is_enough() {
    let spec = spec(&json!({"cmd": "/bin/true"}));
    assert_eq!(
        (spec.cmd.as_str(), spec.name.as_str(), spec.domain.as_str()),
        ("/bin/true", "true", "")
    );
    assert_eq!(spec.working_dir, PathBuf::from("/"));
    assert_eq!(spec.environment, Environment::default());
    assert_eq!((spec.input.as_str(), spec.stdin), ("some data", StdinPolicy::Close));
    assert_eq!((spec.max_time, spec.restart.max), (MaxTime::Unlimited, Some(0)));
    assert_eq!(spec.on_agent_restart, OnAgentRestart::End);
    assert_eq!((spec.grace.as_secs(), spec.stats_interval.as_secs()), (10, 30));
    assert!(!spec.is_remembered());
}

#[test]
fn every_argument_is_read() {
    let spec = spec(&json!({
        "cmd": "$root/bin/x", "args": ["$tmp/in", "echo $tmp", 3, true], "workingdir": "$agentroot/w",
        "env": {"A": "$root/a", "N": 1}, "inherit_env": ["LANG"], "stdin": "open",
        "domain": "d", "name": "n", "max_time": "1m", "max_restart": 3, "restart_delay": 0,
        "restart_delay_max": 0.5, "recurring_period": 100, "start_delay": 2, "after": ["db"],
        "ready": "^listening", "queue": "q", "grace": "1s", "on_agent_restart": "adopt",
        "stats_interval": 120, "loglevels": "*", "loglevels_db": "1-5", "loglevels_ac": 9,
        "parse": {"plugin": "logparse", "format": "regex", "options": {"pattern": "x"}},
        "user": "nobody", "group": 1000,
        "limits": {"memory": "1 GiB", "processes": 50, "open_files": 64, "nice": -5},
    }));
    assert_eq!(spec.cmd, "/site/bin/x");
    assert_eq!(spec.args, ["/tmp/in", "echo $tmp", "3", "true"]);
    assert_eq!(spec.working_dir, PathBuf::from("/agent/w"));
    assert_eq!(spec.environment.inherit, Inherit::Names(vec!["LANG".to_owned()]));
    assert_eq!(spec.environment.set["A"], "/site/a");
    assert_eq!(spec.environment.set["N"], "1");
    assert_eq!(spec.max_time, MaxTime::Limit(Duration::from_secs(60)));
    assert_eq!(spec.restart.max, Some(3));
    assert_eq!(spec.restart.longest, Duration::from_millis(500));
    assert_eq!(spec.recurrence, Some(Recurrence::Every(Duration::from_secs(100))));
    assert!(spec.ready.as_ref().unwrap().is_in(b"listening on 80"));
    assert_eq!(spec.levels.loglevels_ac.as_deref(), Some("9"));
    let parse = spec.parse.as_ref().unwrap();
    assert_eq!((parse.plugin.as_str(), parse.format.as_str()), ("logparse", "regex"));
    assert_eq!(parse.options["pattern"], "x");
    assert_eq!((spec.user.as_deref(), spec.group.as_deref()), (Some("nobody"), Some("1000")));
    assert_eq!(spec.limits.memory, Some(1 << 30));
    assert_eq!(spec.limits.nice, Some(-5));
    assert!(spec.is_remembered());
}

#[test]
fn minus_one_means_for_ever() {
    for minus_one in [json!(-1), json!("-1"), json!(-1.0)] {
        let spec = spec(&json!({"cmd": "x", "max_time": minus_one}));
        assert_eq!((spec.max_time, spec.restart.max), (MaxTime::LongRunning, None));
        assert_eq!(spec.on_agent_restart, OnAgentRestart::Adopt);
        assert!(spec.is_remembered());
    }
    assert_eq!(spec(&json!({"cmd": "x", "max_time": -1, "max_restart": 2})).restart.max, Some(2));
    assert_eq!(spec(&json!({"cmd": "x", "max_restart": -1})).restart.max, None);
}

#[test]
fn variables_are_written_as_an_object_or_a_list() {
    let list = spec(&json!({"cmd": "x", "env": ["A=1", "B=x=y", "C="]})).environment.set;
    let object = spec(&json!({"cmd": "x", "env": {"A": 1, "B": "x=y", "C": ""}})).environment.set;
    assert_eq!(list, object);
}

#[test]
fn a_null_is_as_good_as_nothing() {
    assert_eq!(spec(&json!({"cmd": "x", "queue": null, "env": null})), spec(&json!({"cmd": "x"})));
}

#[test]
fn a_script_runs_by_an_interpreter_that_the_node_allows() {
    let args = json!({"interpreter": "python", "args": ["a"], "input": "text"});
    let spec =
        ProcessSpec::execute_script(&context(), args.as_object().unwrap(), "print(1)").unwrap();
    assert_eq!((spec.cmd.as_str(), spec.name.as_str()), ("/usr/bin/python3", "python"));
    assert_eq!(spec.args, ["-u", "a"]);
    assert_eq!(spec.script, Some(Script { text: "print(1)".to_owned(), position: 1 }));
    assert_eq!(spec.input, "text");

    for (args, data, part) in [
        (json!({"interpreter": "perl"}), "x", "use one of python, sh"),
        (json!({}), "x", "`interpreter`: is missing"),
        (json!({"interpreter": "sh"}), "", "`data`: is empty"),
        (json!({"interpreter": "sh", "cmd": "x"}), "x", "`cmd`: is unknown"),
    ] {
        let error = ProcessSpec::execute_script(&context(), args.as_object().unwrap(), data);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_refusal_does_not_show_what_the_program_is_given() {
    for args in [
        json!({"cmd": "x", "env": "TOKEN=hunter2"}),
        json!({"cmd": "x", "env": {"TOKEN": ["hunter2"]}}),
        json!({"cmd": "x", "env": ["hunter2"]}),
        json!({"cmd": "x", "args": "hunter2"}),
        json!({"cmd": "x", "args": ["a", {"password": "hunter2"}]}),
    ] {
        let said = error(&args);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_refusal_names_the_key_and_the_cure() {
    for (args, parts) in [
        (json!({}), ["`cmd`", "name the program"]),
        (json!({"cmd": ""}), ["`cmd`", "is empty"]),
        (json!({"cmd": "a\0b"}), ["`cmd`", "NUL"]),
        (json!({"cmd": "x", "timeout": 3}), ["`timeout`", "max_time"]),
        (json!({"cmd": "x", "max_time": -2}), ["`max_time`", "number of seconds"]),
        (json!({"cmd": "x", "max_time": "soon"}), ["`max_time`", "\"10s\""]),
        (json!({"cmd": "x", "max_restart": 1.5}), ["`max_restart`", "whole number"]),
        (json!({"cmd": "x", "args": "a b"}), ["`args`", "list"]),
        (json!({"cmd": "x", "args": [{}]}), ["`args[0]`", "text"]),
        (json!({"cmd": "x", "env": ["A"]}), ["`env[0]`", "NAME=value"]),
        (json!({"cmd": "x", "env": {"A=B": "c"}}), ["`env`", "A=B"]),
        (json!({"cmd": "x", "working_dir": "here"}), ["`working_dir`", "absolute"]),
        (json!({"cmd": "x", "working_dir": "/", "workingdir": "/"}), ["`workingdir`", "write one"]),
        (json!({"cmd": "x", "cron": "x"}), ["`cron`", "five fields"]),
        (json!({"cmd": "x", "timezone": "UTC"}), ["`timezone`", "cron"]),
        (json!({"cmd": "x", "cron": "@daily", "recurring_period": 1}), ["`cron`", "write one"]),
        (json!({"cmd": "x", "ready": "("}), ["`ready`", "regular expression"]),
        (json!({"cmd": "x", "queue": "q", "max_time": -1}), ["`queue`", "max_time"]),
        (
            json!({"cmd": "x", "max_restart": -1, "restart_delay": 0}),
            ["`restart_delay`", "max_restart"],
        ),
        (
            json!({"cmd": "x", "on_agent_restart": "forget"}),
            ["`on_agent_restart`", "\"adopt\" or \"end\""],
        ),
        (json!({"cmd": "x", "limits": {"cpu": 1}}), ["`limits.cpu`", "memory"]),
        (json!({"cmd": "x", "limits": {"nice": 99}}), ["`limits.nice`", "-20 to 19"]),
        (json!({"cmd": "x", "inherit_env": 1}), ["`inherit_env`", "list of names"]),
    ] {
        let error = error(&args);
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn a_spec_reads_back_from_disk_as_it_was() {
    let spec = spec(&json!({
        "cmd": "x", "cron": "30 4 * * *", "timezone": "Europe/Berlin", "ready": "up",
        "inherit_env": true, "max_time": 5,
    }));
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<ProcessSpec>(&text).unwrap(), spec);
}
