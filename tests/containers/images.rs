//! Images built, named, moved and removed.

use data_encoding::BASE64;
use drover_engine_tests::{REGISTRY, archive};
use serde_json::json;

use crate::kit::on_both;

#[test]
fn an_image_is_built_pushed_pulled_and_removed() {
    on_both(|node| {
        let dockerfile =
            "FROM busybox:1\nLABEL made=here\nRUN echo hi\nCOPY f /f\nCMD [\"cat\", \"/f\"]\n";
        let context = archive(&[("Dockerfile", dockerfile), ("f", "built\n")]);
        let built = node.call_with("image_build", json!({ "tags": ["baked:1"] }), &context);
        let shown = node.call("image_inspect", json!({ "image": "baked:1" }));
        assert_eq!(
            (&shown["Id"], &shown["Config"]["Labels"]["made"]),
            (&built["id"], &json!("here"))
        );
        let ran = node.call("run", json!({ "container": { "image": "baked:1" } }));
        assert_eq!(ran["output"]["stdout"], "built\n");
        let wrong = archive(&[("Dockerfile", "FROM busybox:1\nRUN exit 3\n")]);
        let wrong = json!({ "tar": BASE64.encode(&wrong) });
        node.fails("image_build", wrong).is("engine-failed", "returned a non-zero code: 3");

        let repository = format!("{REGISTRY}/baked");
        let name = format!("{repository}:1");
        node.call("image_tag", json!({ "image": "baked:1", "repository": repository, "tag": "1" }));
        let pushed = node.call("image_push", json!({ "image": name }));
        assert!(pushed["digest"].as_str().unwrap().starts_with("sha256:"), "{pushed}");
        for image in ["baked:1", &name] {
            node.call("image_remove", json!({ "image": image, "force": true }));
        }
        node.fails("image_inspect", json!({ "image": name })).is("not-found", "baked");
        let mut pull = node.start("image_pull", json!({ "image": name }));
        assert!(pull.report(node).unwrap()["status"].as_str().unwrap().contains("Pulling"));
        let pulled = pull.answer(node);
        assert_eq!((&pulled["id"], &pulled["changed"]), (&built["id"], &json!(true)));
        assert_eq!(node.call("image_pull", json!({ "image": name }))["changed"], false);
        let none = json!({ "image": format!("{repository}:none") });
        node.fails("image_pull", none).is("not-found", "cannot pull image");
        node.call("image_remove", json!({ "image": name }));
    });
}

#[test]
fn an_image_goes_into_an_archive_and_back() {
    on_both(|node| {
        let files = archive(&[("file", "imported")]);
        let asked = json!({ "repository": "packed", "tag": "1" });
        let imported = node.call_with("image_import", asked, &files);
        let saved = node.call("image_save", json!({ "images": ["packed:1"] }));
        node.call("image_remove", json!({ "image": "packed:1" }));
        for _ in 0..2 {
            let loaded = node.call("image_load", json!({ "tar": saved["tar"] }));
            assert_eq!(loaded, json!({ "images": ["packed:1"] }));
        }
        let shown = node.call("image_inspect", json!({ "image": "packed:1" }));
        assert_eq!(shown["Id"], imported["id"]);
        let listed = node.call("image_list", json!({ "filters": { "reference": ["packed"] } }));
        assert_eq!(listed[0]["RepoTags"], json!(["packed:1"]));
        node.call("image_remove", json!({ "image": "packed:1" }));
        node.fails("image_remove", json!({ "image": "packed:1" })).is("not-found", "packed:1");
        node.call("image_prune", json!({}));
    });
}
