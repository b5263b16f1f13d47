// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Nothing half-done stays in the tree: no marker for later work, no macro that panics in place of code.

use super::tree::{Finding, Tree};

/// Put together from halves so that this file does not find itself.
const MARKERS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const MACROS: &[&str] = &[concat!("to", "do!"), concat!("unimple", "mented!"), concat!("db", "g!")];
const CHECKED: &[&str] = &["rs", "c", "h", "sh", "toml", "md", "py", "service"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| CHECKED.iter().any(|end| file.has_extension(end))) {
        for (number, line) in file.lines() {
            let word = MARKERS.iter().find(|marker| has_word(line, marker));
            let call = MACROS.iter().find(|name| file.has_extension("rs") && has_call(line, name));
            if let Some(found) = word.or(call) {
                findings.push(Finding::new(
                    file,
                    number,
                    format!("left-over `{found}`: finish it or file an issue"),
                ));
            }
        }
    }
    findings
}

fn has_word(line: &str, marker: &str) -> bool {
    line.split(|character: char| !character.is_alphanumeric() && character != '_').any(|word| word == marker)
}

/// The macro's name, not as the end of a longer one.
fn has_call(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|character| character.is_alphanumeric() || character == '_' || character == '`')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_and_macros_are_found() {
        for marker in MARKERS {
            let text = format!("// fine\n// {marker}: later\n");
            let findings = check(&Tree::of(&[("a.rs", &text), ("b.md", &text)]));
            assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2, 2], "{marker}");
        }
        for name in MACROS {
            let text = format!("fn a() {{ {name}() }}\n");
            assert_eq!(check(&Tree::of(&[("a.rs", &text)])).len(), 1, "{name}");
        }
    }

    #[test]
    fn longer_words_are_not() {
        let text = format!("// {}S and {}x\nmacro_{}\n", MARKERS[0], MARKERS[2], MACROS[0]);
        assert!(check(&Tree::of(&[("a.rs", &text)])).is_empty());
    }
}
