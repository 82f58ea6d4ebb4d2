//! Components that no compiler of a language makes, and that are meant to do
//! harm. After each, the host answers to others as before.
//!
//! What guests in Rust can do is beside it: `running.rs` has memory, the stack and
//! floods, `ending.rs` time, `escaping.rs` files, `granting.rs` names and others'
//! state, `http.rs` the network, `describing.rs` wrong schemas, `cache.rs` code of
//! others.

use std::fs;
use std::time::Duration;

use drover_api::{ErrorCode, JobState};
use drover_plugin_host::{Host, Job, Limits, Outcome};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::components::{text_plugin, text_plugin_with_memory};
use crate::kit::{PATIENCE, answer, assert_says, error, guests, job, refusal};

/// A host with `guests`, who behave, and a directory for one who does not.
struct Site {
    host: Host,
    directory: TempDir,
}

impl Site {
    async fn new(limits: Limits) -> Self {
        Self { host: guests(limits).await, directory: TempDir::new().unwrap() }
    }

    async fn load(&self, component: &[u8]) {
        let path = self.directory.path().join("hostile.wasm");
        fs::write(&path, component).unwrap();
        timeout(PATIENCE, self.host.load_file(&path)).await.unwrap().unwrap();
    }

    async fn refused(&self, component: &[u8]) -> String {
        let path = self.directory.path().join("hostile.wasm");
        fs::write(&path, component).unwrap();
        timeout(PATIENCE, refusal(&self.host, &path)).await.unwrap()
    }

    async fn run(&self) -> Outcome {
        let job = Job { plugin: "hostile".into(), ..job("run", json!({})) };
        timeout(PATIENCE, self.host.run(job)).await.unwrap()
    }

    async fn is_unharmed(&self) {
        assert_eq!(answer(&self.host, "echo", json!({ "value": 7 })).await, 7);
    }
}

#[tokio::test]
async fn a_plugin_in_the_text_format_is_one_like_others() {
    let site = Site::new(Limits::default()).await;
    site.load(&text_plugin("", "")).await;
    let outcome = site.run().await;
    assert_eq!((outcome.state, &*outcome.data), (JobState::Ok, &json!(null)));
}

#[tokio::test]
async fn tables_grow_as_far_as_they_may() {
    let site = Site::new(Limits::default()).await;
    let grow = "(loop $again
        (br_if $again (i32.ne (i32.const -1) (table.grow $t (ref.null func) (i32.const 1000)))))
        ;; All of it is there, and there is a bound.
        (if (i32.gt_u (table.size $t) (i32.const 100000)) (then unreachable))";
    site.load(&text_plugin(grow, "(table $t 1 funcref)")).await;
    for _ in 0..10 {
        assert_eq!(site.run().await.state, JobState::Ok);
    }
    site.is_unharmed().await;
}

#[tokio::test]
async fn tables_and_memories_that_begin_too_large_are_refused() {
    let site = Site::new(Limits::default()).await;
    let text = site.refused(&text_plugin("", "(table 10000000 funcref)")).await;
    assert_says(&text, &["hostile.wasm", "table"]);
    let memory = "(memory (export \"memory\") 65536)";
    assert_says(&site.refused(&text_plugin_with_memory(memory, "", "")).await, &["hostile.wasm"]);
    // One byte at each end: a picture of all that is between would be 4 GiB.
    let ends = "(data (i32.const 1000000) \"a\") (data (i32.const -1) \"b\")";
    assert_says(&site.refused(&text_plugin_with_memory(memory, "", ends)).await, &["hostile.wasm"]);
    site.is_unharmed().await;
}

#[tokio::test]
async fn a_hundred_thousand_functions_serve_or_are_refused_in_time() {
    let site = Site::new(Limits { compile_timeout: PATIENCE / 2, ..Limits::default() }).await;
    let functions: String = (0..100_000)
        .map(|n| format!("(func (param i32) (result i32) (i32.add (local.get 0) (i32.const {n})))"))
        .collect();
    let path = site.directory.path().join("hostile.wasm");
    fs::write(&path, text_plugin("", &functions)).unwrap();
    if timeout(PATIENCE, site.host.load_file(&path)).await.unwrap().is_ok() {
        assert_eq!(site.run().await.state, JobState::Ok);
    }
    site.is_unharmed().await;
}

/// Each level makes two instances of the one below: a few hundred bytes that
/// unfold to a thousand million instances.
#[tokio::test]
async fn what_unfolds_without_end_is_refused_by_its_compiler_alone() {
    let limits = Limits { compile_timeout: Duration::from_secs(5), ..Limits::default() };
    let site = Site::new(limits).await;
    let mut bomb = "(component $c (core module $m (func (export \"f\"))) \
                    (core instance (instantiate $m)))"
        .to_owned();
    for _ in 0..30 {
        bomb = format!(
            "(component $c {bomb} (instance (instantiate $c)) (instance (instantiate $c)))"
        );
    }
    let bomb = wat::parse_str(&bomb).unwrap();
    assert!(bomb.len() < 4 << 10, "{}", bomb.len());
    assert_says(&site.refused(&bomb).await, &["hostile.wasm", "cannot be compiled"]);
    site.is_unharmed().await;
}

#[tokio::test]
async fn streams_without_asynchronous_operations_are_refused_with_their_cure() {
    let site = Site::new(Limits::default()).await;
    let stream = "(component (type (stream u8)) (import \"a\" (func (param \"s\" (stream u8)))))";
    let text = site.refused(&wat::parse_str(stream).unwrap()).await;
    assert_says(&text, &["hostile.wasm", "cannot be compiled", "drover:plugin/async-operations"]);
    site.is_unharmed().await;
}

#[tokio::test]
async fn a_gigabyte_is_not_even_copied() {
    let limits = Limits { memory_bytes: 2 << 30, ..Limits::default() };
    let site = Site::new(limits).await;
    // The answer's length is the word at 136.
    let claim = "(i32.store (i32.const 136) (i32.const 1073741824))";
    let memory = "(memory (export \"memory\") 16386)";
    site.load(&text_plugin_with_memory(memory, claim, "")).await;
    error(&site.run().await, ErrorCode::InvalidAnswer);
    // Beyond the end of its memory it is a mistake of another kind.
    site.load(&text_plugin(claim, "")).await;
    error(&site.run().await, ErrorCode::Trapped);
    site.is_unharmed().await;
}

#[tokio::test]
async fn who_sleeps_past_the_deadline_is_ended() {
    let site = Site::new(Limits::default()).await;
    let sleep = Job {
        timeout: Some(Duration::from_millis(100)),
        ..job("sleep", json!({ "ms": 3_600_000 }))
    };
    error(&timeout(PATIENCE, site.host.run(sleep)).await.unwrap(), ErrorCode::Timeout);
    site.is_unharmed().await;
}
