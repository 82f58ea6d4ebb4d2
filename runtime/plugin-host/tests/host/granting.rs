//! What plugins ask for, what they are granted, and what they then can do.

use std::fs;

use drover_api::{ErrorCode, JobState, Level};
use drover_grants::{SECTION, Secret};
use drover_plugin_host::{Host, Job, Limits, Outcome};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::{assert_says, component, error, grants, host, host_with, job, packed, refusal};

/// Asks for everything that the component imports.
const ASKS: &str = r#"
[asks]
sysinfo = { reason = "counts cores" }
state = { size = "1 kB", reason = "remembers" }
env = [{ name = "PATH", reason = "shows it" }]
settings = [{ name = "colour", reason = "paints" }]
secrets = [{ name = "token", reason = "opens" }]
"#;

/// A host in a directory of its own.
struct Site {
    directory: TempDir,
    host: Host,
}

impl Site {
    fn new(text: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let host = host_with(Limits::default(), grants(text), directory.path().join("state"));
        Self { directory, host }
    }

    /// Loads the plugin under a name that is granted what it asks for.
    async fn load(&self, name: &str) {
        let path = packed(self.directory.path(), name, ASKS);
        self.host.load_file(&path).await.unwrap();
    }

    async fn run(&self, plugin: &str, operation: &str, arguments: Value) -> Outcome {
        let job = Job { plugin: plugin.to_owned(), ..job(operation, arguments) };
        self.host.run(job).await
    }

    async fn answer(&self, plugin: &str, operation: &str, arguments: Value) -> Value {
        let outcome = self.run(plugin, operation, arguments).await;
        assert_eq!(outcome.state, JobState::Ok, "{outcome:?}");
        outcome.data.into_value()
    }
}

/// Grants all of [`ASKS`] to the plugins of these names.
fn all_to(names: &[&str]) -> String {
    let table = |name: &&str| {
        format!(
            "[{name}]\nsysinfo = true\nstate = \"1 kB\"\nenv = [\"PATH\"]\n\
             settings.colour = \"red of {name}\"\nsecrets.token = {{ env = \"PATH\" }}\n"
        )
    };
    names.iter().map(table).collect()
}

#[tokio::test]
async fn a_plugin_is_given_what_it_asks_for_and_is_granted() {
    let site = Site::new(&all_to(&["a"]));
    site.load("a").await;
    let path = std::env::var("PATH").unwrap();
    assert!(site.answer("a", "cores", json!({})).await.as_u64().unwrap() > 0);
    assert_eq!(site.answer("a", "setting", json!({"name": "colour"})).await, "red of a");
    assert_eq!(site.answer("a", "setting", json!({"name": "token"})).await, path);
    assert_eq!(site.answer("a", "environment", json!({})).await, json!({ "PATH": path }));
}

#[tokio::test]
async fn what_is_asked_and_not_granted_is_refused_with_the_lines_to_add() {
    let directory = TempDir::new().unwrap();
    let path = packed(directory.path(), "a", ASKS);
    let text = refusal(&host(Limits::default()), &path).await;
    assert_says(
        &text,
        &[
            "asks for what is not granted",
            "`drover plugin grant a`",
            "# sysinfo: counts cores",
            "[a]",
            "sysinfo = true",
            "env = [\"PATH\"]",
            "settings.colour",
            "secrets.token",
        ],
    );
}

#[tokio::test]
async fn what_is_granted_to_one_name_is_not_anothers() {
    let site = Site::new(&all_to(&["a"]));
    let path = packed(site.directory.path(), "b", ASKS);
    assert_says(&refusal(&site.host, &path).await, &["not granted", "[b]"]);
}

#[tokio::test]
async fn a_bare_component_asks_for_nothing_and_so_imports_nothing_special() {
    let text = refusal(&host(Limits::default()), &component("granted")).await;
    assert_says(&text, &["it imports drover:plugin/", "does not ask", "[asks]", "plugin.toml"]);
}

#[tokio::test]
async fn each_import_has_an_ask_of_its_own() {
    let directory = TempDir::new().unwrap();
    for (line, import) in
        [("sysinfo = {", "drover:plugin/sysinfo"), ("state = {", "drover:plugin/state")]
    {
        let asks: Vec<_> = ASKS.lines().filter(|ask| !ask.starts_with(line)).collect();
        let path = packed(directory.path(), "a", &asks.join("\n"));
        assert_says(&refusal(&host(Limits::default()), &path).await, &[import, line]);
    }
}

#[tokio::test]
async fn a_plugin_cannot_take_the_name_of_another() {
    let site = Site::new(&all_to(&["a", "b"]));
    let path = packed(site.directory.path(), "b", &format!("name = \"a\"\n{ASKS}"));
    let text = refusal(&site.host, &path).await;
    assert_says(&text, &["manifest calls it `a`", "file `b`", "rename the file to a.wasm"]);

    let path = packed(site.directory.path(), "a", &format!("name = \"a\"\n{ASKS}"));
    site.host.load_file(&path).await.unwrap();

    let path = packed(site.directory.path(), "process", &format!("name = \"process\"\n{ASKS}"));
    assert_says(&refusal(&site.host, &path).await, &["`process`", "host's own commands"]);
}

#[tokio::test]
async fn a_plugin_for_a_later_drover_is_refused() {
    let site = Site::new(&all_to(&["a"]));
    let path = packed(site.directory.path(), "a", &format!("min_host = \"99.0.0\"\n{ASKS}"));
    assert_says(&refusal(&site.host, &path).await, &["Drover 99.0.0", "update"]);
}

