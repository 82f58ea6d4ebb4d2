//! What the arguments of a program may look like.
//!
//! A pattern is a list of words, one for each argument, and arguments come as a
//! list as well: nothing is joined, split or read by a shell anywhere, so no
//! argument can pass as two.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One way in which a program may be called: a word for each of its arguments.
///
/// | word | stands for |
/// |---|---|
/// | `text` | exactly that |
/// | `*` | one argument, which does not begin with `-` |
/// | `text*` | one argument that begins so, such as `--depth=*`, `-*`, `/srv/*` |
/// | `**` | all further arguments, none included, whatever they are; only as the last word |
///
/// `\*` is a star and `\\` a backslash. Where a word with a `/` ends in `*`, no
/// `..` is between the slashes of an argument that fits. No argument with a NUL
/// fits anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct ArgumentPattern {
    words: Vec<Word>,
    takes_more: bool,
}

/// What one argument may be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Exact(String),
    Any,
    /// What it begins with; never empty.
    Beginning(String),
}

/// A list of words that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no word of a pattern for arguments: {rule}")]
pub struct PatternError {
    /// The word.
    pub word: String,
    /// What it breaks.
    pub rule: &'static str,
}

impl ArgumentPattern {
    /// Whether a program may be called with these arguments, as far as this
    /// pattern is concerned.
    #[must_use]
    pub fn permits(&self, arguments: &[String]) -> bool {
        let is_long_enough = match self.takes_more {
            true => arguments.len() >= self.words.len(),
            false => arguments.len() == self.words.len(),
        };
        is_long_enough
            && arguments.iter().all(|argument| !argument.contains('\0'))
            && self.words.iter().zip(arguments).all(|(word, argument)| word.permits(argument))
    }

    /// The pattern of a program that is called without arguments, alone.
    pub(crate) fn without_arguments() -> Vec<Self> {
        vec![Self { words: Vec::new(), takes_more: false }]
    }

    /// Whether all that `other` permits is permitted by this pattern too. False
    /// may be too careful; true never is.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let is_long_enough = match self.takes_more {
            true => other.words.len() >= self.words.len(),
            false => other.words.len() == self.words.len() && !other.takes_more,
        };
        is_long_enough && self.words.iter().zip(&other.words).all(|(own, other)| own.covers(other))
    }
}

impl Word {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut plain = String::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => match letters.next() {
                    Some(next @ ('*' | '\\')) => plain.push(next),
                    _ => return Err("write `\\\\` for a backslash, and `\\*` for a star"),
                },
                '*' if !letters.as_str().is_empty() => {
                    return Err(
                        "a `*` is at the end of its word, and `**` is the last word; write \
                                `\\*` for a star itself",
                    );
                }
                '*' if plain.is_empty() => return Ok(Self::Any),
                '*' if is_path(&plain) && leads_up(&plain) => {
                    return Err("name the place without `..`");
                }
                '*' => return Ok(Self::Beginning(plain)),
                '\0' => return Err("no program can be given a NUL"),
                letter => plain.push(letter),
            }
        }
        Ok(Self::Exact(plain))
    }

    fn permits(&self, argument: &str) -> bool {
        match self {
            Self::Exact(text) => argument == text,
            Self::Any => !argument.starts_with('-'),
            Self::Beginning(text) => {
                argument.starts_with(text) && !(is_path(text) && leads_up(argument))
            }
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(text)) => self.permits(text),
            (Self::Any, Self::Any) => true,
            (Self::Any, Self::Beginning(text)) => !text.starts_with('-'),
            (Self::Beginning(own), Self::Beginning(text)) => text.starts_with(own),
            (Self::Exact(_), _) | (Self::Beginning(_), Self::Any) => false,
        }
    }
}

fn is_path(text: &str) -> bool {
    text.contains('/')
}

/// Whether a part of a path leads to where it was not said to lead; also behind
/// a `=`, as in `--to=../x`.
fn leads_up(text: &str) -> bool {
    text.split(['/', '=']).any(|part| part == "..")
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('*', "\\*");
        match self {
            Self::Exact(text) => f.write_str(&escaped(text)),
            Self::Any => f.write_str("*"),
            Self::Beginning(text) => write!(f, "{}*", escaped(text)),
        }
    }
}

impl TryFrom<Vec<String>> for ArgumentPattern {
    type Error = PatternError;

    fn try_from(mut texts: Vec<String>) -> Result<Self, PatternError> {
        let takes_more = texts.pop_if(|last| last == "**").is_some();
        let parse = |text: String| {
            Word::parse(&text)
                .map_err(|rule| PatternError { word: text.chars().take(128).collect(), rule })
        };
        Ok(Self { words: texts.into_iter().map(parse).collect::<Result<_, _>>()?, takes_more })
    }
}

impl From<ArgumentPattern> for Vec<String> {
    fn from(pattern: ArgumentPattern) -> Self {
        let more = pattern.takes_more.then(|| "**".to_owned());
        pattern.words.iter().map(Word::to_string).chain(more).collect()
    }
}

/// For people: words with spaces between them, in quotes where a space, or
/// nothing, is part of one.
impl fmt::Display for ArgumentPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in Vec::from(self.clone()).iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            match word.is_empty() || word.contains(char::is_whitespace) {
                true => write!(f, "{space}{word:?}")?,
                false => write!(f, "{space}{word}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn pattern(words: &[&str]) -> ArgumentPattern {
        list(words).try_into().unwrap()
    }

    fn permits(words: &[&str], arguments: &[&str]) -> bool {
        pattern(words).permits(&list(arguments))
    }

