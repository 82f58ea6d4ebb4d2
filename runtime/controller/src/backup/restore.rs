//! Making a data directory of a backup.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use drover_api::Timestamp;

use super::manifest::Manifest;
use super::unpack::{give_to_owner, unpack, verify};
use super::{AUDIT, JOBS};
use crate::audit::{Act, Audit};
use crate::config::AuditSettings;
use crate::jobs;

/// What becomes of a directory that has something in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Nothing is restored.
    Refuse,
    /// It is kept under another name.
    MoveAside,
}

/// Makes `dir` the data directory of a controller as it was when the backup was made.
/// The controller that starts on it runs nothing again that may have been run since.
/// Gives back where the directory is now that was there before. Blocks on the disk.
///
/// # Errors
///
/// If the backup is not whole, the directory is in use or may not be replaced, or it
/// cannot be written; then it is as it was.
pub fn restore(
    file: &Path,
    dir: &Path,
    existing: Existing,
) -> anyhow::Result<(Manifest, Option<PathBuf>)> {
    // All of it, before anything is touched.
    verify(file)?;
    let aside = clear(dir, existing)?;
    let made = make(file, dir);
    if made.is_err() {
        empty(dir);
        if let Some(aside) = &aside {
            let _ = fs::remove_dir(dir).and_then(|()| fs::rename(aside, dir));
        }
    }
    let manifest = made.with_context(|| format!("cannot restore into {}", dir.display()))?;
    Ok((manifest, aside))
}

/// Sees to it that the directory is empty or not there.
fn clear(dir: &Path, existing: Existing) -> anyhow::Result<Option<PathBuf>> {
    let is_empty = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", dir.display()));
        }
    };
    if is_empty {
        return Ok(None);
    }
    anyhow::ensure!(
        !is_in_use(dir),
        "a controller uses {}: end it, or name another directory",
        dir.display()
    );
    anyhow::ensure!(
        existing == Existing::MoveAside,
        "{} is not empty: name another directory, or have it moved aside with --force",
        dir.display()
    );
    let aside = (1..).map(|nth: u32| beside(dir, nth)).find(|path| !path.exists());
    let aside = aside.context("there is no name left for the directory that is there")?;
    fs::rename(dir, &aside)
        .with_context(|| format!("cannot move {} to {}", dir.display(), aside.display()))?;
    Ok(Some(aside))
}

/// Takes out what there is, as well as that goes.
fn empty(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

fn beside(dir: &Path, nth: u32) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!(".before-restore-{nth}"));
    name.into()
}

/// Whether a controller that runs has its log there.
fn is_in_use(dir: &Path) -> bool {
    File::open(dir.join("logs/lock")).is_ok_and(|lock| lock.try_lock().is_err())
}

fn make(file: &Path, dir: &Path) -> anyhow::Result<Manifest> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let staging = tempfile::Builder::new().prefix(".restoring-").tempdir_in(dir)?;
    let manifest = unpack(file, staging.path())?;
    let jobs = staging.path().join(JOBS);
    jobs::mark_restored(jobs.parent().unwrap_or(staging.path()), manifest.taken)
        .context("cannot go on from its jobs")?;
    note(&staging.path().join(AUDIT), &manifest)?;
    for entry in fs::read_dir(staging.path())? {
        let entry = entry?;
        fs::rename(entry.path(), dir.join(entry.file_name()))?;
    }
    staging.close()?;
    give_to_owner(dir).context("cannot give the files to the owner of the directory")?;
    File::open(dir)?.sync_all()?;
    Ok(manifest)
}

/// Has the audit log say that it goes on from a backup.
fn note(log: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let max_file = AuditSettings::default().max_file.as_u64();
    let (audit, task) = Audit::open(log.parent().unwrap_or(log), max_file)?;
    let uid = nix::unistd::getuid();
    let act = Act {
        who: format!("uid {uid}"),
        role: "admin".to_owned(),
        from: "this host".to_owned(),
        what: "controller.restore".to_owned(),
        on: format!("backup of {}", in_words(manifest.taken)),
    };
    audit.done(act, "ok");
    task.close();
    Ok(())
}

/// A time for people.
fn in_words(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0.cast_signed()).unwrap_or_default();
    format!("{time:.0}")
}
