//! Images from and to registries and archives.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drover_sdk::{Failure, data, job, task};
use serde_json::{Map, Value};

use super::{Image, credentials, image_id, name_and_tag};
use crate::container::archive;
use crate::engine::messages::Message;
use crate::engine::{Engine, failure, path};

/// The header with the credentials for one registry.
const CREDENTIALS: &str = "x-registry-auth";

/// Gets an image from its registry.
///
/// Idempotent: what is there already is not transferred again. How far it is
/// is reported as progress. Credentials for the registry are in the command's
/// `data`: `{"username": …, "password": …, "serveraddress": …}`. An image that
/// the registry does not have is `not-found`, and wrong credentials are
/// `unauthorized`.
#[task]
pub(crate) fn image_pull(
    /// Its name, with tag or digest; the tag `latest` if there is none.
    #[schemars(length(min = 1))]
    image: String,
    /// Operating system and architecture, such as `linux/arm64`.
    platform: Option<String>,
) -> Result<Image, Failure> {
    let credentials = credentials()?;
    pull(&Engine::connect()?, &image, platform.as_deref(), credentials.as_ref())
}

/// Gets an image, with progress.
pub(crate) fn pull(
    engine: &Engine,
    image: &str,
    platform: Option<&str>,
    credentials: Option<&Map<String, Value>>,
) -> Result<Image, Failure> {
    // A report that nobody can read is not worth the job.
    pull_with(engine, image, platform, credentials, |message| drop(job::progress(message)))
}

/// Gets an image, and gives all messages of the engine to `tell`.
pub(crate) fn pull_with(
    engine: &Engine,
    image: &str,
    platform: Option<&str>,
    credentials: Option<&Map<String, Value>>,
    tell: impl Fn(&Message),
) -> Result<Image, Failure> {
    let before = image_id(engine, image)?;
    let (name, tag) = name_and_tag(image);
    let call = engine.post("/images/create", format_args!("pull image {image}"));
    let call = call.query("fromImage", name).query("tag", tag).query_if("platform", platform);
    call.credentials(CREDENTIALS, credentials)?.send()?.messages().each(tell)?;
    let Some(id) = image_id(engine, image)? else {
        let message = format!("image {image} was pulled and is not there: somebody removed it");
        return Err(Failure::new(failure::NOT_FOUND, message));
    };
    Ok(Image { changed: before.as_ref() != Some(&id), id })
}

/// Sends an image to its registry.
///
/// Idempotent: what is there already is not transferred again. How far it is
/// is reported as progress. Credentials are in `data`, as for `image_pull`.
#[task]
pub(crate) fn image_push(
    /// Its name, with the registry in front; the tag `latest` if there is none.
    #[schemars(length(min = 1))]
    image: String,
) -> Result<Pushed, Failure> {
    let credentials = credentials()?.unwrap_or_default();
    let engine = Engine::connect()?;
    let (name, tag) = name_and_tag(&image);
    let path = format!("/images/{}/push", path::image(name)?);
    let call = engine.post(path, format_args!("push image {image}")).query("tag", tag);
    // The engine wants the header even if it is empty.
    let call = call.credentials(CREDENTIALS, Some(&credentials))?;
    let attached = call.send()?.messages().report()?;
    let digest = attached.iter().rev().find_map(|value| value["Digest"].as_str());
    Ok(Pushed { digest: digest.map(str::to_owned) })
}

/// An image that a registry has now.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Pushed {
    /// Its digest there.
    digest: Option<String>,
}

/// Packs images into an archive that `image_load` understands.
///
/// Changes nothing. An archive of more than 11 MiB is `too-long`: push the
/// image to a registry.
#[task]
pub(crate) fn image_save(
    /// Which ones.
    #[schemars(length(min = 1))]
    images: Vec<String>,
) -> Result<ImageArchive, Failure> {
    let engine = Engine::connect()?;
    let mut call = engine.get("/images/get", format_args!("save {}", images.join(", ")));
    for image in &images {
        call = call.query("names", image);
    }
    Ok(ImageArchive { tar: STANDARD.encode(&call.send()?.bytes(archive::MOST)?) })
}

/// Images in an archive.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct ImageArchive {
    /// A tar archive in base64.
    tar: String,
}

