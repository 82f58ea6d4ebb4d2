//! Names of images.

use super::Outcome;
use crate::engine::answer::Refusal;

/// `repository:tag` or `repository@digest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    /// With the registry if it was named.
    pub(crate) repository: String,
    /// A tag, or a digest with its `sha256:`.
    pub(crate) tag: String,
}

impl Reference {
    /// Reads a name, with `latest` for a tag that is left out.
    pub(crate) fn read(text: &str) -> Outcome<Self> {
        let (repository, tag) = match text.split_once('@') {
            Some((repository, digest)) => (repository, digest),
            None => match text.rsplit_once(':') {
                Some((repository, tag)) if !tag.contains('/') => (repository, tag),
                _ => (text, "latest"),
            },
        };
        Self::new(repository, tag)
    }

    pub(crate) fn new(repository: &str, tag: &str) -> Outcome<Self> {
        let path = match repository.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
            _ => repository,
        };
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        if path.chars().any(|c| c.is_ascii_uppercase()) {
            let text = "invalid reference format: repository name must be lowercase";
            return Err(Refusal::bad_request(text));
        }
        if path.is_empty() || tag.is_empty() || !path.chars().all(is_part) {
            return Err(Refusal::bad_request("invalid reference format"));
        }
        let repository = repository.strip_prefix("docker.io/library/").unwrap_or(repository);
        Ok(Self { repository: repository.to_owned(), tag: tag.to_owned() })
    }

    /// The registry's address, if the name has one.
    pub(crate) fn registry(&self) -> Option<&str> {
        let (host, _) = self.repository.split_once('/')?;
        (host.contains(['.', ':']) || host == "localhost").then_some(host)
    }

    /// The repository without its registry.
    pub(crate) fn path(&self) -> &str {
        match (self.registry(), self.repository.split_once('/')) {
            (Some(_), Some((_, path))) => path,
            _ => &self.repository,
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let separator = if self.tag.starts_with("sha256:") { '@' } else { ':' };
        write!(f, "{}{separator}{}", self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        let reference = Reference::read("127.0.0.1:5000/a/b").unwrap();
        assert_eq!(reference.registry(), Some("127.0.0.1:5000"));
        assert_eq!((reference.path(), reference.tag.as_str()), ("a/b", "latest"));
        assert_eq!(reference.to_string(), "127.0.0.1:5000/a/b:latest");
        assert!(Reference::read("BAD").is_err());
    }
}
