//! Plugins that try to get out of the directories that they are granted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use drover_api::{ErrorCode, JobState};
use drover_plugin_host::{Host, Job, Limits, Outcome};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::{assert_says, error, grants, host_with, job, packed};

const SECRET: &str = "what nobody may read";

/// A host whose plugin `a` may write in `granted` and read `readable`, beside
/// which there is a file that it may not touch.
struct Site {
    directory: TempDir,
    host: Host,
}

impl Site {
    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["granted", "readable", "outside"] {
            fs::create_dir(path(name)).unwrap();
        }
        fs::write(path("outside/secret"), SECRET).unwrap();
        fs::write(path("granted/file"), "granted").unwrap();
        fs::write(path("readable/file"), "readable").unwrap();
        let granted = grants(&format!(
            "[a]\nsysinfo = true\nstate = \"1 kB\"\nsettings.s = \"\"\n\
             directories.\"/w\" = {{ path = {:?}, access = \"read-write\" }}\n\
             directories.\"/r\" = {{ path = {:?}, access = \"read\" }}\n",
            path("granted"),
            path("readable"),
        ));
        let host = host_with(Limits::default(), granted, path("state"));
        let plugin = packed(
            directory.path(),
            "a",
            r#"
            [asks]
            sysinfo = { reason = "r" }
            state = { size = "1 kB", reason = "r" }
            settings = [{ name = "s", reason = "r" }]
            directories = [
                { path = "/w", access = "read-write", reason = "r" },
                { path = "/r", access = "read", reason = "r" },
            ]
            "#,
        );
        host.load_file(&plugin).await.unwrap();
        Self { directory, host }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn run(&self, operation: &str, arguments: Value) -> Outcome {
        self.host.run(Job { plugin: "a".to_owned(), ..job(operation, arguments) }).await
    }

    async fn answer(&self, operation: &str, arguments: Value) -> Value {
        let outcome = self.run(operation, arguments).await;
        assert_eq!(outcome.state, JobState::Ok, "{outcome:?}");
        outcome.data.into_value()
    }

    /// Expects the operation to fail in the plugin, and a record of that.
    async fn denied_with_a_record(&self, operation: &str, arguments: Value, words: &str) {
        let outcome = self.run(operation, arguments.clone()).await;
        let records: Vec<_> = outcome.records.iter().map(|record| record.data.as_str()).collect();
        assert!(records.iter().any(|text| text.contains(words)), "{words}: {records:?}");
        self.denied(operation, arguments).await;
    }

    /// Expects the operation to fail in the plugin.
    async fn denied(&self, operation: &str, arguments: Value) {
        let outcome = self.run(operation, arguments.clone()).await;
        assert_eq!(outcome.state, JobState::Error, "{operation} {arguments}: {outcome:?}");
        assert!(!format!("{outcome:?}").contains(SECRET), "{operation} {arguments}");
    }

    fn is_unharmed(&self) -> bool {
        fs::read_to_string(self.path("outside/secret")).is_ok_and(|text| text == SECRET)
            && fs::read_dir(self.path("outside")).unwrap().count() == 1
            && fs::read_to_string(self.path("readable/file")).is_ok_and(|text| text == "readable")
    }
}

#[tokio::test]
async fn files_are_read_and_written_where_that_is_granted() {
    let site = Site::new().await;
    assert_eq!(site.answer("read", json!({"path": "/w/file"})).await, "granted");
    assert_eq!(site.answer("read", json!({"path": "/r/file"})).await, "readable");
    site.answer("write", json!({"path": "/w/new", "text": "new"})).await;
    assert_eq!(fs::read_to_string(site.path("granted/new")).unwrap(), "new");
    site.answer("rename", json!({"from": "/w/new", "to": "/w/newer"})).await;
    site.answer("remove", json!({"path": "/w/newer"})).await;
    assert_eq!(site.answer("list", json!({"path": "/w"})).await, json!(["file"]));
}

#[tokio::test]
async fn what_may_be_read_cannot_be_changed() {
    let site = Site::new().await;
    site.denied("write", json!({"path": "/r/file", "text": "x"})).await;
    site.denied("write", json!({"path": "/r/new", "text": "x"})).await;
    site.denied("remove", json!({"path": "/r/file"})).await;
    site.denied("rename", json!({"from": "/r/file", "to": "/w/taken"})).await;
    site.denied("rename", json!({"from": "/w/file", "to": "/r/put"})).await;
    site.denied("link", json!({"from": "/w/file", "to": "/r/put"})).await;
    assert!(site.is_unharmed());
    assert_eq!(fs::read_dir(site.path("readable")).unwrap().count(), 1);
}

/// A link would be a second name for a file that may only be read, in a
/// directory that may be written.
#[tokio::test]
async fn a_hard_link_makes_nothing_writable() {
    let site = Site::new().await;
    let outcome = site.run("link", json!({"from": "/r/file", "to": "/w/alias"})).await;
    if outcome.state == JobState::Ok {
        site.denied("write", json!({"path": "/w/alias", "text": "x"})).await;
    }
    assert!(site.is_unharmed());
}

