// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A file has at most 700 lines; test code is not counted.

use super::test_code::{is_test_file, test_lines};
use super::tree::{File, Finding, Tree};

const LIMIT: usize = 700;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let shipped = tree.rust().filter(|file| !is_test_file(file));
    let long = shipped.map(|file| (file, length(file))).filter(|(_, length)| *length > LIMIT);
    long.map(|(file, length)| {
        Finding::new(file, 1, format!("{length} lines without tests; at most {LIMIT}: split the file"))
    })
    .collect()
}

fn length(file: &File) -> usize {
    let tests: usize = file.syntax.iter().flat_map(test_lines).map(|(first, last)| last + 1 - first).sum();
    file.text.lines().count() - tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_hundred_lines_pass_and_one_more_does_not() {
        assert!(check(&Tree::of(&[("a.rs", &"// x\n".repeat(700))])).is_empty());
        assert_eq!(check(&Tree::of(&[("a.rs", &"// x\n".repeat(701))])).len(), 1);
    }

    #[test]
    fn tests_are_not_counted() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn a() {}\n".repeat(300));
        let text = format!("{}{tests}", "// x\n".repeat(600));
        assert!(check(&Tree::of(&[("a.rs", &text)])).is_empty());
        assert!(check(&Tree::of(&[("a/tests.rs", &"// x\n".repeat(900))])).is_empty());
        let longer = format!("{}{tests}", "// x\n".repeat(701));
        assert_eq!(check(&Tree::of(&[("a.rs", &longer)])).len(), 1);
    }
}
