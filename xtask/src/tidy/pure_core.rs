// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The pure core opens no file, reads no clock and no environment: time and randomness are arguments.

use super::test_code::{attributes, is_test_file, is_test_only};
use super::tree::{Finding, Tree};
use syn::spanned::Spanned;
use syn::visit::Visit;

const PURE: &[&str] = &[
    "crates/uapi/",
    "crates/netlink/",
    "crates/wire/",
    "crates/sync/",
    "crates/buf/",
    "crates/flow/",
    "crates/conntrack/",
    "crates/actions/",
    "crates/tunnel/",
    "crates/datapath/",
    "crates/messages/",
];

/// The banned path and what to do instead.
const BANNED: &[(&str, &str)] = &[
    ("std::fs", "take the bytes as an argument"),
    ("std::net", "addresses are in core::net; sockets belong to a port type"),
    ("std::os", "file descriptors belong to a port type"),
    ("std::env", "take the value as an argument"),
    ("std::process", "processes belong to the programs"),
    ("std::time::Instant", "take `now_ns` as an argument"),
    ("std::time::SystemTime", "take `now_ns` as an argument"),
    ("Instant::now", "take `now_ns` as an argument"),
    ("SystemTime::now", "take `now_ns` as an argument"),
    ("libc", "system calls belong to a port type"),
    ("rustix", "system calls belong to a port type"),
];

/// Types only: what somebody else opened is handed on to a port type. And advice about memory, which opens and reads nothing.
const HANDED_ON: &[&str] = &[
    "std::os::fd::AsFd",
    "std::os::fd::BorrowedFd",
    "std::os::fd::OwnedFd",
    "rustix::mm::Advice",
    "rustix::mm::madvise",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let pure = tree.rust().filter(|file| PURE.iter().any(|folder| file.path.starts_with(folder)));
    for file in pure.filter(|file| !is_test_file(file) && file.path.contains("/src/")) {
        let mut paths = Paths { found: Vec::new() };
        file.syntax.iter().for_each(|syntax| paths.visit_file(syntax));
        let is_handed_on = |path: &str| HANDED_ON.iter().any(|allowed| starts_with(path, allowed));
        for (line, path) in paths.found.into_iter().filter(|(_, path)| !is_handed_on(path)) {
            if let Some((banned, remedy)) = BANNED.iter().find(|(banned, _)| starts_with(&path, banned)) {
                findings.push(Finding::new(file, line, format!("`{banned}` in the pure core: {remedy}")));
            }
        }
    }
    findings
}

/// Whether the path is the banned one or lies below it.
fn starts_with(path: &str, banned: &str) -> bool {
    path.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Collects every path that the code mentions, imports written out in full.
struct Paths {
    found: Vec<(usize, String)>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test_only(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        self.write_out(String::new(), &import.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.found.push((path.span().start().line, names.join("::")));
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let text = call.tokens.to_string().replace(" :: ", "::");
        let line = call.span().start().line;
        let words =
            text.split(|character: char| !(character.is_alphanumeric() || matches!(character, '_' | ':')));
        self.found.extend(words.filter(|word| word.contains("::")).map(|word| (line, word.to_owned())));
    }
}

impl Paths {
    fn write_out(&mut self, before: String, tree: &syn::UseTree) {
        let join = |name: &syn::Ident| {
            if before.is_empty() { name.to_string() } else { format!("{before}::{name}") }
        };
        match tree {
            syn::UseTree::Path(path) => self.write_out(join(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.found.push((name.span().start().line, join(&name.ident))),
            syn::UseTree::Rename(name) => self.found.push((name.span().start().line, join(&name.ident))),
            syn::UseTree::Glob(glob) => self.found.push((glob.span().start().line, before)),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.write_out(before.clone(), item));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)])).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn every_way_of_naming_is_found() {
        let text = "use std::{collections::HashMap, fs};\n\
                    use std::net::UdpSocket as S;\n\
                    fn a() { std::env::var(\"A\"); }\n\
                    fn b() { let now = Instant::now(); }\n\
                    fn c() { println!(\"{:?}\", std::time::SystemTime::now()); }\n\
                    fn d(fd: std::os::fd::RawFd) {}\n";
        assert_eq!(lines("crates/flow/src/a.rs", text), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn tests_and_other_crates_are_free() {
        let text = "use std::fs;\n";
        assert!(lines("bin/portwayd/src/a.rs", text).is_empty());
        assert!(lines("crates/flow/src/a/tests.rs", text).is_empty());
        assert!(lines("crates/flow/src/a.rs", "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n").is_empty());
    }

    #[test]
    fn what_only_looks_alike_passes() {
        let text = "use core::net::Ipv4Addr;\nuse std::fsx;\nuse std::time::Duration;\nuse std::os::fd::{AsFd, OwnedFd};\nfn a() { my::fs::read(); }\n";
        assert!(lines("crates/flow/src/a.rs", text).is_empty());
    }
}
