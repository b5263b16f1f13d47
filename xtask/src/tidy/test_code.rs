// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Telling test code from the rest: budgets and bans count only what ships.

use super::tree::File;
use syn::spanned::Spanned;
use syn::visit::Visit;

/// Whether the whole file is test code by its place: `tests.rs`, a `tests` or `benches` folder, the test kit.
pub(super) fn is_test_file(file: &File) -> bool {
    let mut parts = file.path.split('/');
    let name = parts.next_back().unwrap_or_default();
    name == "tests.rs"
        || file.path.starts_with("testkit/")
        || parts.any(|folder| matches!(folder, "tests" | "benches" | "fuzz"))
}

/// Whether an item is compiled for tests only: `#[test]`, `#[cfg(test)]`, `#[cfg(all(test, ...))]`.
pub(super) fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("test") {
            return true;
        }
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let condition = list.tokens.to_string();
        let words = || condition.split(|character: char| !character.is_alphanumeric() && character != '_');
        attribute.path().is_ident("cfg")
            && words().any(|word| matches!(word, "test" | "loom"))
            && !words().any(|word| matches!(word, "not" | "any"))
    })
}

/// The first and last lines of each test-only item of a file, attributes included.
pub(super) fn test_lines(syntax: &syn::File) -> Vec<(usize, usize)> {
    let mut finder = Finder { ranges: Vec::new() };
    finder.visit_file(syntax);
    finder.ranges
}

struct Finder {
    ranges: Vec<(usize, usize)>,
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if is_test_only(attributes(item)) {
            let span = item.span();
            self.ranges.push((span.start().line, span.end().line));
        } else {
            syn::visit::visit_item(self, item);
        }
    }
}

/// The attributes of any kind of item.
pub(super) fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    use syn::Item;
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::*;

    #[test]
    fn test_items_are_found_with_their_attributes() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n#[cfg(not(test))]\nfn c() {}\n";
        let syntax = syn::parse_file(text).unwrap();
        assert_eq!(test_lines(&syntax), [(2, 5)]);
    }

    #[test]
    fn test_files_are_known_by_place() {
        let tree = Tree::of(&[
            ("crates/flow/src/key/tests.rs", ""),
            ("crates/flow/tests/a.rs", ""),
            ("tests/e2e/src/lib.rs", ""),
            ("crates/flow/src/contests.rs", ""),
        ]);
        let answers: Vec<_> = tree.files.iter().map(is_test_file).collect();
        assert_eq!(answers, [true, true, true, false]);
    }
}
