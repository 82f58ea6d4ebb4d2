//! Files into and out of containers, as tar archives.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drover_sdk::{Failure, data, job, task};
use serde_json::{Map, Value};

use super::{Change, container_path};
use crate::engine::{Engine, failure};

/// The longest archive that an answer can have, in bytes: base64 makes a third
/// more of it, and an answer has at most 16 MiB.
pub(crate) const MOST: u64 = 11 << 20;

/// Copies a file or directory out of a container.
///
/// Changes nothing. An archive of more than 11 MiB is `too-long`: copy less at
/// once.
#[task]
pub(crate) fn copy_out(
    /// The container's name or id; it need not run.
    container: String,
    /// What to copy.
    #[schemars(length(min = 1))]
    path: String,
) -> Result<Archive, Failure> {
    let engine = Engine::connect()?;
    let what = format!("copy {path} out of container {container}");
    let call = engine.get(container_path(&container, "/archive")?, what);
    let reply = call.query("path", path).send()?;
    let about = reply.header("x-docker-container-path-stat").and_then(decode_about);
    let tar = reply.bytes(MOST)?;
    Ok(Archive { tar: STANDARD.encode(&tar), about })
}

/// What was copied out of a container.
#[data]
#[derive(Debug)]
pub(crate) struct Archive {
    /// A tar archive in base64.
    pub(crate) tar: String,
    /// What the engine says of the file or directory: `name`, `size`, `mode`,
    /// `mtime` and `linkTarget`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<Map<String, Value>>,
}

fn decode_about(header: &str) -> Option<Map<String, Value>> {
    let json = STANDARD.decode(header).ok()?;
    serde_json::from_str(str::from_utf8(&json).ok()?).ok()
}

/// Copies a tar archive into a container.
///
/// The archive is the command's `data`, or `tar` in base64. Idempotent: files
/// of the same names are replaced, others stay. A `path` that is not there, or
/// is no directory, is an error.
#[task]
pub(crate) fn copy_in(
    /// The container's name or id; it need not run.
    container: String,
    /// The directory into which the archive is unpacked.
    #[schemars(length(min = 1))]
    path: String,
    /// The archive in base64, if it is not in `data`.
    tar: Option<String>,
) -> Result<Change, Failure> {
    let archive = given(tar)?;
    let engine = Engine::connect()?;
    let what = format!("copy into {path} of container {container}");
    let call = engine.put(container_path(&container, "/archive")?, what);
    call.query("path", path).tar(archive).send()?;
    Ok(Change { changed: true })
}

/// The archive that came with the command: in base64 as an argument, else as
/// its `data`, which may be compressed.
pub(crate) fn given(tar: Option<String>) -> Result<Vec<u8>, Failure> {
    let archive = match tar {
        None => job::data(),
        Some(text) => STANDARD.decode(text.trim()).map_err(|error| {
            Failure::new(failure::INVALID, format!("`tar` is no base64: {error}"))
        })?,
    };
    if archive.is_empty() {
        let message = "there is no archive: send it as `data`, or as `tar` in base64";
        return Err(Failure::new(failure::INVALID, message));
    }
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{on, run, run_with};

    #[test]
    fn an_archive_comes_out_in_base64() {
        let exchanges = vec![on("GET /containers/web/archive?path=/etc/a%20b", 200, "tar")];
        let outcome =
            run("copy_out", &json!({ "container": "web", "path": "/etc/a b" }), exchanges);
        assert_eq!(outcome.answer.unwrap(), json!({ "tar": "dGFy" }));
    }

    #[test]
    fn an_archive_goes_in_as_data_or_in_base64() {
        let exchange = || vec![on("PUT /containers/web/archive?path=/", 200, "")];
        let mut arguments = json!({ "container": "web", "path": "/" });
        let outcome = run_with(b"tar".to_vec(), "copy_in", &arguments, exchange());
        assert_eq!(outcome.bodies, [b"tar"]);
        assert_eq!(run("copy_in", &arguments, Vec::new()).code(), failure::INVALID);
        arguments["tar"] = json!("dGFy");
        assert_eq!(run("copy_in", &arguments, exchange()).bodies, [b"tar"]);
    }
}
