//! Two texts, line by line.

/// Lines that are compared; of longer texts the rest is told in a line.
const MOST: usize = 500;

/// What has to go (`-`) and to come (`+`) to get from one text to the other, in
/// a few lines of what stays.
pub(super) fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let longest = old.len().max(new.len());
    let (old, new) = (&old[..old.len().min(MOST)], &new[..new.len().min(MOST)]);
    let lengths = lengths(old, new);
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && lengths[i + 1][j] >= lengths[i][j + 1]) {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    let mut text = around_changes(&lines);
    if longest > MOST {
        text.push_str(&format!("\n(only the first {MOST} lines are compared)"));
    }
    text
}

/// How many lines the rests of the two have in common, from each place on.
fn lengths(old: &[&str], new: &[&str]) -> Vec<Vec<u16>> {
    let mut lengths = vec![vec![0; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            lengths[i][j] = match old[i] == new[j] {
                true => lengths[i + 1][j + 1] + 1,
                false => lengths[i + 1][j].max(lengths[i][j + 1]),
            };
        }
    }
    lengths
}

/// The changed lines with two on both sides of each.
fn around_changes(lines: &[(char, &str)]) -> String {
    const AROUND: usize = 2;
    let is_near = |index: usize| {
        let near = index.saturating_sub(AROUND)..(index + AROUND + 1).min(lines.len());
        lines[near].iter().any(|(sign, _)| *sign != ' ')
    };
    let mut shown = Vec::new();
    let mut is_gap = false;
    for (index, (sign, line)) in lines.iter().enumerate() {
        if is_near(index) {
            shown.push(format!("{sign} {line}"));
        } else if !is_gap {
            shown.push("  …".to_owned());
        }
        is_gap = !is_near(index);
    }
    shown.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_are_marked() {
        assert_eq!(diff("a\nb\nc", "a\nx\nc"), "  a\n- b\n+ x\n  c");
        assert_eq!(diff("a", "a\nb"), "  a\n+ b");
        assert_eq!(diff("a\nb", "b"), "- a\n  b");
    }

    #[test]
    fn what_is_far_from_any_change_is_left_out() {
        let old: Vec<_> = (0..20).map(|n| n.to_string()).collect();
        let mut new = old.clone();
        new[10] = "ten".to_owned();
        let text = diff(&old.join("\n"), &new.join("\n"));
        assert_eq!(text, "  …\n  8\n  9\n- 10\n+ ten\n  11\n  12\n  …");
    }

    #[test]
    fn very_long_texts_are_compared_in_part() {
        let long = "x\n".repeat(100_000);
        assert!(diff(&long, "y").len() < 10_000);
    }
}
