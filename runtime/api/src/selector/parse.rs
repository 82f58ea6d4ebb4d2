//! From text to rules, and what is wrong where it fails.

use crate::{Gid, NodeId};

use super::pattern::Pattern;
use super::{Condition, Rule};

/// The longest selector, in bytes.
const LONGEST: usize = 4096;

/// Parentheses and `not`s in each other: the rules are walked by recursion.
const DEEPEST: usize = 32;

/// What may stand where a condition has to.
const CONDITIONS: &str = "a label, `name=web-*`, `grid=1`, an id such as `1.7`, or `*`";

/// A text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the selector cannot be read at character {at}, {}: {problem}", place(.rest))]
pub struct SelectorError {
    /// The character at which the text goes wrong, from 1.
    pub at: usize,
    /// The text from there on.
    pub rest: String,
    /// What is wrong, and what may stand there.
    pub problem: String,
}

fn place(rest: &str) -> String {
    const SHOWN: usize = 20;
    let shown: String = rest.chars().take(SHOWN).collect();
    match shown.is_empty() {
        true => "its end".to_owned(),
        false => format!("`{shown}{}`", if shown.len() < rest.len() { "…" } else { "" }),
    }
}

/// A part of the text, and where it begins, in bytes.
#[derive(Debug, Clone)]
struct Token {
    at: usize,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Open,
    Close,
    And,
    Or,
    Not,
    /// Text before `=` if it says what the rest is, and the text; whether it was
    /// in quotes.
    Word {
        key: Option<Key>,
        text: String,
        is_quoted: bool,
    },
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Name,
    Label,
    Grid,
}

const KEYS: [(&str, Key); 3] = [("name=", Key::Name), ("label=", Key::Label), ("grid=", Key::Grid)];

const WORDS: [(&str, Kind); 3] = [("and", Kind::And), ("or", Kind::Or), ("not", Kind::Not)];

/// Reads a selector.
pub(super) fn parse(text: &str) -> Result<Rule, SelectorError> {
    check_length(text)?;
    let mut parser = Parser { text, tokens: tokens(text)?, next: 0, depth: 0 };
    let rule = parser.any()?;
    match parser.peek().kind {
        // It travels as it is printed, which may be longer.
        Kind::End => check_length(&rule.to_string()).map(|()| rule),
        Kind::Close => Err(parser.wrong("there is no `(` for it")),
        _ => Err(parser.wrong("`and`, `or` or the end is wanted here")),
    }
}

fn check_length(text: &str) -> Result<(), SelectorError> {
    if text.len() <= LONGEST {
        return Ok(());
    }
    let problem = format!("it has {} bytes, and may have {LONGEST}", text.len());
    Err(SelectorError { at: text.chars().count() + 1, rest: String::new(), problem })
}

/// A text as it has to be written after a key.
pub(super) fn quoted_if_needed(text: &str) -> String {
    if text.chars().all(is_plain) { text.to_owned() } else { quoted(text) }
}

/// A label as it has to be written where a condition stands.
pub(super) fn label(text: &str) -> String {
    let is_label = text.chars().all(is_plain)
        && !WORDS.iter().any(|(word, _)| *word == text)
        && matches!(condition(None, text.to_owned(), false), Ok(Condition::Label(_)))
        && !KEYS.iter().any(|(key, _)| text.starts_with(key));
    if is_label { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Whether a character may stand in a word without quotes.
fn is_plain(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !"(),\"\\".contains(c)
}

fn wrong(text: &str, at: usize, problem: impl Into<String>) -> SelectorError {
    let (before, rest) = text.split_at(at);
    SelectorError { at: before.chars().count() + 1, rest: rest.to_owned(), problem: problem.into() }
}

fn tokens(text: &str) -> Result<Vec<Token>, SelectorError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let mark = match first {
            '(' => Some(Kind::Open),
            ')' => Some(Kind::Close),
            ',' => Some(Kind::And),
            _ => None,
        };
        let begin = at;
        match mark {
            Some(kind) => {
                tokens.push(Token { at, kind });
                at += 1;
            }
            None if first.is_whitespace() => at += first.len_utf8(),
            None => {
                let kind = word(text, &mut at)?;
                tokens.push(Token { at: begin, kind });
            }
        }
    }
    tokens.push(Token { at, kind: Kind::End });
    Ok(tokens)
}

