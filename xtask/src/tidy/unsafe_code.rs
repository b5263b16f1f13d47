// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Unsafe code lives in named places; everywhere else the crate's root forbids it.

use super::packages::{Package, packages};
use super::test_code::is_test_file;
use super::tree::{File, Finding, Tree};
use proc_macro2::{TokenStream, TokenTree};

/// Folders and files whose job needs it: memory, publishing, the C ABI of modules, the system calls of port types and BPF,
/// the allocators that count, and the TAPs of the conformance tests.
const ALLOWED: &[&str] = &[
    "crates/sync/",
    "crates/buf/",
    "crates/bpf/",
    "crates/netwatch/src/socket_netns.rs",
    "crates/sched/",
    "crates/tap/",
    "crates/tunnel-sockets/",
    "crates/vport/src/module.rs",
    "crates/vport/src/module/",
    "crates/vport/src/abi.rs",
    "crates/vport/src/abi/",
    "modules/",
    "preload/",
    "bench/src/allocations.rs",
    "tests/conformance/src/tap.rs",
    "tests/regress/tests/memory.rs",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<_> = packages(tree).iter().flat_map(|package| unforbidden(tree, package)).collect();
    for file in tree.rust().filter(|file| !is_allowed(&file.path)) {
        let Ok(tokens) = file.text.parse::<TokenStream>() else { continue };
        let mut lines = Vec::new();
        find_unsafe(tokens, &mut lines);
        findings
            .extend(lines.into_iter().map(|line| Finding::new(file, line, "`unsafe` is not allowed here")));
    }
    findings
}

/// The roots of a package that ought to forbid unsafe code and do not. Where some files may have it, the root denies
/// it and those files allow it.
fn unforbidden(tree: &Tree, package: &Package<'_>) -> Vec<Finding> {
    let folder = package.path("");
    if ALLOWED.iter().any(|allowed| folder.starts_with(allowed)) {
        return Vec::new();
    }
    let has_allowed_files = ALLOWED.iter().any(|allowed| allowed.starts_with(&folder));
    let words: &[&str] = if has_allowed_files { &["forbid", "deny"] } else { &["forbid"] };
    let roots = package.roots(tree);
    let roots = roots.iter().filter_map(|path| tree.file(path)).filter(|file| !is_test_file(file));
    roots
        .filter(|file| !words.iter().any(|word| has_inner_attribute(file, word)))
        .map(|file| Finding::new(file, 1, format!("add `#![{}(unsafe_code)]`", words[words.len() - 1])))
        .collect()
}

fn has_inner_attribute(file: &File, word: &str) -> bool {
    file.syntax.iter().flat_map(|syntax| &syntax.attrs).any(|attribute| {
        attribute.path().is_ident(word)
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string().contains("unsafe_code"))
    })
}

fn is_allowed(path: &str) -> bool {
    ALLOWED.iter().any(|allowed| path == *allowed || (allowed.ends_with('/') && path.starts_with(allowed)))
}

fn find_unsafe(tokens: TokenStream, lines: &mut Vec<usize>) {
    for token in tokens {
        match token {
            TokenTree::Ident(word) if word == "unsafe" => lines.push(word.span().start().line),
            TokenTree::Group(group) => find_unsafe(group.stream(), lines),
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(folder: &str, root: &str) -> Vec<String> {
        let (manifest, lib) = (format!("{folder}/Cargo.toml"), format!("{folder}/src/lib.rs"));
        let tree = Tree::of(&[(&manifest, "[package]\nname = 'p'\n"), (&lib, root)]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_root_must_forbid_it() {
        assert!(findings("crates/flow", "#![forbid(unsafe_code)]\nfn a() {}\n").is_empty());
        assert_eq!(
            findings("crates/flow", "fn a() {}\n"),
            ["crates/flow/src/lib.rs:1: add `#![forbid(unsafe_code)]`"]
        );
        assert_eq!(findings("crates/flow", "#![deny(unsafe_code)]\n").len(), 1);
        assert!(findings("crates/vport", "#![deny(unsafe_code)]\n").is_empty());
        assert!(findings("crates/sync", "fn a() {}\n").is_empty());
    }

    #[test]
    fn a_block_outside_the_named_places_is_found() {
        let block = "#![forbid(unsafe_code)]\nfn a() {\n    unsafe { b() }\n}\n";
        assert_eq!(
            findings("crates/flow", block),
            ["crates/flow/src/lib.rs:3: `unsafe` is not allowed here"]
        );
        assert!(findings("modules/netdev", block).is_empty());
        let hidden = "#![forbid(unsafe_code)]\nm! { x, (unsafe { b() }) }\n";
        assert_eq!(findings("crates/flow", hidden).len(), 1);
    }

    #[test]
    fn the_word_in_text_is_no_code() {
        assert!(
            findings("crates/flow", "#![forbid(unsafe_code)]\n// unsafe\nconst A: &str = \"unsafe\";\n")
                .is_empty()
        );
    }
}
