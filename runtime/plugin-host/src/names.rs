//! Names that nobody knows, and what was probably meant.

use drover_api::{ErrorCode, JobError};
use serde_json::json;

/// Says what there is instead of `wanted`, the most similar first, as an error
/// with the code [`ErrorCode::UnknownCommand`]. `what` says what there is not.
#[must_use]
pub fn unknown(what: &str, wanted: &str, mut names: Vec<&str>) -> JobError {
    names.sort_by_cached_key(|name| (distance(name, wanted), name.to_string()));
    let message = match names.is_empty() {
        true => format!("{what}; there is none"),
        false => format!("{what}; there are: {}", names.join(", ")),
    };
    JobError::new(ErrorCode::UnknownCommand, message).with_detail(json!({ "known": names }))
}

/// Letters to insert, remove or replace to get from one word to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(128).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_name_comes_first() {
        let error = unknown("no such plugin", "sysinfos", vec!["hello", "container", "sysinfo"]);
        assert_eq!(error.code, ErrorCode::UnknownCommand);
        assert_eq!(error.message, "no such plugin; there are: sysinfo, hello, container");
        assert_eq!(error.detail["known"][0], "sysinfo");
    }

    #[test]
    fn distances_count_letters() {
        for (one, other, expected) in
            [("", "", 0), ("a", "", 1), ("cpu", "cpu", 0), ("cpu", "gpus", 2), ("disk", "dsik", 2)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
