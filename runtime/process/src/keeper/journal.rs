//! Which runs a keeper has, on disk: for the keeper that follows when it is killed.
//!
//! One line of JSON for each thing that happens, appended by one write, so a kill
//! leaves no half of it. Nothing is synced: a machine that goes down takes the
//! children along, which the file's first line, the id of the machine's boot,
//! tells afterwards.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::launch::Exit;
use crate::tree::Tree;

/// The file is written anew when it has grown by so much.
const SLACK_BYTES: u64 = 1 << 20;

/// The runs of one keeper's directory.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    written: u64,
    rewrite_at: u64,
}

/// A run that an earlier keeper had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) tree: Tree,
    pub(crate) exit: Option<Exit>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Boot(String),
    Spawned(Tree),
    Exited { mark: String, exit: Exit },
    Forgotten { mark: String },
}

impl Journal {
    /// Opens the file and tells which runs it has of this boot of the machine.
    ///
    /// # Errors
    /// The file can be neither read nor made.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<Lost>)> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let lost = read(&text, &boot);
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let journal = Self { path: path.to_owned(), file, written: 0, rewrite_at: 0 };
        Ok((journal, lost))
    }

    /// A program has been started.
    pub(crate) fn spawned(&mut self, tree: &Tree) {
        self.append(&Line::Spawned(tree.clone()));
    }

    /// Its first process has ended.
    pub(crate) fn exited(&mut self, tree: &Tree, exit: Exit) {
        self.append(&Line::Exited { mark: tree.mark.clone(), exit });
    }

    /// Nothing is left of it, and nobody wants to know.
    pub(crate) fn forgotten(&mut self, tree: &Tree) {
        self.append(&Line::Forgotten { mark: tree.mark.clone() });
    }

    /// Whether [`rewrite`](Self::rewrite) would make the file notably shorter, or
    /// was never done.
    pub(crate) fn is_long(&self) -> bool {
        self.written >= self.rewrite_at
    }

    /// Writes the file anew, with these runs alone.
    ///
    /// # Errors
    /// The disk takes no more; the file is as it was.
    pub(crate) fn rewrite(
        &mut self,
        runs: impl Iterator<Item = (Tree, Option<Exit>)>,
    ) -> io::Result<()> {
        // Not tried again before as much has come along.
        self.rewrite_at = self.written + SLACK_BYTES;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let mut text = encode(&Line::Boot(boot))?;
        for (tree, exit) in runs {
            let mark = tree.mark.clone();
            text.extend(encode(&Line::Spawned(tree))?);
            if let Some(exit) = exit {
                text.extend(encode(&Line::Exited { mark, exit })?);
            }
        }
        let new = self.path.with_extension("new");
        fs::write(&new, &text)?;
        let file = OpenOptions::new().append(true).open(&new)?;
        fs::rename(&new, &self.path)?;
        self.file = file;
        self.written = text.len() as u64;
        self.rewrite_at = self.written + SLACK_BYTES;
        Ok(())
    }

    /// A full disk must not keep an admin from running what frees it: a run that
    /// is not in the file is found by the mark in its environment all the same.
    fn append(&mut self, line: &Line) {
        if let Ok(line) = encode(line)
            && self.file.write_all(&line).is_ok()
        {
            self.written += line.len() as u64;
        }
    }
}

fn encode(line: &Line) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

/// The runs that a file tells of. Lines that cannot be read, such as the half one
/// that a full disk leaves, tell nothing.
fn read(text: &str, boot: &str) -> Vec<Lost> {
    let mut lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    if !matches!(lines.next(), Some(Line::Boot(written)) if written == boot) {
        return Vec::new();
    }
    let mut runs: BTreeMap<String, Lost> = BTreeMap::new();
    for line in lines {
        match line {
            Line::Boot(_) => {}
            Line::Spawned(tree) => {
                runs.insert(tree.mark.clone(), Lost { tree, exit: None });
            }
            Line::Exited { mark, exit } => {
                if let Some(run) = runs.get_mut(&mark) {
                    run.exit = Some(exit);
                }
            }
            Line::Forgotten { mark } => drop(runs.remove(&mark)),
        }
    }
    runs.into_values().collect()
}

#[cfg(test)]
mod tests {
    use drover_api::JobId;

    use super::*;

    fn tree(id: &str) -> Tree {
        Tree {
            id: JobId::try_from(id.to_owned()).unwrap(),
            pid: 7,
            start_time: 42,
            mark: format!("mark-of-{id}"),
            cgroup: None,
            cpu_before: 0,
        }
    }

    fn opened(path: &Path) -> (Journal, Vec<Lost>) {
        Journal::open(path).unwrap()
    }

    #[test]
    fn what_was_not_forgotten_is_told_to_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs");
        let (mut journal, lost) = opened(&path);
        assert_eq!(lost, []);
        journal.rewrite(std::iter::empty()).unwrap();
        for id in ["a", "b", "c"] {
            journal.spawned(&tree(id));
        }
        journal.exited(&tree("b"), Exit::Code(3));
        journal.forgotten(&tree("a"));
        let expected = vec![
            Lost { tree: tree("b"), exit: Some(Exit::Code(3)) },
            Lost { tree: tree("c"), exit: None },
        ];
        assert_eq!(opened(&path).1, expected);
        let runs = expected.iter().map(|lost| (lost.tree.clone(), lost.exit));
        journal.rewrite(runs).unwrap();
        assert_eq!(opened(&path).1, expected);
    }

    #[test]
    fn another_boot_tells_nothing_and_half_a_line_hides_no_other() {
        let spawned = String::from_utf8(encode(&Line::Spawned(tree("a"))).unwrap()).unwrap();
        let text = format!("{{\"boot\":\"one\"}}\n{{\"spawned\":{{\"id\n{spawned}");
        assert_eq!(read(&text, "one").len(), 1);
        assert_eq!(read(&text, "two").len(), 0);
        assert_eq!(read(&spawned, "one").len(), 0);
    }
}
