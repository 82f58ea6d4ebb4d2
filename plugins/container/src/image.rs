//! Images.
//!
//! Credentials for registries come as the command's `data`, which is in no log
//! and no result: `{"username": …, "password": …, "serveraddress": …}` or
//! `{"identitytoken": …}`.

pub(crate) mod build;
pub(crate) mod transfer;

use drover_sdk::{Failure, Json, data, job, task};
use serde_json::{Map, Value};

use crate::container::{Change, Filters};
use crate::engine::{Engine, failure, path};
use crate::models::{ImageDetails, ImageSummary, Pruned, RemovedImage};

/// Lists images.
///
/// Changes nothing.
#[task]
pub(crate) fn image_list(
    /// Whether to list those in the middle of a build as well.
    #[default(false)]
    all: bool,
    /// Which ones, as in `{"reference": ["app:*"], "dangling": ["true"]}`:
    /// filters are `before`, `dangling`, `label`, `reference` and `since`.
    #[serde(default)]
    filters: Filters,
) -> Result<Json<Vec<ImageSummary>>, Failure> {
    let engine = Engine::connect()?;
    let call = engine.get("/images/json", "list images");
    call.query_if("all", all.then_some(true)).query_json("filters", &filters)?.send()?.pass()
}

/// Shows everything of one image.
///
/// Changes nothing.
#[task]
pub(crate) fn image_inspect(
    /// Its name, digest or id.
    image: String,
) -> Result<Json<ImageDetails>, Failure> {
    inspect_image(&Engine::connect()?, &image)
}

/// Everything of one image.
pub(crate) fn inspect_image(engine: &Engine, image: &str) -> Result<Json<ImageDetails>, Failure> {
    let path = format!("/images/{}/json", path::image(image)?);
    engine.get(path, format_args!("inspect image {image}")).send()?.pass()
}

/// The id of an image, if it is there.
pub(crate) fn image_id(engine: &Engine, image: &str) -> Result<Option<String>, Failure> {
    match inspect_image(engine, image) {
        Ok(details) => Ok(Some(details.read::<ImageDetails>()?.id)),
        Err(failure) if failure.code == failure::NOT_FOUND => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Gives an image another name.
///
/// Idempotent. An image that had the name before loses it.
#[task]
pub(crate) fn image_tag(
    /// Its name, digest or id.
    image: String,
    /// The new name, without a tag.
    #[schemars(length(min = 1))]
    repository: String,
    /// The tag.
    #[default("latest")]
    tag: String,
) -> Result<Change, Failure> {
    let engine = Engine::connect()?;
    let name = format!("{repository}:{tag}");
    let (before, wanted) = (image_id(&engine, &name)?, image_id(&engine, &image)?);
    if before.is_some() && before == wanted {
        return Ok(Change { changed: false });
    }
    let path = format!("/images/{}/tag", path::image(&image)?);
    let call = engine.post(path, format_args!("tag image {image} as {name}"));
    call.query("repo", repository).query("tag", tag).send()?;
    Ok(Change { changed: true })
}

/// Removes an image, or one of its names if it has others.
///
/// One that is not there is `not-found`, and one that containers use is a
/// `conflict`.
#[task]
pub(crate) fn image_remove(
    /// Its name, digest or id.
    image: String,
    /// Whether to remove it although it has several names, or containers that
    /// do not run use it.
    #[default(false)]
    force: bool,
    /// Whether to keep what it was made of.
    #[default(false)]
    no_prune: bool,
) -> Result<Json<Vec<RemovedImage>>, Failure> {
    let engine = Engine::connect()?;
    let path = format!("/images/{}", path::image(&image)?);
    let call = engine.delete(path, format_args!("remove image {image}"));
    let call = call.query_if("force", force.then_some(true));
    call.query_if("noprune", no_prune.then_some(true)).send()?.pass()
}

/// Removes images that no container uses.
///
/// Those without a name; with the filter `{"dangling": ["false"]}` the others
/// too. Doing it again finds nothing more to remove.
#[task]
pub(crate) fn image_prune(
    /// Which ones, as in `{"dangling": ["false"], "until": ["24h"]}`.
    #[serde(default)]
    filters: Filters,
) -> Result<Json<Pruned>, Failure> {
    let engine = Engine::connect()?;
    let call = engine.post("/images/prune", "remove images that nothing uses");
    call.query_json("filters", &filters)?.send()?.pass()
}

/// An image that is there now.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Image {
    /// Its id.
    pub(crate) id: String,
    /// Whether it is another one than before, or was not there.
    pub(crate) changed: bool,
}

/// The credentials for registries that came as the command's `data`.
fn credentials() -> Result<Option<Map<String, Value>>, Failure> {
    let data = job::data();
    if data.is_empty() {
        return Ok(None);
    }
    // What is wrong with it is not told, as the parser's words could have parts of it.
    let text = String::from_utf8_lossy(&data);
    serde_json::from_str(&text).map(Some).map_err(|_| {
        let message = "`data` is no JSON object: put `username`, `password` and `serveraddress`, or \
                       `identitytoken`, in one";
        Failure::new(failure::INVALID, message)
    })
}

/// A reference split into name and tag; without a tag it is `latest`, so that
/// the engine does not take all there are.
fn name_and_tag(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (name_and_tag(name).0, digest);
    }
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{on, run};

    #[test]
    fn a_name_that_an_image_has_already_is_no_change() {
        let exchanges = vec![
            on("GET /images/r:5000/app:1/json", 200, r#"{"Id":"sha256:a"}"#),
            on("GET /images/app/json", 200, r#"{"Id":"sha256:a"}"#),
        ];
        let arguments = json!({ "image": "app", "repository": "r:5000/app", "tag": "1" });
        let outcome = run("image_tag", &arguments, exchanges);
        assert_eq!(outcome.answer.unwrap(), json!({ "changed": false }));
    }

    #[test]
    fn a_reference_comes_apart_at_its_tag_and_not_at_a_port() {
        for (reference, expected) in [
            ("app", ("app", "latest")),
            ("app:1", ("app", "1")),
            ("r:5000/app", ("r:5000/app", "latest")),
            ("r:5000/app:1", ("r:5000/app", "1")),
            ("app@sha256:0a", ("app", "sha256:0a")),
            ("r:5000/app:1@sha256:0a", ("r:5000/app", "sha256:0a")),
        ] {
            assert_eq!(name_and_tag(reference), expected);
        }
    }
}