/// Takes images out of an archive that `image_save` made.
///
/// The archive is the command's `data`, or `tar` in base64. Idempotent.
#[task]
pub(crate) fn image_load(
    /// The archive in base64, if it is not in `data`.
    tar: Option<String>,
) -> Result<Loaded, Failure> {
    let archive = archive::given(tar)?;
    let engine = Engine::connect()?;
    let mut messages = engine.post("/images/load", "load images").tar(archive).send()?.messages();
    let mut images = Vec::new();
    while let Some(message) = messages.next()? {
        let text = message.stream.trim();
        let loaded = text.strip_prefix("Loaded image: ");
        if let Some(image) = loaded.or_else(|| text.strip_prefix("Loaded image ID: ")) {
            images.push(image.to_owned());
        }
    }
    Ok(Loaded { images })
}

/// Images that are there now.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct Loaded {
    /// Their names, or ids where they have none.
    images: Vec<String>,
}

/// Makes an image of the files in an archive.
///
/// The archive is the command's `data`, or `tar` in base64. Not idempotent: an
/// image has its time in it, so each one is another.
#[task]
pub(crate) fn image_import(
    /// The image's name, without a tag.
    #[schemars(length(min = 1))]
    repository: String,
    /// The tag.
    #[default("latest")]
    tag: String,
    /// What the containers are by default, as in a Dockerfile:
    /// `["CMD [\"/app\"]", "ENV A=1"]`.
    #[serde(default)]
    changes: Vec<String>,
    /// The archive in base64, if it is not in `data`.
    tar: Option<String>,
) -> Result<Image, Failure> {
    let archive = archive::given(tar)?;
    let engine = Engine::connect()?;
    let name = format!("{repository}:{tag}");
    let mut call = engine.post("/images/create", format_args!("import image {name}"));
    call = call.query("fromSrc", "-").query("repo", repository).query("tag", tag);
    for change in changes {
        call = call.query("changes", change);
    }
    let mut messages = call.tar(archive).send()?.messages();
    let mut id = String::new();
    while let Some(message) = messages.next()? {
        id = message.status;
    }
    Ok(Image { id, changed: true })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{on, run, run_with};

    const PULL: &str = "POST /images/create?fromImage=r:5000/app&tag=1";
    const INSPECT: &str = "GET /images/r:5000/app:1/json";

    #[test]
    fn a_pull_tells_whether_the_image_is_another_one() {
        for (before, changed) in [("sha256:a", false), ("sha256:b", true)] {
            let exchanges = vec![
                on(INSPECT, 200, json!({ "Id": before }).to_string()),
                on(PULL, 200, r#"{"status":"Pulling from app","id":"1"}"#),
                on(INSPECT, 200, r#"{"Id":"sha256:a"}"#),
            ];
            let outcome = run("image_pull", &json!({ "image": "r:5000/app:1" }), exchanges);
            let expected = json!({ "id": "sha256:a", "changed": changed });
            assert_eq!(outcome.answer.unwrap(), expected);
            assert_eq!(outcome.heard.progress.len(), 1);
        }
    }

    #[test]
    fn credentials_that_are_no_json_are_refused_without_being_told() {
        let arguments = json!({ "image": "app" });
        let outcome = run_with(b"hunter2".to_vec(), "image_pull", &arguments, Vec::new());
        assert_eq!(outcome.code(), failure::INVALID);
        assert!(!outcome.answer.unwrap_err().message.contains("hunter2"));
    }

    #[test]
    fn a_push_that_is_refused_in_the_middle_has_its_code() {
        let body = r#"{"status":"Preparing"}{"error":"unauthorized: authentication required"}"#;
        let exchanges = vec![on("POST /images/app/push?tag=latest", 200, body)];
        let outcome = run("image_push", &json!({ "image": "app" }), exchanges);
        assert_eq!(outcome.code(), failure::UNAUTHORIZED);
    }

    #[test]
    fn what_was_loaded_has_names_or_ids() {
        let body = concat!(
            "{\"stream\":\"Loaded image: app:1\\n\"}\n",
            "{\"stream\":\"Loaded image ID: sha256:0a\\n\"}\n"
        );
        let exchanges = vec![on("POST /images/load", 200, body)];
        let outcome = run_with(b"tar".to_vec(), "image_load", &json!({}), exchanges);
        assert_eq!(outcome.answer.unwrap(), json!({ "images": ["app:1", "sha256:0a"] }));
    }

    #[test]
    fn an_import_answers_with_the_id() {
        let request = "POST /images/create?fromSrc=-&repo=app&tag=latest&changes=CMD%20a";
        let exchanges = vec![on(request, 200, r#"{"status":"sha256:0a"}"#)];
        let arguments = json!({ "repository": "app", "changes": ["CMD a"], "tar": "dGFy" });
        let outcome = run("image_import", &arguments, exchanges);
        assert_eq!(outcome.bodies, [b"tar"]);
        assert_eq!(outcome.answer.unwrap(), json!({ "id": "sha256:0a", "changed": true }));
    }
}
