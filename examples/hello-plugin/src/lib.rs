//! The smallest plugin.

use drover_sdk::{plugin, task};

plugin!(greet);

/// Greets somebody.
#[task]
fn greet(
    /// Who to greet.
    name: String,
    /// How often.
    #[default(1)]
    times: u8,
) -> String {
    vec![format!("Hello, {name}!"); times.into()].join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greets_as_often_as_it_is_told() {
        assert_eq!(greet("Ada".to_owned(), 2), "Hello, Ada! Hello, Ada!");
    }

    #[test]
    fn greets_once_unless_it_is_told_otherwise() {
        let answer = PLUGIN.run("greet", r#"{"name": "Ada"}"#).unwrap();
        assert_eq!(answer, r#""Hello, Ada!""#);
    }
}
