//! Reading a backup, which may come from anywhere: nothing is believed that the
//! manifest does not say, and nothing is written outside the directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path};

use anyhow::Context;
use drover_signing::ContentCheck;

use super::manifest::{self, BackupPart, Manifest};

/// The longest manifest: some hundred thousand parts.
const MOST_MANIFEST: u64 = 64 << 20;

/// Checks that all of a backup is there and as it was. Blocks on the disk.
///
/// # Errors
///
/// If it cannot be read, or anything is missing, too much or changed.
pub fn verify(file: &Path) -> anyhow::Result<Manifest> {
    read(file, |_| Ok(io::sink()))
}

/// Checks a backup and writes its parts below `dir`, where none of them is.
pub(super) fn unpack(file: &Path, dir: &Path) -> anyhow::Result<Manifest> {
    let manifest = read(file, |part| {
        let path = dir.join(&part.name);
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    })?;
    for part in &manifest.parts {
        File::open(dir.join(&part.name))?.sync_all()?;
    }
    Ok(manifest)
}

/// Goes through a backup; each part is written to what `to` gives for it.
fn read<W: Write>(
    file: &Path,
    to: impl FnMut(&BackupPart) -> io::Result<W>,
) -> anyhow::Result<Manifest> {
    let open = File::open(file);
    let opened = open.with_context(|| format!("cannot read {}", file.display()))?;
    parts(opened, to).with_context(|| {
        format!("{} cannot be used: take another backup, or another copy of it", file.display())
    })
}

fn parts<W: Write>(
    file: File,
    mut to: impl FnMut(&BackupPart) -> io::Result<W>,
) -> anyhow::Result<Manifest> {
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut entries = archive.entries()?;
    let first = entries.next().context("it is empty")?.context("it is no backup")?;
    anyhow::ensure!(
        first.path_bytes().as_ref() == manifest::NAME.as_bytes(),
        "it is no backup of a controller: it does not begin with a manifest"
    );
    let mut text = String::new();
    first.take(MOST_MANIFEST).read_to_string(&mut text).context("it ends in its manifest")?;
    let manifest = parse(&text)?;
    for part in &manifest.parts {
        let name = &part.name;
        let entry = entries.next().with_context(|| format!("it ends before {name}"))?;
        let mut entry = entry.with_context(|| format!("it ends before {name}"))?;
        anyhow::ensure!(
            entry.path_bytes().as_ref() == name.as_bytes() && entry.header().entry_type().is_file(),
            "{name} is not where it is to be"
        );
        let mut check = ContentCheck::new(part.sha256, part.length);
        let mut target = to(part).with_context(|| format!("cannot write {name}"))?;
        let mut piece = vec![0; 1 << 16];
        loop {
            let count = entry.read(&mut piece).with_context(|| format!("it ends in {name}"))?;
            if count == 0 {
                break;
            }
            check.take(&piece[..count]).with_context(|| format!("{name} is not as it was"))?;
            target.write_all(&piece[..count]).with_context(|| format!("cannot write {name}"))?;
        }
        check.finish().with_context(|| format!("{name} is not as it was"))?;
    }
    anyhow::ensure!(entries.next().is_none(), "there is more in it than its manifest says");
    Ok(manifest)
}

fn parse(text: &str) -> anyhow::Result<Manifest> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    // Another version may look different altogether, so this comes first.
    let Version { version } = serde_json::from_str(text).context("its manifest is damaged")?;
    anyhow::ensure!(
        version <= manifest::VERSION,
        "a later version of drover has made it (form {version}, and this one knows {}): use that \
         version",
        manifest::VERSION
    );
    let manifest: Manifest = serde_json::from_str(text).context("its manifest is damaged")?;
    for part in &manifest.parts {
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        let path = Path::new(&part.name);
        anyhow::ensure!(
            path.components().all(is_plain) && path.file_name().is_some(),
            "its manifest names `{}`, which is no place in a data directory",
            part.name
        );
    }
    Ok(manifest)
}

/// Gives all files and directories in `dir` the owner of `dir`, where whoever restores
/// may do that.
pub(super) fn give_to_owner(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    let owner = fs::metadata(dir)?;
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        if (metadata.uid(), metadata.gid()) != (owner.uid(), owner.gid()) {
            std::os::unix::fs::lchown(&path, Some(owner.uid()), Some(owner.gid()))?;
        }
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                todo.push(entry?.path());
            }
        }
    }
    Ok(())
}
