//! Looking at a component file without loading it, for authors and admins.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drover_api::{LogFormat, Operation};
use drover_grants::Manifest;
use tokio::task::block_in_place;

use crate::anatomy::{Part, callers, parts};
use crate::compiler::Haste;
use crate::component::is_offered;
use crate::host::Shared;
use crate::plugin::{Code, Interfaces, Loaded, Refusal, chain, name_of};

/// What can be told of a component file, whether it can be loaded or not.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Inspection {
    /// The name that the plugin has, or would have.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal.
    pub hash: String,
    /// The length of the file.
    pub size_bytes: u64,
    /// What it says of itself, and what it asks for.
    pub manifest: Manifest,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// Those of them that this host does not offer.
    pub not_offered: Vec<String>,
    /// Of each of those, the functions of its own and of crates that it uses
    /// that lead to it, as far as they can be found.
    pub callers: BTreeMap<String, Vec<String>>,
    /// What takes the room in the file, the largest first.
    pub parts: Vec<Part>,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// What it offers to operators; empty if it cannot be loaded.
    pub operations: Vec<Operation>,
    /// The log lines that it parses; empty if it cannot be loaded.
    pub formats: Vec<LogFormat>,
    /// Why it cannot be loaded; none if it can.
    pub refusal: Option<String>,
}

/// Looks at a file. It is compiled for that, and describes itself if it can be
/// loaded.
pub(crate) async fn inspect(shared: Arc<Shared>, path: PathBuf) -> Result<Inspection, Refusal> {
    let code = Code::get(&shared, &path, Haste::High).await?;
    let Interfaces { imports, exports } = code.interfaces();
    let (hash, size_bytes) = (code.hash.to_string(), code.size);
    let manifest = code.manifest.clone();
    let loaded = async { code.load(&shared, name_of(&path, &shared.reserved)?).await }.await;
    let (operations, formats, refusal) = match loaded {
        Ok(Loaded { description, .. }) => (description.operations, description.formats, None),
        Err(refusal) => (Vec::new(), Vec::new(), Some(chain(&refusal))),
    };
    let not_offered: Vec<_> = imports.iter().filter(|name| !is_offered(name)).cloned().collect();
    let (parts, callers) = block_in_place(|| dissect(&path, size_bytes, &not_offered));
    Ok(Inspection {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        hash,
        size_bytes,
        manifest,
        not_offered,
        callers,
        parts,
        imports,
        exports,
        operations,
        formats,
        refusal,
    })
}

/// What only those who look want to know. A file that is gone by now has none of it.
fn dissect(
    path: &Path,
    size: u64,
    not_offered: &[String],
) -> (Vec<Part>, BTreeMap<String, Vec<String>>) {
    let mut bytes = Vec::new();
    // What it has grown by since is of no interest.
    let read = File::open(path).and_then(|file| file.take(size).read_to_end(&mut bytes));
    if read.is_err() {
        return Default::default();
    }
    let callers = not_offered.iter().map(|import| (import.clone(), callers(&bytes, import)));
    (parts(&bytes), callers.filter(|(_, callers)| !callers.is_empty()).collect())
}
