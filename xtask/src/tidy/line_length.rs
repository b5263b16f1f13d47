// SPDX-License-Identifier: Apache-2.0 OR MIT
//! No comment in code and no line of a script is longer than 140 characters; rustfmt sees to the code itself.
//! A line whose length comes from one word, as a link or a recorded packet, is left alone.

use super::tree::{Finding, Tree};

const LIMIT: usize = 140;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let checked = ["rs", "c", "h", "sh"];
    for file in tree.files.iter().filter(|file| checked.iter().any(|end| file.has_extension(end))) {
        for (number, line) in file.lines() {
            let length = line.chars().count();
            let counts = !file.has_extension("rs") || line.trim_start().starts_with("//");
            if length > LIMIT && counts && !is_one_word(line) {
                findings.push(Finding::new(file, number, format!("{length} characters; at most {LIMIT}")));
            }
        }
    }
    findings
}

fn is_one_word(line: &str) -> bool {
    line.split_whitespace().any(|word| word.chars().count() > LIMIT / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_found_with_its_number() {
        let text = format!("// short\n// {}\n", "word ".repeat(30));
        let findings = check(&Tree::of(&[("a.rs", &text)]));
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2]);
        assert!(check(&Tree::of(&[("a.md", &text)])).is_empty());
        assert_eq!(check(&Tree::of(&[("a.sh", &text)])).len(), 1);
        let code = format!("    let text = \"{}\";\n", "word ".repeat(30));
        assert!(check(&Tree::of(&[("a.rs", &code)])).is_empty());
    }

    #[test]
    fn links_and_recordings_are_left_alone() {
        let text = format!("// see https://example.com/{}\n", "x".repeat(140));
        assert!(check(&Tree::of(&[("a.rs", &text)])).is_empty());
    }
}
