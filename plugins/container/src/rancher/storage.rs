//! What happens to images and volumes.

use drover_sdk::{Failure, log};
use serde_json::{Map, Value, json};

use super::container::text;
use super::event::Event;
use crate::engine::{Engine, failure};
use crate::ensure::gone_is_fine;
use crate::image::{image_id, inspect_image, transfer};
use crate::volume::volume_path;

/// The name of an image of the controller.
pub(super) fn image_of(image: &Value) -> Option<String> {
    let docker = image.pointer("/data/dockerImage").unwrap_or(&Value::Null);
    let named = text(&docker["fullName"]).or_else(|| text(&image["name"]));
    named.map(|name| name.strip_prefix("docker:").unwrap_or(name).to_owned())
}

/// Pulls an image, and tells the controller how far it is.
pub(super) fn pull_with_progress(
    engine: &Engine,
    event: &Event,
    image: &str,
    credentials: Option<&Map<String, Value>>,
) -> Result<(), Failure> {
    event.progress(&format!("pulling {image}"), None);
    transfer::pull_with(engine, image, None, credentials, |message| {
        let percent = message.progress.filter(|amount| amount.total > 0).map(|amount| {
            u8::try_from(amount.current.min(amount.total) * 100 / amount.total).unwrap_or(100)
        });
        let text = [message.status.as_str(), message.id.as_str()].join(" ");
        event.progress(text.trim_end(), percent);
    })?;
    Ok(())
}

/// Gets an image before an instance needs it, or forgets that it did.
pub(super) fn pull(engine: &Engine, event: &Event) -> Result<Value, Failure> {
    let asked = event.at("/instancePull");
    let image = named(&asked["image"])?;
    let tagged = text(&asked["tag"]).map(|tag| format!("{image}{tag}"));
    if asked["complete"] == true {
        if let Some(tagged) = &tagged {
            let path = format!("/images/{}", crate::engine::path::image(tagged)?);
            gone_is_fine(
                engine.delete(path, format_args!("forget image {tagged}")).send().map(drop),
            )?;
        }
        return Ok(json!({}));
    }
    let is_cached = text(&asked["mode"]) == Some("cached");
    if !is_cached || image_id(engine, &image)?.is_none() {
        pull_with_progress(engine, event, &image, None)?;
    }
    let details: Value = inspect_image(engine, &image)?.read()?;
    Ok(json!({ "fields": { "dockerImage": details } }))
}

/// Gets an image, or has it built of what is at an address.
pub(super) fn activate_image(engine: &Engine, event: &Event) -> Result<Value, Failure> {
    let image = event.at("/imageStoragePoolMap/image");
    let build = image.pointer("/data/fields/build").unwrap_or(&Value::Null);
    let source = text(&build["context"]).or_else(|| text(&build["remote"]));
    let name = named(image)?;
    if let Some(source) = source {
        event.progress(&format!("building {name}"), None);
        let call = engine.post("/build", format_args!("build image {name}"));
        let call = call.query("remote", source).query("t", text(&build["tag"]).unwrap_or(&name));
        call.send()?.messages().each(|message| event.progress(message.stream.trim(), None))?;
    } else if image_id(engine, &name)?.is_none() {
        let credentials = credentials(&image["registryCredential"]);
        pull_with_progress(engine, event, &name, credentials.as_ref())?;
    }
    Ok(json!({ "imageStoragePoolMap": {} }))
}

fn named(image: &Value) -> Result<String, Failure> {
    image_of(image).ok_or_else(|| Failure::new(failure::INVALID, "the event names no image"))
}

/// What the engine needs of a registry's credentials.
fn credentials(given: &Value) -> Option<Map<String, Value>> {
    let server = given.pointer("/registry/data/fields/serverAddress").unwrap_or(&Value::Null);
    let credentials = json!({
        "username": text(&given["publicValue"])?,
        "password": given["secretValue"],
        "email": given.pointer("/data/fields/email"),
        "serveraddress": server,
    });
    credentials.as_object().cloned()
}

/// Creates a volume.
pub(super) fn activate_volume(engine: &Engine, event: &Event) -> Result<Value, Failure> {
    let volume = event.at("/volumeStoragePoolMap/volume");
    let fields = volume.pointer("/data/fields").unwrap_or(&Value::Null);
    if let Some(driver) = text(&fields["driver"]) {
        let name = text(&volume["name"]).unwrap_or_default();
        let body = json!({ "Name": name, "Driver": driver, "DriverOpts": fields["driverOpts"] });
        let what = format!("create volume {name}");
        engine.post("/volumes/create", what).json(&body)?.send()?;
    }
    Ok(json!({ "volumeStoragePoolMap": { "volume": { "format": "docker" } } }))
}

/// Removes a volume; one that somebody still uses is left over, which is said.
pub(super) fn remove_volume(engine: &Engine, event: &Event) -> Result<Value, Failure> {
    let name = text(event.at("/volumeStoragePoolMap/volume/name")).unwrap_or_default();
    let what = format!("remove volume {name}");
    match gone_is_fine(engine.delete(volume_path(name)?, what).send().map(drop)) {
        Err(failure) if failure.code == failure::CONFLICT => {
            log::warning(format_args!("volume {name} is left over: {}", failure.message));
        }
        result => result?,
    }
    Ok(json!({}))
}
