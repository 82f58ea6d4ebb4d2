//! Images from and to registries.

use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

use super::images::lines;
use crate::engine::answer::{Answer, Refusal};
use crate::engine::call::Call;
use crate::engine::model::{Files, Outcome, Pulled, Reference, digest, short};
use crate::engine::shared::Shared;

/// What an engine says of a registry that wants a login.
const NO_LOGIN: &str = "no basic auth credentials";

/// What a registry says of a login that it does not know.
const WRONG_LOGIN: &str = "unauthorized: authentication required";

/// Imports an archive, or pulls an image.
pub(super) fn create(call: &Call, shared: &Shared) -> Outcome<Answer> {
    let text = |name: &str| call.query.text(name).filter(|text| !text.is_empty());
    if let Some(source) = text("fromSrc") {
        return import(source, call, shared);
    }
    let Some(name) = text("fromImage") else {
        return Err(Refusal::internal("Get \"http:\": http: no Host in request URL"));
    };
    let name = match text("tag") {
        Some(tag) => Reference::new(name, tag)?,
        None => Reference::read(name)?,
    };
    pull(&name, &call.login().unwrap_or_default(), shared)
}

fn import(source: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let text = |name: &str| call.query.text(name).filter(|text| !text.is_empty());
    let name = match text("repo") {
        Some(name) => Some(match text("tag") {
            Some(tag) => Reference::new(name, tag)?,
            None => Reference::read(name)?,
        }),
        None => None,
    };
    let files = Files::from_tar(call.body.as_ref(), "/")
        .map_err(|error| Refusal::internal(error.to_string()))?;
    let comment = match text("message") {
        Some(message) => message.to_owned(),
        None => format!("Imported from {source}"),
    };
    let id = shared.with(|model, now| model.import(files, name, &comment, now));
    Ok(progress(vec![json!({"status": id})]))
}

fn pull(name: &Reference, login: &Value, shared: &Shared) -> Outcome<Answer> {
    let pulled = shared.look(|model, _| model.registry.pull(name, login));
    let (image, digest) = match pulled {
        Pulled::Image { image, digest } => (image, digest),
        Pulled::NoRegistry => return Err(unreachable(name)),
        Pulled::NoImage => {
            return Err(Refusal::not_found(format!(
                "manifest for {name} not found: manifest unknown: manifest unknown"
            )));
        }
        Pulled::NoLogin => {
            return Err(Refusal::internal(format!(
                "Head \"http://{}/v2/{}/manifests/{}\": {NO_LOGIN}",
                name.registry().unwrap_or_default(),
                name.path(),
                name.tag
            )));
        }
        Pulled::WrongLogin => return Err(Refusal::internal(WRONG_LOGIN)),
    };
    let layer = short(&image.id).to_owned();
    let size = image.files.size();
    let is_new = shared.with(|model, now| {
        let is_new_image = !model.images.contains_key(&image.id);
        let had_name = model.image_id(&name.to_string()) == Some(image.id.clone());
        let id = model.add_image(*image);
        if let Some(image) = model.images.get_mut(&id)
            && let Ok(by_digest) = Reference::new(&name.repository, &digest)
        {
            image.digests.insert(by_digest);
        }
        model.name_quietly(&id, name.clone());
        model.pulled(name, now);
        (is_new_image, !had_name)
    });
    let mut said = vec![json!({"status": format!("Pulling from {}", name.path()), "id": name.tag})];
    if is_new.0 {
        let with_detail = |status: &str, detail: Value| json!({"status": status, "progressDetail": detail, "id": layer});
        let whole = json!({"current": size, "total": size});
        said.push(with_detail("Pulling fs layer", json!({})));
        said.push(with_detail("Downloading", whole.clone()));
        said.push(with_detail("Verifying Checksum", json!({})));
        said.push(with_detail("Download complete", json!({})));
        said.push(with_detail("Extracting", whole));
        said.push(with_detail("Pull complete", json!({})));
    }
    said.push(json!({"status": format!("Digest: {digest}")}));
    let outcome = if is_new.1 { "Downloaded newer image for" } else { "Image is up to date for" };
    said.push(json!({"status": format!("Status: {outcome} {name}")}));
    Ok(progress(said))
}

fn unreachable(name: &Reference) -> Refusal {
    Refusal::internal(match name.registry() {
        Some(address) => {
            format!("Get \"http://{address}/v2/\": dial tcp {address}: connect: connection refused")
        }
        None => "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: \
                 no such host"
            .to_owned(),
    })
}

pub(super) fn push(name: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let Some(login) = call.login() else {
        let text = "Bad parameters and missing X-Registry-Auth: EOF";
        return Err(Refusal::bad_request(text));
    };
    let tag = call.query.text("tag").filter(|tag| !tag.is_empty()).unwrap_or("latest");
    let name = Reference::new(name, tag)?;
    let mut said = vec![json!({
        "status": format!("The push refers to repository [{}]", name.repository),
    })];
    let failure = |text: String| json!({"errorDetail": {"message": text}, "error": text});
    let outcome = shared.with(|model, now| {
        let Some(id) = model.image_id(&name.to_string()) else {
            let repository = &name.repository;
            let mut names = model.images.values().flat_map(|image| &image.tags);
            return Err(if names.any(|other| other.repository == *repository) {
                format!("tag does not exist: {name}")
            } else {
                format!("An image does not exist locally with the tag: {repository}")
            });
        };
        let image = model.images[&id].clone();
        let (layer, size) = (short(&image.id).to_owned(), image.files.size());
        let refused = match model.registry.pull(&name, &login) {
            Pulled::NoRegistry => return Err(unreachable(&name).message),
            Pulled::NoLogin => Some(NO_LOGIN),
            Pulled::WrongLogin => Some(WRONG_LOGIN),
            Pulled::Image { .. } | Pulled::NoImage => None,
        };
        if let Some(words) = refused {
            return Ok((layer, Err(words)));
        }
        let digest = format!("sha256:{}", digest(id.as_bytes()));
        if let Some(image) = model.images.get_mut(&id)
            && let Ok(by_digest) = Reference::new(&name.repository, &digest)
        {
            image.digests.insert(by_digest);
        }
        model.registry.put(name.clone(), image, digest.clone());
        model.pushed(&name, now);
        Ok((layer, Ok((size, digest))))
    });
    match outcome {
        Err(text) => said.push(failure(text)),
        Ok((layer, Err(words))) => {
            said.push(json!({"status": "Preparing", "progressDetail": {}, "id": layer}));
            said.push(failure(words.to_owned()));
        }
        Ok((layer, Ok((size, digest)))) => {
            let with_detail = |status: &str, detail: Value| json!({"status": status, "progressDetail": detail, "id": layer});
            said.push(with_detail("Preparing", json!({})));
            said.push(with_detail("Pushing", json!({"current": size, "total": size})));
            said.push(with_detail("Pushed", json!({})));
            said.push(json!({"status": format!("{tag}: digest: {digest} size: 527")}));
            said.push(json!({
                "progressDetail": {},
                "aux": {"Tag": tag, "Digest": digest, "Size": 527},
            }));
        }
    }
    Ok(progress(said))
}

/// Each line of progress as a chunk of its own.
fn progress(said: Vec<Value>) -> Answer {
    let chunks = said.into_iter().map(|line| Bytes::from(lines(std::iter::once(line))));
    Answer::chunks(Some("application/json"), stream::iter(chunks))
}
