// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Running all rules and telling what they found.

use super::tree::{Finding, Tree};
use super::{
    dead_files, dependency_direction, doc_links, file_length, function_length, leftovers, line_length,
    pure_core, spdx, unsafe_code,
};
use crate::workspace;
use anyhow::{Result, bail};

type Rule = fn(&Tree) -> Vec<Finding>;

/// Every rule with the name that its findings are shown under.
const RULES: &[(&str, Rule)] = &[
    ("function length", function_length::check),
    ("file length", file_length::check),
    ("line length", line_length::check),
    ("dependency direction", dependency_direction::check),
    ("unsafe code", unsafe_code::check),
    ("pure core", pure_core::check),
    ("leftovers", leftovers::check),
    ("licence header", spdx::check),
    ("dead files", dead_files::check),
    ("links", doc_links::check),
];

/// Checks the source tree; an error means that a rule found something.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read(workspace::root())?;
    let findings = findings(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files, {} rules, nothing to say", tree.files.len(), RULES.len());
            Ok(())
        }
        count => bail!("tidy: {count} findings"),
    }
}

fn findings(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (name, rule) in RULES {
        found.extend(rule(tree).into_iter().map(|finding| format!("{finding} [{name}]")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let tree = Tree::read(workspace::root()).unwrap();
        assert!(tree.files.len() > 10, "the tree was not read");
        let findings = findings(&tree);
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }

    #[test]
    fn findings_name_the_place_and_the_rule() {
        let tree = Tree::of(&[("crates/wire/src/lib.rs", "fn main() {}\n")]);
        let findings = findings(&tree);
        assert!(findings.iter().any(|text| text.starts_with("crates/wire/src/lib.rs:1: ")), "{findings:?}");
        assert!(findings.iter().any(|text| text.ends_with("[licence header]")), "{findings:?}");
    }
}