#[tokio::test]
async fn a_wrong_manifest_refuses_the_whole_plugin() {
    let directory = TempDir::new().unwrap();
    let mut bytes = fs::read(component("guests")).unwrap();
    let json = b"{\"format\":1,\"asks\":{\"everything\":true}}";
    bytes.push(0);
    bytes.push((1 + SECTION.len() + json.len()).try_into().unwrap());
    bytes.push(SECTION.len().try_into().unwrap());
    bytes.extend(SECTION.as_bytes());
    bytes.extend(json);
    let path = directory.path().join("a.wasm");
    fs::write(&path, bytes).unwrap();
    let text = refusal(&host(Limits::default()), &path).await;
    assert_says(&text, &["its manifest", "at byte", "unknown field `everything`"]);
}

#[tokio::test]
async fn what_the_sdk_builds_has_its_manifest_in_it() {
    let inspection = host(Limits::default()).inspect(&component("guests")).await.unwrap();
    assert_eq!(inspection.manifest.description, "Misbehaving components for the tests");
    assert_eq!(inspection.manifest.license, "Apache-2.0");
    assert_eq!(inspection.manifest.version.unwrap().to_string(), env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn a_change_of_grants_is_seen_by_the_next_job() {
    let site = Site::new(&all_to(&["a"]));
    site.load("a").await;
    site.host.set_grants(grants(&all_to(&["a"]).replace("red", "blue")));
    assert_eq!(site.answer("a", "setting", json!({"name": "colour"})).await, "blue of a");

    site.host.set_grants(grants(&all_to(&["a"]).replace("sysinfo = true", "")));
    let outcome = site.run("a", "cores", json!({})).await;
    let error = error(&outcome, ErrorCode::Denied);
    assert_says(&error.message, &["`a` cannot run", "sysinfo = true"]);

    site.host.set_grants(grants(&all_to(&["a"])));
    assert!(site.answer("a", "cores", json!({})).await.as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_denied_call_is_a_record_with_plugin_call_and_argument() {
    let site = Site::new(&all_to(&["a"]));
    site.load("a").await;
    let outcome = site.run("a", "setting", json!({"name": "other"})).await;
    assert_says(&error(&outcome, ErrorCode::Failed).message, &["`other`", "manifest"]);
    let record = &outcome.records[0];
    assert_eq!(record.level, Level::WARNING);
    assert_eq!(record.data, "denied to `a`: config.get \"other\"");
}

#[tokio::test]
async fn a_plugin_keeps_values_from_job_to_job() {
    let site = Site::new(&all_to(&["a"]));
    site.load("a").await;
    assert_eq!(site.answer("a", "recall", json!({"key": "k"})).await, Value::Null);
    site.answer("a", "remember", json!({"key": "k", "value": "v"})).await;
    assert_eq!(site.answer("a", "recall", json!({"key": "k"})).await, "v");
    assert_eq!(site.answer("a", "keys", json!({"prefix": ""})).await, json!(["k"]));
    let wrong = json!({"key": "k", "old": "x", "new": "y"});
    assert_eq!(site.answer("a", "replace", wrong).await, false);
    let right = json!({"key": "k", "old": "v"});
    assert_eq!(site.answer("a", "replace", right).await, true);
    assert_eq!(site.answer("a", "forget", json!({"key": "k"})).await, false);
}

#[tokio::test]
async fn no_plugin_sees_what_another_keeps() {
    let site = Site::new(&all_to(&["a", "b"]));
    site.load("a").await;
    site.load("b").await;
    site.answer("a", "remember", json!({"key": "k", "value": "mine"})).await;
    for key in ["k", "../a/k", "a.db", "%", "' OR 1=1 --"] {
        assert_eq!(site.answer("b", "recall", json!({ "key": key })).await, Value::Null, "{key}");
    }
    assert_eq!(site.answer("b", "keys", json!({"prefix": ""})).await, json!([]));
}

#[tokio::test]
async fn a_plugin_keeps_no_more_than_it_is_granted() {
    let site = Site::new(&all_to(&["a"]));
    site.load("a").await;
    let outcome = site.run("a", "remember", json!({"key": "k", "value": "x".repeat(1000)})).await;
    assert_says(&error(&outcome, ErrorCode::Failed).message, &["no room", "1000 bytes"]);
    assert_says(&outcome.records[0].data, &["denied to `a`: state.set"]);
    site.answer("a", "remember", json!({"key": "k", "value": "x".repeat(900)})).await;
}

#[tokio::test]
async fn a_directory_that_is_gone_ends_the_job_and_says_so() {
    let asks = format!(
        "{ASKS}directories = [{{ path = \"/d\", access = \"read\", reason = \"reads\" }}]\n"
    );
    let granted =
        all_to(&["a"]) + "directories.\"/d\" = { path = \"/nowhere/d\", access = \"read\" }\n";
    let site = Site::new(&granted);
    let path = packed(site.directory.path(), "a", &asks);
    site.host.load_file(&path).await.unwrap();
    let outcome = site.run("a", "cores", json!({})).await;
    assert_says(&error(&outcome, ErrorCode::Denied).message, &["/nowhere/d", "cannot be opened"]);
}

#[test]
fn secrets_are_in_nothing_that_is_printed() {
    let granted = grants("[a]\nsecrets.token = { env = \"PATH\" }\nenv = [\"PATH\"]");
    assert!(!format!("{granted:?}").contains(&std::env::var("PATH").unwrap()));
    assert_eq!(format!("{:?}", Secret::new("x".to_owned())), "(hidden)");
}
