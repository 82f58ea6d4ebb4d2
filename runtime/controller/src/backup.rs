//! Backups: one file of all that a controller has and cannot get back.
//!
//! ```text
//!   data_dir of a controller, which may run ──back_up──> FILE ──restore──> a new data_dir
//!                                                         └── verify
//! ```
//!
//! The file is a tar archive that begins with a [`Manifest`]. It has the jobs with
//! their results and schedules, the rollouts and what nodes are to have, the catalog
//! with its content, who may join with what, and the audit log; for TLS only if that is
//! wished. It does not have the log of the nodes, which the nodes have, nor who they are,
//! which they say again, nor the configuration.
//!
//! Nobody is held up: each database is copied as it is at one moment, while whoever has
//! it open goes on. They are of different moments, in an order in which nothing is
//! torn: what refers to something is copied before what it refers to. Jobs name nodes,
//! rollouts name versions of the catalog, and its index names content; each of these is
//! there before it is named, and content is never removed. The audit log, which is
//! written before anything is done, comes last, so it has all that the others show.

mod manifest;
mod restore;
mod unpack;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use drover_api::Timestamp;
use rusqlite::{Connection, OpenFlags};

pub use manifest::{BackupPart, Manifest};
pub use restore::{Existing, restore};
pub use unpack::verify;

use crate::Config;
use crate::audit::full_files_before;

/// How long one waits for a controller that has a database.
const BUSY: Duration = Duration::from_secs(10);

/// The parts, by their names in the archive and in a data directory.
const JOBS: &str = "jobs/jobs.db";
const ROLLOUTS: &str = "rollouts.db";
const INDEX: &str = "catalog/index.db";
const CONTENT: &str = "catalog/content";
const ACCESS: &str = crate::ACCESS_FILE;
const AUDIT: &str = "audit/audit.log";
const AUDIT_HEAD: &str = "audit/audit.head";

/// Whether a backup has the files of `[tls]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsKeys {
    /// It does not.
    LeftOut,
    /// It does, the private key among them.
    Included,
}

/// A part on its way into the archive.
struct Source {
    name: String,
    path: PathBuf,
}

/// Makes a backup of what the controller with this configuration keeps, whether it runs
/// or not, as a file that only its owner may read. Blocks on the disk.
///
/// # Errors
///
/// If there is nothing, it cannot be read, or the file is there already or cannot be
/// written; then there is none.
pub fn back_up(config: &Config, tls: TlsKeys, file: &Path) -> anyhow::Result<Manifest> {
    anyhow::ensure!(
        !file.exists(),
        "{} is there already: name another file, or move it away",
        file.display()
    );
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staging = tempfile::Builder::new()
        .prefix(".drover-backup-")
        .tempdir_in(dir)
        .with_context(|| format!("cannot write in {}", dir.display()))?;
    let taken = Timestamp::now();
    let mut sources = stage(config, staging.path())?;
    if tls == TlsKeys::Included {
        sources.extend(tls_files(config)?);
    }
    let parts = sources.iter().map(|source| BackupPart::of(&source.name, &source.path));
    let manifest = Manifest {
        version: manifest::VERSION,
        made_by: drover_api::version().to_owned(),
        taken,
        has_tls_keys: tls == TlsKeys::Included,
        parts: parts.collect::<anyhow::Result<_>>()?,
    };
    // Only its owner may read it from the first byte on.
    let archive = tempfile::NamedTempFile::new_in(dir)
        .with_context(|| format!("cannot write in {}", dir.display()))?;
    write(&manifest, &sources, archive.as_file())
        .with_context(|| format!("cannot write {}", file.display()))?;
    archive.persist_noclobber(file).with_context(|| format!("cannot make {}", file.display()))?;
    File::open(dir)?.sync_all()?;
    Ok(manifest)
}

/// Copies what changes into `staging`, in the order that this module's text gives
/// reasons for.
fn stage(config: &Config, staging: &Path) -> anyhow::Result<Vec<Source>> {
    let data = &config.data_dir;
    for dir in ["jobs", "catalog", "audit"] {
        fs::create_dir(staging.join(dir))?;
    }
    let mut sources = Vec::new();
    for (name, from) in [
        (JOBS, config.jobs.dir.join("jobs.db")),
        (ROLLOUTS, data.join(ROLLOUTS)),
        (INDEX, config.catalog.dir.join("index.db")),
    ] {
        sources.push(copy_database(name, &from, staging)?);
    }
    sources.extend(contents(&config.catalog.dir, &staging.join(INDEX))?);
    sources.push(copy_database(ACCESS, &data.join(ACCESS), staging)?);
    sources.extend(copy_audit(&data.join("audit"), staging)?);
    Ok(sources)
}