/// Reads a word that begins at `at`, and moves it to the word's end.
fn word(text: &str, at: &mut usize) -> Result<Kind, SelectorError> {
    let rest = &text[*at..];
    let key = KEYS.iter().find(|(key, _)| rest.starts_with(key));
    let begin = *at + key.map_or(0, |(key, _)| key.len());
    let key = key.map(|(_, key)| *key);
    if text[begin..].starts_with('"') {
        let (unquoted, end) = quoted_text(text, begin)?;
        *at = end;
        return Ok(Kind::Word { key, text: unquoted, is_quoted: true });
    }
    let length = text[begin..].find(|c| !is_plain(c)).unwrap_or(text.len() - begin);
    let end = begin + length;
    let plain = &text[begin..end];
    if text[end..].starts_with(['"', '\\']) {
        return Err(wrong(text, end, "quotes go around the whole text: \"web 7\", name=\"web 7\""));
    }
    if text[end..].chars().next().is_some_and(|c| c.is_control() && !c.is_whitespace()) {
        return Err(wrong(text, end, "this character has to be in quotes"));
    }
    *at = end;
    if key.is_some() && plain.is_empty() {
        return Err(wrong(text, end, "something has to follow the `=`"));
    }
    let reserved = WORDS.into_iter().find(|(word, _)| key.is_none() && *word == plain);
    let text = plain.to_owned();
    Ok(reserved.map_or(Kind::Word { key, text, is_quoted: false }, |(_, kind)| kind))
}

/// Reads what is in quotes, from the first of them; tells where it ends.
fn quoted_text(text: &str, begin: usize) -> Result<(String, usize), SelectorError> {
    let mut unquoted = String::new();
    let mut chars = text[begin..].char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            '"' if unquoted.is_empty() => {
                return Err(wrong(text, begin, "there is nothing in the quotes"));
            }
            '"' => return Ok((unquoted, begin + index + 1)),
            '\\' => unquoted.extend(chars.next().map(|(_, c)| c)),
            c => unquoted.push(c),
        }
    }
    Err(wrong(text, begin, "the quotes are not closed"))
}

/// What a word means, or why it means nothing.
fn condition(key: Option<Key>, text: String, is_quoted: bool) -> Result<Condition, String> {
    let empty = || "something has to follow the `=`".to_owned();
    let pattern = |text| Pattern::new(text).ok_or_else(empty);
    match key {
        Some(Key::Name) => Ok(Condition::Name(pattern(text)?)),
        Some(Key::Label) => Ok(Condition::Label(pattern(text)?)),
        Some(Key::Grid) => match text.parse() {
            Ok(gid) => Ok(Condition::Grid(Gid(gid))),
            Err(_) => Err(format!("`{text}` is no number of a grid")),
        },
        None if is_quoted => Ok(Condition::Label(pattern(text)?)),
        None if text == "*" => Ok(Condition::Everything),
        None => {
            if let Ok(id) = text.parse::<NodeId>() {
                return Ok(Condition::Id(id));
            }
            let grid = text.strip_suffix(".*").and_then(|gid| gid.parse().ok());
            grid.map_or_else(
                || Ok(Condition::Label(pattern(text)?)),
                |gid| Ok(Condition::Grid(Gid(gid))),
            )
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    /// The last one is the end.
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Rule, SelectorError> {
        self.list(&Kind::Or, Self::all, Rule::Any)
    }

    fn all(&mut self) -> Result<Rule, SelectorError> {
        self.list(&Kind::And, Self::not, Rule::All)
    }

    /// Rules with the same word between them; one alone is itself.
    fn list(
        &mut self,
        between: &Kind,
        one: fn(&mut Self) -> Result<Rule, SelectorError>,
        list: fn(Vec<Rule>) -> Rule,
    ) -> Result<Rule, SelectorError> {
        let first = one(self)?;
        let mut rules = vec![first];
        while self.peek().kind == *between {
            self.next += 1;
            rules.push(one(self)?);
        }
        Ok(match rules.len() {
            1 => rules.remove(0),
            _ => list(rules),
        })
    }

    fn not(&mut self) -> Result<Rule, SelectorError> {
        if self.depth > DEEPEST {
            let problem = format!("there are more than {DEEPEST} `not` and `(` in each other");
            return Err(self.wrong(problem));
        }
        let token = self.peek().clone();
        match token.kind {
            Kind::Not => {
                self.next += 1;
                self.depth += 1;
                let rule = self.not()?;
                self.depth -= 1;
                Ok(Rule::Not(Box::new(rule)))
            }
            Kind::Open => {
                self.next += 1;
                self.depth += 1;
                let rule = self.any()?;
                self.depth -= 1;
                if self.peek().kind != Kind::Close {
                    let place = wrong(self.text, token.at, "");
                    let problem =
                        format!("a `)` is wanted here for the `(` at character {}", place.at);
                    return Err(self.wrong(problem));
                }
                self.next += 1;
                Ok(rule)
            }
            Kind::Word { key, text, is_quoted } => match condition(key, text, is_quoted) {
                Ok(condition) => {
                    self.next += 1;
                    Ok(Rule::One(condition))
                }
                Err(problem) => Err(self.wrong(problem)),
            },
            Kind::Close | Kind::And | Kind::Or | Kind::End => {
                Err(self.wrong(format!("a condition is wanted here: {CONDITIONS}")))
            }
        }
    }

    fn peek(&self) -> &Token {
        // Nothing goes on after the end, which is the last.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn wrong(&self, problem: impl Into<String>) -> SelectorError {
        wrong(self.text, self.peek().at, problem)
    }
}