    #[test]
    fn what_a_pattern_says_is_permitted() {
        for (words, arguments) in [
            (&[][..], &[][..]),
            (&["status"], &["status"]),
            (&["log", "--oneline", "*"], &["log", "--oneline", "main"]),
            (&["log", "*"], &["log", "two words"]),
            (&["log", "*"], &["log", ""]),
            (&["log", "-*"], &["log", "--all"]),
            (&["fetch", "--depth=*"], &["fetch", "--depth=1"]),
            (&["fetch", "--", "*"], &["fetch", "--", "origin"]),
            (&["run", "**"], &["run"]),
            (&["run", "**"], &["run", "-x", "--", "a b"]),
            (&["ls", "/srv/*"], &["ls", "/srv/data/..x/y"]),
            (&["find", "\\*.log"], &["find", "*.log"]),
            (&["\\\\*"], &["\\x"]),
        ] {
            assert!(permits(words, arguments), "{words:?} {arguments:?}");
        }
    }

    #[test]
    fn no_forged_argument_is_permitted() {
        for (words, arguments) in [
            (&["status"][..], &[][..]),
            (&[], &["status"]),
            (&["status"], &["status", "x"]),
            (&["status"], &["status "]),
            (&["status"], &["statu"]),
            (&["Status"], &["status"]),
            // Neither are two arguments one, nor one two.
            (&["log", "--oneline"], &["log --oneline"]),
            (&["log --oneline"], &["log", "--oneline"]),
            (&["log", "*"], &["log", "a", "b"]),
            (&["log", "*"], &["log"]),
            // Options where a value was meant.
            (&["log", "*"], &["log", "--output=/etc/passwd"]),
            (&["log", "*"], &["log", "-p"]),
            (&["fetch", "--", "*"], &["fetch", "--upload-pack=x", "y"]),
            (&["fetch", "--depth=*"], &["fetch", "--depth"]),
            (&["run", "x", "**"], &["run"]),
            (&["run", "x", "**"], &["run", "y", "x"]),
            // Out of a directory.
            (&["ls", "/srv/*"], &["ls", "/srv/../etc"]),
            (&["ls", "/srv/*"], &["ls", "/srv/a/.."]),
            (&["ls", "/srv/*"], &["ls", "/srv"]),
            (&["ls", "/srv/.*"], &["ls", "/srv/../etc"]),
            (&["ls", "--in=./*"], &["ls", "--in=./../x"]),
            // What the kernel would cut.
            (&["log", "*"], &["log", "a\0b"]),
            (&["**"], &["a\0"]),
            // A star is one only where it is written so.
            (&["\\*"], &["x"]),
        ] {
            assert!(!permits(words, arguments), "{words:?} {arguments:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_word() {
        for word in ["a*b", "*a", "a**", "***", "\\", "\\a", "a\0", "../x/*", "--to=../x/*"] {
            let error = ArgumentPattern::try_from(list(&["a", word, "b"])).unwrap_err();
            assert_eq!(error.word, word);
        }
        assert!(ArgumentPattern::try_from(list(&["**", "a"])).is_err());
    }

    #[test]
    fn a_pattern_covers_those_that_permit_less() {
        let covers = |a: &[&str], b: &[&str]| pattern(a).covers(&pattern(b));
        for (a, b) in [
            (&["**"][..], &["log", "-*", "**"][..]),
            (&["log", "**"], &["log"]),
            (&["log", "*"], &["log", "main"]),
            (&["log", "*"], &["log", "ma*"]),
            (&["--depth=*"], &["--depth=1*"]),
        ] {
            assert!(covers(a, b) && !covers(b, a), "{a:?} {b:?}");
        }
        assert!(!covers(&["log", "*"], &["log", "-*"]));
        assert!(!covers(&["log", "*"], &["log", "**"]));
        assert!(!covers(&["log", "x", "**"], &["log", "**"]));
        assert!(!covers(&["/srv/*"], &["/srv/../etc"]));
    }

    #[test]
    fn a_pattern_is_shown_as_it_was_written() {
        assert_eq!(
            pattern(&["log", "a b", "\\*", "x*", "**"]).to_string(),
            "log \"a b\" \\* x* **"
        );
    }

    fn word() -> impl Strategy<Value = String> {
        prop_oneof![3 => "[-a./]{0,3}", 2 => "[-a./]{0,3}\\*", 1 => Just("**".to_owned())]
    }

    proptest! {
        #[test]
        fn what_is_covered_is_permitted(
            a in vec(word(), 0..4),
            b in vec(word(), 0..4),
            arguments in vec("[-a./]{0,4}", 0..4),
        ) {
            let (Ok(a), Ok(b)) = (ArgumentPattern::try_from(a), ArgumentPattern::try_from(b)) else {
                return Ok(());
            };
            if a.covers(&b) && b.permits(&arguments) {
                prop_assert!(a.permits(&arguments), "{a} {b}");
            }
            prop_assert!(a.covers(&a));
        }

        #[test]
        fn a_pattern_reads_back_as_it_is_written(words in vec("[\\\\*a-]{0,4}", 0..4)) {
            if let Ok(pattern) = ArgumentPattern::try_from(words) {
                let again = Vec::from(pattern.clone());
                prop_assert_eq!(ArgumentPattern::try_from(again).unwrap(), pattern);
            }
        }

        #[test]
        fn the_text_alone_permits_the_text_alone(text in "[-a.*\\\\ ]{0,5}", other in "[-a.*\\\\ ]{0,5}") {
            let escaped = text.replace('\\', "\\\\").replace('*', "\\*");
            let pattern = ArgumentPattern::try_from(vec![escaped]).unwrap();
            prop_assert!(pattern.permits(std::slice::from_ref(&text)));
            prop_assert_eq!(pattern.permits(std::slice::from_ref(&other)), text == other);
        }
    }
}