fn copy_database(name: &str, from: &Path, staging: &Path) -> anyhow::Result<Source> {
    let to = staging.join(name);
    let copy = || -> anyhow::Result<()> {
        anyhow::ensure!(
            from.exists(),
            "there is no such file: has a controller with this configuration ever run here?"
        );
        // One that is not changed here, but whose log may have to be taken in.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(from, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(drover_schema::copy(&connection, &to)?)
    };
    copy().with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(Source { name: name.to_owned(), path: to })
}

/// The content of all versions that an index names, where it is: it never changes.
fn contents(catalog: &Path, index: &Path) -> anyhow::Result<Vec<Source>> {
    let index = Connection::open(index)?;
    let mut rows = index.prepare("SELECT DISTINCT hash FROM versions ORDER BY hash")?;
    let hashes = rows.query_map([], |row| row.get::<_, String>(0))?;
    let mut sources = Vec::new();
    for hash in hashes {
        let hash = hash?;
        let path = catalog.join("content").join(&hash);
        anyhow::ensure!(
            path.exists(),
            "the catalog has lost the content {}: push that version again (`drover catalog push`)",
            path.display()
        );
        sources.push(Source { name: format!("{CONTENT}/{hash}"), path });
    }
    Ok(sources)
}

/// Copies the audit log up to its last whole line. How far it goes is read first: then
/// there are at least so many lines, as a log has that goes on. Files that are full
/// never change; the one that is written may become full meanwhile.
fn copy_audit(audit: &Path, staging: &Path) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let (head, log) = (audit.join("audit.head"), audit.join("audit.log"));
    if head.exists() {
        let to = staging.join(AUDIT_HEAD);
        fs::copy(&head, &to).with_context(|| format!("cannot copy {}", head.display()))?;
        sources.push(Source { name: AUDIT_HEAD.to_owned(), path: to });
    }
    let to = staging.join(AUDIT);
    let copy = || -> io::Result<()> {
        let (from, mut copied) = (File::open(&log)?, BufWriter::new(File::create(&to)?));
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line)? > 0 {
            if line.ends_with(b"\n") {
                copied.write_all(&line)?;
            }
            line.clear();
        }
        copied.flush()
    };
    copy().with_context(|| format!("cannot copy {}", log.display()))?;
    for path in
        full_files_before(&to, audit).with_context(|| format!("cannot read {}", audit.display()))?
    {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        sources.push(Source { name: format!("audit/{name}"), path });
    }
    sources.push(Source { name: AUDIT.to_owned(), path: to });
    Ok(sources)
}

fn tls_files(config: &Config) -> anyhow::Result<Vec<Source>> {
    let tls = config.tls.as_ref().context(
        "the configuration has no [tls], so there are no keys: make the backup without them",
    )?;
    let ca = tls.client_ca.as_ref().map(|path| ("tls/client-ca.pem", path));
    let files = [("tls/controller.pem", &tls.certificate), ("tls/controller.key", &tls.key)];
    let sources = files.into_iter().chain(ca);
    Ok(sources.map(|(name, path)| Source { name: name.to_owned(), path: path.clone() }).collect())
}

fn write(manifest: &Manifest, sources: &[Source], file: &File) -> anyhow::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    let mut archive = tar::Builder::new(BufWriter::new(file));
    let header = |length: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_size(length);
        header.set_mode(0o600);
        header.set_mtime(manifest.taken.0 / 1000);
        header.set_entry_type(tar::EntryType::Regular);
        header
    };
    let text = serde_json::to_vec_pretty(manifest)?;
    archive.append_data(&mut header(text.len() as u64), manifest::NAME, text.as_slice())?;
    for (source, part) in sources.iter().zip(&manifest.parts) {
        let content = File::open(&source.path)?.take(part.length);
        archive.append_data(&mut header(part.length), &source.name, content)?;
    }
    archive.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests;