#[tokio::test]
async fn dots_and_absolute_paths_lead_nowhere() {
    let site = Site::new().await;
    let absolute = site.path("outside/secret");
    for path in [
        "/w/../outside/secret",
        "/w/./../outside/secret",
        "/w/file/../../outside/secret",
        "/w//../outside/secret",
        "/w/../w/../outside/secret",
        "../outside/secret",
        "/../../../../../../etc/passwd",
        "/w/../../../../../../../etc/passwd",
        "/etc/passwd",
        "/proc/self/environ",
        absolute.to_str().unwrap(),
    ] {
        site.denied("read", json!({ "path": path })).await;
        site.denied("write", json!({ "path": path, "text": "x" })).await;
        site.denied("rename", json!({ "from": "/w/file", "to": path })).await;
        site.denied("link", json!({ "from": path, "to": "/w/alias" })).await;
    }
    for path in ["/", "/w/..", "/w/../outside", ".."] {
        site.denied("list", json!({ "path": path })).await;
    }
    assert!(site.is_unharmed());
}

#[tokio::test]
async fn links_lead_nowhere() {
    let site = Site::new().await;
    symlink("../outside/secret", site.path("granted/relative")).unwrap();
    symlink(site.path("outside/secret"), site.path("granted/absolute")).unwrap();
    symlink("../outside", site.path("granted/directory")).unwrap();
    symlink("/proc/self/root", site.path("granted/root")).unwrap();
    symlink("directory", site.path("granted/chain")).unwrap();
    let below_root = format!("/w/root{}", site.path("outside/secret").display());
    for path in
        ["/w/relative", "/w/absolute", "/w/directory/secret", "/w/chain/secret", &below_root]
    {
        site.denied("read", json!({ "path": path })).await;
        site.denied("write", json!({ "path": path, "text": "x" })).await;
    }
    site.denied("write", json!({"path": "/w/directory/new", "text": "x"})).await;
    site.denied("list", json!({"path": "/w/directory"})).await;
    site.denied("rename", json!({"from": "/w/file", "to": "/w/directory/put"})).await;
    assert!(site.is_unharmed());
}

#[tokio::test]
async fn links_that_stay_inside_are_followed() {
    let site = Site::new().await;
    symlink("file", site.path("granted/alias")).unwrap();
    assert_eq!(site.answer("read", json!({"path": "/w/alias"})).await, "granted");
}

#[tokio::test]
async fn no_race_leads_outside() {
    let site = Site::new().await;
    let (place, aside) = (site.path("granted/place"), site.path("granted/aside"));
    fs::create_dir(&place).unwrap();
    fs::write(place.join("secret"), "inside").unwrap();
    symlink("../outside", &aside).unwrap();
    let is_over = AtomicBool::new(false);
    let texts = thread::scope(|scope| {
        // The directory and a link to the outside change places all the time.
        scope.spawn(|| {
            let spare = site.path("granted/spare");
            while !is_over.load(Ordering::Relaxed) {
                fs::rename(&place, &spare).unwrap();
                fs::rename(&aside, &place).unwrap();
                fs::rename(&spare, &aside).unwrap();
            }
        });
        let path = json!({"path": "/w/place/secret", "times": 5_000});
        let runtime = tokio::runtime::Handle::current();
        let texts = thread::scope(|inner| {
            let reading = inner.spawn(|| runtime.block_on(site.answer("read_often", path)));
            reading.join()
        });
        is_over.store(true, Ordering::Relaxed);
        texts.unwrap()
    });
    for text in texts.as_array().unwrap() {
        assert_eq!(text, "inside");
    }
}

#[tokio::test]
async fn a_thousand_files_are_too_many_and_are_closed_again() {
    let site = Site::new().await;
    let open = |times| json!({"path": "/w/file", "times": times});
    assert_eq!(site.answer("open_often", open(900)).await, 900);
    let outcome = site.run("open_often", open(1_000)).await;
    let message = &error(&outcome, ErrorCode::Trapped).message;
    assert_says(message, &["`a.open_often`", "holds 1000 files", "`handles`"]);
    // What it held is closed before its answer is there.
    for _ in 0..20 {
        assert_eq!(site.answer("open_often", open(900)).await, 900);
    }
}

#[tokio::test]
async fn what_is_denied_is_taken_down_with_call_and_path() {
    let site = Site::new().await;
    symlink("../outside/secret", site.path("granted/link")).unwrap();
    for (operation, arguments, words) in [
        ("read", json!({"path": "/w/link"}), "denied to `a`: filesystem.open-at \"link\""),
        (
            "read",
            json!({"path": "/w/../outside/secret"}),
            "filesystem.open-at \"../outside/secret\"",
        ),
        ("write", json!({"path": "/r/file", "text": "x"}), "filesystem.open-at \"file\""),
        ("remove", json!({"path": "/r/file"}), "filesystem.unlink-file-at \"file\""),
        ("rename", json!({"from": "/r/file", "to": "/w/x"}), "filesystem.rename-at \"file to x\""),
        ("link", json!({"from": "/w/file", "to": "/r/x"}), "filesystem.link-at \"file to x\""),
    ] {
        site.denied_with_a_record(operation, arguments, words).await;
    }
    let outcome = site.run("read", json!({"path": "/w/nothing"})).await;
    assert!(outcome.records.is_empty(), "{outcome:?}");
}
