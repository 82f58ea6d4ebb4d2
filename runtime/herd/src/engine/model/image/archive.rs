//! Images as archives, for `save` and `load`.

use std::io;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::engine::answer::Refusal;
use crate::engine::model::files::append;
use crate::engine::model::image::Image;
use crate::engine::model::{Files, Model, Node, Outcome, Reference, digest};

impl Model {
    /// An archive of some images, by name or id.
    pub(crate) fn save(&mut self, keys: &[String], now: Timestamp) -> Outcome<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut manifest = Vec::new();
        let mut repositories: Map<String, Value> = Map::new();
        let mut saved = Vec::new();
        for key in keys {
            let missing = || Refusal::not_found(format!("No such image: {key}"));
            let id = self.image_id(key).ok_or_else(missing)?;
            let image = &self.images[&id];
            let by_name: Vec<_> =
                Reference::read(key).into_iter().filter(|name| image.tags.contains(name)).collect();
            let layer = digest(format!("layer of {id}").as_bytes());
            write_image(&mut archive, image, &layer)
                .map_err(|error| Refusal::internal(error.to_string()))?;
            for name in &by_name {
                repositories.entry(name.repository.clone()).or_insert_with(|| json!({}))
                    [name.tag.as_str()] = json!(layer);
            }
            manifest.push(json!({
                "Config": config_file(&id),
                "RepoTags": by_name.iter().map(Reference::to_string).collect::<Vec<_>>(),
                "Layers": [format!("{layer}/layer.tar")],
            }));
            saved.push(id);
        }
        let documents =
            [("manifest.json", json!(manifest)), ("repositories", Value::Object(repositories))];
        for (name, document) in documents {
            let content = Node::File(document.to_string().into());
            append(&mut archive, name, &content)
                .map_err(|error| Refusal::internal(error.to_string()))?;
        }
        for id in saved {
            self.image_event(&id, "save", &id, now);
        }
        archive.into_inner().map_err(|error| Refusal::internal(error.to_string()))
    }

    /// Takes the images of an archive, and returns what to say of each.
    pub(crate) fn load(&mut self, archive: &[u8], now: Timestamp) -> Outcome<Vec<String>> {
        let broken = |error: io::Error| {
            Refusal::internal(format!("Error processing tar file(exit status 1): {error}"))
        };
        let files = Files::from_tar(archive, "/").map_err(broken)?;
        let manifest = files.content("/manifest.json").ok_or_else(|| {
            let text = "open manifest.json: no such file or directory";
            Refusal::internal(text)
        })?;
        let manifest: Vec<Value> = serde_json::from_slice(&manifest)
            .map_err(|error| Refusal::internal(error.to_string()))?;
        let mut said = Vec::new();
        for entry in manifest {
            let image = read_image(&files, &entry, now).map_err(broken)?;
            let id = self.add_image(image);
            let names: Vec<&str> = entry["RepoTags"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            for name in &names {
                self.name_quietly(&id, Reference::read(name)?);
                said.push(format!("Loaded image: {name}\n"));
            }
            if names.is_empty() {
                said.push(format!("Loaded image ID: {id}\n"));
            }
            self.image_event(&id, "load", &id, now);
        }
        Ok(said)
    }
}

fn config_file(id: &str) -> String {
    format!("{}.json", id.strip_prefix("sha256:").unwrap_or(id))
}

fn write_image(archive: &mut tar::Builder<Vec<u8>>, image: &Image, layer: &str) -> io::Result<()> {
    append(archive, &config_file(&image.id), &Node::File(image.document.clone()))?;
    append(archive, layer, &Node::Folder)?;
    append(archive, &format!("{layer}/VERSION"), &Node::File(Bytes::from_static(b"1.0")))?;
    append(
        archive,
        &format!("{layer}/json"),
        &Node::File(json!({"id": layer}).to_string().into()),
    )?;
    let files = image.files.to_tar("/")?;
    append(archive, &format!("{layer}/layer.tar"), &Node::File(files.into()))
}

fn read_image(files: &Files, entry: &Value, now: Timestamp) -> io::Result<Image> {
    let missing = |name: &str| io::Error::new(io::ErrorKind::NotFound, format!("no {name}"));
    let name = entry["Config"].as_str().unwrap_or_default();
    let document = files.content(&format!("/{name}")).ok_or_else(|| missing(name))?;
    let read: Value = serde_json::from_slice(&document)?;
    let mut all = Files::default();
    for layer in entry["Layers"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let content = files.content(&format!("/{layer}")).ok_or_else(|| missing(layer))?;
        all.0.extend(Files::from_tar(content.as_ref(), "/")?.0);
    }
    Ok(Image::from_document(document, &read, all, now))
}
