// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A function fits on a screen: at most 70 lines from its `fn` to its closing brace. In test code, where tables of
//! cases are, it may have 120.

use super::test_code::{is_test_file, test_lines};
use super::tree::{Finding, Tree};
use proc_macro2::Span;
use syn::visit::Visit;

const LIMIT: usize = 70;
const TEST_LIMIT: usize = 120;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let Some(syntax) = &file.syntax else {
            findings.push(Finding::new(file, 1, "does not parse as Rust"));
            continue;
        };
        let tests = test_lines(syntax);
        let limit = |line: usize| {
            let in_tests = tests.iter().any(|(first, last)| (*first..=*last).contains(&line));
            if in_tests || is_test_file(file) { TEST_LIMIT } else { LIMIT }
        };
        let mut functions = Functions { all: Vec::new() };
        functions.visit_file(syntax);
        let long = functions.all.into_iter().filter(|(line, _, length)| *length > limit(*line));
        findings.extend(long.map(|(line, name, length)| {
            Finding::new(file, line, format!("`{name}` has {length} lines; at most {}", limit(line)))
        }));
    }
    findings
}

struct Functions {
    /// The first line, the name and the number of lines of each.
    all: Vec<(usize, String, usize)>,
}

impl Functions {
    fn measure(&mut self, signature: &syn::Signature, end: Span) {
        let start = signature.fn_token.span.start().line;
        let length = end.end().line + 1 - start;
        self.all.push((start, signature.ident.to_string(), length));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig, function.block.brace_token.span.close());
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig, function.block.brace_token.span.close());
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block.brace_token.span.close());
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function_of(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    work();\n".repeat(lines - 2))
    }

    #[test]
    fn seventy_lines_pass_and_one_more_does_not() {
        assert!(check(&Tree::of(&[("a.rs", &function_of(70))])).is_empty());
        let findings = check(&Tree::of(&[("a.rs", &function_of(71))]));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.contains("`long` has 71 lines"), "{findings:?}");
    }

    #[test]
    fn test_code_may_have_longer_tables() {
        let inside = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function_of(120));
        assert!(check(&Tree::of(&[("a.rs", &inside), ("a/tests.rs", &function_of(120))])).is_empty());
        assert_eq!(check(&Tree::of(&[("a/tests.rs", &function_of(121))])).len(), 1);
    }

    #[test]
    fn methods_and_trait_defaults_count() {
        let method = format!("impl A {{\n{}}}\n", function_of(80));
        let default = format!("trait A {{\n{}}}\n", function_of(80));
        let findings = check(&Tree::of(&[("a.rs", &method), ("b.rs", &default)]));
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn what_does_not_parse_is_told() {
        assert_eq!(check(&Tree::of(&[("a.rs", "fn {")])).len(), 1);
    }
}
