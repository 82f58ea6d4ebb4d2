//! Files of images and containers.

use std::collections::BTreeMap;
use std::io::{self, Read};

use bytes::Bytes;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Folder,
    File(Bytes),
    Link(String),
}

/// Files by absolute path, without a final slash. The root is not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Files(pub(crate) BTreeMap<String, Node>);

impl Files {
    /// Reads a tar archive, with its entries below `folder`.
    ///
    /// # Errors
    ///
    /// If it is none, or ends too soon.
    pub(crate) fn from_tar(archive: impl Read, folder: &str) -> io::Result<Self> {
        let mut files = Self::default();
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = absolute(&format!("{folder}/{}", entry.path()?.display()));
            let node = match entry.header().entry_type() {
                tar::EntryType::Directory => Node::Folder,
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    let target = entry.link_name()?.unwrap_or_default();
                    Node::Link(target.display().to_string())
                }
                _ => {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    Node::File(content.into())
                }
            };
            if path != "/" {
                files.0.insert(path, node);
            }
        }
        Ok(files)
    }

    /// The file or folder at `path` and everything below it, as a tar archive
    /// whose names begin with the last part of `path`.
    pub(crate) fn to_tar(&self, path: &str) -> io::Result<Vec<u8>> {
        let path = absolute(path);
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let inside = format!("{}/", path.trim_end_matches('/'));
        let mut archive = tar::Builder::new(Vec::new());
        for (name, node) in &self.0 {
            if *name != path && !name.starts_with(&inside) {
                continue;
            }
            let name = name.strip_prefix(parent).unwrap_or(name).trim_start_matches('/');
            append(&mut archive, name, node)?;
        }
        archive.into_inner()
    }

    /// What is at a path; links are followed once.
    pub(crate) fn at(&self, path: &str) -> Option<&Node> {
        let path = absolute(path);
        match self.0.get(&path)? {
            Node::Link(target) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let target = match target.strip_prefix('/') {
                    Some(_) => target.clone(),
                    None => format!("{folder}/{target}"),
                };
                self.0.get(&absolute(&target))
            }
            node => Some(node),
        }
    }

    /// The content of a regular file.
    pub(crate) fn content(&self, path: &str) -> Option<Bytes> {
        match self.at(path)? {
            Node::File(content) => Some(content.clone()),
            _ => None,
        }
    }

    pub(crate) fn is_folder(&self, path: &str) -> bool {
        absolute(path) == "/" || matches!(self.at(path), Some(Node::Folder))
    }

    /// Bytes of all files.
    pub(crate) fn size(&self) -> usize {
        let sizes = self.0.values().map(|node| match node {
            Node::File(content) => content.len(),
            _ => 0,
        });
        sizes.sum()
    }
}

/// Adds one entry to an archive.
pub(crate) fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    name: &str,
    node: &Node,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    match node {
        Node::Folder => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            archive.append_data(&mut header, format!("{name}/"), io::empty())
        }
        Node::File(content) => {
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, content.as_ref())
        }
        Node::Link(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, name, target)
        }
    }
}

/// A path from the root, without `.`, `..` and double slashes.
pub(crate) fn absolute(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_comes_back_as_it_was() {
        let mut files = Files::default();
        files.0.insert("/a".to_owned(), Node::Folder);
        files.0.insert("/a/f".to_owned(), Node::File(Bytes::from_static(b"content")));
        files.0.insert("/a/l".to_owned(), Node::Link("f".to_owned()));
        let archive = files.to_tar("/a").unwrap();
        assert_eq!(Files::from_tar(archive.as_slice(), "/").unwrap(), files);
        assert_eq!(files.content("/a/./l"), Some(Bytes::from_static(b"content")));
    }
}
