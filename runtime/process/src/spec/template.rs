//! The places that paths in a command are written from.

use std::path::PathBuf;

/// What `$agentroot`, `$root` and `$tmp` stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// `$agentroot`: where the agent keeps its own.
    pub agent_root: PathBuf,
    /// `$root`: the root of what the site installs.
    pub root: PathBuf,
    /// `$tmp`: where files may lie that nobody needs tomorrow.
    pub tmp: PathBuf,
}

impl Places {
    /// Fills in the names wherever they stand in a path.
    pub(super) fn fill(&self, path: &str) -> String {
        let mut filled = String::with_capacity(path.len());
        let mut rest = path;
        while let Some(dollar) = rest.find('$') {
            filled.push_str(&rest[..dollar]);
            rest = &rest[dollar..];
            let (text, used) = self.name_at_start(rest).unwrap_or(("$", 1));
            filled.push_str(text);
            rest = &rest[used..];
        }
        filled + rest
    }

    /// Fills in the name that a text begins with, if the text is a path from
    /// there. A shell's own `$root` in the middle of a line stays what it is.
    pub(super) fn fill_path(&self, text: &str) -> String {
        match self.name_at_start(text) {
            Some((place, used)) if text[used..].is_empty() || text[used..].starts_with('/') => {
                format!("{place}{}", &text[used..])
            }
            _ => text.to_owned(),
        }
    }

    /// What the name at the start of `text` stands for, and its length.
    fn name_at_start(&self, text: &str) -> Option<(&str, usize)> {
        let name = text.strip_prefix('$')?;
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let name = &name[..end.unwrap_or(name.len())];
        let place = match name {
            "agentroot" => &self.agent_root,
            "root" => &self.root,
            "tmp" => &self.tmp,
            _ => return None,
        };
        Some((place.to_str()?, name.len() + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places { agent_root: "/a".into(), root: "/r".into(), tmp: "/t".into() }
    }

    #[test]
    fn names_are_filled_in_where_they_stand_as_words() {
        for (path, filled) in [
            ("$root/bin/x", "/r/bin/x"),
            ("$tmp", "/t"),
            ("/x/$agentroot-$tmp", "/x//a-/t"),
            ("$rootless/$unknown/$", "$rootless/$unknown/$"),
            ("ünï$rootü", "ünï/rü"),
        ] {
            assert_eq!(places().fill(path), filled, "{path}");
        }
    }

    #[test]
    fn an_argument_is_filled_in_only_if_it_is_a_path() {
        for (text, filled) in [
            ("$tmp/x", "/t/x"),
            ("$root", "/r"),
            ("echo $root", "echo $root"),
            ("$root is mine", "$root is mine"),
        ] {
            assert_eq!(places().fill_path(text), filled, "{text}");
        }
    }
}
