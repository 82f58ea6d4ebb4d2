//! Images made, named, moved and removed.

use drover_engine_tests::{Story, archive};
use serde_json::json;

use crate::listing::filters;
use crate::tell;

/// An image of one file, which no other story has.
fn import(it: &mut Story, name: &str) {
    let path = format!("/images/create?fromSrc=-&repo={name}&tag=1");
    it.send_tar("POST", &path, &archive(&[("file", name)]));
}

#[test]
fn an_image_has_names() {
    tell(|it| {
        import(it, "named");
        it.get("/images/named:1/json");
        it.get(&format!("/images/json?{}", filters(&json!({"reference": ["named"]}))));
        it.post("/images/named:1/tag?repo=named&tag=2");
        it.post("/images/named:1/tag?repo=deep/named");
        it.post("/images/named:1/tag?repo=BAD&tag=2");
        it.post("/images/none/tag?repo=named&tag=2");
        it.get(&format!("/images/json?{}", filters(&json!({"reference": ["named:2"]}))));
        it.get(&format!("/images/json?{}", filters(&json!({"reference": ["*/named"]}))));
        it.get("/images/named:2/history");
        it.get("/images/none/json");
        it.get(&format!("/images/json?{}", filters(&json!({"bogus": ["x"]}))));
        it.ask("DELETE", "/images/named:1");
        it.ask("DELETE", "/images/named:1");
        it.ask("DELETE", "/images/deep/named");
        it.ask("DELETE", "/images/named:2");
        it.ask("DELETE", "/images/none");
    });
}

#[test]
fn an_image_in_use_is_kept() {
    tell(|it| {
        import(it, "inuse");
        let wanted = json!({"Image": "inuse:1", "Cmd": ["x"]});
        it.post_json("/containers/create?name=inuse", &wanted);
        it.ask("DELETE", "/images/inuse:1");
        it.remove("inuse");
        it.ask("DELETE", "/images/inuse:1");
    });
}

#[test]
fn a_saved_image_can_be_loaded() {
    tell(|it| {
        import(it, "saved");
        let saved = it.quietly("GET", "/images/saved:1/get", "", b"");
        it.note(&format!("{} {:?}", saved.status, saved.header("content-type")));
        it.ask("DELETE", "/images/saved:1");
        it.send_tar("POST", "/images/load", &saved.body);
        it.send_tar("POST", "/images/load?quiet=1", &saved.body);
        it.get("/images/saved:1/json");
        it.get("/images/none/get");
        it.ask("DELETE", "/images/saved:1");
    });
}

#[test]
fn an_image_is_built_step_by_step() {
    tell(|it| {
        let dockerfile = "FROM busybox:1\nENV A=1 B=two\nLABEL made=here\nRUN echo hi\n\
                          COPY f /f\nWORKDIR /tmp\nEXPOSE 80\nCMD [\"cat\", \"/f\"]\n";
        let context = archive(&[("Dockerfile", dockerfile), ("f", "built\n")]);
        let steps = |body: &[u8]| -> String {
            let lines = serde_json::Deserializer::from_slice(body)
                .into_iter::<serde_json::Value>()
                .flatten()
                .map(|line| line["stream"].as_str().unwrap_or_default().to_owned());
            lines.filter(|line| !line.contains("[Warning]")).collect()
        };
        let tar = "Content-Type: application/x-tar\r\n";
        let built = it.quietly("POST", "/build?t=built:1", tar, &context);
        it.note(&steps(&built.body));
        let again = it.quietly("POST", "/build?t=built:1", tar, &context);
        it.note(&steps(&again.body));
        it.send_tar("POST", "/build?t=built:1&q=1", &context);
        let image = it.quietly("GET", "/images/built:1/json", "", b"").json();
        for name in ["Env", "Cmd", "Labels", "WorkingDir", "ExposedPorts"] {
            it.note(&format!("{name}: {}", image["Config"][name]));
        }
        it.post_json("/containers/create?name=built", &json!({"Image": "built:1"}));
        it.start("built");
        it.post("/containers/built/wait");
        let log = it.open("GET", "/containers/built/logs?stdout=1", "", b"");
        it.note_output(log);
        it.remove("built");
        it.ask("DELETE", "/images/built:1");
    });
}

#[test]
fn a_build_that_fails_says_where() {
    tell(|it| {
        let build = |it: &mut Story, dockerfile: &str| {
            let context = archive(&[("Dockerfile", dockerfile)]);
            let tar = "Content-Type: application/x-tar\r\n";
            let answer = it.quietly("POST", "/build", tar, &context);
            let last = serde_json::Deserializer::from_slice(&answer.body)
                .into_iter::<serde_json::Value>()
                .flatten()
                .last();
            it.note(&format!("{dockerfile:?}: {} {}", answer.status, last.unwrap_or_default()));
        };
        build(it, "FROM busybox:1\nRUN exit 3\n");
        build(it, "FROM busybox:1\nCOPY none /x\n");
        build(it, "FROM busybox:1\nBOGUS x\n");
        it.send_tar("POST", "/build", &archive(&[("other", "")]));
        it.send_tar("POST", "/build?dockerfile=none", &archive(&[("other", "")]));
    });
}

#[test]
fn pruning_removes_images_that_nobody_uses() {
    tell(|it| {
        let labelled = |label: &str| {
            archive(&[(
                "Dockerfile",
                &format!("FROM scratch\nLABEL group={label}\nENV A={label}\n"),
            )])
        };
        let tar = "Content-Type: application/x-tar\r\n";
        // The second takes the name of the first, which has none then.
        for label in ["pruned", "kept"] {
            it.quietly("POST", "/build?t=pruning:1&q=1", tar, &labelled(label));
        }
        let of = |group: &str, more: &str| {
            let mut all = json!({ "label": [format!("group={group}")] });
            if !more.is_empty() {
                all["dangling"] = json!([more]);
            }
            format!("/images/prune?{}", filters(&all))
        };
        let kinds = |it: &mut Story, path: &str| {
            let pruned = it.quietly("POST", path, "", b"");
            let pruned = pruned.json();
            let kinds = pruned["ImagesDeleted"].as_array().into_iter().flatten();
            let kinds = kinds.filter_map(|one| one.as_object()).flat_map(|one| one.keys().cloned());
            let mut kinds: Vec<_> = kinds.collect();
            kinds.sort_unstable();
            kinds.dedup();
            it.note(&format!("{path}: {kinds:?} {}", pruned["ImagesDeleted"].is_null()));
        };
        kinds(it, &of("pruned", ""));
        kinds(it, &of("pruned", ""));
        kinds(it, &of("kept", "true"));
        it.post_json(
            "/containers/create?name=pruning",
            &json!({"Image": "pruning:1", "Cmd": ["x"]}),
        );
        kinds(it, &of("kept", "false"));
        it.remove("pruning");
        kinds(it, &of("kept", "false"));
        it.get("/images/pruning:1/json");
        it.post(&of("kept", "bogus"));
    });
}
