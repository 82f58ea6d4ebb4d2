//! Keeps all files together within their bound.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::PoisonError;

use drover_api::Level;

use super::Shared;
use super::batch::Batch;
use super::catalog::{damaged_files, remove_side_files};
use super::database::{open_finished, to_u64};
use super::record::Sequence;
use super::writer::WriteError;

/// The oldest record must be gone before its id is given again.
const MAX_PLACES: u64 = (1 << 32) - (1 << 24);

/// Drops the oldest files until there is room for a whole current file, and
/// writes down what was dropped.
pub(super) fn drop_oldest(
    shared: &Shared,
    next: Sequence,
    notes: &mut Batch,
) -> Result<(), WriteError> {
    let file = shared.config.max_file_bytes;
    let room = shared.config.max_total_bytes.saturating_sub(file).max(file.saturating_mul(2));
    loop {
        let damaged = damaged_files(&shared.config.directory)?;
        let (bytes, oldest) = {
            let catalog = shared.catalog();
            let bytes: u64 = catalog.files.iter().map(|file| file.bytes).sum();
            (bytes, catalog.files.first().cloned())
        };
        let bytes = bytes + damaged.iter().map(|(_, _, bytes)| bytes).sum::<u64>();
        let is_old = oldest.as_ref().is_some_and(|file| next.0 - file.first.0 > MAX_PLACES);
        if bytes <= room && !is_old {
            return Ok(());
        }
        let oldest_damaged = damaged.first();
        match (oldest, oldest_damaged) {
            (Some(file), damaged) if damaged.is_none_or(|(epoch, ..)| file.epoch < *epoch) => {
                // Written down first: who reads on from there must be told.
                let last = file.last.0;
                shared.state().update(|s| s.dropped_through = s.dropped_through.max(last))?;
                remove(shared, &file.path)?;
                let text = format!(
                    "records {} to {} were dropped, which were the oldest, to keep the log within \
                     {} bytes",
                    file.first.id(),
                    file.last.id(),
                    shared.config.max_total_bytes
                );
                tracing::info!(path = %file.path.display(), "oldest log file dropped");
                notes.note(Level::WARNING, &text);
            }
            (_, Some((_, path, _))) => {
                fs::remove_file(path)?;
                remove_side_files(path)?;
                let text = format!("the damaged log file {} was dropped", path.display());
                notes.note(Level::WARNING, &text);
            }
            (_, None) => return Ok(()),
        }
    }
}

/// Gives back the room of records that were deleted from a complete file.
pub(super) fn shrink(shared: &Shared, path: &Path) -> Result<(), WriteError> {
    let connection = open_finished(path)?;
    let is_empty: bool =
        connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM logs)", [], |row| row.get(0))?;
    if is_empty {
        drop(connection);
        return Ok(remove(shared, path)?);
    }
    let pages = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
    if to_u64(pages("freelist_count")?) * 2 < to_u64(pages("page_count")?) {
        return Ok(());
    }
    let mut catalog = shared.reader.catalog.write().unwrap_or_else(PoisonError::into_inner);
    shared.reader.forget(path);
    connection.execute_batch("VACUUM")?;
    drop(connection);
    let bytes = fs::metadata(path)?.len();
    for file in catalog.files.iter_mut().filter(|file| file.path == path) {
        file.bytes = bytes;
    }
    Ok(())
}

fn remove(shared: &Shared, path: &Path) -> io::Result<()> {
    let mut catalog = shared.reader.catalog.write().unwrap_or_else(PoisonError::into_inner);
    shared.reader.forget(path);
    fs::remove_file(path)?;
    catalog.files.retain(|file| file.path != path);
    Ok(())
}
