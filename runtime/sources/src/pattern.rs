//! The paths of files, with `*` and `?` for what differs.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A path, or a pattern of paths: `*` stands for any characters of a name and
/// `?` for one, in folders too; neither stands for a slash, nor for the dot
/// at the beginning of a hidden name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern(String);

/// A text is no pattern of files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no file: write its full path, such as /var/log/app/*.log")]
pub struct PatternError(String);

/// What the names of compressed files end with.
const COMPRESSED: [&str; 8] = ["gz", "xz", "bz2", "zst", "lz4", "lzma", "zip", "Z"];

/// What a look has found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Paths that fit; there may be something else than a file.
    pub(crate) paths: Vec<PathBuf>,
    /// Directories in which files may come and go.
    pub(crate) directories: Vec<PathBuf>,
    /// Directories that cannot be read, and why.
    pub(crate) troubles: Vec<(PathBuf, io::Error)>,
}

impl PathPattern {
    /// Looks for what fits, in the order of the names. Compressed files are left
    /// out, unless they are named without a pattern.
    pub(crate) fn find(&self, found: &mut Found) {
        let names: Vec<&str> = self.0.split('/').filter(|name| !name.is_empty()).collect();
        let Some((last, folders)) = names.split_last() else {
            return;
        };
        let mut directories = vec![PathBuf::from("/")];
        for folder in folders {
            let mut next = Vec::new();
            for directory in directories {
                match is_pattern(folder) {
                    false => next.push(directory.join(folder)),
                    true => {
                        let matching = list(&directory, folder, found);
                        next.extend(matching.into_iter().filter(|path| path.is_dir()));
                        found.directories.push(directory);
                    }
                }
            }
            directories = next;
        }
        for directory in directories {
            if is_pattern(last) {
                let matching = list(&directory, last, found);
                found.paths.extend(matching.into_iter().filter(|path| !is_compressed(path)));
            } else {
                found.paths.push(directory.join(last));
            }
            found.directories.push(directory);
        }
    }
}

/// The entries of a directory whose names fit, by name.
fn list(directory: &Path, pattern: &str, found: &mut Found) -> Vec<PathBuf> {
    let listed = fs::read_dir(directory).and_then(|entries| {
        let names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>();
        Ok(names?.into_iter().filter(|name| {
            name.to_str().is_some_and(|name| matches(pattern.as_bytes(), name.as_bytes()))
        }))
    });
    let mut paths: Vec<PathBuf> = match listed {
        Ok(names) => names.map(|name| directory.join(name)).collect(),
        Err(error) => {
            found.troubles.push((directory.to_owned(), error));
            Vec::new()
        }
    };
    paths.sort();
    paths
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Whether a file is compressed, by its name.
pub(crate) fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| COMPRESSED.iter().any(|known| extension == *known))
}

/// Whether a name fits a pattern, in time proportional to the product of both.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    // Where the last star is, and how much it stands for at present.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(b'?'), _) => (p, n) = (p + 1, n + 1),
            (Some(byte), _) if *byte == name[n] => (p, n) = (p + 1, n + 1),
            (_, Some((at, taken))) => {
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
            (_, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = Path::new(text);
        let is_plain =
            path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        match path.is_absolute() && is_plain && !text.ends_with('/') && !text.contains('\0') {
            true => Ok(Self(text.to_owned())),
            false => Err(PatternError(text.chars().take(200).collect())),
        }
    }
}

impl TryFrom<String> for PathPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_what_differs() {
        for (pattern, name, fits) in [
            ("*.log", "a.log", true),
            ("*.log", ".log", false),
            (".*", ".hidden", true),
            ("*", ".hidden", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("access.log*", "access.log", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_path_must_be_whole() {
        for text in ["", "relative.log", "/", "/var/log/", "/var/../etc/shadow"] {
            let error = text.parse::<PathPattern>().unwrap_err();
            assert!(error.to_string().contains("full path"), "{error}");
        }
    }

    #[test]
    fn files_are_found_in_folders_that_differ() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a/x.log", "b/y.log", "b/y.log.gz", "c"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let find = |pattern: &str| {
            let pattern: PathPattern =
                format!("{}/{pattern}", dir.path().display()).parse().unwrap();
            let mut found = Found::default();
            pattern.find(&mut found);
            let names = found.paths.iter().map(|path| path.strip_prefix(dir.path()).unwrap());
            names.map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(find("*/*.log*"), ["a/x.log", "b/y.log"]);
        assert_eq!(find("b/?.log"), ["b/y.log"]);
        assert_eq!(find("b/y.log.gz"), ["b/y.log.gz"], "it is named");
        assert_eq!(find("missing/z.log"), ["missing/z.log"]);
        assert!(find("missing/*.log").is_empty());
    }

    proptest! {
        #[test]
        fn every_name_fits_itself_and_a_star(name in "[a-c*?]{0,8}", rest in "[a-c]{0,8}") {
            let literal = name.replace(['*', '?'], "b");
            prop_assert!(matches(literal.as_bytes(), literal.as_bytes()));
            let (pattern, name) = (format!("{literal}*"), format!("{literal}{rest}"));
            prop_assert!(matches(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
