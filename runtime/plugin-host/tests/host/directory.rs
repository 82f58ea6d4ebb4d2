//! The plugin directory while files come, change and go.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use drover_api::{Level, PluginList, PluginState, PluginStatus};
use drover_grants::Grants;
use drover_plugin_host::{CompilerCommand, Host, HostConfig, Job, Limits, Notice, Surroundings};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::kit::{PATIENCE, answer, assert_says, compiler, guests_bytes, host, job};

/// A host that keeps a directory.
struct Kept {
    host: Host,
    directory: TempDir,
    stop: CancellationToken,
    _keeping: JoinSet<()>,
}

impl Kept {
    async fn start(files: &[(&str, &[u8])]) -> Self {
        Self::start_with(host(Limits::default()), files, &[]).await
    }

    /// Starts, and waits until all that is there at first is dealt with.
    async fn start_with(host: Host, files: &[(&str, &[u8])], pins: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        for (name, content) in files {
            put(&directory.path().join(name), content);
        }
        let pins = pins.iter().map(|(name, pin)| (name.to_string(), pin.to_string()));
        host.set_pins(pins.collect());
        let kept = directory.path().to_owned();
        let (loaded, stop) = (CancellationToken::new(), CancellationToken::new());
        let mut keeping = JoinSet::new();
        keeping.spawn({
            let (host, loaded, stop) = (host.clone(), loaded.clone(), stop.clone());
            async move { host.keep_directory(kept, &loaded, &stop).await }
        });
        timeout(PATIENCE, loaded.cancelled()).await.unwrap();
        Self { host, directory, stop, _keeping: keeping }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file in its place in one step.
    fn replace(&self, name: &str, content: &[u8]) {
        let scratch = self.path(".scratch");
        put(&scratch, content);
        fs::rename(scratch, self.path(name)).unwrap();
    }

    /// Waits until the list of plugins is as it should be.
    async fn wait(&self, what: &str, is_right: impl Fn(&PluginList) -> bool) -> PluginList {
        let mut revision = self.host.revision();
        let waiting = async {
            loop {
                revision.mark_unchanged();
                let list = self.host.statuses();
                if is_right(&list) {
                    return list;
                }
                // The draining of a version is told by nobody.
                let _ = timeout(PATIENCE / 1000, revision.changed()).await;
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("no {what}: {:#?}", self.host.statuses()))
    }

    async fn wait_for(&self, what: &str, is_right: impl Fn(&PluginStatus) -> bool) -> PluginStatus {
        let find = |list: &PluginList| list.plugins.iter().find(|p| p.name == "guests").cloned();
        let list = self.wait(what, |list| find(list).is_some_and(|status| is_right(&status))).await;
        find(&list).unwrap()
    }

    /// Waits until `guests` serves from a file and nothing else is under way.
    async fn wait_until_served_by(&self, file: &str, other_than: &str) -> String {
        let status = self.wait_for(file, |status| {
            let serving = status.serving.as_ref();
            serving.is_some_and(|s| s.file == file && s.hash != other_than) && status.next.is_none()
        });
        status.await.serving.unwrap().hash
    }

    async fn wait_until_refused(&self) -> (PluginStatus, String) {
        let is_refused =
            |status: &PluginStatus| status.next.as_ref().is_some_and(|next| next.refusal.is_some());
        let status = self.wait_for("refusal", is_refused).await;
        let reason = status.next.clone().unwrap().refusal.unwrap();
        (status, reason)
    }

    async fn notice(&self, level: Level) -> Notice {
        loop {
            let notice = timeout(PATIENCE, self.host.notice()).await.unwrap();
            if notice.level == level {
                return notice;
            }
        }
    }
}

fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[tokio::test]
async fn a_file_is_dropped_replaced_and_removed() {
    let kept = Kept::start(&[]).await;
    assert!(kept.host.statuses().plugins.is_empty());

    put(&kept.path("guests.wasm"), &guests_bytes(1));
    let first = kept.wait_until_served_by("guests.wasm", "").await;
    assert_eq!(answer(&kept.host, "count", json!({})).await, 1);

    kept.replace("guests.wasm", &guests_bytes(2));
    let second = kept.wait_until_served_by("guests.wasm", &first).await;
    let notice = kept.notice(Level::OPERATOR).await;
    assert_says(&notice.text, &["`guests` now serves from guests.wasm", &second[..12]]);

    fs::remove_file(kept.path("guests.wasm")).unwrap();
    kept.wait("end of it", |list| list.plugins.is_empty()).await;
    assert_says(&kept.notice(Level::OPERATOR).await.text, &["`guests`", "removed"]);
    kept.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_the_plugin_is_replaced_twenty_times() {
    let kept = Kept::start(&[("guests.wasm", &guests_bytes(1))]).await;
    let stop = CancellationToken::new();
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        let (host, stop) = (kept.host.clone(), stop.clone());
        callers.spawn(async move {
            let mut calls = 0;
            while !stop.is_cancelled() {
                answer(&host, "echo", json!({ "value": calls })).await;
                calls += 1;
            }
            calls
        });
    }
    let mut hash = kept.wait_until_served_by("guests.wasm", "").await;
    for round in 0..20 {
        kept.replace("guests.wasm", &guests_bytes(round % 2 + 2));
        hash = kept.wait_until_served_by("guests.wasm", &hash).await;
    }
    stop.cancel();
    // A call that failed has panicked.
    assert!(callers.join_all().await.into_iter().sum::<u32>() > 20);
}

#[tokio::test]
async fn a_running_job_ends_with_the_version_that_it_began_with() {
    let kept = Kept::start(&[("guests.wasm", &guests_bytes(1))]).await;
    let first = kept.wait_until_served_by("guests.wasm", "").await;
    let (sender, mut reports) = mpsc::channel(1);
    let running = Job { progress: Some(sender), ..job("until_cancelled", json!({})) };
    let end = running.cancel.clone();
    let host = kept.host.clone();
    let mut jobs = JoinSet::new();
    jobs.spawn(async move { host.run(running).await });
    reports.recv().await.unwrap();

    kept.replace("guests.wasm", &guests_bytes(2));
    kept.wait_until_served_by("guests.wasm", &first).await;
    let status = kept.wait_for("draining version", |status| !status.draining.is_empty()).await;
    assert_eq!((status.draining[0].hash.as_str(), status.draining[0].jobs), (first.as_str(), 1));
    assert_eq!(answer(&kept.host, "count", json!({})).await, 1);

    end.cancel();
    jobs.join_all().await;
    kept.wait_for("end of the old version", |status| status.draining.is_empty()).await;
}

#[tokio::test]
async fn a_partial_copy_is_loaded_when_it_is_whole() {
    let kept = Kept::start(&[("guests.wasm", &guests_bytes(1))]).await;
    let first = kept.wait_until_served_by("guests.wasm", "").await;
    let bytes = guests_bytes(2);
    let (start, end) = bytes.split_at(bytes.len() / 2);

    // As `cp` does it: into the very file, which is cut short first.
    let mut file = File::create(kept.path("guests.wasm")).unwrap();
    file.write_all(start).unwrap();
    let (status, reason) = kept.wait_until_refused().await;
    assert_says(&reason, &["truncated"]);
    assert_eq!((status.state, status.serving.unwrap().hash), (PluginState::Serving, first.clone()));
    assert_says(&kept.notice(Level::WARNING).await.text, &["guests.wasm", "truncated"]);
    answer(&kept.host, "empty", json!({})).await;

    file.write_all(end).unwrap();
    drop(file);
    kept.wait_until_served_by("guests.wasm", &first).await;
}

#[tokio::test]
async fn a_bad_file_leaves_the_old_one_serving_until_it_is_mended() {
    let kept = Kept::start(&[("guests.wasm", &guests_bytes(1))]).await;
    let first = kept.wait_until_served_by("guests.wasm", "").await;

    kept.replace("guests.wasm", b"#!/bin/sh\n");
    let (status, reason) = kept.wait_until_refused().await;
    assert_says(&reason, &["not WebAssembly"]);
    assert_eq!(status.serving.unwrap().hash, first);
    assert_eq!(kept.host.refused()[0].file, "guests.wasm");
    answer(&kept.host, "empty", json!({})).await;

    // Back to what it was: nothing is loaded anew.
    kept.replace("guests.wasm", &guests_bytes(1));
    assert_eq!(kept.wait_until_served_by("guests.wasm", "").await, first);
    assert!(kept.host.refused().is_empty());
}

#[tokio::test]
async fn an_editors_save_is_one_replacement() {
    let kept = Kept::start(&[("guests.wasm", &guests_bytes(1))]).await;
    let first = kept.wait_until_served_by("guests.wasm", "").await;
    // As vim does it: the old one aside, a new one in its place, the old one gone.
    fs::rename(kept.path("guests.wasm"), kept.path("guests.wasm~")).unwrap();
    put(&kept.path("guests.wasm"), &guests_bytes(2));
    fs::remove_file(kept.path("guests.wasm~")).unwrap();
    kept.wait_until_served_by("guests.wasm", &first).await;
}

#[tokio::test]
async fn the_link_flips_between_versions_and_without_it_the_highest_serves() {
    let kept = Kept::start(&[
        ("guests/1.9.0.wasm", &guests_bytes(1)),
        ("guests/1.10.0.wasm", &guests_bytes(2)),
    ])
    .await;
    kept.wait_until_served_by("guests/1.10.0.wasm", "").await;

    symlink("1.9.0.wasm", kept.path("guests/active")).unwrap();
    kept.wait_until_served_by("guests/1.9.0.wasm", "").await;
    symlink("1.10.0.wasm", kept.path("guests/.next")).unwrap();
    fs::rename(kept.path("guests/.next"), kept.path("guests/active")).unwrap();
    kept.wait_until_served_by("guests/1.10.0.wasm", "").await;

    // A link to nowhere leaves what serves, and says what there is.
    symlink("2.0.0.wasm", kept.path("guests/.next")).unwrap();
    fs::rename(kept.path("guests/.next"), kept.path("guests/active")).unwrap();
    let (status, reason) = kept.wait_until_refused().await;
    assert_says(&reason, &["`active`", "there are: 1.10.0, 1.9.0"]);
    assert_eq!(status.serving.unwrap().version.as_deref(), Some("1.10.0"));
}

#[tokio::test]
async fn a_pin_that_changes_has_another_version_serve() {
    let files: &[(&str, &[u8])] =
        &[("guests/1.0.0.wasm", &guests_bytes(1)), ("guests/2.0.0.wasm", &guests_bytes(2))];
    let kept = Kept::start_with(host(Limits::default()), files, &[("guests", "1.0.0")]).await;
    kept.wait_until_served_by("guests/1.0.0.wasm", "").await;
    kept.host.set_pins([("guests".to_owned(), "2.0.0".to_owned())].into());
    kept.wait_until_served_by("guests/2.0.0.wasm", "").await;
    kept.host.set_pins([("guests".to_owned(), "1.0.0".to_owned())].into());
    kept.wait_until_served_by("guests/1.0.0.wasm", "").await;
    kept.host.set_pins(BTreeMap::new());
    kept.wait_until_served_by("guests/2.0.0.wasm", "").await;
}

#[tokio::test]
async fn a_pin_is_kept_and_a_file_beside_the_folder_is_passed_over() {
    let files: &[(&str, &[u8])] = &[
        ("guests/1.0.0.wasm", &guests_bytes(1)),
        ("guests/2.0.0.wasm", &guests_bytes(2)),
        ("guests.wasm", &guests_bytes(3)),
    ];
    let kept = Kept::start_with(host(Limits::default()), files, &[("guests", "1.0.0")]).await;
    kept.wait_until_served_by("guests/1.0.0.wasm", "").await;
    let [refused] = &kept.host.refused()[..] else { panic!("{:?}", kept.host.refused()) };
    assert_eq!(refused.file, "guests.wasm");
    assert_says(&refused.reason, &["belongs to the versions in `guests/`", "remove"]);
}

#[tokio::test]
async fn what_was_refused_for_a_full_disk_is_tried_again() {
    let temp = TempDir::new().unwrap();
    let room = temp.path().join("room");
    // Compiles when there is room, and fails before as on a full disk.
    let script = format!(
        "test -e {room:?} || {{ echo cannot write: is the disk full? >&2; exit 74; }}; exec {:?} \"$@\"",
        compiler().program
    );
    let args = ["-c", &script, "compiler"].map(Into::into).to_vec();
    let host = Host::start(HostConfig {
        cache_dir: temp.path().join("cache"),
        compiler: CompilerCommand { program: "/bin/sh".into(), args },
        limits: Limits::default(),
        reserved: Vec::new(),
        grants: Grants::default(),
        state_dir: temp.path().join("state"),
        surroundings: Surroundings::default(),
    });
    let files: &[(&str, &[u8])] = &[("guests.wasm", &guests_bytes(1))];
    let kept = Kept::start_with(host.unwrap(), files, &[]).await;
    let (status, reason) = kept.wait_until_refused().await;
    assert_says(&reason, &["is the disk full?"]);
    assert!(status.state == PluginState::Refused && status.next.unwrap().retry_at.is_some());

    fs::write(room, "").unwrap();
    kept.wait_until_served_by("guests.wasm", "").await;
}

#[tokio::test]
async fn a_pipe_in_place_of_a_file_holds_up_nobody() {
    let pipe = TempDir::new().unwrap();
    let path = pipe.path().join("pipe.wasm");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let kept = Kept::start(&[("guests.wasm", &guests_bytes(1))]).await;
    assert!(kept.host.load_file(&path).await.is_err());
    symlink(&path, kept.path("pipe.wasm")).unwrap();
    kept.wait("refusal", |list| list.plugins.iter().any(|p| p.name == "pipe")).await;
    assert_says(&kept.host.refused()[0].reason, &["no file"]);
}

#[tokio::test]
async fn a_directory_that_goes_away_leaves_what_serves_and_is_found_again() {
    let kept = Kept::start(&[("guests.wasm", &guests_bytes(1))]).await;
    let aside = TempDir::new().unwrap();
    let aside = aside.path().join("plugins");
    fs::rename(kept.directory.path(), &aside).unwrap();
    let list = kept.wait("trouble", |list| list.trouble.is_some()).await;
    assert_says(&list.trouble.unwrap(), &["cannot read the plugin directory"]);
    answer(&kept.host, "empty", json!({})).await;

    fs::rename(&aside, kept.directory.path()).unwrap();
    kept.wait("end of the trouble", |list| list.trouble.is_none()).await;
    fs::remove_file(kept.path("guests.wasm")).unwrap();
    kept.wait("end of the plugin", |list| list.plugins.is_empty()).await;
}

#[tokio::test]
async fn a_hundred_plugins_load_together() {
    let bytes = guests_bytes(1);
    let names: Vec<_> = (0..100).map(|number| format!("guests{number}.wasm")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), bytes.as_slice())).collect();
    let kept = Kept::start(&files).await;
    assert_eq!(kept.host.plugins().len(), 100, "{:?}", kept.host.refused());
}
