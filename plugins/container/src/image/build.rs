//! Images built from a Dockerfile.

use std::collections::BTreeMap;

use drover_sdk::{Failure, data, task};

use crate::container::archive;
use crate::engine::{Engine, failure};

/// Builds an image from the Dockerfile in an archive.
///
/// The archive is the command's `data`, or `tar` in base64. What the build says
/// is reported as progress. As idempotent as the Dockerfile: steps that were
/// done before are not done again.
#[task]
#[expect(clippy::too_many_arguments, reason = "each is an argument of the operation")]
pub(crate) fn image_build(
    /// The names of the image, each with its tag.
    #[serde(default)]
    tags: Vec<String>,
    /// The Dockerfile in the archive.
    #[default("Dockerfile")]
    dockerfile: String,
    /// Values of the Dockerfile's `ARG`s.
    #[serde(default)]
    arguments: BTreeMap<String, String>,
    /// Labels of the image.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// The stage to stop at.
    target: Option<String>,
    /// Whether to do all steps anew.
    #[default(false)]
    no_cache: bool,
    /// Whether to get a newer version of what it is built on.
    #[default(false)]
    pull: bool,
    /// Operating system and architecture, such as `linux/arm64`.
    platform: Option<String>,
    /// The archive in base64, if it is not in `data`.
    tar: Option<String>,
) -> Result<Built, Failure> {
    let archive = archive::given(tar)?;
    let engine = Engine::connect()?;
    let name = tags.first().map_or("without a name", String::as_str);
    let mut call = engine.post("/build", format_args!("build image {name}"));
    for tag in &tags {
        call = call.query("t", tag);
    }
    call = call.query("dockerfile", dockerfile).query_json("buildargs", &arguments)?;
    call = call.query_json("labels", &labels)?.query_if("target", target);
    call = call.query_if("nocache", no_cache.then_some(true));
    call = call.query_if("pull", pull.then_some(true)).query_if("platform", platform);
    let attached = call.tar(archive).send()?.messages().report()?;
    let id = attached.iter().rev().find_map(|value| value["ID"].as_str());
    let id = id.ok_or_else(|| {
        let message = format!("cannot build image {name}: the engine ended without an image");
        Failure::new(failure::ENGINE_BROKEN, message)
    })?;
    Ok(Built { id: id.to_owned() })
}

/// An image that was built.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Built {
    /// Its id.
    id: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{on, run};

    const BUILD: &str = "POST /build?t=app:1&dockerfile=Dockerfile&buildargs=%7B%22A%22:%221%22%7D";

    fn arguments() -> serde_json::Value {
        json!({ "tags": ["app:1"], "arguments": { "A": "1" }, "tar": "dGFy" })
    }

    #[test]
    fn a_build_says_what_it_does_and_answers_with_the_id() {
        let body = r#"{"stream":"Step 1/1"}{"aux":{"ID":"sha256:0a"}}{"stream":"done"}"#;
        let outcome = run("image_build", &arguments(), vec![on(BUILD, 200, body)]);
        assert_eq!(outcome.heard.progress.len(), 2);
        assert_eq!(outcome.answer.unwrap(), json!({ "id": "sha256:0a" }));
    }

    #[test]
    fn a_step_that_fails_is_the_answer_and_so_is_an_end_without_an_image() {
        let body = r#"{"stream":"Step 1/1"}{"error":"The command returned a non-zero code: 2"}"#;
        let outcome = run("image_build", &arguments(), vec![on(BUILD, 200, body)]);
        assert_eq!(outcome.code(), failure::ENGINE_FAILED);
        let outcome = run("image_build", &arguments(), vec![on(BUILD, 200, "{}")]);
        assert_eq!(outcome.code(), failure::ENGINE_BROKEN);
    }
}
