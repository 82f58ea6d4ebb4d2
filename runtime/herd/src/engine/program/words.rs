//! A shell script cut into words and operators.

/// A piece of a script.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Word(String),
    /// One of `;`, `&`, `&&`, `||`, `>`, `>&2`. A line end is a `;`.
    Operator(&'static str),
}

/// Operators, longest first.
const OPERATORS: [&str; 6] = [">&2", "&&", "||", ";", "&", ">"];

/// Cuts a script; `variable` gives the value of a `$NAME`.
pub(crate) fn cut(script: &str, variable: impl Fn(&str) -> String) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = script;
    while let Some(first) = rest.chars().next() {
        if let Some(operator) = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) {
            tokens.extend(word.take().map(Token::Word));
            tokens.push(Token::Operator(operator));
            rest = &rest[operator.len()..];
            continue;
        }
        rest = &rest[first.len_utf8()..];
        match first {
            '\n' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(Token::Operator(";"));
            }
            _ if first.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            '\'' => {
                let (quoted, after) = rest.split_once('\'').unwrap_or((rest, ""));
                word.get_or_insert_default().push_str(quoted);
                rest = after;
            }
            '"' => {
                let (quoted, after) = rest.split_once('"').unwrap_or((rest, ""));
                word.get_or_insert_default().push_str(&expand(quoted, &variable));
                rest = after;
            }
            '$' => {
                let (value, after) = value(rest, &variable);
                word.get_or_insert_default().push_str(&value);
                rest = after;
            }
            _ => word.get_or_insert_default().push(first),
        }
    }
    tokens.extend(word.map(Token::Word));
    tokens
}

fn expand(text: &str, variable: impl Fn(&str) -> String) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (value, after) = value(after, &variable);
        expanded.push_str(&value);
        rest = after;
    }
    expanded + rest
}

/// The value of the variable whose name begins `text`, and what follows.
fn value(text: &str, variable: impl Fn(&str) -> String) -> (String, &str) {
    if let Some((name, after)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return (variable(name), after);
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    if name.is_empty() { ("$".to_owned(), after) } else { (variable(name), after) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_operators_quotes_and_variables_are_told_apart() {
        let tokens = cut("echo 'a;b' \"$X\">&2;exit 3", |name| format!("<{name}>"));
        let word = |text: &str| Token::Word(text.to_owned());
        assert_eq!(
            tokens,
            [
                word("echo"),
                word("a;b"),
                word("<X>"),
                Token::Operator(">&2"),
                Token::Operator(";"),
                word("exit"),
                word("3"),
            ]
        );
    }
}
