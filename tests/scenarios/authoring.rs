//! An author's afternoon: from nothing to a plugin that an agent runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use drover_tests::{Process, Ran, compiled, component, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{DROVER, site};

/// A folder for projects, always the same one: cargo builds what is there by
/// its path, and keeps all that it ever built.
struct Desk {
    path: PathBuf,
    /// Nobody else builds there meanwhile, whom one would have to wait for.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Desk {
    fn new(name: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let desk = compiled().with_file_name(name);
        let _ = fs::remove_dir_all(&desk);
        fs::create_dir_all(&desk).unwrap();
        // As the program finds it when it asks where it is.
        Self { path: desk.canonicalize().unwrap(), _turn: turn }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// `drover plugin …`, offline and with what is compiled already.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(DROVER);
        command.current_dir(&self.path).arg("plugin").args(arguments);
        // Not where the tests build their components: they would wait for each other.
        command.env("CARGO_TARGET_DIR", compiled().with_file_name("authors-target"));
        command.env("CARGO_NET_OFFLINE", "true").env("CARGO_TERM_COLOR", "never");
        command
    }

    fn plugin(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    fn edit(&self, file: &str, old: &str, new: &str) {
        let path = self.path(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "no {old} in {text}");
        // As many editors do: the new file comes into the place of the old one.
        let scratch = path.with_extension("new~");
        fs::write(&scratch, text.replace(old, new)).unwrap();
        fs::rename(scratch, path).unwrap();
    }
}

#[test]
fn every_template_makes_a_project_whose_tests_pass() {
    let desk = Desk::new("templates");
    let cache = compiled();
    // One SDK for all, which is built once.
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/rust");
    for (template, name, passed) in
        [("service", "ticker", "1 passed"), ("parser", "sensors", "2 passed")]
    {
        let new = ["new", name, "--template", template, "--sdk", text(&sdk)];
        let _ = desk.plugin(&new).ok();
        assert!(!desk.path(name).join("vendor").exists());
        let test = ["test", "--path", name, "--cache", text(&cache)];
        let tested = desk.plugin(&test);
        assert!(tested.stdout.contains(passed), "{tested:?}");
        let _ = tested.ok();
        let built = desk.plugin(&["build", "--path", name, "--cache", text(&cache)]).ok();
        assert!(built.contains(&format!("{name}/{name}.wasm")), "{built}");
    }
    let run = ["run", "ticker/ticker.wasm", "tick", "every=1", "--cache", text(&cache)];
    let mut service = Process::spawn(&mut desk.command(&run));
    service.wait_for_log("published {\"ticks\":1}");
    service.signal(Signal::SIGINT);
    service.wait_for_log("told to stop");
    assert_eq!(service.wait().code(), Some(130), "{}", service.log());
}

#[test]
fn a_plugin_that_is_tried_runs_the_programs_that_it_is_granted() {
    let (file, cache) = (component("df"), compiled());
    let run = ["plugin", "run", text(&file), "usage", "path=/", "--cache", text(&cache)];
    let grant = "programs.\"/bin/df\" = { args = [[\"**\"]] }";
    let with = ["--grants", "none.toml", "--grant", grant, "--metrics", "--json"];
    let ran = drover_tests::run(DROVER.as_ref(), &[&run[..], &with].concat());
    assert!(ran.stderr.contains("metric used_kb"), "{ran:?}");
    assert!(ran.ok().contains("\"mounted_on\": \"/\""));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_author_makes_tests_builds_and_develops_a_plugin() {
    let desk = Desk::new("authoring");
    let cache = compiled();
    let state = tempfile::tempdir().unwrap();
    let here = ["--path", "count", "--cache", text(&cache)];
    let with = ["--cache", text(&cache), "--state", text(state.path()), "--grants", "none.toml"];

    // Nothing becomes a project whose tests pass at once.
    for (name, words) in [("log", "host's own"), ("fn", "Rust"), ("Count", "no name for a plugin")]
    {
        let errors = desk.plugin(&["new", name]).failed(2);
        assert!(errors.contains(words), "{name}: {errors}");
    }
    let said = desk.plugin(&["new", "count"]).ok();
    assert!(said.contains("drover plugin test"), "{said}");
    let errors = desk.plugin(&["new", "count"]).failed(2);
    assert!(errors.contains("count is there already"), "{errors}");
    let tested = desk.plugin(&[&["test"], &here[..]].concat());
    assert!(tested.stdout.contains("4 passed"), "{tested:?}");
    let table = tested.ok();
    assert_eq!(table.matches("ok  ").count(), 4, "{table}");

    // It becomes one file, which runs.
    let built = desk.plugin(&[&["build"], &here[..]].concat()).ok();
    for words in ["count 0.1.0 is in count/count.wasm, ", "count.count  (task)", "asks for nothing"]
    {
        assert!(built.contains(words), "{words}: {built}");
    }
    let run = ["run", "count/count.wasm", "count", "text=a bird"];
    let ran = desk.plugin(&[&run[..], &with].concat());
    assert!(ran.stderr.contains("debug: the text has 2 words"), "{ran:?}");
    assert_eq!(ran.ok(), "words  2\n");
    let bench = ["bench", "count/count.wasm", "count", "text=a bird", "--calls", "20", "--json"];
    let measured = desk.plugin(&[&bench[..], &with].concat()).ok();
    let measured: Value = serde_json::from_str(&measured).unwrap();
    assert_eq!(measured["calls"], 20);
    assert!(measured["memory_bytes"].as_u64().unwrap() > 0, "{measured}");
    assert!(measured["p50_us"].as_f64() <= measured["p99_us"].as_f64(), "{measured}");

    // A wrong case is shown as a difference.
    desk.edit("count/tests/count.toml", "words = 5", "words = 6");
    let cases = [&["test", "--cases-only"], &here[..]].concat();
    let tested = desk.plugin(&cases);
    assert!(tested.stdout.contains("FAILED"), "{tested:?}");
    let errors = tested.failed(1);
    assert!(errors.contains("-   \"words\": 6") && errors.contains("+   \"words\": 5"), "{errors}");
    desk.edit("count/tests/count.toml", "words = 6", "wrods = 5");
    desk.edit("count/tests/count.toml", "answer = { wrods", "anwser = { words");
    let errors = desk.plugin(&cases).failed(2);
    assert!(errors.contains("count/tests/count.toml is wrong"), "{errors}");
    assert!(errors.contains("anwser"), "{errors}");
    desk.edit("count/tests/count.toml", "anwser", "answer");

    // What it uses and does not ask for is refused with the line to add.
    let source = "log::debug(format_args!(\"the text has {} words\", words.len()));";
    let stateful = format!("{source}\n    drover_sdk::state::set(\"last\", b\"1\")?;");
    desk.edit("count/src/lib.rs", source, &stateful);
    let build = [&["build"], &here[..]].concat();
    let errors = desk.plugin(&build).failed(1);
    for words in ["drover:plugin/state", "under [asks]", "count/plugin.toml"] {
        assert!(errors.contains(words), "{words}: {errors}");
    }
    desk.edit("count/plugin.toml", "# state = {", "state = [");
    let errors = desk.plugin(&build).failed(1);
    assert!(errors.contains("plugin.toml is wrong") && errors.contains("line 10"), "{errors}");
    desk.edit("count/plugin.toml", "state = [", "state = {");
    let built = desk.plugin(&build).ok();
    assert!(built.contains("1.0 MiB of state: remembers what was done"), "{built}");

    // What it asks for and is not granted comes as the option that grants it.
    let errors = desk.plugin(&[&run[..], &with].concat()).failed(1);
    assert!(errors.contains("--grant 'state = \"1 MiB\"'   # remembers"), "{errors}");
    let granted = ["--grant", "state=\"1 MiB\""];
    assert_eq!(desk.plugin(&[&run[..], &with, &granted].concat()).ok(), "words  2\n");
    let errors = desk.plugin(&cases).failed(1);
    assert!(errors.contains("under [grants]"), "{errors}");
    desk.edit(
        "count/tests/count.toml",
        "[[case]]\nname = \"words",
        "[grants]\nstate = \"1 MiB\"\n\n[[case]]\nname = \"words",
    );
    let _ = desk.plugin(&cases).ok();

    // Every save builds and runs it again; a mistake leaves what there was.
    let arguments = ["dev", "--run", "count", "text=a bird", "--path", "count"];
    let mut dev = Process::spawn(&mut desk.command(&[&arguments[..], &with, &granted].concat()));
    dev.wait_for_outputs("words  2", 1);
    desk.edit("count/src/lib.rs", "Ok(Count { words })", "Ok(Count { words: words * 10 })");
    dev.wait_for_output("the new version", |line| (line == "words  20").then_some(()));
    desk.edit("count/src/lib.rs", "words * 10", "\"many\"");
    dev.wait_for_log("mismatched types");
    dev.wait_for_log("the version before serves on");
    desk.edit("count/src/lib.rs", "\"many\"", "words * 100");
    dev.wait_for_output("the mended version", |line| (line == "words  200").then_some(()));
    let builds = dev.log().matches("building count").count();
    assert_eq!(builds, 4, "{}", dev.log());
    dev.signal(Signal::SIGINT);
    assert_eq!(dev.wait().code(), Some(0), "{}", dev.log());

    // An agent takes every version as it is built.
    let site = site();
    let _a = site.agent(1, "a");
    fs::write(
        site.path("a/grants.toml"),
        "[count]\nstate = \"1 MiB\"\n[sysinfo]\nsysinfo = true\n",
    )
    .unwrap();
    let plugins = site.path("a/plugins");
    let arguments = ["dev", "--into", text(&plugins), "--path", "count", "--cache", text(&cache)];
    let dev = Process::spawn(&mut desk.command(&arguments));
    let answer = |wanted: &str| {
        wait_for(wanted, || {
            let ran = site.drover(&["call", "a", "count.count", "text=a bird"]);
            if ran.stdout.contains(wanted) { Ok(()) } else { Err((ran, dev.log())) }
        });
    };
    answer("words  200");
    desk.edit("count/src/lib.rs", "words * 100", "words + 1");
    answer("words  3");
}
